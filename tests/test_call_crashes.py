# SPDX-License-Identifier: MIT
"""What no guarded call may catch still kills, and what every guarded call must catch never does: each in a child."""

import signal
import sys
from pathlib import Path

import pytest
from child import CRASHING, HANG, Outcome, check, ends, run
from helpers_compiled import FILES
from helpers_processor import as_told

each_company = pytest.mark.parametrize("enable", ["", "faulthandler.enable()"], ids=["bare", "faulthandler"])

OPENING = """
from axptr_native import guarded_call, CallFaultError
from axptr_native.uaccess import copy_from_user
library = ctypes.CDLL(sys.argv[1])
CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)
def remember(function):
    global kept
    kept = CALLBACK(function)
    library.remember(kept)
def caught(function, *arguments):
    try:
        guarded_call(function, *arguments)
    except CallFaultError as error:
        return error
    raise AssertionError("no fault")
"""


def dies(code: str, number: int, enable: str, callee_library: Path, tmp_path: Path) -> Outcome:
    """Run code that must end with a signal, and, if faulthandler is on, with one traceback."""
    outcome = ends(f"{OPENING}{enable}\n{code}\nprint('survived')", -number, tmp_path, callee_library)
    assert (outcome.banners, outcome.stdout) == (bool(enable), "")
    return outcome


def survives(code: str, callee_library: Path, tmp_path: Path) -> None:
    """Run code that must end well, and without a traceback."""
    outcome = ends(f"{OPENING}{code}\nprint('survived')", 0, tmp_path, callee_library)
    assert (outcome.stdout, outcome.banners) == ("survived\n", 0)


# ---- What kills. ----

IN_PYTHON = {
    "Python code": "ctypes.string_at(16)",
    "a C function without the GIL": "library.read_at(16)",
    "a system library's function": "ctypes.CDLL(None).strlen(ctypes.c_void_p(16))",
}


@each_company
@pytest.mark.parametrize("fault", IN_PYTHON.values(), ids=IN_PYTHON)
def test_a_fault_below_a_callback_kills(fault: str, enable: str, callee_library: Path, tmp_path: Path) -> None:
    """Python code that the function has called is not abandoned, whether it faults or what it calls does."""
    code = f"""
def called_back(value):
    {fault}
    return 0
remember(called_back)
assert caught(library.read_at, 16)
guarded_call(library.call_remembered, 1)
"""
    outcome = dies(code, signal.SIGSEGV, enable, callee_library, tmp_path)
    assert not enable or "in called_back" in outcome.stderr


@each_company
def test_a_fault_of_python_code_kills_also_if_its_entries_cannot_be_counted(
    enable: str, callee_library: Path, tmp_path: Path
) -> None:
    """In an interpreter whose count was not found, the thread that runs tells of Python code that faults itself."""
    code = """
from axptr_native import _caller
_caller._entries_at = None
remember(lambda value: len(ctypes.string_at(16)))
assert caught(library.read_at, 16)
guarded_call(library.call_remembered, 1)
"""
    dies(code, signal.SIGSEGV, enable, callee_library, tmp_path)


@each_company
def test_a_fault_below_a_callback_in_a_thread_kills(enable: str, callee_library: Path, tmp_path: Path) -> None:
    """The same in a thread other than the main one, with SIGBUS."""
    code = """
def called_back(value):
    return truncated_mapping()[0]
remember(called_back)
thread = threading.Thread(target=guarded_call, args=(library.call_remembered, 1))
thread.start()
thread.join()
"""
    outcome = dies(code, signal.SIGBUS, enable, callee_library, tmp_path)
    assert not enable or "in called_back" in outcome.stderr


@each_company
def test_a_fault_elsewhere_kills_while_a_call_is_open(enable: str, callee_library: Path, tmp_path: Path) -> None:
    """A call that waits in one thread guards nothing in another."""
    code = """
reader, writer = os.pipe()
def body():
    os.write(other, b".")
    guarded_call(ctypes.CDLL(None).read, reader, ctypes.create_string_buffer(1), 1)
mine, other = os.pipe()
threading.Thread(target=body, daemon=True).start()
os.read(mine, 1)
unguarded_fault(signal.SIGSEGV)
"""
    dies(code, signal.SIGSEGV, enable, callee_library, tmp_path)


@each_company
def test_a_fault_in_a_thread_that_the_function_started_kills(enable: str, callee_library: Path, tmp_path: Path) -> None:
    """A call guards its own thread alone."""
    dies("guarded_call(library.read_in_another_thread, 16)", signal.SIGSEGV, enable, callee_library, tmp_path)


@each_company
def test_an_unguarded_fault_after_guarded_ones_kills(enable: str, callee_library: Path, tmp_path: Path) -> None:
    """A hundred faults that were caught change nothing for the one that was not."""
    code = "for _ in range(100):\n    caught(library.read_at, 16)\nlibrary.read_at(16)"
    dies(code, signal.SIGSEGV, enable, callee_library, tmp_path)


@each_company
@pytest.mark.parametrize(
    ("call", "name"),
    [
        ("ctypes.CDLL(None).abort", "SIGABRT"),
        ("ctypes.CDLL(None)['raise'], signal.SIGSEGV", "SIGSEGV"),
        ("ctypes.CDLL(None)['raise'], signal.SIGBUS", "SIGBUS"),
        ("ctypes.CDLL(None).kill, os.getpid(), signal.SIGSEGV", "SIGSEGV"),
    ],
)
def test_a_signal_that_the_function_sends_kills(
    call: str, name: str, enable: str, callee_library: Path, tmp_path: Path
) -> None:
    """A signal that is no fault ends the process: abort(), raise() and kill()."""
    dies(f"guarded_call({call})", signal.Signals[name], enable, callee_library, tmp_path)


def test_a_signal_from_another_process_kills_during_a_call(callee_library: Path, tmp_path: Path) -> None:
    """The command kill -SEGV ends a process that waits in a guarded call."""
    code = """
parent = os.getpid()
reader, writer = os.pipe()
if os.fork() == 0:
    os.kill(parent, signal.SIGSEGV)
    os._exit(0)
guarded_call(ctypes.CDLL(None).read, reader, ctypes.create_string_buffer(1), 1)
"""
    dies(code, signal.SIGSEGV, "", callee_library, tmp_path)


def test_a_fault_with_its_signal_blocked_kills(callee_library: Path, tmp_path: Path) -> None:
    """The system does not ask a handler for a signal that the function has blocked."""
    dies("guarded_call(library.block_and_read, signal.SIGSEGV, 16)", signal.SIGSEGV, "", callee_library, tmp_path)


# ---- What does not. ----

OVERFLOWING = f"""
def overflow():
    for _ in range(3):
        error = caught(library.overflow_stack)
        assert error.signal == signal.SIGSEGV and error.symbol == "recurse in {FILES.format("callee")}", error
        assert caught(library.read_at, 16).address == {as_told(16)}
        assert copy_from_user(ctypes.addressof(good), 4) == b"good"
good = ctypes.create_string_buffer(b"good")
def put_up(size, flags=0):
    global stack
    stack = ctypes.create_string_buffer(max(size, 1))
    assert library.put_up_stack(stack, ctypes.c_size_t(size), flags) == 0
"""

STACKS = {
    "none": "put_up(0, 2)",
    "faulthandler": "faulthandler.enable()",
    "small": "put_up(16384)",
    "disarming itself": "put_up(16384, ctypes.c_int(1 << 31).value)",
}


@pytest.mark.parametrize("own", STACKS.values(), ids=STACKS)
@pytest.mark.parametrize("where", ["main", "thread"])
def test_stack_overflows_are_exceptions(where: str, own: str, callee_library: Path, tmp_path: Path) -> None:
    """A function that calls itself for ever is a fault, time and again, whatever alternate stack there is."""
    code = f"{OVERFLOWING}def body():\n    {own}\n    overflow()\n"
    if where == "main":
        code += "body()"
    else:
        code += "from concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor(1) as pool:\n"
        code += "    pool.submit(body).result()"
    if "faulthandler" in own:
        code += "\nfaulthandler.disable()"
    survives(code, callee_library, tmp_path)


def test_stack_overflows_in_threads_at_once_are_exceptions(callee_library: Path, tmp_path: Path) -> None:
    """Each of four threads overflows its own stack, and finds it as it was."""
    code = f"""{OVERFLOWING}
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(4) as pool:
    for done in [pool.submit(overflow) for _ in range(16)]:
        done.result()
"""
    survives(code, callee_library, tmp_path)


def test_a_fault_under_a_faulthandler_that_came_later_is_an_exception(callee_library: Path, tmp_path: Path) -> None:
    """A call puts the handlers on top again, so that faulthandler does not speak."""
    fault = f"assert caught(library.read_at, 16).address == {as_told(16)}"
    survives(f"faulthandler.enable()\nfor _ in range(100):\n    {fault}", callee_library, tmp_path)


WITHOUT_STACK = "" if sys.platform == "win32" else STACKS["none"]


@pytest.mark.parametrize("options", [(), ("-X", "dev")], ids=["plain", "dev"])
def test_a_process_that_made_calls_ends_quietly(options: tuple[str, ...], callee_library: Path, tmp_path: Path) -> None:
    """Nothing is said at exit, with threads that have ended and one that waits in a call."""
    code = f"""{CRASHING}{OPENING}{OVERFLOWING}
caught(library.read_at, 16)
faulthandler.disable()
{WITHOUT_STACK}
caught(library.read_at, 16)
thread = threading.Thread(target=overflow)
thread.start()
thread.join()
from helpers_platform import c_read
reader, writer = os.pipe()
arguments = c_read(), reader, ctypes.create_string_buffer(1), 1
threading.Thread(target=guarded_call, args=arguments, daemon=True).start()
"""
    outcome = check(run(code, callee_library, cwd=tmp_path, options=options, timeout=HANG))
    assert (outcome.stdout, outcome.stderr) == ("", "")
