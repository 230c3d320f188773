# SPDX-License-Identifier: MIT
"""Whoever installs a handler, and whenever: guarded accesses still become FaultError."""

import itertools
import signal
import textwrap
from pathlib import Path

import pytest
from child import FAULTS, Outcome, check, ends, fork_outcomes, run

SIGNALS = [name for name in ("SIGSEGV", "SIGBUS") if hasattr(signal, name)]
DISPOSITIONS = ("signal.SIG_DFL", "signal.SIG_IGN", "lambda number, frame: None")
ON_TOP_AGAIN = {"install": "axptr_native.handlers.install()", "wait": "wait_until_on_top()"}

again = pytest.mark.parametrize("again", ON_TOP_AGAIN.values(), ids=ON_TOP_AGAIN)


def faults_are_caught(code: str, tmp_path: Path, *options: str, **environment: str) -> Outcome:
    """Run code that makes guarded accesses fault, and assert that it lived."""
    common = "import faulthandler, signal\nfrom child import *\nno_core_dump()\n"
    return check(run(common + code, cwd=tmp_path, options=options, environment=environment))


@pytest.mark.parametrize(
    ("options", "environment"),
    [
        ((), {}),
        ((), {"PYTHONFAULTHANDLER": "1"}),
        (("-X", "faulthandler"), {}),
        (("-X", "dev"), {}),
    ],
    ids=["none", "environment", "option", "development-mode"],
)
def test_faulthandler_of_the_interpreter_stays_silent(
    options: tuple[str, ...], environment: dict[str, str], tmp_path: Path
) -> None:
    """A faulthandler that Python itself enabled before the import sees nothing of guarded faults."""
    code = "import axptr_native\nguarded_faults()\nprint(faulthandler.is_enabled())"
    outcome = faults_are_caught(code, tmp_path, *options, **environment)
    assert outcome.banners == 0
    assert outcome.stdout == f"{bool(options or environment)}\n"


@again
@pytest.mark.parametrize(
    "code",
    [
        "faulthandler.enable(); import axptr_native",
        "import axptr_native; faulthandler.enable()",
        "import axptr_native; faulthandler.enable(); faulthandler.enable()",
        "faulthandler.enable(); import axptr_native; faulthandler.disable()",
        "import axptr_native; faulthandler.enable(); faulthandler.disable()",
        "import axptr_native; faulthandler.enable(); guarded_fault(FAULTS[-1]); faulthandler.disable()",
    ],
)
def test_faulthandler_changes_no_guarded_fault(code: str, again: str, tmp_path: Path) -> None:
    """However faulthandler was enabled or disabled, once we are on top it says nothing more of guarded faults."""
    code += f"\n{again}\nprint('again', file=sys.stderr, flush=True)\nguarded_faults()"
    outcome = faults_are_caught("import sys\n" + code, tmp_path)
    assert "Fatal" not in outcome.stderr.partition("again")[2]


def test_every_order_of_import_enable_disable_and_install_catches_guarded_faults(tmp_path: Path) -> None:
    """In every sequence of up to five steps that ends in install() guarded faults are caught without a word."""
    sequences = [
        "".join(steps)
        for length in range(5)
        for steps in itertools.product("IED", repeat=length)
        if steps.count("I") <= 2
    ]
    code = """
        import faulthandler, importlib, sys
        from child import *
        no_core_dump()
        import ctypes.util, struct, random, errno, enum  # what the package needs, so that a fork imports it faster

        def install():
            importlib.import_module("axptr_native").handlers.install()

        def body(case):
            steps = {"E": faulthandler.enable, "D": faulthandler.disable, "I": install}
            for step in case:
                steps[step]()
            install()
            guarded_faults()

        in_forks(sys.argv[1].split(","), body)
        """
    outcomes = fork_outcomes(run(code, ",".join(sequences), cwd=tmp_path))
    assert list(outcomes) == sequences
    assert {case: outcome for case, outcome in outcomes.items() if outcome != Outcome(0, "", "")} == {}


@again
@pytest.mark.parametrize("disposition", DISPOSITIONS, ids=["default", "ignore", "python"])
@pytest.mark.parametrize("name", SIGNALS)
def test_a_disposition_set_later_changes_no_guarded_fault(
    name: str, disposition: str, again: str, tmp_path: Path
) -> None:
    """After signal.signal() guarded faults are caught as soon as we are on top again."""
    faults_are_caught(
        f"import axptr_native\nsignal.signal(signal.{name}, {disposition})\n{again}\nguarded_faults()", tmp_path
    )


def test_who_puts_us_back_by_the_old_function_does_not_put_us_below_ourselves(tmp_path: Path) -> None:
    """After ``signal(SIGSEGV, signal(SIGSEGV, f))`` in C we are in the chain once, and a crash is still reported."""
    code = """
        libc = ctypes.CDLL(None)
        libc.signal.argtypes, libc.signal.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
        faulthandler.enable()
        import axptr_native
        for _ in range(3):
            libc.signal(signal.SIGSEGV, libc.signal(signal.SIGSEGV, None))
            wait_until_on_top()
            guarded_fault(signal.SIGSEGV)
        handlers = axptr_native.handlers.status()[signal.SIGSEGV].handlers
        print([handler.ours for handler in handlers].count(True), flush=True)
        unguarded_fault(signal.SIGSEGV)
        """
    outcome = ends(textwrap.dedent(code), -signal.SIGSEGV, tmp_path)
    assert outcome.stdout == "1\n"
    assert outcome.banners == 1


@pytest.mark.parametrize("change", ["action.mask[0] |= 1 << signal.SIGUSR1 - 1", "action.flags &= ~SA_NODEFER"])
def test_who_changes_how_we_are_called_changes_no_guarded_fault(change: str, tmp_path: Path) -> None:
    """An action that is set again with other signals blocked blocks none after a fault."""
    code = f"""
        SA_NODEFER = 0x40000000

        class Action(ctypes.Structure):
            _fields_ = (("handler", ctypes.c_void_p), ("mask", ctypes.c_uint64 * 16), ("flags", ctypes.c_int),
                        ("restorer", ctypes.c_void_p))

        import axptr_native
        libc, action = ctypes.CDLL(None), Action()
        for _ in range(3):
            assert libc.sigaction(signal.SIGSEGV, None, ctypes.byref(action)) == 0
            {change}
            assert libc.sigaction(signal.SIGSEGV, ctypes.byref(action), None) == 0
            for _ in range(3):
                guarded_fault(signal.SIGSEGV)
                assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()
            ticks = time.clock_gettime_ns(6)  # CLOCK_MONOTONIC_COARSE
            wait_for(lambda: time.clock_gettime_ns(6) != ticks, "the clock stands still")
        """
    faults_are_caught("import ctypes, time" + textwrap.dedent(code), tmp_path)


@pytest.mark.parametrize("disposition", DISPOSITIONS, ids=["default", "ignore", "python"])
def test_a_disposition_set_earlier_changes_no_guarded_fault(disposition: str, tmp_path: Path) -> None:
    """Whatever the signals did before the import, guarded faults are caught."""
    code = f"for name in {SIGNALS}: signal.signal(getattr(signal, name), {disposition})\n"
    faults_are_caught(code + "import axptr_native\nguarded_faults()", tmp_path)


@pytest.mark.parametrize("number", FAULTS, ids=lambda number: number.name)
def test_the_first_fault_under_a_new_faulthandler_is_caught(number: signal.Signals, tmp_path: Path) -> None:
    """Right after faulthandler.enable(), with nobody having looked, a fault is caught at the price of one banner."""
    code = f"""
import axptr_native
from axptr_native._regions import Ending, ending_memory
number = signal.{number.name}
ending = Ending.END_OF_FILE if number.name == "SIGBUS" else Ending.HOLE
with ending_memory(ending) as region:
    faulthandler.enable()
    fault_exactly(region.edge, ending.value, number)
    for good in range(1, 60):
        fault_exactly(region.edge, ending.value, number, good)
"""
    assert faults_are_caught(code, tmp_path).banners <= 1


def test_faults_are_caught_each_time_that_faulthandler_comes_back(tmp_path: Path) -> None:
    """A hundred times faulthandler.disable() and enable() with a fault each at once: all caught."""
    code = """
import axptr_native
from axptr_native._regions import Ending, ending_memory
with ending_memory(Ending.HOLE) as region:
    for _ in range(100):
        faulthandler.enable()
        fault_exactly(region.edge, Ending.HOLE.value, signal.SIGSEGV)
        faulthandler.disable()
"""
    assert faults_are_caught(code, tmp_path).banners <= 100


SECOND_COPY = """
import ctypes, errno, shutil, sys
import axptr_native
from axptr_native import _native
from axptr_native._regions import Ending, ending_memory
shutil.copy(_native.lib._name, "second.so")
second = _native._bind(_native._KEEPING("./second.so"))
buffer = ctypes.create_string_buffer(64)

def second_fault(number):
    fault = _native.Fault()
    ending = Ending.END_OF_FILE if number.name == "SIGBUS" else Ending.HOLE
    with ending_memory(ending) as region:
        assert second.axp_copy_from_user(ctypes.addressof(buffer), region.edge - 13, 64) == -errno.EFAULT
        assert second.axp_take_fault(fault) == 0
        assert (fault.address, fault.transferred, fault.signal) == (region.edge, 13, number)

def both():
    for number in FAULTS:
        guarded_fault(number)
        second_fault(number)
"""


def test_two_copies_of_the_library_each_catch_their_own_faults(tmp_path: Path) -> None:
    """While two copies take turns on top, guarded faults of both are caught."""
    code = """
second.axp_install()
both()
for _ in range(20):
    axptr_native.handlers.install()
    assert axptr_native.handlers.status()[signal.SIGSEGV].on_top
    both()
    second.axp_install()
    assert not axptr_native.handlers.status()[signal.SIGSEGV].on_top
    both()
"""
    faults_are_caught(SECOND_COPY + code, tmp_path)


def test_two_copies_of_the_library_catch_their_faults_at_any_stack_depth(hostile_library: Path, tmp_path: Path) -> None:
    """A fault caught by the copy below leaves nothing behind that a fault deeper in the stack stumbles over."""
    code = f"""
library = hostile({str(hostile_library)!r})
copies = address_of(_native.lib.axp_copy_from_user), address_of(second.axp_copy_from_user)
with ending_memory(Ending.HOLE) as region:
    for install in (second.axp_install, _native.lib.axp_install):
        install()
        for depth in (0, 1000, 5000, 20000, 100000, 0):
            for copy in copies:
                result = library.hostile_copy_at_depth(copy, ctypes.addressof(buffer), region.edge - 13, 64, depth)
                assert result == -errno.EFAULT, result
"""
    faults_are_caught(SECOND_COPY + code, tmp_path)


@pytest.mark.parametrize("first", ["second.axp_install()", "axptr_native.handlers.install()"])
@pytest.mark.parametrize("enable", ["", "faulthandler.enable()"], ids=["bare", "faulthandler"])
@pytest.mark.parametrize("rounds", [3, 20])
def test_two_copies_of_the_library_let_an_unguarded_fault_kill(
    first: str, enable: str, rounds: int, tmp_path: Path
) -> None:
    """Two copies, each below the other, pass an unguarded fault on until it kills, with one traceback at most."""
    code = f"""
{enable}
for _ in range({rounds}):
    second.axp_install()
    axptr_native.handlers.install()
{first}
both()
unguarded_fault(signal.SIGSEGV)
"""
    common = "import faulthandler, signal\nfrom child import *\nno_core_dump()\n"
    outcome = check(run(common + SECOND_COPY + code, cwd=tmp_path), -11)
    assert outcome.banners <= bool(enable)


def described(code: str, tmp_path: Path) -> list[str]:
    """Return SIGSEGV's handlers as status() names them after some code, on top first."""
    code += """
entry = axptr_native.handlers.status()[signal.SIGSEGV]
assert entry.signal is signal.SIGSEGV
assert entry.on_top == entry.handlers[0].ours
assert sum(handler.ours for handler in entry.handlers) <= 1
for handler in entry.handlers:
    print("ours " + handler.name.partition(" in ")[2] if handler.ours else handler.name)
"""
    lines = faults_are_caught(code, tmp_path).stdout.splitlines()
    # A stripped file has no name for what it does not export.
    return ["faulthandler" if line.startswith(("faulthandler_fatal_error in ", "0x")) else line for line in lines]


OURS = "ours libaxptr_native.so"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import axptr_native", [OURS, "default action"]),
        ("import axptr_native\nfor _ in range(9): axptr_native.handlers.install()", [OURS, "default action"]),
        ("signal.signal(signal.SIGSEGV, signal.SIG_IGN)\nimport axptr_native", [OURS, "ignored"]),
        ("import axptr_native\nsignal.signal(signal.SIGSEGV, signal.SIG_DFL)", ["default action"]),
        ("faulthandler.enable()\nimport axptr_native", [OURS, "faulthandler"]),
        ("import axptr_native\nfaulthandler.enable()", ["faulthandler"]),
        (
            "import axptr_native\nfaulthandler.enable()\naxptr_native.handlers.install()",
            [OURS, "faulthandler", "default action"],
        ),
        (
            "import axptr_native\nfaulthandler.enable()\nwait_until_on_top()\nfaulthandler.disable()",
            [OURS, "default action"],
        ),
        (
            "faulthandler.enable()\nimport axptr_native\nfaulthandler.disable()\naxptr_native.handlers.install()",
            [OURS, "default action"],
        ),
    ],
)
def test_status_names_the_handlers_in_the_order_they_are_asked(code: str, expected: list[str], tmp_path: Path) -> None:
    """status() tells who is on top, and who comes after us down to the default action."""
    assert described(code, tmp_path) == expected


def test_status_names_a_foreign_handler_by_its_symbol(hostile_library: Path, tmp_path: Path) -> None:
    """A C library's handler is named by symbol and file, below us and on top."""
    code = f"""
library = hostile({str(hostile_library)!r})
library.hostile_install(signal.SIGSEGV, b"report")
import axptr_native
library.hostile_install(signal.SIGSEGV, b"plain")
print(axptr_native.handlers.status()[signal.SIGSEGV].handlers[0].name)
axptr_native.handlers.install()
"""
    report, plain = "hostile_report in libhostile.so", "hostile_plain in libhostile.so"
    assert described(code, tmp_path) == [plain, OURS, plain, report]
