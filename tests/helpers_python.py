# SPDX-License-Identifier: MIT
"""Tests that a Python cannot run, and why."""

import sys
import sysconfig

ALLOCATOR = "without the GIL the interpreter's own memory comes and goes in mappings"
SENT = "a signal that another thread sends during an access that faults is taken for faulthandler's"
COLLECTIONS = "without the GIL the garbage collector does not run at every allocation, whatever its threshold"
IMMORTAL = "without the GIL a type lives for ever once there has been a second thread"
FROZEN = "without the GIL a thread that the interpreter's end stops may keep a lock that a finalizer then waits for"

_WITHOUT_THE_GIL = {
    "test_bad_types.py::test_types_that_were_used_once_are_let_go": IMMORTAL,
    "test_crashes.py::test_a_signal_from_another_thread_kills_a_busy_one[bare-fault]": SENT,
    "test_crashes.py::test_a_signal_from_another_thread_kills_a_busy_one[faulthandler-fault]": SENT,
    "test_exit.py::test_interpreters_end_quietly_under_daemon_threads": FROZEN,
    "test_interruptions.py::test_finalizers_unmap_at_once_or_with_the_next_operation": COLLECTIONS,
    "test_interruptions.py::test_no_page_is_shown_that_was_evicted_meanwhile": COLLECTIONS,
    "test_interruptions.py::test_other_changes_there_are_done_or_refused": COLLECTIONS,
    "test_mapping_limit.py": ALLOCATOR,
    "test_protect_limit.py": ALLOCATOR,
    "test_region_leaks.py::test_without_mappings_nothing_is_left": ALLOCATOR,
    "test_space_arguments.py::test_what_a_finalizer_unmaps_with_such_integers_goes": COLLECTIONS,
}

NO_CALLS = "this Python does not tell whether a fault is its own"
COLLECTED = "objects go, and let go of what they hold, when this Python's garbage collector runs"
KEEPS_GIL = "every call of this Python's ctypes drops the GIL"
NUMBERS = "this Python's ctypes takes numbers of the other byte order for unsigned ones"
NO_BUILTINS = "calls go through ctypes, as this Python is not CPython: there are no builtins"
CLOSED = "this Python closes an mmap under those who look at it"
FAULTHANDLER = "this Python's faulthandler asks nobody below it"
ITS_OWN_CALLS = "this Python makes system calls of its own"

_ON_PYPY = {
    "test_aspace.py::test_finalizers_in_a_cycle_with_a_space_still_have_it": COLLECTED,
    "test_batch_arguments.py::test_sizes_and_buffers_that_do_not_fit_are_refused": COLLECTED,
    "test_buffers_that_change.py": COLLECTED,
    "test_builtins.py::test_the_suite_passes_on_the_other_path": NO_BUILTINS,
    "test_call.py": NO_CALLS,
    "test_call_arguments.py": NO_CALLS,
    "test_call_crashes.py": NO_CALLS,
    "test_call_inside.py": NO_CALLS,
    "test_call_refused.py": NO_CALLS,
    "test_crashes.py::test_a_signal_from_another_thread_kills_a_busy_one[bare-fault]": SENT,
    "test_crashes.py::test_a_signal_from_another_thread_kills_a_busy_one[faulthandler-fault]": SENT,
    "test_environment.py::test_good_accesses_make_no_system_calls_but_a_few_at_each_tick": ITS_OWN_CALLS,
    "test_gil.py::test_small_accesses_keep_the_gil": KEEPS_GIL,
    "test_guarded_view.py::test_buffers_with_gaps_are_buffer_errors": COLLECTED,
    "test_guarded_view.py::test_the_buffer_stays_exported_until_the_release": CLOSED,
    "test_interruptions.py::test_a_pager_may_unmap_something_when_it_goes": COLLECTED,
    "test_interruptions.py::test_finalizers_unmap_at_once_or_with_the_next_operation": COLLECTED,
    "test_interruptions.py::test_no_page_is_shown_that_was_evicted_meanwhile": COLLECTED,
    "test_interruptions.py::test_other_changes_there_are_done_or_refused": COLLECTED,
    "test_mapping_limit.py": ITS_OWN_CALLS,
    "test_paging.py::test_a_pager_area_without_room_leaves_nothing_behind": COLLECTED,
    "test_planted_bugs.py": NO_CALLS,
    "test_previous_handlers.py::test_a_previous_crash_reporter_comes_after_faulthandler": FAULTHANDLER,
    "test_protect_limit.py": ITS_OWN_CALLS,
    "test_readme.py::test_a_block_of_python_runs": NO_CALLS,
    "test_region_leaks.py::test_without_mappings_nothing_is_left": ITS_OWN_CALLS,
    "test_sweeps.py::test_a_string_function_without_a_limit_runs_over_every_end_before_the_terminator": NO_CALLS,
    "test_sweeps.py::test_nothing_is_left_of_a_sweep": ITS_OWN_CALLS,
    "test_sweeps.py::test_one_byte_too_many_in_c_is_found_at_the_edge": NO_CALLS,
    "test_tutorial.py": NO_CALLS,
    "test_uaccess.py::test_a_word_put_is_the_word_got": NUMBERS,
}

BY_PYTHON = {"free-threaded": _WITHOUT_THE_GIL, "PyPy": _ON_PYPY}
"""What is skipped on which."""

_IS_HERE = {
    "free-threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    "PyPy": sys.implementation.name == "pypy",
}

NOT_ON_PYTHON = {
    test: reason for python, tests in BY_PYTHON.items() if _IS_HERE[python] for test, reason in tests.items()
}
"""Files, and tests of files: why they are skipped."""
