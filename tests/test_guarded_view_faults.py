# SPDX-License-Identifier: MIT
"""GuardedView where the buffer's memory has gone: truncated files, shared memory, numpy's memmaps."""

import ctypes
import mmap
import tempfile
import threading
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any

import pytest
from helpers_memory import READ, SIGNALS, WRITE, mapped_file, pattern

from axptr_native import PAGE_SIZE, FaultError, FaultReason, GuardedView

PAGES = 4
SIZE = PAGES * PAGE_SIZE
CONTENT = pattern(SIZE)


def address_of(mapping: mmap.mmap) -> int:
    """Return where a writable mapping is."""
    return ctypes.addressof(ctypes.c_char.from_buffer(mapping))


@pytest.mark.parametrize("good", [0, 1, 2])
def test_a_truncated_file_faults_at_its_first_missing_page(good: int) -> None:
    """What is left is read and written; beyond, each operation is BEYOND_END at the exact byte, with what it did."""
    with mapped_file(CONTENT) as (file, mapping), GuardedView(mapping) as view:
        edge = good * PAGE_SIZE
        file.truncate(edge)
        base, start = address_of(mapping), max(0, edge - 10)
        done = edge - start
        buffer = bytearray(b"\xaa" * 30)
        uses: list[tuple[Any, int, int, Any]] = [
            (lambda: view[edge], edge, 0, READ),
            (lambda: view[-1], SIZE - 1, 0, READ),
            (lambda: view[start : edge + 20], edge, done, READ),
            (lambda: view[:], edge, edge, READ),
            (lambda: view[start : edge + 20 : 3], edge, done, READ),
            (lambda: view[edge + 19 : start - 1 if start else None : -1], edge, done, READ),
            (lambda: view.read_into(buffer, start), edge, done, READ),
            (lambda: view.unpack_from("30s", start), edge, done, READ),
            (lambda: view.find(b"\0\0"), edge, edge, READ),
            (lambda: view.__setitem__(edge, 1), edge, 0, WRITE),
            (lambda: view.__setitem__(slice(start, edge + 20), b"\1" * (done + 20)), edge, done, WRITE),
        ]
        for number, (use, address, transferred, access) in enumerate(uses):
            with pytest.raises(FaultError) as raised:
                use()
            error = raised.value
            assert (error.address - base, error.transferred, error.access) == (address, transferred, access), number
            assert (error.reason, error.signal) == (FaultReason.BEYOND_END, SIGNALS[FaultReason.BEYOND_END])
        assert buffer == CONTENT[start:edge].ljust(30, b"\0")
        assert view[:edge] == CONTENT[:start] + b"\1" * done
        assert len(view) == SIZE
        if good:
            assert view.find(pattern(9)) == 0
        file.truncate(SIZE)
        assert view[edge:] == bytes(SIZE - edge)


def test_shared_memory_is_viewed_and_faults_when_it_shrinks() -> None:
    """SharedMemory's buffer is read and written through a view, and closes after it."""
    shared = SharedMemory(create=True, size=2 * PAGE_SIZE)
    try:
        buffer: Any = shared.buf
        with GuardedView(buffer) as view:
            view[:4] = b"abcd"
            assert bytes(buffer[:4]) == b"abcd"
            assert (len(view), view.readonly) == (len(buffer), False)
            with Path("/dev/shm", shared.name).open("r+b") as file:
                file.truncate(PAGE_SIZE)
            assert view[:4] == b"abcd"
            with pytest.raises(FaultError) as raised:
                view[PAGE_SIZE - 4 : PAGE_SIZE + 4]
            assert (raised.value.transferred, raised.value.reason) == (4, FaultReason.BEYOND_END)
    finally:
        del buffer
        shared.close()
        shared.unlink()


def test_a_truncated_memmap_of_numpy_faults() -> None:
    """What is left is read and written; beyond, the view of all of it, and of its later rows, faults at the edge."""
    numpy = pytest.importorskip("numpy", reason="numpy is not installed: its memmaps are not tried")
    with tempfile.NamedTemporaryFile() as file:
        file.truncate(SIZE)
        mapped = numpy.memmap(file.name, "<i4", "r+", shape=(PAGES, PAGE_SIZE // 4))
        with GuardedView(mapped) as view, GuardedView(mapped[1:]) as later:
            view[0:4] = b"\1\0\0\0"
            assert mapped[0, 0] == 1
            file.truncate(PAGE_SIZE)
            assert view[:8] == b"\1" + bytes(7)
            for part, transferred in ((view, PAGE_SIZE), (later, 0)):
                with pytest.raises(FaultError) as raised:
                    part[:]
                assert (raised.value.address, raised.value.transferred) == (mapped.ctypes.data + PAGE_SIZE, transferred)


def test_threads_read_right_bytes_or_fault_while_a_file_is_truncated() -> None:
    """Each reader sees the file's bytes, zeros of a file that grew again, or BEYOND_END, and nothing else."""
    wrong: list[object] = []
    with mapped_file(CONTENT) as (file, mapping), GuardedView(mapping) as view:
        stop = threading.Event()
        started = threading.Barrier(5)

        def check_page(at: int) -> None:
            try:
                data = view[at : at + PAGE_SIZE]
            except FaultError as error:
                if error.reason is not FaultReason.BEYOND_END:
                    wrong.append(error)
                return
            if any(byte not in (0, right) for byte, right in zip(data[::97], CONTENT[at::97], strict=False)):
                wrong.append(data)

        def read() -> None:
            started.wait()
            while not stop.is_set():
                for page in range(PAGES):
                    check_page(page * PAGE_SIZE)

        readers = [threading.Thread(target=read) for _ in range(4)]
        for reader in readers:
            reader.start()
        started.wait()
        for _ in range(300):
            file.truncate(0)
            file.truncate(PAGE_SIZE * 2)
            file.seek(0)
            file.write(CONTENT)
            file.flush()
        file.truncate(0)
        with pytest.raises(FaultError):
            view[0]
        stop.set()
        for reader in readers:
            reader.join()
        assert wrong == []
