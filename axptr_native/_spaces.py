# SPDX-License-Identifier: MIT
"""The living address spaces: whom to ask after a fault anywhere, and what a fork has to find at rest."""

from __future__ import annotations

import os
import threading
import weakref
from bisect import bisect_right

TYPE_CHECKING = False  # typing itself would take most of the package's import time
if TYPE_CHECKING:
    from ._demand import DemandPaging

_bases: list[int] = []
"""In order.  Never changed but replaced, so that to look something up takes no lock."""
_spaces: dict[int, weakref.ref[DemandPaging]] = {}
_lock = threading.RLock()


def add(base: int, space: DemandPaging) -> None:
    """Note a space that begins at ``base``."""
    global _bases
    with _lock:
        _spaces[base] = weakref.ref(space)
        _bases = sorted(_spaces)


def remove(base: int) -> None:
    """Forget the space that began at ``base``, before anything else can be there."""
    global _bases
    with _lock:
        _spaces.pop(base, None)
        _bases = sorted(_spaces)


def find(address: int) -> DemandPaging | None:
    """Return the space that holds an address."""
    bases = _bases
    at = bisect_right(bases, address) - 1
    reference = _spaces.get(bases[at]) if at >= 0 else None
    space = reference() if reference is not None else None
    return space if space is not None and address in space._range else None


_held: list[DemandPaging] = []
"""The spaces that are held during a fork."""


def _stop_all() -> None:
    """Before a fork: have no operation of another thread in the middle of it, since in the child it would never end."""
    _lock.acquire()
    while True:
        running = _hold_all()
        if running is None:
            break
        # Waiting with nothing held, so that whatever it waits for can come.
        _let_go()
        with running._lock:
            pass
        _lock.acquire()
    for space in _held:
        space._prepare_fork()


def _hold_all() -> DemandPaging | None:
    """Hold the spaces, up to the first that another thread has, and return that."""
    for space in [reference() for reference in _spaces.values()]:
        if space is not None:
            if not space._lock.acquire(blocking=False):
                return space
            _held.append(space)
    return None


def _let_go() -> None:
    while _held:
        _held.pop()._lock.release()
    _lock.release()


def _go_on() -> None:
    """After a fork, in the parent."""
    for space in _held:
        space._end_fork()
    _let_go()


def _begin_anew() -> None:
    """After a fork, in the child.

    Raises:
        OSError: The system's own: some pages could not be copied, and are not there.
    """
    global _lock
    _lock = threading.RLock()
    failures: list[OSError] = []
    while _held:
        failures += _held.pop()._separate()
    if failures:
        raise failures[0]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_stop_all, after_in_parent=_go_on, after_in_child=_begin_anew)
