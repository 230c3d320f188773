# SPDX-License-Identifier: MIT
"""Tests that a processor, or its emulator, cannot run, and why."""

import ctypes
import os
import platform

EMULATED = "AXPTR_EMULATED" in os.environ
"""Whether qemu runs this, as ``tools/foreign.py`` tells: nothing else does."""

SLOWER = 10 if EMULATED else 1
"""How much longer than elsewhere what ends may take."""

Reasons = dict[str, str]

ALARM = "the emulator delivers an alarm after it was called off"
HIDDEN = "the emulator takes an address beyond 47 bits for NULL"
FETCH = "the emulator tells a jump past the end of a file as one to memory that is not executable"
DISARMING = "the emulator has no SS_AUTODISARM"
WITHIN = "the whole suite within a test takes long"
UNLIMITED = "the emulator does not keep to a limit of address space"

EVERY_ADDRESS = "a processor forms every address"

_ON_X86_64: Reasons = {
    "test_regions.py::test_without_such_an_address_there_is_no_region": "there is such an address",
}

_ELSEWHERE: Reasons = {
    "test_batch_faults.py::test_addresses_that_no_processor_forms_fault_for_the_first_of_them": EVERY_ADDRESS,
    "test_call.py::test_a_misaligned_vector_operand_is_a_fault_whose_text_names_it": "no vector has to be aligned",
    "test_call.py::test_an_address_that_is_not_canonical_is_a_fault_without_an_address": EVERY_ADDRESS,
    "test_call.py::test_the_instruction_is_the_one_that_faulted": "the test's instruction is of x86-64",
    "test_regions.py::test_a_non_canonical_address_is_the_one_that_faults": EVERY_ADDRESS,
    "test_regions.py::test_of_a_non_canonical_address_in_c_the_reason_is_told": EVERY_ADDRESS,
}

_IN_32_BITS: Reasons = {
    "test_bad_input.py::test_addresses_that_no_processor_forms_fault": EVERY_ADDRESS,
    "test_paging.py::test_a_pager_area_without_room_leaves_nothing_behind": "no area is too large for a file",
}

_WITHOUT_LONG_DOUBLES: Reasons = dict.fromkeys(
    (
        "test_bad_types.py::test_what_is_no_simple_type_is_refused[<class 'ctypes.c_double'>]",
        "test_call_refused.py::test_a_long_double_that_a_class_makes_of_a_float_is_refused",
        "test_call_refused.py::test_what_a_guarded_call_cannot_pass_is_refused[itself-c_double]",
        "test_call_refused.py::test_what_a_guarded_call_cannot_pass_is_refused[with its argtype-c_double]",
        "test_call_refused.py::test_what_a_guarded_call_cannot_pass_is_refused[by another class-c_double]",
        "test_call_refused.py::test_what_a_guarded_call_cannot_pass_is_refused[by what stands for it-c_double]",
        "test_view.py::test_a_long_double_is_too_wide_for_one_access",
    ),
    "it is accessed and passed as one",
)

_WITHOUT_VARIADIC_FLOATS: Reasons = {
    "test_call_arguments.py::test_floats_reach_a_variadic_function": "a guarded call passes it none",
}

_EMULATED: Reasons = {
    "test_address_space_limit.py": UNLIMITED,
    "test_builtins.py::test_the_suite_passes_on_the_other_path": WITHIN,
    "test_call.py::test_a_fault_leaves_the_thread_as_it_was[main-disarming itself]": DISARMING,
    "test_call.py::test_a_fault_leaves_the_thread_as_it_was[thread-disarming itself]": DISARMING,
    "test_call.py::test_a_jump_to_what_is_no_code_tells_where[a function that it calls-end_of_file]": FETCH,
    "test_call.py::test_a_jump_to_what_is_no_code_tells_where[itself-end_of_file]": FETCH,
    "test_call_crashes.py::test_stack_overflows_are_exceptions[main-disarming itself]": DISARMING,
    "test_call_crashes.py::test_stack_overflows_are_exceptions[thread-disarming itself]": DISARMING,
    "test_crashes.py::test_null_for_a_buffer_of_our_own_kills_whatever_the_user_address[0xffff9c000000]": HIDDEN,
    "test_fault_records.py::test_handlers_that_fault_never_mix_up_the_records": ALARM,
    "test_region_limits.py::test_without_address_space_nothing_is_left": UNLIMITED,
}

_OF_DIRECTION = (
    "test_call.py::test_a_fault_in_the_c_library_is_caught",
    "test_call.py::test_a_fault_tells_address_access_reason_signal_and_function",
    "test_call_inside.py::test_a_fault_of_the_functions_own_in_such_an_access_is_the_calls",
    "test_planted_bugs.py::test_a_bug_is_found_at_its_byte_wherever_it_shows[copy_line]",
    "test_planted_bugs.py::test_a_bug_is_found_at_its_byte_wherever_it_shows[put_decimal]",
    "test_regions.py::test_the_edge_is_bad_for_c",
    "test_regions.py::test_whatever_crosses_the_edge_in_c_faults_there",
    "test_regions.py::test_whatever_starts_before_the_data_in_c_faults_at_once",
)

_OF_S390X: Reasons = {
    **dict.fromkeys(
        (
            *_OF_DIRECTION,
            "test_call.py::test_a_mapping_whose_file_was_truncated_is_beyond_its_end",
            "test_call.py::test_thousands_of_faults_in_eight_threads_at_once_are_each_their_own",
        ),
        "the processor tells of a fault the page, and not whether it read or wrote",
    ),
    "test_call_arguments.py::test_floats_and_words_mixed_arrive_in_order": "a guarded call passes four floats",
}

_OF_PROTECTION = (
    "Ending.PROTECTION",
    "test_aspace.py::test_a_map_that_is_interrupted_leaves_nothing_mapped",
    "test_aspace.py::test_closing_takes_every_access_away",
    "test_aspace.py::test_faults_of_a_space_are_exact",
    "test_aspace.py::test_other_mappings_stay_out_of_a_living_space",
    "test_aspace_model.py",
    "test_call.py::test_a_write_to_read_only_memory_is_not_permitted",
    "test_cli.py::test_selftest_as_json_agrees_with_itself",
    "test_cli.py::test_selftest_catches_as_many_above_faulthandler",
    "test_cli.py::test_selftest_catches_every_fault",
    "test_cli.py::test_selftest_is_coloured_on_a_terminal",
    "test_cli.py::test_without_an_output_the_exit_status_tells",
    "test_fault_records.py::test_a_record_has_every_field",
    "test_follow.py::test_the_read_is_guarded_whatever_the_checks_said",
    "test_mapping_limit.py::test_a_space_agrees_with_its_model_at_the_limit",
    "test_mapping_limit.py::test_addresses_are_given_back_when_there_is_room",
    "test_pagers_that_misbehave.py::test_a_fault_that_is_resolved_for_ever_is_a_fault_at_last",
    "test_paging.py::test_closing_lets_those_go_who_wait_for_a_page",
    "test_paging.py::test_what_changes_while_the_pager_runs_counts",
    "test_planted_bugs.py::test_a_bug_is_found_at_its_byte_wherever_it_shows",
    "test_planted_bugs.py::test_a_write_to_what_can_only_be_read_is_found",
    "test_plugin_fixtures.py::test_a_region_faults_at_its_edge[guard_page_after-arguments0-9-not permitted]",
    "test_plugin_fixtures.py::test_a_region_faults_at_its_edge[guard_page_after-arguments1-9-not permitted]",
    "test_plugin_fixtures.py::test_a_region_faults_at_its_edge[guard_page_before-arguments2-9-not permitted]",
    "test_plugin_fixtures.py::test_a_region_faults_at_its_edge[no_access-arguments3-0-not permitted]",
    "test_plugin_fixtures.py::test_a_region_faults_at_its_edge[straddling-arguments6-4-not permitted]",
    "test_plugin_fixtures.py::test_read_only_data_can_be_read",
    "test_pointer_matrix.py::test_what_goes_bad_after_the_check_faults_at_the_access",
    "test_process_space.py::test_a_protect_that_fails_halfway_is_taken_back",
    "test_process_space.py::test_the_process_reads_writes_and_resolves",
    "test_ptr.py::test_a_run_needs_no_page_after_its_terminator",
    "test_ptr.py::test_the_access_is_guarded_whatever_the_checks_said",
    "test_region_leaks.py::test_regions_in_eight_threads_fault_for_themselves_and_are_gone",
    "test_regions.py::test_aligned_data_ends_at_the_last_place_before_the_edge",
    "test_regions.py::test_both_sides_are_bad_for_many_pages",
    "test_regions.py::test_memory_without_access_cannot_be_read_anywhere",
    "test_regions.py::test_read_only_data_is_unwritten_by_c",
    "test_regions.py::test_read_only_data_stays_readable_to_its_end_and_unwritten",
    "test_regions.py::test_straddling_data_goes_on_beyond_the_edge",
    "test_regions.py::test_the_good_bytes_are_the_data_and_the_edge_is_bad",
    "test_regions.py::test_whatever_crosses_the_edge_faults_there",
    "test_regions.py::test_whatever_starts_before_the_data_faults_at_once",
    "test_scans.py::test_a_terminator_on_two_pages_is_found_or_faults",
    "test_scans.py::test_searches_agree_with_bytes_find",
    "test_space_release.py::test_a_release_that_others_interrupt_at_every_line_loses_none",
    "test_stress.py::test_threads_that_do_everything_at_once_are_told_what_is_true",
    "test_sweeps.py::test_a_parser_without_a_check_faults_at_the_byte_that_is_missing",
    "test_sweeps.py::test_no_data_is_one_case_of_nothing",
    "test_sweeps.py::test_one_byte_too_many_in_c_is_found_at_the_edge",
    "test_toctou.py::test_protection_of_paged_areas_is_kept",
    "test_tutorial.py::test_a_command_of_the_tutorial_prints_what_is_shown[test_edge.py]",
    "test_tutorial.py::test_a_command_of_the_tutorial_prints_what_is_shown[test_sweep.py]",
    "test_tutorial.py::test_a_program_of_the_tutorial_runs[code0]",
    "test_view.py::test_references_keep_the_addresses_of_a_closed_space_taken",
)

_OF_FETCHES = (
    "test_call.py::test_a_jump_to_null_tells_so",
    "test_call.py::test_a_jump_to_what_is_no_code_tells_where",
)

DIRECTION = "the emulator does not tell whether a fault read or wrote"
UNPROTECTED = "the emulator tells a fault of a protected page as that of an unmapped one"

_EMULATED_PROCESSORS: dict[str, Reasons] = {
    "armv7l": {
        **dict.fromkeys(_OF_DIRECTION, DIRECTION),
        **dict.fromkeys(
            (
                "test_mapping_limit.py",
                "test_protect_limit.py",
                "test_region_limits.py::test_without_mappings_nothing_is_left",
            ),
            "the emulator needs mappings of its own",
        ),
        "test_memory.py::test_protecting_or_unmapping_the_impossible_is_refused": "the emulator protects holes",
    },
    "ppc64le": {
        **dict.fromkeys(_OF_DIRECTION, DIRECTION),
        **dict.fromkeys(_OF_PROTECTION, UNPROTECTED),
        **dict.fromkeys(_OF_FETCHES, "the emulator does not tell that a fault was of a jump"),
    },
    "s390x": {
        **dict.fromkeys(
            (
                "Ending.END_OF_FILE",
                "test_cli.py::test_selftest_as_json_agrees_with_itself",
                "test_cli.py::test_selftest_catches_as_many_above_faulthandler",
                "test_cli.py::test_selftest_catches_every_fault",
                "test_cli.py::test_selftest_is_coloured_on_a_terminal",
                "test_cli.py::test_without_an_output_the_exit_status_tells",
                "test_crashes.py::test_a_bad_buffer_of_our_own_kills_with_one_traceback",
                "test_examples.py::test_a_reader_outlives_the_truncation_of_its_log",
                "test_guarded_view_faults.py::test_a_truncated_file_faults_at_its_first_missing_page",
                "test_guarded_view_faults.py::test_a_truncated_memmap_of_numpy_faults",
                "test_guarded_view_faults.py::test_shared_memory_is_viewed_and_faults_when_it_shrinks",
                "test_guarded_view_faults.py::test_threads_read_right_bytes_or_fault_while_a_file_is_truncated",
                "test_process_space.py::test_files_are_mapped_from_an_offset",
                "test_readme.py::test_a_block_of_python_runs[code0]",
                "test_readme.py::test_the_message_in_the_readme_is_the_real_one",
                "test_sweep_reports.py::test_a_report_of_an_edge_at_the_end_of_a_row_marks_it_there",
                "test_toctou.py::test_a_truncated_file_gives_right_bytes_or_faults",
                "test_ptr.py::test_population_comes_before_the_access_and_keeps_the_systems_error",
                "test_threads.py::test_an_alarm_that_faults_between_the_bytecodes_of_a_fault_takes_only_its_own",
                "test_tutorial.py::test_a_command_of_the_tutorial_prints_what_is_shown[test_fixtures.py]",
            ),
            "the emulator does not tell where past the end of a file a fault is",
        ),
        **dict.fromkeys(
            (
                "test_exit.py::test_interpreters_end_quietly_under_daemon_threads",
                "test_stress.py::test_threads_that_do_everything_at_once_are_told_what_is_true",
                "test_toctou.py::test_a_space_that_closes_under_accesses_faults",
                "test_toctou.py::test_changing_areas_give_right_bytes_or_faults",
                "test_toctou.py::test_eviction_beside_unmaps_raises_nothing",
                "test_toctou.py::test_eviction_loses_no_update",
                "test_toctou.py::test_eviction_under_long_writes_keeps_their_bytes",
            ),
            "the emulator dies of memory that goes bad while one instruction copies it",
        ),
    },
}
"""By the system's names of the processors."""

BY_PLACE = {
    "x86-64": _ON_X86_64,
    "other than x86-64": _ELSEWHERE,
    "in 32 bits": _IN_32_BITS,
    "where a long double is a double": _WITHOUT_LONG_DOUBLES,
    "where a variadic function looks for floats elsewhere": _WITHOUT_VARIADIC_FLOATS,
    "s390x": _OF_S390X,
    "emulated": _EMULATED,
    **{f"{name}, emulated": reasons for name, reasons in _EMULATED_PROCESSORS.items()},
}
"""What is skipped where."""

_MACHINE = platform.machine()
_IS_64_BITS = ctypes.sizeof(ctypes.c_void_p) == 8

TELLS_END_OF_FILE = not (EMULATED and _MACHINE == "s390x")
"""Whether the address of a fault past the end of a file is told: that emulator gives its halves in the wrong order."""


def as_told(address: int) -> int:
    """Return what the processor says of a fault at an address: on s390x no more than the page."""
    return address & ~0xFFF if _MACHINE == "s390x" else address


BEGINS_EARLY = 0 if (_MACHINE, os.name) == ("x86_64", "posix") and _IS_64_BITS else 7
"""How many bytes before its start the C library may begin to copy or set memory: elsewhere by the aligned word."""

_IS_HERE = {
    "x86-64": _MACHINE in ("x86_64", "AMD64") and _IS_64_BITS,
    "other than x86-64": _MACHINE not in ("x86_64", "AMD64") or not _IS_64_BITS,
    "in 32 bits": not _IS_64_BITS,
    "where a long double is a double": issubclass(ctypes.c_longdouble, ctypes.c_double),
    "where a variadic function looks for floats elsewhere": _MACHINE in ("armv7l", "ppc64le", "riscv64"),
    "s390x": _MACHINE == "s390x",
    "emulated": EMULATED,
    f"{_MACHINE}, emulated": EMULATED,
}

NOT_ON_PROCESSOR = {
    test: reason for place, tests in BY_PLACE.items() if _IS_HERE.get(place) for test, reason in tests.items()
}
"""Files, tests of files, and ways in which memory ends: why they are skipped."""
