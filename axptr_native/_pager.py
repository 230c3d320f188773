# SPDX-License-Identifier: MIT
"""Memory that a pager fills page by page as it is touched."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import tempfile
import threading

from ._areas import Area, Backing
from ._memory import NO_ACCESS, Change, map_memory, protect_memory
from ._native import MAP_FIXED, MAP_SHARED
from .addr import PAGE_SIZE, VirtAddr
from .flags import MappingFlags

TYPE_CHECKING = False  # typing itself would take most of the package's import time
if TYPE_CHECKING:
    from collections.abc import Callable

    Pager = Callable[[VirtAddr, MappingFlags], "bytes | None"]
    WriteBack = Callable[[VirtAddr, bytes], None]


class PageFile:
    """A file in memory, and a mapping by which the kernel reaches its pages."""

    __slots__ = ("descriptor", "pages")

    def __init__(self, size: int) -> None:
        self.descriptor = _anonymous_file(size)
        try:
            self.pages = mmap.mmap(self.descriptor, size)
        except BaseException:
            os.close(self.descriptor)
            raise

    def __del__(self, close: Callable[[int], None] = os.close) -> None:  # where the interpreter ends, os has gone
        if hasattr(self, "pages"):
            self.pages.close()
            close(self.descriptor)


class PagerBacking(Backing):
    """A file in memory, mapped twice: by the area, a page at a time, and by the kernel, which fills it.

    So a page is whole before anybody can see it, and what was written can be read back whatever the area allows.  A
    page is not writable before the first write to it: that fault is how a written page is known.
    """

    __slots__ = ("busy", "file", "file_of_child", "pager", "resident", "write_back")

    def __init__(self, size: int, pager: Pager, write_back: WriteBack | None) -> None:
        self.pager = pager
        self.write_back = write_back
        self.file = PageFile(size)
        self.file_of_child: PageFile | OSError | None = None
        """During a fork: a copy as of then, or why there is none."""
        self.resident: dict[int, bool] = {}
        """Offsets of the pages that are in: whether they were written to."""
        self.busy: dict[int, Busy] = {}
        """Offsets of the pages that are on their way in or out."""

    def fill(self, offset: int, page: bytes) -> None:
        """Bring a page in, hidden."""
        self.file.pages[offset : offset + PAGE_SIZE] = page
        self.resident[offset] = False

    def content(self, offset: int) -> bytes:
        """Return a page's content."""
        return self.file.pages[offset : offset + PAGE_SIZE]

    def show(self, area: Area, offset: int, *, written: bool) -> None:
        """Let a page that is in be accessed as far as its area allows; writing, once it was written to.

        A page that is in may be hidden all the same, if the system had no mapping left for it: the next access shows
        it then.

        Raises:
            OSError: The system's own.  Nothing was changed.
        """
        protect_memory(area.range.start + offset - area.offset, PAGE_SIZE, _shown(area.flags, written))
        self.resident[offset] = written

    def changes(self, area: Area, flags: MappingFlags) -> list[Change]:
        """Return what has to change so that the pages of an area that are in allow what ``flags`` do.

        A page that is on its way out is shown to nobody; if it stays, it is shown as its area is then.
        """
        found: list[Change] = []
        for offset in sorted(self.resident):
            if offset in self.busy or not area.offset <= offset < area.offset + area.range.size:
                continue
            written = self.resident[offset]
            before, after = _shown(area.flags, written), _shown(flags, written)
            start = area.range.start + offset - area.offset
            last = found[-1] if found else None
            if last is not None and last[2:] == (before, after) and last.start + last.size == start:
                found[-1] = last._replace(size=last.size + PAGE_SIZE)
            elif before != after:
                found.append(Change(start, PAGE_SIZE, before, after))
        return found

    def attach(self, area: Area) -> None:
        """Map the file at an area's addresses, with the pages that are in to be seen as far as the system can."""
        options = MAP_FIXED | MAP_SHARED
        start, size = area.range.start, area.range.size
        map_memory(size, NO_ACCESS, start=start, options=options, file=self.file.descriptor, offset=area.offset)
        with contextlib.suppress(OSError):
            for offset, written in self.resident.items():
                if offset not in self.busy and area.offset <= offset < area.offset + size:
                    self.show(area, offset, written=written)

    def copy_for_child(self) -> None:
        """Before a fork: copy the pages that are in.  Afterwards the parent may change them before the child can."""
        self.file_of_child = None
        try:
            copy = PageFile(len(self.file.pages))
        except OSError as failure:
            self.file_of_child = failure
            return
        for offset in self.resident:
            copy.pages[offset : offset + PAGE_SIZE] = self.content(offset)
        self.file_of_child = copy

    def take_copy(self) -> OSError | None:
        """In the child: have the copy for a file, and no other thread's business; or return why there is none."""
        copy, self.file_of_child = self.file_of_child, None
        if not isinstance(copy, PageFile):
            return copy or OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        self.file = copy
        self.busy = {offset: busy for offset, busy in self.busy.items() if busy.thread == threading.get_ident()}
        for busy in self.busy.values():
            busy.renew()
        return None

    def drop(self, offset: int, size: int) -> None:
        """Forget the pages of a part, and give their memory back."""
        for page in (
            range(offset, offset + size, PAGE_SIZE) if size // PAGE_SIZE < len(self.resident) else list(self.resident)
        ):
            if offset <= page < offset + size:
                self.resident.pop(page, None)
        if hasattr(mmap, "MADV_REMOVE"):
            self.file.pages.madvise(mmap.MADV_REMOVE, offset, size)


def _shown(flags: MappingFlags, written: bool) -> MappingFlags:
    return flags if written else flags & ~MappingFlags.WRITE


class Busy:
    """A page on its way: who moves it, and a lock that is held until it is there.

    Not an event, which takes a lock of its own: a signal handler that touches the page while its thread is about to
    wait would wait for that for ever.
    """

    __slots__ = ("_lock", "thread")

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.renew()

    def renew(self) -> None:
        """In the child of a fork: forget those who wait."""
        self._lock = threading.Lock()
        self._lock.acquire()

    def wait(self) -> None:
        """Wait for the page."""
        with self._lock:
            pass

    def end(self) -> None:
        """Let those go who wait."""
        self._lock.release()


def _anonymous_file(size: int) -> int:
    if hasattr(os, "memfd_create"):
        file = os.memfd_create("axptr-pager")
    else:
        with tempfile.TemporaryFile() as named:
            file = os.dup(named.fileno())
    try:
        os.ftruncate(file, size)
    except BaseException:
        os.close(file)
        raise
    return file


class PagingCounters:
    """What demand paging has done in an address space.

    Attributes:
        resolved: Faults after which the access went on.
        refused: Faults that a pager did not resolve.
        pages_in: Pages that pagers have filled.
        pages_out: Pages that were evicted.
    """

    __slots__ = ("pages_in", "pages_out", "refused", "resolved")

    def __init__(self) -> None:
        self.resolved = self.refused = self.pages_in = self.pages_out = 0

    def __repr__(self) -> str:
        return "PagingCounters({})".format(", ".join(f"{name}={getattr(self, name)}" for name in self.__slots__))
