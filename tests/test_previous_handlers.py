# SPDX-License-Identifier: MIT
"""A C handler that was there before us gets what is not ours, as if we were not there."""

import signal
from pathlib import Path

import pytest
from child import ends
from helpers_processor import as_told

each_signal = pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGBUS], ids=lambda number: number.name)
each_company = pytest.mark.parametrize("enable", ["", "faulthandler.enable()"], ids=["bare", "faulthandler"])

STACKS = {"own-stack": "", "alternate-stack": "library.hostile_alternate_stack()"}
LATER = {
    "alone": "",
    "installed-again": "axptr_native.handlers.install()",
    "faulthandler": "faulthandler.enable(); axptr_native.handlers.install(); faulthandler.disable()",
}

each_stack = pytest.mark.parametrize("stack", STACKS.values(), ids=STACKS)
each_later = pytest.mark.parametrize("later", LATER.values(), ids=LATER)


def with_previous(kind: str, library: Path, stack: str = "", later: str = "") -> str:
    """Return code that installs a C handler and imports the package after it."""
    return f"""
library = hostile({str(library)!r})
{stack}
for number in (signal.SIGSEGV, signal.SIGBUS):
    assert library.hostile_install(number, {kind.encode()!r}) == 0
import axptr_native
from axptr_native import _native
from axptr_native._regions import Ending, ending_memory
{later}
guarded_faults()
"""


@each_stack
@each_later
def test_a_previous_crash_reporter_gets_the_fault_as_the_kernel_reported_it(
    stack: str, later: str, hostile_library: Path, tmp_path: Path
) -> None:
    """A reporter from before the import is called with the true address and code, and its exit code is the end."""
    code = with_previous("report", hostile_library, stack, later) + "library.hostile_write(0x1230)"
    said = ends(code, 42, tmp_path).stdout
    kept = stack and "faulthandler" not in later  # which brings an alternate stack of its own
    assert said == f"report signal=11 address={as_told(0x1230):#x} code=1 alternate={int(bool(kept))}\n"


def test_a_previous_crash_reporter_comes_after_faulthandler(hostile_library: Path, tmp_path: Path) -> None:
    """With faulthandler on top of a reporter and us on top of both: one traceback, then the report."""
    later = "faulthandler.enable(); axptr_native.handlers.install()"
    outcome = ends(with_previous("report", hostile_library, "", later) + "library.hostile_write(16)", 42, tmp_path)
    assert outcome.banners == 1
    assert outcome.stdout.startswith("report signal=11 ")


@each_later
def test_a_previous_plain_handler_is_called_with_the_signal(later: str, hostile_library: Path, tmp_path: Path) -> None:
    """A handler without SA_SIGINFO gets the signal's number."""
    code = with_previous("plain", hostile_library, "", later) + "unguarded_fault(signal.SIGBUS)"
    assert ends(code, 43, tmp_path).stdout.startswith(f"plain signal={signal.SIGBUS} ")


@each_stack
def test_a_previous_handler_that_jumps_away_does_so_at_any_stack_depth(
    stack: str, hostile_library: Path, tmp_path: Path
) -> None:
    """Recovery by siglongjmp works again and again, wherever in the stack the next fault is, and so do we."""
    code = with_previous("jump", hostile_library, stack)
    code += """
for depth in (0, 1000, 5000, 20000, 100000, 1000, 0):
    assert library.hostile_try(16, depth) == 1
    guarded_faults()
print(library.hostile_calls())
"""
    assert ends(code, 0, tmp_path).stdout == "7\n"


def test_a_previous_handler_that_jumps_out_of_a_guarded_access_leaves_nothing_behind(
    hostile_library: Path, tmp_path: Path
) -> None:
    """After a recovery from a bad buffer of our own the access no longer counts as open, and a sent signal kills."""
    code = with_previous("jump", hostile_library)
    code += """
good = ctypes.create_string_buffer(64)
copy = address_of(_native.lib.axp_copy_from_user)
assert library.hostile_try_copy(copy, 16, ctypes.addressof(good), 64) == 1
guarded_faults()
assert not axptr_native.is_accessing_user_memory(), "an access that was left still counts as open"
"""
    ends(code, 0, tmp_path)


def test_a_previous_handler_that_repairs_the_page_makes_progress_as_often_as_it_is_needed(
    hostile_library: Path, tmp_path: Path
) -> None:
    """A runtime's write barrier, which faults at the same place with the same registers, works a thousand times."""
    code = with_previous("fix", hostile_library)
    code += """
with ending_memory(Ending.PROTECTION) as region:
    library.hostile_write_and_protect(region.start, 1000)
    guarded_faults()
print(library.hostile_calls())
"""
    assert ends(code, 0, tmp_path).stdout == "1000\n"


@each_signal
def test_a_previous_handler_that_is_reset_when_called_is_called_once(
    number: signal.Signals, hostile_library: Path, tmp_path: Path
) -> None:
    """SA_RESETHAND keeps its meaning: one call, then the default action."""
    code = with_previous("once", hostile_library) + f"unguarded_fault(signal.{number.name})"
    assert ends(code, -number, tmp_path).stdout.count("once") == 1


def test_a_previous_handler_that_is_reset_when_called_does_not_take_us_off(
    hostile_library: Path, tmp_path: Path
) -> None:
    """A guarded fault right after a one-shot handler repaired one is caught."""
    code = with_previous("fix once", hostile_library)
    code += """
with ending_memory(Ending.PROTECTION) as region, ending_memory(Ending.HOLE) as hole:
    axptr_native.handlers.install()
    library.hostile_write_and_protect(region.start, 1)
    fault_exactly(hole.edge, Ending.HOLE.value, signal.SIGSEGV)
"""
    ends(code, 0, tmp_path)


@each_signal
@each_later
def test_a_previous_handler_that_does_nothing_does_not_hang(
    number: signal.Signals, later: str, hostile_library: Path, tmp_path: Path
) -> None:
    """A handler that returns without a change is asked a few times; then the fault kills."""
    code = with_previous("return", hostile_library, "", later) + f"unguarded_fault(signal.{number.name})"
    ends(code, -number, tmp_path)


@each_stack
def test_a_previous_handler_that_crashes_itself_does_not_hang(
    stack: str, hostile_library: Path, tmp_path: Path
) -> None:
    """A crash inside the previous handler ends the process."""
    code = with_previous("crash", hostile_library, stack) + "unguarded_fault(signal.SIGBUS)"
    assert ends(code, -signal.SIGSEGV, tmp_path).stdout == ""
