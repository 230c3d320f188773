# SPDX-License-Identifier: MIT
"""Tests that a platform cannot run, and why: each is a row of its table in ``docs/platforms.md``."""

import ctypes
import sys
from typing import Any

import pytest
from helpers_processor import NOT_ON_PROCESSOR
from helpers_python import NOT_ON_PYTHON, WORDS


def c_library() -> ctypes.CDLL:
    """Return the C library, with functions of the caller's own."""
    return ctypes.CDLL("msvcrt" if sys.platform == "win32" else None)


def c_read() -> Any:
    """Return the function that reads a file descriptor of Python's."""
    return ctypes.CDLL("ucrtbase")._read if sys.platform == "win32" else ctypes.CDLL(None).read


FORK = "Windows has no fork()"
SIGNAL = "Windows has no signals: a crash is an exit status there, and nobody can be asked for the handlers"
PAGER = "Windows maps no file over reserved addresses (ENOTSUP), which a pager needs"
OFFSET = "Windows maps files from multiples of 64 KiB only, and not over reserved addresses (ENOTSUP)"
MAPPINGS = "Windows has no limit to the number of mappings"
UNLIMITED = "Windows has no limit of a process to its own address space"
SHELL = "the tutorial's commands are a POSIX shell's"

MAPS = "the system does not list a process's mappings"
COMPILER = "there is no C compiler, or tool of one, where the tests run"
C_LIBRARY = "the C library has another name in Windows"
SAME_TYPE = "two of ctypes' types are one there"
CUT = "Windows has no memory past the end of its file, and does not cut a file that is mapped"
NAMES = "Windows names the functions that a library exports alone"
ONCE_MORE = "the suite is not run once more under wine, where it takes long"

_ON_WINDOWS = {
    "Ending.END_OF_FILE": CUT,
    "test_abi.py::test_a_compiler_lays_the_structures_out_alike": COMPILER,
    "test_abi.py::test_the_header_is_c_plus_plus_too": COMPILER,
    "test_address_space_limit.py": UNLIMITED,
    "test_areas.py::test_files_join_only_where_the_offsets_go_on": OFFSET,
    "test_areas.py::test_thousands_of_mapped_areas_answer_for_themselves": OFFSET,
    "test_aspace.py::test_a_map_that_is_interrupted_leaves_nothing_mapped[map_pager]": PAGER,
    "test_batch_faults.py::test_a_bad_buffer_of_ours_kills": SIGNAL,
    "test_batch_faults.py::test_a_bad_page_faults_once": SIGNAL,
    "test_batch_faults.py::test_a_batch_pages_in_what_it_reads": PAGER,
    "test_batch_faults.py::test_a_batch_pages_in_what_it_writes_and_keeps_the_order": PAGER,
    "test_batch_faults.py::test_a_large_batch_over_paged_memory_is_read_to_its_end": PAGER,
    "test_batch_faults.py::test_a_page_that_a_pager_refuses_spoils_its_entries_only": PAGER,
    "test_batch_faults.py::test_addresses_that_no_processor_forms_fault_for_the_first_of_them": SIGNAL,
    "test_batch_faults.py::test_an_access_that_is_refused_makes_no_fault": SIGNAL,
    "test_batch_faults.py::test_threads_gather_from_pages_that_come_and_go": OFFSET,
    "test_buffers_that_change.py::test_a_buffer_is_kept_for_an_access_and_for_no_exception": PAGER,
    "test_buffers_that_change.py::test_a_source_that_grows_meanwhile_stays_in_its_space": PAGER,
    "test_builtins.py::test_the_suite_passes_on_the_other_path": ONCE_MORE,
    "test_call.py::test_a_call_takes_back_the_stack_that_it_lent": SIGNAL,
    "test_call.py::test_a_call_that_returns_keeps_what_it_changed": SIGNAL,
    "test_call.py::test_a_fault_in_a_function_that_the_function_calls_is_named": NAMES,
    "test_call.py::test_a_fault_leaves_the_thread_as_it_was": SIGNAL,
    "test_call.py::test_a_fork_goes_on_with_guarded_calls": FORK,
    "test_call.py::test_a_mapping_whose_file_was_truncated_is_beyond_its_end": CUT,
    "test_call.py::test_a_stack_that_the_thread_has_is_not_replaced": SIGNAL,
    "test_call.py::test_threads_that_end_leave_nothing_mapped": SIGNAL,
    "test_call_arguments.py::test_a_long_double_is_returned": SAME_TYPE,
    "test_call_crashes.py::test_a_fault_below_a_callback_in_a_thread_kills": SIGNAL,
    "test_call_crashes.py::test_a_fault_below_a_callback_kills": SIGNAL,
    "test_call_crashes.py::test_a_fault_elsewhere_kills_while_a_call_is_open": SIGNAL,
    "test_call_crashes.py::test_a_fault_in_a_thread_that_the_function_started_kills": SIGNAL,
    "test_call_crashes.py::test_a_fault_of_python_code_kills_also_if_its_entries_cannot_be_counted": SIGNAL,
    "test_call_crashes.py::test_a_fault_with_its_signal_blocked_kills": SIGNAL,
    "test_call_crashes.py::test_a_signal_from_another_process_kills_during_a_call": SIGNAL,
    "test_call_crashes.py::test_a_signal_that_the_function_sends_kills": SIGNAL,
    "test_call_crashes.py::test_an_unguarded_fault_after_guarded_ones_kills": SIGNAL,
    "test_call_crashes.py::test_stack_overflows_are_exceptions[main-disarming itself]": SIGNAL,
    "test_call_crashes.py::test_stack_overflows_are_exceptions[main-none]": SIGNAL,
    "test_call_crashes.py::test_stack_overflows_are_exceptions[main-small]": SIGNAL,
    "test_call_crashes.py::test_stack_overflows_are_exceptions[thread-disarming itself]": SIGNAL,
    "test_call_crashes.py::test_stack_overflows_are_exceptions[thread-none]": SIGNAL,
    "test_call_crashes.py::test_stack_overflows_are_exceptions[thread-small]": SIGNAL,
    "test_call_inside.py::test_a_function_that_recovers_from_faults_by_itself_does": SIGNAL,
    "test_call_inside.py::test_a_python_handler_runs_after_the_call": SIGNAL,
    "test_call_inside.py::test_signals_during_a_call_reach_their_handlers": SIGNAL,
    "test_check.py::test_regions_bring_pages_in": PAGER,
    "test_check.py::test_runs_page_in_no_more_than_they_need": PAGER,
    "test_cli.py::test_info_names_a_faulthandler_below": SIGNAL,
    "test_cli.py::test_info_names_the_handlers": SIGNAL,
    "test_crashes.py": SIGNAL,
    "test_environment.py::test_a_caught_fault_leaves_the_threads_state_alone": SIGNAL,
    "test_environment.py::test_every_other_end_of_an_access_leaves_the_threads_state_alone": SIGNAL,
    "test_environment.py::test_taking_over_leaves_the_threads_state_alone": SIGNAL,
    "test_examples.py::test_a_compressed_file_is_paged_in_and_out": PAGER,
    "test_examples.py::test_a_reader_outlives_the_truncation_of_its_log": CUT,
    "test_exit.py::test_interpreters_end_quietly[while a thread waits in a pager]": PAGER,
    "test_exit.py::test_interpreters_end_quietly_under_daemon_threads": FORK,
    "test_fault_records.py::test_handlers_that_fault_never_mix_up_the_records": SIGNAL,
    "test_follow.py::test_following_is_no_write": PAGER,
    "test_fork.py::test_a_child_catches_its_faults": FORK,
    "test_fork.py::test_a_child_forked_before_the_import_catches_its_faults": FORK,
    "test_fork.py::test_a_child_forked_during_installs_catches_its_faults_and_gets_on_top": FORK,
    "test_fork.py::test_a_child_forked_in_a_thread_catches_its_faults": FORK,
    "test_fork.py::test_a_child_still_dies_of_an_unguarded_fault": FORK,
    "test_fork.py::test_multiprocessing_children_catch_their_faults[main-fork]": FORK,
    "test_fork.py::test_multiprocessing_children_catch_their_faults[main-forkserver]": FORK,
    "test_fork.py::test_multiprocessing_children_catch_their_faults[top-fork]": FORK,
    "test_fork.py::test_multiprocessing_children_catch_their_faults[top-forkserver]": FORK,
    "test_guarded_view_faults.py::test_a_truncated_file_faults_at_its_first_missing_page": CUT,
    "test_guarded_view_faults.py::test_shared_memory_is_viewed_and_faults_when_it_shrinks": CUT,
    "test_guarded_view_faults.py::test_threads_read_right_bytes_or_fault_while_a_file_is_truncated": CUT,
    "test_handler_order.py::test_every_order_of_import_enable_disable_and_install_catches_guarded_faults": FORK,
    "test_handler_order.py::test_status_names_a_foreign_handler_by_its_symbol": SIGNAL,
    "test_handler_order.py::test_status_names_the_handlers_in_the_order_they_are_asked": SIGNAL,
    "test_handler_order.py::test_two_copies_of_the_library_catch_their_faults_at_any_stack_depth": SIGNAL,
    "test_handler_order.py::test_two_copies_of_the_library_each_catch_their_own_faults": SIGNAL,
    "test_handler_order.py::test_two_copies_of_the_library_let_an_unguarded_fault_kill": SIGNAL,
    "test_handler_order.py::test_who_changes_how_we_are_called_changes_no_guarded_fault": SIGNAL,
    "test_handler_order.py::test_who_puts_us_back_by_the_old_function_does_not_put_us_below_ourselves": SIGNAL,
    "test_handlers.py::test_install_says_who_is_on_top": SIGNAL,
    "test_injection.py::test_a_pager_s_own_accesses_are_calls": PAGER,
    "test_injection_environment.py::test_a_child_inherits_it": FORK,
    "test_injection_scope.py::test_a_signal_handler_s_accesses_are_calls": SIGNAL,
    "test_interruptions.py::test_a_pager_may_unmap_something_when_it_goes": PAGER,
    "test_interruptions.py::test_a_space_with_pagers_may_go_while_others_are_looked_through": PAGER,
    "test_interruptions.py::test_no_page_is_shown_that_was_evicted_meanwhile": PAGER,
    "test_mapping_limit.py": MAPPINGS,
    "test_memory.py::test_a_file_opened_for_reading_cannot_be_mapped_to_be_written": OFFSET,
    "test_memory.py::test_a_private_mapping_keeps_its_writes_to_itself": OFFSET,
    "test_memory.py::test_a_shared_mapping_writes_to_the_file": OFFSET,
    "test_memory.py::test_impossible_mappings_are_refused_with_the_system_s_error": OFFSET,
    "test_must_crash.py": FORK,
    "test_must_crash_marks.py::test_the_closest_mark_counts": FORK,
    "test_pagers_that_misbehave.py": PAGER,
    "test_paging.py": PAGER,
    "test_plugin.py::test_a_verbose_header_tells_who_is_asked_next": SIGNAL,
    "test_plugin.py::test_our_handlers_are_on_top_in_each_phase_of_a_test": SIGNAL,
    "test_plugin.py::test_the_installed_plugin_is_loaded_and_can_be_turned_off": FORK,
    "test_plugin_fixtures.py::test_memory_is_given_back_after_each_test": MAPS,
    "test_plugin_fixtures.py::test_what_fixtures_give_crashes_a_child_that_touches_it": FORK,
    "test_previous_handlers.py": SIGNAL,
    "test_process_space.py::test_a_file_that_is_not_writable_is_eacces": OFFSET,
    "test_process_space.py::test_a_protect_that_fails_halfway_is_taken_back": OFFSET,
    "test_process_space.py::test_files_are_mapped_from_an_offset": OFFSET,
    "test_process_space.py::test_population_needs_the_access[paged]": PAGER,
    "test_process_space.py::test_shared_writes_reach_the_file": OFFSET,
    "test_process_space.py::test_the_process_reads_writes_and_resolves": PAGER,
    "test_process_space.py::test_what_is_no_file_is_refused": OFFSET,
    "test_protect_limit.py": MAPPINGS,
    "test_ptr.py::test_population_comes_before_the_access_and_keeps_the_systems_error": OFFSET,
    "test_refusals.py::test_an_address_outside_every_function_has_no_symbol": NAMES,
    "test_region_limits.py": MAPPINGS,
    "test_space_arguments.py::test_what_cannot_be_called_is_no_pager": PAGER,
    "test_space_arguments.py::test_what_stands_for_an_integer_is_one_everywhere": PAGER,
    "test_space_fork.py": FORK,
    "test_sweep_reports.py::test_a_report_of_an_edge_at_the_end_of_a_row_marks_it_there": CUT,
    "test_threads.py::test_a_handler_that_blocks_everything_and_passes_on_leaves_nothing_blocked": SIGNAL,
    "test_threads.py::test_a_thread_with_everything_blocked_catches_its_faults": SIGNAL,
    "test_threads.py::test_an_access_interrupted_by_a_handler_that_recovers_by_itself_still_catches_its_fault": SIGNAL,
    "test_threads.py::test_an_alarm_that_faults_between_the_bytecodes_of_a_fault_takes_only_its_own": SIGNAL,
    "test_threads.py::test_an_attempt_nested_in_another_by_a_signal_handler_fails_alone": SIGNAL,
    "test_threads.py::test_handlers_put_back_by_somebody_who_kept_them_work_as_before": SIGNAL,
    "test_threads.py::test_install_unblocks_the_signals_at_once": SIGNAL,
    "test_threads.py::test_signals_blocked_later_are_unblocked_by_the_next_accesses": SIGNAL,
    "test_toctou.py::test_a_failed_write_back_keeps_the_page": PAGER,
    "test_toctou.py::test_a_space_that_closes_under_accesses_faults": PAGER,
    "test_toctou.py::test_a_truncated_file_gives_right_bytes_or_faults": CUT,
    "test_toctou.py::test_a_write_back_may_see_its_area_go": PAGER,
    "test_toctou.py::test_eviction_beside_unmaps_raises_nothing": PAGER,
    "test_toctou.py::test_nobody_accesses_a_page_that_is_written_back": PAGER,
    "test_toctou.py::test_without_write_back_what_was_written_is_forgotten": PAGER,
    "test_tutorial.py::test_a_command_of_the_tutorial_prints_what_is_shown": SHELL,
    "test_under_pytest.py::test_a_crash_keeps_its_traceback": SIGNAL,
}

NOT_HERE = NOT_ON_PROCESSOR | NOT_ON_PYTHON | (_ON_WINDOWS if sys.platform == "win32" else {})
"""Files, and tests of files: why they are skipped."""

_WORDS = WORDS | ({".truncate(": CUT, "map_pager(": PAGER, "CDLL(None)": C_LIBRARY} if sys.platform == "win32" else {})


def require_words(code: str) -> None:
    """Skip a test of a program that says what a platform, or a Python, does not have."""
    for word, reason in _WORDS.items():
        if word in code:
            pytest.skip(reason)
