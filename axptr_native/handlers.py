# SPDX-License-Identifier: MIT
"""The fault handlers: who is on top, and whether this thread is accessing user memory."""

from __future__ import annotations

import signal as signals

from . import _native
from ._native import lib
from ._symbols import symbol_name

TYPE_CHECKING = False  # typing itself would take most of the package's import time
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import ParamSpec, TypeVar

    _Parameters = ParamSpec("_Parameters")
    _Result = TypeVar("_Result")

__all__ = ["SignalHandler", "SignalStatus", "access_user_memory", "install", "is_accessing_user_memory", "status"]

# Windows has no signals: its access violations are what its C library calls SIGSEGV.
_HANDLED = tuple(signals.Signals[name] for name in ("SIGSEGV", "SIGBUS") if name in signals.Signals.__members__)

_ACTIONS = {0: "default action", 1: "ignored"}


class SignalHandler:
    """One handler of a signal.

    Attributes:
        address: Where it is: 0 for the default action, 1 for a signal that is ignored.
        ours: Whether it is this library's.
    """

    __slots__ = ("address", "ours")

    def __init__(self, address: int, ours: bool) -> None:
        self.address = address
        self.ours = ours

    @property
    def name(self) -> str:
        """Its symbol and file, as far as they can be told: ``faulthandler_fatal_error in python3.13``.

        Looked up each time, which may read the file's symbol table (some 30 ms for the interpreter's).
        """
        return _ACTIONS.get(self.address) or symbol_name(self.address)

    def __repr__(self) -> str:
        return f"<SignalHandler {self.name}{' (ours)' * self.ours}>"


class SignalStatus:
    """Who handles a signal.

    Attributes:
        signal: The signal.
        handlers: The handlers as they are asked in turn, at least one.  What one that is not ours passes a signal on
            to is not known.
    """

    __slots__ = ("handlers", "signal")

    def __init__(self, signal: signals.Signals, handlers: tuple[SignalHandler, ...]) -> None:
        self.signal = signal
        self.handlers = handlers

    @property
    def on_top(self) -> bool:
        """Whether this library's handler is the one that the system calls."""
        return self.handlers[0].ours

    def __repr__(self) -> str:
        return f"<SignalStatus {self.signal.name}: {self.handlers}>"


def install() -> dict[signals.Signals, SignalStatus]:
    """Put this library's handlers on top, now, and return the status.  Idempotent, and safe in any thread.

    Importing the package installs them.  A handler that somebody else installs later is noticed by the first guarded
    access after the next tick of the system's coarse clock (4 ms on most systems); this function is for those who
    cannot wait for it.

    Raises:
        OSError: The system refused.
    """
    _native.install()
    return status()


def status() -> dict[signals.Signals, SignalStatus]:
    """Return, for SIGSEGV and SIGBUS, who handles it.  Changes nothing.

    On Windows for SIGSEGV alone, which stands for every exception that is a fault; of handlers it tells only whether
    ours is there, first for all that is known.
    """
    return {signal: SignalStatus(signal, _handlers(signal)) for signal in _HANDLED}


def _handlers(signal: signals.Signals) -> tuple[SignalHandler, ...]:
    found: list[SignalHandler] = []
    handler = _native.Handler()
    while lib.axp_handler_at(signal, len(found), handler) == 0:
        found.append(SignalHandler(handler.address or 0, bool(handler.ours)))
        if found[-1].address in _ACTIONS:
            break
    return tuple(found)


def is_accessing_user_memory() -> bool:
    """Return whether this thread is in ``access_user_memory``, or in a guarded access that called back into Python.

    Source: axptr ``is_accessing_user_memory``.
    """
    return bool(lib.axp_is_accessing())


def access_user_memory(
    function: Callable[_Parameters, _Result], /, *args: _Parameters.args, **kwargs: _Parameters.kwargs
) -> _Result:
    """Call ``function`` with this thread marked as accessing user memory, and return its result.

    The mark nests, belongs to the thread, and is taken off again when ``function`` raises.  It does not make
    unguarded accesses safe: only those of this package are guarded, marked or not.

    Source: axptr ``access_user_memory``, whose mark does not nest.
    """
    outside = lib.axp_accessing_depth()
    try:
        lib.axp_set_accessing_depth(outside + 1)
        return function(*args, **kwargs)
    finally:
        lib.axp_set_accessing_depth(outside)
