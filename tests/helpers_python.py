# SPDX-License-Identifier: MIT
"""How Pythons differ: tests that one cannot run, and why, and when what nobody refers to goes."""

import gc
import sys
import sysconfig

IS_PYPY = sys.implementation.name == "pypy"

ALLOCATOR = "without the GIL the interpreter's own memory comes and goes in mappings"
SENT = "a signal that another thread sends during an access that faults is taken for faulthandler's"
RESERVED = "without the GIL the interpreter's allocator has room reserved"
COLLECTIONS = "without the GIL the garbage collector does not run at every allocation, whatever its threshold"
IMMORTAL = "without the GIL a type lives for ever once there has been a second thread"
FROZEN = "without the GIL a thread that the interpreter's end stops may keep a lock that a finalizer then waits for"

_WITHOUT_THE_GIL = {
    "test_address_space_limit.py::test_good_memory_without_room_for_a_copy_is_a_memory_error": RESERVED,
    "test_bad_types.py::test_a_type_of_ones_own_that_was_used_once_is_let_go": IMMORTAL,
    "test_bad_types.py::test_types_that_were_used_once_are_let_go": IMMORTAL,
    "test_crashes.py::test_a_signal_from_another_thread_kills_a_busy_one[bare-fault]": SENT,
    "test_crashes.py::test_a_signal_from_another_thread_kills_a_busy_one[faulthandler-fault]": SENT,
    "test_exit.py::test_interpreters_end_quietly_under_daemon_threads": FROZEN,
    "test_interruptions.py::test_finalizers_unmap_at_once_or_with_the_next_operation": COLLECTIONS,
    "test_interruptions.py::test_no_page_is_shown_that_was_evicted_meanwhile": COLLECTIONS,
    "test_interruptions.py::test_other_changes_there_are_done_or_refused": COLLECTIONS,
    "test_mapping_limit.py": ALLOCATOR,
    "test_protect_limit.py": ALLOCATOR,
    "test_region_limits.py::test_without_mappings_nothing_is_left": ALLOCATOR,
    "test_space_arguments.py::test_what_a_finalizer_unmaps_with_such_integers_goes": COLLECTIONS,
}

NO_CALLS = "this Python does not tell whether a fault is its own"
KEEPS_GIL = "every call of this Python's ctypes drops the GIL"
NO_BUILTINS = "calls go through ctypes, as this Python is not CPython: there are no builtins"
CLOSED = "this Python closes an mmap under those who look at it"
FAULTHANDLER = "this Python's faulthandler asks nobody below it"
ARRAYS = "this Python's ctypes keeps every type of array"
RESIZED = "this Python's ctypes resizes nothing"
LATER = "this Python collects when it likes"
CPYTHON_S_OBJECTS = "the example is about the objects of CPython"

_ON_PYPY = {
    "test_address_space_limit.py::test_a_guarded_call_without_room_for_its_stack_is_enomem": NO_CALLS,
    "test_bad_types.py::test_types_that_were_used_once_are_let_go": ARRAYS,
    "test_builtins.py::test_an_interpreter_without_the_functions_falls_back_to_ctypes": NO_BUILTINS,
    "test_builtins.py::test_the_suite_passes_on_the_other_path": NO_BUILTINS,
    "test_call_crashes.py": NO_CALLS,
    "test_call_refused.py": NO_CALLS,
    "test_crashes.py::test_a_signal_from_another_thread_kills_a_busy_one[bare-fault]": SENT,
    "test_crashes.py::test_a_signal_from_another_thread_kills_a_busy_one[faulthandler-fault]": SENT,
    "test_examples.py::test_a_walk_of_the_heap_finds_the_objects_and_survives_the_garbage": CPYTHON_S_OBJECTS,
    "test_gil.py::test_small_accesses_keep_the_gil": KEEPS_GIL,
    "test_guarded_view.py::test_an_mmap_stays_open_until_the_release": CLOSED,
    "test_interruptions.py::test_a_space_with_pagers_may_go_while_others_are_looked_through": LATER,
    "test_loading.py::test_without_builtins_that_fit_calls_go_through_ctypes": NO_BUILTINS,
    "test_planted_bugs.py": NO_CALLS,
    "test_previous_handlers.py::test_a_previous_crash_reporter_comes_after_faulthandler": FAULTHANDLER,
    "test_real_library.py": NO_CALLS,
    "test_sweeps.py::test_a_string_function_without_a_limit_runs_over_every_end_before_the_terminator": NO_CALLS,
    "test_sweeps.py::test_one_byte_too_many_in_c_is_found_at_the_edge": NO_CALLS,
    "test_tutorial.py::test_a_command_of_the_tutorial_prints_what_is_shown": NO_CALLS,
    "test_tutorial.py::test_a_program_of_the_tutorial_runs": NO_CALLS,
    "test_view.py::test_a_resized_object_of_the_type_does_not_spill_over": RESIZED,
}

BY_PYTHON = {"free-threaded": _WITHOUT_THE_GIL, "PyPy": _ON_PYPY}
"""What is skipped on which."""

_IS_HERE = {
    "free-threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    "PyPy": IS_PYPY,
}

WORDS = {"guarded_call": NO_CALLS} if IS_PYPY else {}
"""What a program of the documents may use that is not to be had."""

NOT_ON_PYTHON = {
    test: reason for python, tests in BY_PYTHON.items() if _IS_HERE[python] for test, reason in tests.items()
}
"""Files, and tests of files: why they are skipped."""


def let_go() -> None:
    """Have what nobody refers to any more go, where it does not at once."""
    if IS_PYPY:
        for _ in range(3):  # what a finalizer lets go of has one too
            gc.collect()
