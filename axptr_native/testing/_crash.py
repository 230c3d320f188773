# SPDX-License-Identifier: MIT
"""A function that has to kill its process: run in a child, which says how it ended."""

from __future__ import annotations

import contextlib
import faulthandler
import io
import json
import math
import os
import signal as signals
import sys
import tempfile
import threading
import traceback
import unittest
import warnings
from collections.abc import Callable
from typing import IO, Any, NamedTuple, NoReturn

import pytest


class Expected(NamedTuple):
    """What a test that must crash has to do."""

    signal: int
    timeout: float


def must_crash(signal: int | str, timeout: float = 60) -> Expected:
    """Check the arguments of the marker of this name.

    Args:
        signal: A number, a ``signal.Signals``, or a name.
        timeout: Seconds.

    Raises:
        TypeError, ValueError: They are not such.
    """
    if isinstance(signal, str):
        if signal not in signals.Signals.__members__:
            raise ValueError(f"must_crash needs the name of a signal, such as 'SIGSEGV', not {signal!r}")
        signal = signals.Signals[signal]
    if not isinstance(signal, int) or isinstance(signal, bool):
        raise TypeError(f"must_crash needs a signal: a number, a signal.Signals or a name, not {signal!r}")
    if signal not in signals.valid_signals():
        raise ValueError(f"must_crash needs the number of a signal, not {signal}")
    if not isinstance(timeout, int | float) or isinstance(timeout, bool):
        raise TypeError(f"must_crash needs a timeout in seconds, not {timeout!r}")
    if not 0 < timeout <= threading.TIMEOUT_MAX or math.isnan(timeout):
        raise ValueError(f"must_crash needs a timeout of more than 0 seconds, not {timeout}")
    return Expected(int(signal), timeout)


class Ending(NamedTuple):
    """How a child ended.

    ``how`` is ``returned``, ``raised``, ``skipped`` or ``xfailed``, or empty where the child could not say.  ``text``
    is the traceback or the reason.  ``status`` is the exit status, or a signal as a negative number; None: it was
    killed because its time was up.
    """

    status: int | None
    how: str
    text: str


def expect_crash(body: Callable[[], object], expected: Expected, describe: Callable[[BaseException], str]) -> None:
    """Call a function in a child process, which has to die of the signal expected.

    What the child writes to its standard output and error arrives in this process's ``sys.stdout`` and ``sys.stderr``.

    Args:
        body: It may end the process in any way.
        expected: The signal and the time.
        describe: Gives the traceback of what the function raised.  Called in the child.

    Raises:
        pytest.fail.Exception: The child ended in another way.
        pytest.skip.Exception, pytest.xfail.Exception: The function raised it; or the system has no ``os.fork``.
    """
    if not hasattr(os, "fork"):
        pytest.skip("must_crash needs os.fork(), which this system has not")
    ending = _run_in_child(body, expected.timeout, describe)
    if ending.status == -expected.signal:
        return
    if ending.how == "skipped":
        pytest.skip(ending.text)
    if ending.how == "xfailed":
        pytest.xfail(ending.text)
    how, separator, text = _describe(ending, expected.timeout), "\n\n" if ending.text else "", ending.text
    pytest.fail(f"the test must die of {_name(expected.signal)}, but it {how}{separator}{text}", pytrace=False)


def _describe(ending: Ending, timeout: float) -> str:
    if ending.status is None:
        return f"did not end within {timeout:g} s and was killed"
    if ending.status < 0:
        return f"died of {_name(-ending.status)}"
    return {"returned": "ended normally", "raised": "raised:"}.get(ending.how, f"exited with status {ending.status}")


def _name(number: int) -> str:
    try:
        return signals.Signals(number).name
    except ValueError:  # most real-time signals have none
        return f"signal {number}"


def _run_in_child(body: Callable[[], object], timeout: float, describe: Callable[[BaseException], str]) -> Ending:
    # Files and not pipes: nobody has to read while the child writes, and what it has forked may keep them open.
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        pid = _fork()
        if pid == 0:
            _be_the_child(body, describe, said, stdout, stderr)
        status = _wait(pid, timeout)
        _pass_on(stdout, sys.stdout)
        _pass_on(stderr, sys.stderr)
        said.seek(0)
        how, text = json.loads(said.read() or b'["", ""]')
    return Ending(status, how, text) if status is not None and status >= 0 else Ending(status, "", "")


def _fork() -> int:
    """Fork, also beside other threads: those of pytest-xdist only wait for messages."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
        return os.fork()


def _wait(pid: int, timeout: float) -> int | None:
    """Return a child's exit code, or kill it and return None.  It is killed, too, when somebody interrupts."""
    codes: list[int] = []
    ended = threading.Event()

    def wait() -> None:
        with contextlib.suppress(ChildProcessError):
            codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        ended.set()

    try:
        threading.Thread(target=wait, daemon=True).start()
        in_time = ended.wait(timeout)
    finally:
        if not ended.is_set():
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signals.SIGKILL)
                os.waitpid(pid, 0)  # one of the two who wait gets it
    if not in_time:
        return None
    if not codes:
        raise ChildProcessError(
            "how the child ended is lost: another thread waits for any child, or SIGCHLD is ignored"
        )
    return codes[0]


def _pass_on(file: IO[bytes], stream: Any) -> None:
    file.seek(0)
    stream.write(file.read().decode(_encoding(stream), "backslashreplace"))


def _encoding(stream: Any) -> str:
    return getattr(stream, "encoding", None) or "utf-8"


# ---- In the child, which never returns to pytest. ----


def _be_the_child(
    body: Callable[[], object],
    describe: Callable[[BaseException], str],
    said: IO[bytes],
    stdout: IO[bytes],
    stderr: IO[bytes],
) -> NoReturn:
    try:
        sys.stdout = _redirect(1, stdout, sys.stdout)
        sys.stderr = _redirect(2, stderr, sys.stderr)
        if faulthandler.is_enabled():
            faulthandler.enable(sys.stderr)  # pytest's goes past what is captured
        _no_core_dump()
        said.write(json.dumps(_outcome(body, describe)).encode())
        said.flush()
    finally:
        os._exit(0)


def _redirect(descriptor: int, file: IO[bytes], stream: Any) -> io.TextIOWrapper:
    os.dup2(file.fileno(), descriptor)
    raw = io.FileIO(descriptor, "w", closefd=False)
    return io.TextIOWrapper(raw, _encoding(stream), "backslashreplace", write_through=True)


def _no_core_dump() -> None:
    """Allow one byte of it: a program that takes the dumps through a pipe is called even at a limit of none."""
    import resource

    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (0 if hard == 0 else 1, hard))


def _outcome(body: Callable[[], object], describe: Callable[[BaseException], str]) -> tuple[str, str]:
    try:
        body()
    except (pytest.skip.Exception, unittest.SkipTest) as skipped:
        return "skipped", str(skipped)
    except pytest.xfail.Exception as failed:
        return "xfailed", str(failed)
    except BaseException as error:
        try:
            return "raised", describe(error)
        except Exception:
            return "raised", traceback.format_exc()  # of both
    return "returned", ""
