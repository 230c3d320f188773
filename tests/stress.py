# SPDX-License-Identifier: MIT
"""Threads that read, write, fault, put handlers on top, and make and close address spaces, all at once.

``stress.py LIBRARY SECONDS``, where the library is the compiled helpers of the tests.  Ends well, and says how often
each was done, only if every access was told what was true.
"""

from __future__ import annotations

import ctypes
import random
import signal
import sys
import sysconfig
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from child import fault_exactly, hostile
from helpers_memory import SIGNALS
from helpers_platform import c_library
from helpers_processor import TELLS_END_OF_FILE

from axptr_native import (
    PAGE_SIZE,
    AddrSpace,
    FaultError,
    FaultReason,
    GuardedView,
    MappingFlags,
    UserPtr,
    VirtAddr,
    atomics,
    batch,
    guarded_call,
    handlers,
    uaccess,
)
from axptr_native._buffer import IS_CPYTHON
from axptr_native._memory import protect_memory
from axptr_native._regions import ENDINGS, Ending, ending_memory
from axptr_native.testing import fail_usercopy

THREADS = 8
PAGES = 16
RW = MappingFlags.READ | MappingFlags.WRITE
WORD = ctypes.c_uint64
POSIX = sys.platform != "win32"
"""There are signals, and files over reserved addresses, which a pager needs."""
TOLD = [ending for ending in ENDINGS if ending is not Ending.END_OF_FILE or TELLS_END_OF_FILE]
"""Ends whose faults are told as what they are."""


def content(page: int) -> bytes:
    """Return what the pager has for a page."""
    return (page % PAGES).to_bytes(2, "little") * (PAGE_SIZE // 2)


class Shared:
    """What all threads work on."""

    def __init__(self, library: str, stack: ExitStack) -> None:
        self.strlen = c_library().strlen
        self.edges = {ending: stack.enter_context(ending_memory(ending)).edge for ending in TOLD}
        self.counter = stack.enter_context(ending_memory(Ending.HOLE)).start
        self.flickering = stack.enter_context(ending_memory(Ending.HOLE)).start
        self.space = stack.enter_context(AddrSpace(PAGES * PAGE_SIZE))
        self.disk = {page: content(page) for page in range(PAGES)}
        if POSIX:
            self.hostile = hostile(library)
            self.space.map_pager(self.space.base, self.space.size, RW, self.page_in, write_back=self.page_out)

    def page_in(self, page: VirtAddr, _: MappingFlags) -> bytes:
        """Be the pager."""
        return self.disk[(page - self.space.base) // PAGE_SIZE]

    def page_out(self, page: VirtAddr, data: bytes) -> None:
        """Be the write-back."""
        self.disk[(page - self.space.base) // PAGE_SIZE] = data


class Worker:
    """What one thread does."""

    def __init__(self, number: int, shared: Shared, own: int) -> None:
        self.number = number
        self.shared = shared
        self.own = own
        self.random = random.Random(number)
        self.done: Counter[str] = Counter()
        self.written = 0
        """What this thread has put last into its word of each page that is paged in and out."""

    def run(self, stop: threading.Event) -> None:
        """Do one thing after another."""
        works: list[Callable[[], None]] = [self.copy, self.fault, self.count, self.flicker]
        works += [self.gather, self.inject, self.call, self.view, self.point]
        if POSIX:
            works += [self.handle, self.make_space, self.page]
        while not stop.is_set():
            work = self.random.choice(works)
            work()
            self.done[work.__name__] += 1

    def copy(self) -> None:
        """Write, and read it back; the string ends where it should."""
        data = self.random.randbytes(self.random.randrange(1, 2 * PAGE_SIZE)).replace(b"\0", b"x")
        at = self.own + 2 * PAGE_SIZE - len(data)
        uaccess.copy_to_user(at, data)
        assert uaccess.copy_from_user(at, len(data)) == data
        uaccess.put_user(at + len(data) - 1, ctypes.c_char, b"\0")
        assert uaccess.strncpy_from_user(at, len(data)) == data[:-1]

    def fault(self) -> None:
        """Fault, at an edge that others fault at too."""
        ending = self.random.choice(TOLD)
        fault_exactly(self.shared.edges[ending], ending.value, SIGNALS[ending.value], self.random.randrange(60))

    def count(self) -> None:
        """Add one, as all others do."""
        atomics.fetch_add(self.shared.counter, WORD, 1)

    def flicker(self) -> None:
        """Open or close a page that all others read."""
        at = self.shared.flickering
        protect_memory(at, PAGE_SIZE, RW if self.random.randrange(2) else MappingFlags(0))
        error = fault_of(lambda: uaccess.copy_from_user(at + 8, 64))
        if error is not None:
            expect(error, at + 8, FaultReason.NOT_PERMITTED)

    def handle(self) -> None:
        """Put somebody else's handlers on top, and ours again."""
        for number in (signal.SIGSEGV, signal.SIGBUS):
            assert self.shared.hostile.hostile_install(number, b"count") == 0
        self.fault()
        handlers.install()
        assert set(handlers.status()) == {signal.SIGSEGV, signal.SIGBUS}

    def make_space(self) -> None:
        """Make an address space, map and fault in it, and close it."""
        with AddrSpace(4 * PAGE_SIZE) as space:
            memory = space.map_alloc(None, PAGE_SIZE, RW).start
            paged = space.map_pager(None, PAGE_SIZE, RW, lambda page, _: content(page // PAGE_SIZE)).start
            space.write(memory, b"here")
            assert space.read(memory, 4) == b"here"
            assert space.read(paged, PAGE_SIZE) == content(paged // PAGE_SIZE)
            space.unmap(memory, PAGE_SIZE)
            error = fault_of(lambda: uaccess.copy_from_user(memory, 8))
            expect(error, memory, FaultReason.NOT_PERMITTED)  # the space keeps its addresses

    def page(self) -> None:
        """Read and write pages that others evict."""
        space, number = self.shared.space, self.random.randrange(PAGES)
        at = space.base + number * PAGE_SIZE
        if self.random.randrange(4) == 0:
            space.evict(at, PAGE_SIZE)
        assert space.read(at + PAGE_SIZE // 2, 256) == content(number)[:256]
        word = space.base + 8 * self.number
        if self.written:
            assert uaccess.get_user(word, WORD) == self.written
        self.written += 1
        uaccess.put_user(word, WORD, self.written)

    def gather(self) -> None:
        """Read at good and bad addresses in one call."""
        chosen = [self.random.randrange(2) for _ in range(16)]
        uaccess.put_user(self.own, WORD, self.number)
        data, ok = batch.gather_from_user([self.own if good else self.shared.edges[Ending.HOLE] for good in chosen], 8)
        assert ok == bytes(chosen)
        assert data == b"".join((self.number * good).to_bytes(8, sys.byteorder) for good in chosen)

    def inject(self) -> None:
        """Have one access of this thread's fail."""
        with fail_usercopy(times=1) as injection:
            expect(fault_of(lambda: uaccess.copy_from_user(self.own, 8)), self.own, FaultReason.INJECTED)
            assert len(uaccess.copy_from_user(self.own, 8)) == 8
        assert injection.failures == 1

    def call(self) -> None:
        """Call a function that faults, and again so that it does not."""
        if not IS_CPYTHON:
            return
        edge = self.shared.edges[Ending.PROTECTION]
        expect(fault_of(lambda: guarded_call(self.shared.strlen, ctypes.c_void_p(edge))), edge, Ending.PROTECTION.value)
        assert guarded_call(self.shared.strlen, b"four") == 4

    def view(self) -> None:
        """Look at a buffer through a view that is made for it."""
        buffer = bytearray(self.random.randbytes(100))
        with GuardedView(buffer) as view:
            view[10:14] = b"here"
            assert view[10:14] == b"here" == bytes(buffer[10:14])

    def point(self) -> None:
        """Set and get through a pointer."""
        pointer = UserPtr[ctypes.c_int](self.own + 64)
        pointer.get().value = -self.number
        assert pointer.get().value == -self.number


def fault_of(access: Callable[[], object]) -> FaultError | None:
    """Return what an access fails with."""
    try:
        access()
    except FaultError as error:
        return error
    return None


def expect(error: FaultError | None, address: int, reason: FaultReason) -> None:
    """Assert where and why an access has failed, before its first byte."""
    assert error is not None
    assert (error.address, error.transferred, error.reason) == (address, 0, reason), error


def run(library: str, seconds: float) -> Counter[str]:
    """Run all threads for so long, and return how often they did what."""
    stop = threading.Event()
    failures: list[BaseException] = []

    def work(worker: Worker) -> None:
        try:
            worker.run(stop)
        except BaseException as failure:  # noqa: BLE001, RUF100 - handed on
            failures.append(failure)
            stop.set()

    with ExitStack() as stack:
        shared = Shared(library, stack)
        owned = [stack.enter_context(ending_memory(Ending.HOLE)).start for _ in range(THREADS)]
        workers = [Worker(number, shared, own) for number, own in enumerate(owned)]
        threads: list[Any] = [threading.Thread(target=work, args=(worker,)) for worker in workers]
        for thread in threads:
            thread.start()
        stop.wait(seconds)
        stop.set()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        done = sum((worker.done for worker in workers), Counter())
        assert uaccess.get_user(shared.counter, WORD) == done["count"]
    return done


def main() -> None:
    """Run, and print what was done."""
    library, seconds = sys.argv[1:]
    started = time.monotonic()
    done = run(library, float(seconds))
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        assert not sys._is_gil_enabled()  # type: ignore[attr-defined, unused-ignore]
    print(f"{THREADS} threads, {time.monotonic() - started:.0f} s:", ", ".join(f"{done[n]} {n}" for n in sorted(done)))


if __name__ == "__main__":
    main()
