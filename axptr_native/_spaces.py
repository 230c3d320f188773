# SPDX-License-Identifier: MIT
"""The living address spaces: whom to ask after a fault anywhere, and what a fork has to find at rest."""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from bisect import bisect_right
from collections import deque
from itertools import count
from operator import methodcaller

TYPE_CHECKING = False  # typing itself would take most of the package's import time
if TYPE_CHECKING:
    from ._demand import DemandPaging

# Without a lock: a thread could end with it, where the interpreter does, and finalizers come after that.
_spaces: dict[int, weakref.ref[DemandPaging]] = {}
_paged: dict[int, int] = {}
"""Where the spaces begin and end that have had pagers."""
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
    _paged.pop(base, None)
    _latest = next(_changes)


def note_paged(base: int, end: int) -> None:
    """Note that there is memory in a space that is paged in."""
    _paged[base] = end


def paged() -> tuple[int, int]:
    """Return the lowest address of spaces with such memory, and the one after the highest."""
    # Other threads change the dictionary, and so do finalizers wherever an object is made, even in the middle of a
    # copy().  A list is made first and then filled at once: with the GIL, or the dictionary's lock.
    return min(list(_paged)), max(list(_paged.values()))


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


_fork_lock = threading.RLock()
_held: list[threading.RLock] = []
"""The locks that are held during a fork."""
_prepared: list[DemandPaging] = []
"""The spaces that have copies for the child."""
_interruptions: list[BaseException] = []
"""What a signal handler raised before a fork."""

MOST_TRIES = 100
"""How often what a fork needs is interrupted before it does without.  Nobody sends so many signals in so short a time:
whatever is raised then is raised each time, for want of stack or memory."""

# A signal handler may come between any two bytecodes and raise.  What takes a lock and notes it, and what forgets a
# lock and releases it, is one call of C each.
_take = methodcaller("acquire", False)
_release = methodcaller("release")


def _stop_all() -> None:
    """Before a fork: have no operation of another thread in the middle of it, since in the child it would never end.

    ``os.fork`` goes on whatever is raised here, so what a signal handler raises, KeyboardInterrupt say, has to wait.
    """
    for _ in range(MOST_TRIES):
        if _try_to_stop_all():
            return


def _try_to_stop_all() -> bool:
    try:
        _prepared[:] = _hold_all()
        for space in _prepared:
            space._prepare_fork()
    except BaseException as interruption:  # noqa: BLE001, RUF100 - raised after the fork
        if not _interruptions:
            _interruptions.append(interruption)
        _let_go()
        return False
    return True


def _hold_all() -> list[DemandPaging]:
    while True:
        _fork_lock.acquire()
        spaces = _living()
        running = next((space for space in spaces if not _hold(space._lock)), None)
        if running is None:
            return spaces
        # Waiting with nothing held, so that whatever it waits for can come.
        _let_go()
        with running._lock:
            pass


def _hold(lock: threading.RLock) -> bool:
    held = len(_held)
    _held.extend(filter(_take, (lock,)))
    return len(_held) > held


def _let_go() -> None:
    if not _fork_lock._is_owned():  # type: ignore[attr-defined]
        return  # interrupted before anything was held: what is, another thread has
    with contextlib.suppress(IndexError):  # those were all
        deque(map(_release, iter(_held.pop, None)), 0)
    _fork_lock.release()


def _go_on() -> None:
    """After a fork, in the parent: twice, since a signal that came during the fork is handled before the first step.

    Raises:
        BaseException: What interrupted the wait for it.  The interpreter says that it ignores this, as it does with all
            that is raised around a fork.
    """
    try:
        while _prepared:
            _prepared.pop()._end_fork()
    finally:
        _let_go()
    if _interruptions:
        raise _interruptions.pop()


def _begin_anew() -> None:
    """After a fork, in the child.

    Raises:
        OSError: The system's own: some pages could not be copied, and are not there.
    """
    global _fork_lock
    _fork_lock = threading.RLock()
    _held.clear()
    _prepared.clear()
    _interruptions.clear()
    failures = [failure for space in _living() for failure in space._separate()]
    if failures:
        raise failures[0]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_stop_all, after_in_parent=_go_on, after_in_child=_begin_anew)
    os.register_at_fork(after_in_parent=_go_on)
