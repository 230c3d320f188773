# SPDX-License-Identifier: MIT
"""The whole process as an address space, population by the system, and mapped files."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers_memory import END, READ, WRITE, fault_of, pattern
from helpers_space import NONE, RW, Disk, layout, spaced, unchanged

from axptr_native import PAGE_SIZE, AddrSpace, FaultReason, MappingFlags, ProcessSpace, VirtAddrRange, check_region
from axptr_native._regions import Ending, Region
from axptr_native.check import Layout

PROCESS = ProcessSpace()
POPULATE_ERRORS = {
    Ending.HOLE: errno.ENOMEM,
    Ending.PROTECTION: errno.EINVAL,
    Ending.END_OF_FILE: errno.EFAULT,
}


def raised(act: Callable[[], object]) -> int | None:
    """Return the errno of the OSError that a call must raise."""
    with pytest.raises(OSError, match=r"\w") as caught:
        act()
    return caught.value.errno


@pytest.mark.parametrize("access", [READ, WRITE, RW])
def test_access_is_what_the_hardware_allows(access: MappingFlags, region: Region) -> None:
    """The process allows a range up to the edge, and none that has a byte beyond it or leaves the address space."""
    assert PROCESS.check_region_access(VirtAddrRange(region.start, region.edge), access)
    assert not PROCESS.check_region_access(VirtAddrRange(region.start, region.edge + 1), access)
    assert PROCESS.check_region_access(VirtAddrRange(region.edge, region.edge), access)
    for start, size in ((-1, 1), (END - 1, 2), (END, 1), (0, 1)):
        assert not PROCESS.check_region_access(VirtAddrRange.from_start_size(start, size), access)


def test_whether_memory_executes_is_not_known(region: Region) -> None:
    """Asking the process about EXECUTE is ENOTSUP."""
    asked = VirtAddrRange(region.start, region.edge)
    assert raised(lambda: PROCESS.check_region_access(asked, MappingFlags.EXECUTE)) == errno.ENOTSUP


@pytest.mark.parametrize("access", [READ, WRITE])
def test_population_is_the_systems_error(access: MappingFlags, ending: Ending, region: Region) -> None:
    """Populating good pages succeeds, and over the edge it is ENOMEM, EINVAL or EFAULT by how the memory ends."""
    PROCESS.populate_area(region.start, region.edge - region.start, access)
    assert (
        raised(lambda: PROCESS.populate_area(region.start, region.end - region.start, access))
        == (POPULATE_ERRORS[ending])
    )
    assert raised(lambda: PROCESS.populate_area(region.edge, PAGE_SIZE, access)) == POPULATE_ERRORS[ending]


@pytest.mark.parametrize(("start", "size"), [(-PAGE_SIZE, PAGE_SIZE), (0, -1), (END, 1), (END // 2, END // 2), (1, 1)])
def test_places_outside_memory_are_einval(start: int, size: int) -> None:
    """Populating what no address reaches, or what starts within a page, is EINVAL."""
    assert raised(lambda: PROCESS.populate_area(start, size, READ)) == errno.EINVAL


def test_the_process_reads_writes_and_resolves() -> None:
    """ProcessSpace reads and writes anywhere, pages in what a pager provides, and lends itself."""
    with spaced() as space:
        disk = Disk(pattern(2 * PAGE_SIZE))
        disk.map(space)
        assert PROCESS.handle_page_fault(disk.start, READ)
        assert not PROCESS.handle_page_fault(space.end - 1, READ)
        assert not PROCESS.handle_page_fault(0, WRITE)
        assert disk.asked == [(0, READ)]
        assert PROCESS.read(disk.start + 3, PAGE_SIZE) == disk.data[3 : PAGE_SIZE + 3]
        PROCESS.write(disk.start, b"here")
        assert space.read(disk.start, 4) == b"here"
        assert PROCESS.check_region_access(VirtAddrRange.from_start_size(disk.start, 2 * PAGE_SIZE), RW)
        assert fault_of(lambda: PROCESS.read(space.end - 1, 1), "hole").reason is FaultReason.NOT_PERMITTED
    assert PROCESS.with_addr_space(lambda lent: lent) is PROCESS
    assert (PROCESS.base, PROCESS.end, repr(PROCESS)) == (0, END, "ProcessSpace()")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of two and a half pages."""
    made = tmp_path / "file"
    made.write_bytes(pattern(5 * PAGE_SIZE // 2))
    return made


def test_files_are_mapped_from_an_offset(path: Path) -> None:
    """A mapped file shows its bytes from the offset on, zeros to the end of its last page, and faults beyond."""
    with spaced() as space:
        with path.open("rb") as file:
            start = space.map_file(None, file, 3 * PAGE_SIZE, READ, offset=PAGE_SIZE).start
        data = path.read_bytes()[PAGE_SIZE:]
        assert space.read(start, 2 * PAGE_SIZE) == data.ljust(2 * PAGE_SIZE, b"\0")
        error = fault_of(lambda: space.read(start, 3 * PAGE_SIZE), "end")
        assert (error.reason, error.transferred) == (FaultReason.BEYOND_END, 2 * PAGE_SIZE)
        assert raised(lambda: space.populate_area(start, 3 * PAGE_SIZE, READ)) == errno.EFAULT


@pytest.mark.parametrize("shared", [True, False])
def test_shared_writes_reach_the_file(shared: bool, path: Path) -> None:
    """What is written through a shared mapping is in the file, and through a private one it is not."""
    before = path.read_bytes()
    with spaced() as space, path.open("rb+") as file:
        start = space.map_file(None, file.fileno(), PAGE_SIZE, RW, shared=shared).start
        space.write(start, b"new")
        assert space.read(start, 4) == b"new" + before[3:4]
        assert path.read_bytes() == (b"new" if shared else before[:3]) + before[3:]


def test_a_file_that_is_not_writable_is_eacces(path: Path) -> None:
    """Mapping or protecting a shared read-only file for writing is EACCES and changes nothing; a private one may."""
    with spaced() as space, path.open("rb") as file:
        start = space.map_file(space.base, file, 2 * PAGE_SIZE, READ).start
        alloc = space.map_alloc(space.base + 2 * PAGE_SIZE, PAGE_SIZE, RW)
        with unchanged(space):
            assert raised(lambda: space.map_file(None, file, PAGE_SIZE, RW)) == errno.EACCES
            assert raised(lambda: space.protect(start, 2 * PAGE_SIZE, RW)) == errno.EACCES
            assert raised(lambda: space.protect(start, 3 * PAGE_SIZE, RW)) == errno.EACCES
        space.protect(start, PAGE_SIZE, NONE)
        space.map_file(None, file, PAGE_SIZE, RW, shared=False)
        space.write(alloc.start, b"still")


def test_a_protect_that_fails_halfway_is_taken_back(path: Path) -> None:
    """When the second of two areas refuses, the first one has its access back."""
    with spaced() as space, path.open("rb") as file:
        first = space.map_alloc(space.base, PAGE_SIZE, READ)
        space.map_file(first.end, file, PAGE_SIZE, READ)
        assert raised(lambda: space.protect(first.start, 2 * PAGE_SIZE, RW)) == errno.EACCES
        assert fault_of(lambda: space.write(first.start, b"x"), "first").reason is FaultReason.NOT_PERMITTED
        assert layout(space) == [(0, 1, READ), (1, 1, READ)]


@pytest.mark.parametrize("offset", [-PAGE_SIZE, 1, PAGE_SIZE - 1, 2**63, 2**64, 2**64 + PAGE_SIZE])
def test_file_offsets_that_are_none_are_refused(offset: int, path: Path) -> None:
    """An offset that is negative, within a page, or too large for a file is an OSError and changes nothing."""
    with spaced() as space, path.open("rb") as file, unchanged(space):
        assert raised(lambda: space.map_file(None, file, PAGE_SIZE, READ, offset=offset)) in (
            errno.EINVAL,
            errno.EOVERFLOW,
        )


@pytest.mark.parametrize("descriptor", [-1, -100, 2**31 - 1, 2**31, 2**32, 2**32 + 1, 2**64])
def test_descriptors_that_are_none_are_ebadf(descriptor: int) -> None:
    """A number that is no open file is EBADF and changes nothing, also where a C int would wrap to one that is."""
    with spaced() as space, unchanged(space):
        assert raised(lambda: space.map_file(None, descriptor, PAGE_SIZE, READ)) == errno.EBADF


def test_what_is_no_file_is_refused(path: Path) -> None:
    """A closed file is ValueError, an object without a descriptor is an error, a folder ENODEV; nothing changes."""
    nothing: Any = object()
    with spaced() as space, unchanged(space):
        with path.open("rb") as file:
            pass
        with pytest.raises(ValueError, match="closed file"):
            space.map_file(None, file, PAGE_SIZE, READ)
        with pytest.raises((TypeError, AttributeError)):
            space.map_file(None, nothing, PAGE_SIZE, READ)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            assert raised(lambda: space.map_file(None, folder, PAGE_SIZE, READ)) == errno.ENODEV
        finally:
            os.close(folder)


def populated(space: AddrSpace, flags: MappingFlags, access: MappingFlags, *, paged: bool) -> int | None:
    """Populate an area of some flags for an access, and return the errno, or None."""
    if paged:
        mapped = space.map_pager(None, PAGE_SIZE, flags, lambda _page, _access: bytes(PAGE_SIZE))
    else:
        mapped = space.map_alloc(None, PAGE_SIZE, flags)
    try:
        space.populate_area(mapped.start, PAGE_SIZE, access)
    except OSError as error:
        return error.errno
    finally:
        space.clear()
    return None


@pytest.mark.parametrize("paged", [False, True], ids=["anonymous", "paged"])
def test_population_needs_the_access(paged: bool) -> None:
    """Populating for an access that the area does not allow is EINVAL, whatever holds its pages."""
    with spaced() as space:
        for flags in (NONE, READ, WRITE, RW):
            for access in (READ, WRITE):
                expected = None if access in flags else errno.EINVAL
                assert populated(space, flags, access, paged=paged) == expected, (flags, access)


class Narrowed(ProcessSpace):
    """A process of which part may not be accessed."""

    def check_region_access(self, region: VirtAddrRange, access: MappingFlags) -> bool:
        return WRITE not in access and super().check_region_access(region, access)


def test_a_process_space_may_be_narrowed(ending: Ending, region: Region) -> None:
    """What only a derived space refuses is REFUSED, though the memory is good, and what is bad faults as it is."""
    narrowed = Narrowed()
    check_region(narrowed, region.start, Layout(8, 8), READ)
    error = fault_of(lambda: check_region(narrowed, region.start, Layout(8, 8), RW), "narrowed")
    assert (error.reason, error.access, error.address) == (FaultReason.REFUSED, WRITE, region.start)
    error = fault_of(lambda: check_region(narrowed, region.edge - 4, Layout(8, 1), RW), "bad")
    assert (error.reason, error.access, error.address) == (ending.value, READ, region.edge)
