# SPDX-License-Identifier: MIT
"""An address space against a dictionary of pages: the same bytes, the same areas, the same errors."""

import errno
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace

from helpers_examples import examples
from helpers_memory import READ, WRITE
from helpers_space import NONE, RW, at
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from axptr_native import PAGE_SIZE, AddrSpace, FaultError, FaultReason, MappingFlags, VirtAddr, VirtAddrRange

PAGES = 12
KINDS = ["alloc"] if sys.platform == "win32" else ["alloc", "pager", "pager"]  # ENOTSUP there

pages = st.integers(0, PAGES - 1)
counts = st.integers(1, 5)
allowed = st.sampled_from([NONE, READ, RW, RW])
addresses = st.integers(0, PAGES * PAGE_SIZE - 1) | st.builds(
    lambda page, near: min(max(page * PAGE_SIZE + near, 0), PAGES * PAGE_SIZE - 1), pages, st.integers(-4, 4)
)
sizes = st.integers(0, 9) | st.integers(0, 3 * PAGE_SIZE)


@dataclass
class Page:
    """What a page allows, its bytes, and, for a pager's page, where it goes when it is evicted."""

    flags: MappingFlags
    data: bytes
    paged: bool = False
    resident: bool = False
    dirty: bool = False


class Spaces(RuleBasedStateMachine):
    """The space, its disk by page, and the model."""

    def __init__(self) -> None:
        super().__init__()
        self.space = AddrSpace(PAGES * PAGE_SIZE)
        self.model: dict[int, Page] = {}
        self.disk: dict[int, bytes] = {}
        self.asked = self.written = 0
        self.expected_asked = self.expected_written = 0

    def teardown(self) -> None:
        """Close the space."""
        self.space.close()

    def page_in(self, page: VirtAddr, _access: MappingFlags) -> bytes | None:
        """Be the pager: each page has a content until it is written back."""
        self.asked += 1
        return self.disk.get((page - self.space.base) // PAGE_SIZE)

    def page_out(self, page: VirtAddr, data: bytes) -> None:
        """Be the write-back."""
        self.written += 1
        self.disk[(page - self.space.base) // PAGE_SIZE] = data

    def outcome(self, act: Callable[[], object]) -> object:
        """Return what an operation returns, or its error."""
        try:
            return act()
        except FaultError as error:
            return error.reason, error.address - self.space.base, error.transferred, error.access
        except OSError as error:
            return error.errno

    def place(self, page: int, count: int) -> tuple[int, int]:
        """Return the address and the size of some pages."""
        return at(self.space, page), count * PAGE_SIZE

    def span(self, page: int, count: int) -> range | None:
        """Return the pages of a place, or None if it leaves the space."""
        return range(page, page + count) if page + count <= PAGES else None

    @rule(page=pages, count=counts, flags=allowed, kind=st.sampled_from(KINDS))
    def map(self, page: int, count: int, flags: MappingFlags, kind: str) -> None:
        """Map memory where there is room."""
        start, size = self.place(page, count)
        taken = self.span(page, count)
        if kind == "alloc":
            found = self.outcome(lambda: self.space.map_alloc(start, size, flags))
        else:
            found = self.outcome(
                lambda: self.space.map_pager(start, size, flags, self.page_in, write_back=self.page_out)
            )
        if taken is None:
            assert found == errno.EINVAL
        elif any(number in self.model for number in taken):
            assert found == errno.EEXIST
        else:
            assert found == VirtAddrRange.from_start_size(start, size)
            for number in taken:
                self.model[number] = Page(flags, bytes(PAGE_SIZE), paged=kind == "pager")
                if kind == "pager":
                    self.disk[number] = bytes([number + 1]) * PAGE_SIZE

    @rule(page=pages)
    def spoil(self, page: int) -> None:
        """Make the pager refuse a page from now on."""
        self.disk.pop(page, None)

    @rule(page=pages, count=counts)
    def unmap(self, page: int, count: int) -> None:
        """Unmap some pages, mapped or not."""
        found = self.outcome(lambda: self.space.unmap(*self.place(page, count)))
        taken = self.span(page, count)
        assert found == (errno.EINVAL if taken is None else None)
        for number in taken or ():
            self.model.pop(number, None)

    @rule(page=pages, count=counts, flags=allowed)
    def protect(self, page: int, count: int, flags: MappingFlags) -> None:
        """Change what some pages allow."""
        found = self.outcome(lambda: self.space.protect(*self.place(page, count), flags))
        taken = self.span(page, count)
        if taken is None:
            assert found == errno.EINVAL
        elif any(number not in self.model for number in taken):
            assert found == errno.ENOMEM
        else:
            assert found is None
            for number in taken:
                self.model[number] = replace(self.model[number], flags=flags)

    @rule(page=pages, count=counts)
    def evict(self, page: int, count: int) -> None:
        """Take a pager's pages out."""
        found = self.outcome(lambda: self.space.evict(*self.place(page, count)))
        taken = self.span(page, count)
        if taken is None:
            assert found == errno.EINVAL
            return
        out = [number for number in taken if number in self.model and self.model[number].resident]
        assert found == len(out)
        for number in out:
            self.expected_written += self.model[number].dirty
            if self.model[number].dirty:
                assert self.disk[number] == self.model[number].data
            self.model[number] = replace(self.model[number], resident=False, dirty=False)

    def touch(self, number: int, access: MappingFlags) -> FaultReason | None:
        """Touch a page of the model, and return why it cannot be."""
        page = self.model.get(number)
        if page is None or access not in page.flags:
            return FaultReason.NOT_PERMITTED
        if page.paged and not page.resident:
            self.expected_asked += 1
            if number not in self.disk:
                return FaultReason.REFUSED
            page.data = self.disk[number]
            page.resident = True
        page.dirty |= page.paged and access is WRITE
        return None

    def walk(self, start: int, size: int, access: MappingFlags) -> tuple[int, object]:
        """Touch the pages of a span; return the bytes that are good, and the error if there is one."""
        done = 0
        while done < size:
            reason = self.touch((start + done) // PAGE_SIZE, access)
            if reason is not None:
                return done, (reason, start + done, done, access)
            done = min(size, done + PAGE_SIZE - (start + done) % PAGE_SIZE)
        return size, None

    @rule(start=addresses, size=sizes)
    def read(self, start: int, size: int) -> None:
        """Read anywhere in the space."""
        found = self.outcome(lambda: self.space.read(self.space.base + start, size))
        if start + size > PAGES * PAGE_SIZE:
            assert found == (FaultReason.OUT_OF_RANGE, start, 0, READ)
            return
        _, error = self.walk(start, size, READ)
        assert found == (error or self.bytes_at(start, size))

    @rule(start=addresses, size=sizes, value=st.integers(0, 255))
    def write(self, start: int, size: int, value: int) -> None:
        """Write anywhere in the space."""
        data = bytes((value + step) % 256 for step in range(size))
        found = self.outcome(lambda: self.space.write(self.space.base + start, data))
        if start + size > PAGES * PAGE_SIZE:
            assert found == (FaultReason.OUT_OF_RANGE, start, 0, WRITE)
            return
        done, error = self.walk(start, size, WRITE)
        assert found == error
        for number in range(start // PAGE_SIZE, (start + done + PAGE_SIZE - 1) // PAGE_SIZE if done else 0):
            page = self.model[number]
            low, high = max(start - number * PAGE_SIZE, 0), min(start + done - number * PAGE_SIZE, PAGE_SIZE)
            first = number * PAGE_SIZE + low - start
            page.data = page.data[:low] + data[first : first + high - low] + page.data[high:]

    def bytes_at(self, start: int, size: int) -> bytes:
        """Return the model's bytes of a span that is all mapped."""
        if size == 0:
            return b""
        first = start // PAGE_SIZE
        whole = b"".join(self.model[number].data for number in range(first, -(-(start + size) // PAGE_SIZE)))
        return whole[start - first * PAGE_SIZE :][:size]

    @rule(page=pages, count=counts, access=st.sampled_from([READ, WRITE]))
    def populate(self, page: int, count: int, access: MappingFlags) -> None:
        """Bring some pages in."""
        found = self.outcome(lambda: self.space.populate_area(*self.place(page, count), access))
        taken = self.span(page, count)
        if taken is None:
            assert found == errno.EINVAL
        elif any(number not in self.model for number in taken):
            assert found == errno.ENOMEM
        elif any(access not in self.model[number].flags for number in taken):
            assert found == errno.EINVAL  # before any page is asked for
        else:
            for number in taken:
                if self.touch(number, access) is not None:
                    assert found == (FaultReason.REFUSED, number * PAGE_SIZE, 0, access)
                    return
            assert found is None

    @invariant()
    def areas_are_the_pages(self) -> None:
        """The areas are the model's pages, none overlap, and the pager was asked as often as expected."""
        found: dict[int, MappingFlags] = {}
        for area in self.space.areas():
            for number in range((area.range.start - self.space.base) // PAGE_SIZE, PAGES):
                if at(self.space, number) in area.range:
                    assert number not in found
                    found[number] = area.flags
        assert found == {number: page.flags for number, page in self.model.items()}
        assert (self.asked, self.written) == (self.expected_asked, self.expected_written)
        for number, page in self.model.items():
            one = VirtAddrRange.from_start_size(at(self.space, number), PAGE_SIZE)
            assert self.space.check_region_access(one, page.flags)


TestSpaces = Spaces.TestCase
TestSpaces.settings = settings(examples(60), stateful_step_count=40)
