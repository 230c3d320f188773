# SPDX-License-Identifier: MIT
"""The living address spaces: whom to ask after a fault anywhere, and what a fork has to find at rest."""

from __future__ import annotations

import os
import threading
import weakref
from bisect import bisect_right
from itertools import count

TYPE_CHECKING = False  # typing itself would take most of the package's import time
if TYPE_CHECKING:
    from ._demand import DemandPaging

# Without a lock: a thread could end with it, where the interpreter does, and finalizers come after that.
_spaces: dict[int, weakref.ref[DemandPaging]] = {}
_changes = count(1)
_latest = 0
_index: tuple[int, list[int]] = 0, []
"""The bases in order, as of a change at least."""


def add(base: int, space: DemandPaging) -> None:
    """Note a space that begins at ``base``."""
    global _latest
    _spaces[base] = weakref.ref(space)
    _latest = next(_changes)


def remove(base: int) -> None:
    """Forget the space that began at ``base``, before anything else can be there."""
    global _latest
    _spaces.pop(base, None)
    _latest = next(_changes)


def find(address: int) -> DemandPaging | None:
    """Return the space that holds an address."""
    global _index
    latest = _latest
    seen, bases = _index
    if seen != latest:
        bases = sorted(_spaces)
        _index = latest, bases
    at = bisect_right(bases, address) - 1
    reference = _spaces.get(bases[at]) if at >= 0 else None
    space = reference() if reference is not None else None
    return space if space is not None and address in space._range else None


def _living() -> list[DemandPaging]:
    return [space for space in [reference() for reference in list(_spaces.values())] if space is not None]


_fork_lock = threading.Lock()
_held: list[DemandPaging] = []
"""The spaces that are held during a fork."""


def _stop_all() -> None:
    """Before a fork: have no operation of another thread in the middle of it, since in the child it would never end."""
    _fork_lock.acquire()
    while True:
        running = _hold_all()
        if running is None:
            break
        # Waiting with nothing held, so that whatever it waits for can come.
        _let_go()
        with running._lock:
            pass
        _fork_lock.acquire()
    for space in _held:
        space._prepare_fork()


def _hold_all() -> DemandPaging | None:
    """Hold the spaces, up to the first that another thread has, and return that."""
    for space in _living():
        if not space._lock.acquire(blocking=False):
            return space
        _held.append(space)
    return None


def _let_go() -> None:
    while _held:
        _held.pop()._lock.release()
    _fork_lock.release()


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
    global _fork_lock
    _fork_lock = threading.Lock()
    _held.clear()
    failures = [failure for space in _living() for failure in space._separate()]
    if failures:
        raise failures[0]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_stop_all, after_in_parent=_go_on, after_in_child=_begin_anew)
