# SPDX-License-Identifier: MIT
"""Tests that a platform cannot run, and why: each is a row of its table in ``docs/platforms.md``."""

import ctypes
import sys


def c_library() -> ctypes.CDLL:
    """Return the C library, with functions of the caller's own."""
    return ctypes.CDLL("ucrtbase" if sys.platform == "win32" else None)


FORK = "Windows has no fork()"
SIGNALS = "Windows has no signals: a crash is an exit status there, and nobody can be asked for the handlers"
PAGER = "Windows maps no file over reserved addresses (ENOTSUP), which a pager needs"
OFFSET = "Windows maps files from multiples of 64 KiB only, and not over reserved addresses (ENOTSUP)"
MAPPINGS = "Windows has no limit to the number of mappings"
BUILT = "a library is built for this test by the system's own compiler"

SAME_TYPE = "two of ctypes' types are one there"
READS = "the test reads a pipe by the C library's read()"
NUMPY = "numpy does not load under wine"
ONCE_MORE = "the suite is not run once more under wine, where it takes long"

_ON_WINDOWS = {
    "test_areas.py::test_files_join_only_where_the_offsets_go_on": OFFSET,
    "test_areas.py::test_thousands_of_mapped_areas_answer_for_themselves": OFFSET,
    "test_batch_faults.py": SIGNALS,
    "test_builtins.py::test_the_suite_passes_on_the_other_path": ONCE_MORE,
    "test_call_crashes.py": SIGNALS,
    "test_call_inside.py::test_the_gil_is_dropped_during_a_call": READS,
    "test_call_refused.py::test_a_long_double_that_a_class_makes_of_a_float_is_refused": SAME_TYPE,
    "test_call_refused.py::test_what_a_guarded_call_cannot_pass_is_refused": SAME_TYPE,
    "test_crashes.py": SIGNALS,
    "test_environment.py": SIGNALS,
    "test_exit.py": SIGNALS,
    "test_fork.py": FORK,
    "test_handler_order.py": SIGNALS,
    "test_handlers.py::test_install_says_who_is_on_top": SIGNALS,
    "test_injection.py::test_a_pager_s_own_accesses_are_calls": PAGER,
    "test_injection_environment.py::test_a_child_inherits_it": FORK,
    "test_injection_scope.py::test_a_signal_handler_s_accesses_are_calls": SIGNALS,
    "test_interruptions.py": SIGNALS,
    "test_mapping_limit.py": MAPPINGS,
    "test_must_crash.py": FORK,
    "test_must_crash_marks.py": FORK,
    "test_paging.py": PAGER,
    "test_planted_bugs.py": BUILT,
    "test_pointer_classes.py::test_pointers_are_values": SAME_TYPE,
    "test_previous_handlers.py": SIGNALS,
    "test_ptr.py::test_arithmetic_refuses_what_is_no_count": SAME_TYPE,
    "test_ptr.py::test_pointers_show_their_type_and_address": SAME_TYPE,
    "test_ptr.py::test_population_comes_before_the_access_and_keeps_the_systems_error": OFFSET,
    "test_real_library.py": BUILT,
    "test_region_leaks.py": SIGNALS,
    "test_space_fork.py": FORK,
    "test_sweeps.py": NUMPY,
    "test_threads.py": SIGNALS,
    "test_tutorial.py": BUILT,
    "test_view.py::test_a_long_double_is_too_wide_for_one_access": SAME_TYPE,
}

NOT_HERE = _ON_WINDOWS if sys.platform == "win32" else {}
"""Files, and tests of files: why they are skipped."""
