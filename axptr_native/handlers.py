# SPDX-License-Identifier: MIT
"""The fault handlers: who is on top, and whether this thread is accessing user memory."""

from __future__ import annotations

import signal as signals
from collections.abc import Callable
from typing import NamedTuple, ParamSpec, TypeVar

from . import _native
from ._native import lib
from ._symbols import symbol_name

__all__ = ["SignalHandler", "SignalStatus", "access_user_memory", "install", "is_accessing_user_memory", "status"]

HANDLED = (signals.SIGSEGV, signals.SIGBUS)

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


class SignalHandler(NamedTuple):
    """One handler of a signal."""

    name: str
    """Its symbol and file, as far as they can be told: ``faulthandler_fatal_error in python3.13``."""
    address: int
    """Where it is: 0 for the default action, 1 for a signal that is ignored."""
    ours: bool
    """Whether it is this library's."""


class SignalStatus(NamedTuple):
    """Who handles a signal."""

    signal: signals.Signals
    on_top: bool
    """Whether this library's handler is the one that the system calls."""
    handlers: tuple[SignalHandler, ...]
    """The handlers as they are asked in turn.  What one that is not ours passes a signal on to is not known."""


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
    """Return, for SIGSEGV and SIGBUS, who handles it.  Changes nothing."""
    return {signal: SignalStatus(signal, (found := _handlers(signal))[0].ours, found) for signal in HANDLED}


def _handlers(signal: signals.Signals) -> tuple[SignalHandler, ...]:
    found: list[SignalHandler] = []
    handler = _native.Handler()
    while lib.axp_handler_at(signal, len(found), handler) == 0:
        address = handler.address or 0
        found.append(SignalHandler(_name(address), address, bool(handler.ours)))
        if address in _ACTIONS:
            break
    return tuple(found)


_ACTIONS = {0: "default action", 1: "ignored"}


def _name(address: int) -> str:
    return _ACTIONS.get(address) or symbol_name(address)


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
    lib.axp_accessing_enter()
    try:
        return function(*args, **kwargs)
    finally:
        lib.axp_accessing_leave()
