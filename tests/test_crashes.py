# SPDX-License-Identifier: MIT
"""What is no guarded fault stays what it is: it kills, with the traceback that faulthandler owes, and never hangs."""

import itertools
import os
import signal
from pathlib import Path

import pytest
from child import CRASHING, HANG, ends, fork_outcomes, run
from helpers_processor import EMULATED

SIGNALS = (signal.SIGSEGV, signal.SIGBUS)
each_signal = pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
each_company = pytest.mark.parametrize("enable", ["", "faulthandler.enable()"], ids=["bare", "faulthandler"])


def permutations() -> list[str]:
    """Return steps before the crash: import, Enable, Install, Disable, Guarded fault; each with its own number."""
    steps = [steps for length in range(5) for steps in itertools.product("EIDG", repeat=length)]
    # A guarded fault is preceded by install(), because one in the moment after disable() may rightly kill.
    return [f"{''.join(order)}.{number}" for number, order in enumerate(steps) if order.count("G") < 2]


def test_an_unguarded_fault_kills_with_one_traceback_in_every_order(tmp_path: Path) -> None:
    """After every sequence of up to four steps a real crash dies of its signal, with one banner if faulthandler is on.

    The last step before the crash is install() or a fault, so that we are on top.
    """
    code = """
        import errno, enum, importlib, random, struct  # what the package needs, so that a fork imports it faster

        def install():
            importlib.import_module("axptr_native").handlers.install()

        def guarded():
            install()
            guarded_faults()

        def body(case):
            steps = {"E": faulthandler.enable, "D": faulthandler.disable, "I": install, "G": guarded}
            order, _, index = case.partition(".")
            for step in order:
                steps[step]()
            install()
            unguarded_fault((signal.SIGSEGV, signal.SIGBUS)[int(index) % 2])

        in_forks(sys.argv[1].split(","), body)
        """
    outcomes = fork_outcomes(
        run(CRASHING + "\n".join(line[8:] for line in code.splitlines()), ",".join(permutations()), cwd=tmp_path)
    )
    wrong = {}
    for case, outcome in outcomes.items():
        order, _, index = case.partition(".")
        expected = (-SIGNALS[int(index) % 2], int(order.rfind("E") > order.rfind("D")))
        if (outcome.returncode, outcome.banners) != expected:
            wrong[case] = (outcome.returncode, outcome.banners)
    assert len(outcomes) == len(permutations())
    assert wrong == {}


@each_signal
@pytest.mark.parametrize(
    "code",
    [
        "import axptr_native; faulthandler.enable()",
        "faulthandler.enable(); import axptr_native; faulthandler.disable(); faulthandler.enable()",
        "import axptr_native; faulthandler.enable(); axptr_native.handlers.install(); faulthandler.disable(); "
        "faulthandler.enable()",
    ],
)
def test_an_unguarded_fault_under_a_faulthandler_nobody_has_noticed_prints_one_traceback(
    number: signal.Signals, code: str, tmp_path: Path
) -> None:
    """A crash in the moment after faulthandler.enable() shows one traceback, not one for each time it is asked."""
    assert ends(f"{code}\nunguarded_fault(signal.{number.name})", -number, tmp_path).banners == 1


def banners_of_a_signal_from_outside(enable: str) -> set[bool]:
    """An emulator dies of one signal in nine by itself, whatever the program has set up."""
    return {bool(enable), False} if EMULATED else {bool(enable)}


@each_company
@each_signal
def test_a_signal_from_another_process_kills(number: signal.Signals, enable: str, tmp_path: Path) -> None:
    """The commands kill -SEGV and kill -BUS end an idle process."""
    code = f"import axptr_native\n{enable}\naxptr_native.handlers.install()\n"
    code += f"if os.fork() == 0:\n    os.kill(os.getppid(), signal.{number.name}); os._exit(0)\ntime.sleep({HANG})"
    assert ends(code, -number, tmp_path).banners in banners_of_a_signal_from_outside(enable)


BUSY = """
import axptr_native
from axptr_native.uaccess import copy_from_user
from axptr_native._regions import Ending, ending_memory
good = ctypes.create_string_buffer(1 << 16)
def access():
    copy_from_user(ctypes.addressof(good), 1 << 16)
memory = ending_memory(Ending.HOLE)
region = memory.__enter__()
def fault():
    fault_exactly(region.edge, Ending.HOLE.value, signal.SIGSEGV)
def busy(what):
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        what()
"""


@pytest.mark.parametrize("what", ["access", "fault"])
@each_company
def test_a_signal_from_another_process_kills_a_busy_one(what: str, enable: str, tmp_path: Path) -> None:
    """A kill -SEGV ends a process in a tight loop of guarded accesses, and of ones that fault."""
    code = f"""
{BUSY}
{enable}
axptr_native.handlers.install()
{what}()
parent = os.getpid()
if os.fork() == 0:
    time.sleep(0.02)
    os.kill(parent, signal.SIGSEGV)
    os._exit(0)
busy({what})
"""
    assert ends(code, -signal.SIGSEGV, tmp_path).banners in banners_of_a_signal_from_outside(enable)


@pytest.mark.parametrize(
    "send", ["os.kill(os.getpid(), {})", "signal.raise_signal({})", "signal.pthread_kill(threading.get_ident(), {})"]
)
@each_company
@each_signal
def test_a_signal_that_the_process_sends_itself_kills(
    number: signal.Signals, enable: str, send: str, tmp_path: Path
) -> None:
    """os.kill, raise_signal and pthread_kill end the process after guarded accesses."""
    code = f"import axptr_native\n{enable}\naxptr_native.handlers.install()\nguarded_faults()\n"
    code += send.format(f"signal.{number.name}") + "\nprint('survived')"
    outcome = ends(code, -number, tmp_path)
    assert (outcome.banners, outcome.stdout) == (bool(enable), "")


@pytest.mark.parametrize("what", ["access", "fault"])
@each_company
def test_a_signal_from_another_thread_kills_a_busy_one(what: str, enable: str, tmp_path: Path) -> None:
    """pthread_kill onto a thread in a tight loop of guarded accesses ends the process the first time."""
    code = f"""
{BUSY}
{enable}
axptr_native.handlers.install()

def body(case):
    threading.Thread(target=busy, args=({what},), daemon=True).start()
    time.sleep(0.002 + int(case) * 1e-5)
    signal.pthread_kill(threading.enumerate()[1].ident, signal.SIGSEGV)
    threading.enumerate()[1].join()

in_forks(map(str, range(20)), body)
"""
    outcomes = fork_outcomes(run(CRASHING + code, cwd=tmp_path))
    assert [(outcome.returncode, outcome.banners) for outcome in outcomes.values()] == [
        (-signal.SIGSEGV, bool(enable))
    ] * 20


@pytest.mark.parametrize(("what", "times"), [("access", 1), ("fault", 1000)])
def test_a_signal_from_a_thread_without_python_kills_a_busy_one(
    what: str, times: int, hostile_library: Path, tmp_path: Path
) -> None:
    """Sent at any moment of a guarded access a signal kills the first time; beside faults within a thousand times.

    The kernel drops a signal while a fault of the same number is pending, whoever handles it, and looks for signals
    when it returns from a fault: into a thread that does nothing but fault all thousand were seen to be lost so.
    """
    code = f"""
{BUSY}
library = hostile({str(hostile_library)!r})
def body(case):
    assert library.hostile_send_later(signal.SIGSEGV, 3000 + 37 * int(case), {times}) == 0
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        {what}()
        for _ in range(10):
            access()
    raise AssertionError("survived")
in_forks(map(str, range(12)), body)
"""
    outcomes = fork_outcomes(run(CRASHING + code, cwd=tmp_path))
    assert {case: outcome for case, outcome in outcomes.items() if outcome.returncode != -signal.SIGSEGV} == {}


def test_a_signal_sent_in_the_middle_of_a_large_copy_kills(tmp_path: Path) -> None:
    """A signal that another thread sends while a long guarded copy runs is not lost."""
    code = """
import axptr_native
from axptr_native.uaccess import copy_from_user_into
source, target = bytearray(1 << 26), bytearray(1 << 26)
address = ctypes.addressof(ctypes.c_char.from_buffer(source))
def body(case):
    threading.Thread(target=lambda: copy_from_user_into(address, target), daemon=True).start()
    os.kill(os.getpid(), signal.SIGSEGV)
    threading.enumerate()[1].join()
in_forks(map(str, range(5)), body)
"""
    outcomes = fork_outcomes(run(CRASHING + code, cwd=tmp_path))
    assert [outcome.returncode for outcome in outcomes.values()] == [-signal.SIGSEGV] * 5


@each_signal
def test_a_sent_signal_that_was_ignored_stays_ignored(number: signal.Signals, tmp_path: Path) -> None:
    """With SIG_IGN below us a sent signal does nothing, and a real fault kills all the same."""
    code = f"""
number = signal.{number.name}
signal.signal(number, signal.SIG_IGN)
import axptr_native
for _ in range(3):
    os.kill(os.getpid(), number)
    signal.raise_signal(number)
    guarded_faults()
print("survived", flush=True)
unguarded_fault(number)
"""
    assert ends(code, -number, tmp_path).stdout == "survived\n"


@each_signal
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_sent_signal_reaches_a_python_handler(number: signal.Signals, when: str, tmp_path: Path) -> None:
    """With a Python handler below us a sent signal calls it, and a real fault kills instead of hanging."""
    register = "signal.signal(number, lambda number, frame: seen.append(number))"
    code = f"""
number, seen = signal.{number.name}, []
{register if when == "before" else ""}
import axptr_native
{register if when == "after" else ""}
axptr_native.handlers.install()
guarded_faults()
os.kill(os.getpid(), number)
guarded_faults()
signal.raise_signal(number)
assert seen == [number, number], seen
print("survived", flush=True)
unguarded_fault(number)
"""
    assert ends(code, -number, tmp_path).stdout == "survived\n"


@pytest.mark.parametrize(
    "company",
    ["{}", "{}; faulthandler.enable()", "faulthandler.enable(); {}"],
    ids=["bare", "faulthandler-after", "faulthandler-before"],
)
def test_an_unguarded_fault_in_another_thread_kills(company: str, hostile_library: Path, tmp_path: Path) -> None:
    """A thread's crash is not swallowed while other threads do guarded accesses and put us on top."""
    code = f"""
{company.format("import axptr_native")}
{BUSY}
axptr_native.handlers.install()
library = hostile({str(hostile_library)!r})

def body(case):
    threading.Thread(target=busy, args=(access,), daemon=True).start()
    library.hostile_hammer_install(address_of(axptr_native._native.lib.axp_install), 2)
    crash = threading.Thread(target=unguarded_fault, args=(signal.SIGSEGV,))
    crash.start()
    busy(access)

in_forks(map(str, range(10)), body)
"""
    outcomes = fork_outcomes(run(CRASHING + code, cwd=tmp_path))
    found = [(outcome.returncode, outcome.banners) for outcome in outcomes.values()]
    assert found == [(-signal.SIGSEGV, ("faulthandler" in company))] * 10


@each_company
@pytest.mark.parametrize(
    "access",
    [
        "copy_from_user_into(ctypes.addressof(good), own)",
        "copy_to_user(ctypes.addressof(good), own)",
        "find_in_user(ctypes.addressof(good), 8192, own)",
    ],
)
@pytest.mark.parametrize("again", ["axptr_native.handlers.install()", ""], ids=["noticed", "unnoticed"])
def test_a_bad_buffer_of_our_own_kills_with_one_traceback(access: str, enable: str, again: str, tmp_path: Path) -> None:
    """A truncated file as the kernel-side buffer is a bug of the caller: SIGBUS, and one banner, not a FaultError."""
    code = f"""
import axptr_native
from axptr_native.uaccess import *
{enable}
{again}
good = ctypes.create_string_buffer(8192)
own = truncated_mapping()
{access}
"""
    assert ends(code, -signal.SIGBUS, tmp_path).banners == bool(enable)


@pytest.mark.skipif(
    "asan" in os.environ.get("LD_PRELOAD", ""), reason="the sanitizer ends the program before NULL is touched"
)
@pytest.mark.parametrize("user", ["0x7fff9c000000", "0xffff9c000000"])
def test_null_for_a_buffer_of_our_own_kills_whatever_the_user_address(user: str, tmp_path: Path) -> None:
    """It is no fault of a user address beyond 47 bits, which some processors cannot form and others use."""
    code = f"from axptr_native._native import lib\nlib.axp_copy_to_user({user}, ctypes.c_void_p(), 8)"
    ends(code, -signal.SIGSEGV, tmp_path)


@pytest.mark.parametrize("guarded", ["guarded_faults()", ""], ids=["after-guarded-faults", "at-once"])
@pytest.mark.parametrize("late", [True, False], ids=["installed-again", "imported-last"])
def test_a_python_handler_under_faulthandler_does_not_hang(guarded: str, late: bool, tmp_path: Path) -> None:
    """A handler that faulthandler puts back, and that does nothing, is no hang: the crash ends with one banner."""
    first, last = ("import axptr_native", "axptr_native.handlers.install()") if late else ("", "import axptr_native")
    code = f"""
{first}
signal.signal(signal.SIGSEGV, lambda *_: None)
faulthandler.enable()
{last}
{guarded}
unguarded_fault(signal.SIGSEGV)
"""
    assert ends(code, -signal.SIGSEGV, tmp_path).banners == 1


@each_company
def test_a_signal_handler_that_crashes_inside_a_guarded_copy_kills(
    enable: str, hostile_library: Path, tmp_path: Path
) -> None:
    """A fault outside the span is not the copy's, though the copy was interrupted: the handler's crash kills."""
    code = f"""
import axptr_native
{enable}
axptr_native.handlers.install()
library, lib = hostile({str(hostile_library)!r}), axptr_native._native.lib
source, target = bytearray(1 << 22), bytearray(1 << 22)
from axptr_native.uaccess import copy_from_user_into
library.hostile_alarm_faults(address_of(lib.axp_is_accessing), 16, 500)
deadline = time.monotonic() + 5
while time.monotonic() < deadline:
    copy_from_user_into(ctypes.addressof(ctypes.c_char.from_buffer(source)), target)
"""
    assert ends(code, -signal.SIGSEGV, tmp_path).banners == bool(enable)
