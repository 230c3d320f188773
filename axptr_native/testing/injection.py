# SPDX-License-Identifier: MIT
"""Simulated faults: accesses that fail although the memory is good, so that nobody has to arrange for bad memory.

For a whole program that is not a test, the environment does the same in all threads, which share the counters:
``AXPTR_FAIL_USERCOPY="probability=0.01,interval=10,times=5,space=4096,seed=7"``, with any of these names, read when
``axptr_native`` is imported.  ValueError there if it is nonsense.

Source: Linux's fault injection (``fail_usercopy``; Documentation/fault-injection).
"""

from __future__ import annotations

import ctypes
import threading
from typing import TYPE_CHECKING

from .. import _native
from .._buffer import IS_CPYTHON
from .._injection import make_injection
from .._native import Injection, check_status, lib

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any

__all__ = ["InjectionCounters", "fail_usercopy", "injected_everywhere"]

# The library has its address for as long as it decides, also after modules are cleared at the interpreter's end.
_keep: Callable[[Injection], None]
_let_go: Callable[[Injection], None]
if IS_CPYTHON:
    _keep = ctypes.PYFUNCTYPE(None, ctypes.py_object)(("Py_IncRef", ctypes.pythonapi))
    _let_go = ctypes.PYFUNCTYPE(None, ctypes.py_object)(("Py_DecRef", ctypes.pythonapi))
else:
    _kept: set[Injection] = set()
    _keep, _let_go = _kept.add, _kept.discard


class InjectionCounters:
    """What an injection has done so far."""

    __slots__ = ("_injection",)

    def __init__(self, injection: Injection) -> None:
        self._injection = injection

    @property
    def seed(self) -> int:
        """What its random numbers begin with: given again, it fails the same calls."""
        seed: int = self._injection.seed
        return seed

    @property
    def calls(self) -> int:
        """How many accesses it decided over."""
        calls: int = self._injection.calls
        return calls

    @property
    def failures(self) -> int:
        """How many of them it failed."""
        failures: int = self._injection.failures
        return failures

    def __repr__(self) -> str:
        return f"<{type(self).__name__} seed={self.seed} calls={self.calls} failures={self.failures}>"


class fail_usercopy(InjectionCounters):  # noqa: N801, named as a function of Linux's
    """A context manager in which guarded accesses of this thread fail with FaultError, although the memory is good.

    It belongs to the thread: whatever runs there meanwhile, other tasks of an event loop too, is in it.

    Each operation of ``uaccess`` and ``atomics``, each entry of a ``batch``, each access through a GuardedView, an
    AddrSpace, a UserRef or a UserSlice, and each ``get`` (``follow``, ``get_as_slice`` ...) of a pointer is one call,
    however many steps it takes.  One that fails has touched nothing: ``reason`` is INJECTED, ``signal`` None,
    ``transferred`` 0, ``address`` where the access starts and ``access`` what it was (of a copy between two spans, the
    reading).  Where an operation tells of bad memory in another way it does so here: a probe finds 0 bytes,
    ``copy_from_user(partial=True)`` returns none, a batch's entry is bad; ``copy_from_user_into`` has zeroed its
    buffer.  No pager is asked.

    Not failed: an access of size 0; one that is refused without touching memory; ``guarded_call``; other threads.  A
    real fault stays what it is.

    A call fails, in Linux's order, if there are ``times`` left; if its size is not less than what is left of ``space``
    (else its size is taken off that); if it is the ``interval``-th of those that came so far; and with ``probability``.

    The innermost one of a thread decides alone, and the one around it goes on afterwards where it was.  They may end in
    any order: one that ends before another inside it is taken out from around that.  Ended in another thread than it
    was entered in, as a generator may be, or let go of without an end, it stops failing calls there and then.  A child
    that is forked meanwhile inherits it, with counters of its own.

    It may be entered again after it has ended, and begins anew then, with the same seed.

    Args:
        probability: Of a failure, from 0.0 to 1.0.
        interval: Fail at most every ``interval``-th call.
        times: Fail at most this many; None: any number.
        space: Bytes that are accessed before the first failure.
        seed: What the random numbers begin with, of 64 bits.  None: from ``os.urandom``; the attribute ``seed`` tells,
            so that what failed by chance can be repeated.

    Raises:
        TypeError: An argument is not a number.
        ValueError: It is out of its range.
    """

    __slots__ = ("_entered", "_settings")

    def __init__(
        self,
        *,
        probability: float = 1.0,
        interval: int = 1,
        times: int | None = None,
        space: int = 0,
        seed: int | None = None,
    ) -> None:
        super().__init__(
            make_injection(probability=probability, interval=interval, times=times, space=space, seed=seed)
        )
        self._settings = bytes(self._injection)
        self._entered = threading.Lock()

    def __enter__(self) -> fail_usercopy:
        """Begin.

        Raises:
            RuntimeError: It has begun already.
        """
        if not self._entered.acquire(blocking=False):
            raise RuntimeError("it has been entered already, and not been left")
        self._injection = Injection.from_buffer_copy(self._settings)
        _native.injecting = True
        _keep(self._injection)
        try:
            check_status(lib.axp_begin_injection(self._injection))
            return self
        except BaseException:  # a signal handler's
            self._end()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        self._stop()
        self._entered.release()

    def _stop(self, end: Any = lib.axp_end_injection, let_go: Any = _let_go) -> None:
        # In another thread it does not end by this: that thread still finds it.
        if end(self._injection) == 0:
            let_go(self._injection)

    def __del__(self) -> None:
        # A signal handler's exception may have come before __exit__ had begun.
        if hasattr(self, "_injection"):
            self._stop()


def injected_everywhere() -> InjectionCounters | None:
    """Return what AXPTR_FAIL_USERCOPY has done so far, in all threads together, or None if it was not set."""
    injection = Injection()
    return InjectionCounters(injection) if lib.axp_injection_everywhere(injection) == 0 else None
