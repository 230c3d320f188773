# SPDX-License-Identifier: MIT
"""What a type checker makes of the public API; only mypy reads this file, nothing runs it.

Each ``type: ignore`` is an error that has to be there: mypy's warn_unused_ignores complains about one that is not.
"""

import array
import ctypes
import mmap
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from ctypes import POINTER, c_char, c_char_p, c_int, c_long, c_void_p, c_wchar, c_wchar_p
from typing import Any, TypeVar

from typing_extensions import assert_type

import axptr_native
from axptr_native import (
    PAGE_SIZE,
    AddrSpace,
    AddrSpaceProvider,
    FaultError,
    FaultReason,
    GuardedView,
    MappingFlags,
    ProcessSpace,
    UserConstPtr,
    UserPtr,
    UserRef,
    UserSlice,
    VirtAddr,
    VirtAddrRange,
    access_user_memory,
    atomics,
    batch,
    is_accessing_user_memory,
    uaccess,
)
from axptr_native.testing import (
    Case,
    Region,
    SweepError,
    SweepKind,
    guard_page_after,
    hole,
    no_access,
    non_canonical,
    straddling,
    sweep,
)

_T = TypeVar("_T")


class Point(ctypes.Structure):
    _fields_ = (("x", c_int), ("y", c_int))


class Locked:
    def __init__(self, space: AddrSpace) -> None:
        self.space = space

    def with_addr_space(self, f: Callable[[AddrSpace], _T], /) -> _T:
        return f(self.space)


class Unrelated:
    pass


def pointers(a: int, space: AddrSpace, process: ProcessSpace, provider: AddrSpaceProvider) -> None:
    p = UserPtr[c_int](a)
    assert_type(p, UserPtr[c_int])
    assert_type(p.get(space), UserRef[c_int])
    assert_type(p.get(process), UserRef[c_int])
    assert_type(p.get(provider), UserRef[c_int])
    assert_type(p.get(), UserRef[c_int])
    assert_type(p.get_as_slice(space, 3), UserSlice[c_int])
    assert_type(p.get_as_slice(None, 3), UserSlice[c_int])
    assert_type(p.get_as_slice(3), UserSlice[c_int])
    assert_type(p.get_as_null_terminated(space, limit=9), UserSlice[c_int])
    assert_type(p.cast(c_long), UserPtr[c_long])
    assert_type(UserPtr[Point](a).field("x"), UserPtr[Any])
    assert_type(p.cast(POINTER(c_long)).follow(space), UserPtr[c_long])
    assert_type(p.cast(POINTER(POINTER(Point))).follow().follow(provider), UserPtr[Point])
    assert_type(p.cast(c_char_p).follow(), UserPtr[c_char])
    assert_type(p.cast(c_wchar_p).follow(), UserPtr[c_wchar])
    assert_type(UserPtr[Point](a).field("x").follow(), UserPtr[Any])
    assert_type(p + 1, UserPtr[c_int])
    assert_type(p - 1, UserPtr[c_int])
    assert_type(p - p, int)
    assert_type(p < p, bool)
    assert_type(p <= p, bool)
    assert_type(p > p, bool)
    assert_type(p >= p, bool)
    assert_type(p.nullable(), UserPtr[c_int] | None)
    assert_type(p.is_null(), bool)
    assert_type(p.address, VirtAddr)
    assert_type(p.ACCESS_FLAGS, MappingFlags)
    assert_type(int(p), int)

    p.get("space")  # type: ignore[arg-type]
    p.get_as_slice(space)  # type: ignore[call-overload]
    p.get_as_slice(space, "3")  # type: ignore[call-overload]
    p.address = VirtAddr(3)  # type: ignore[misc]
    p + "1"  # type: ignore[operator]
    p - UserPtr[c_long](a)  # type: ignore[operator]
    assert p <= UserPtr[c_long](a)  # type: ignore[operator]
    UserPtr[c_int]("a")  # type: ignore[arg-type]
    p.get_as_str(space)  # type: ignore[attr-defined]
    p.follow(space)  # type: ignore[misc]
    p.cast(c_void_p).follow(space)  # type: ignore[misc]
    p.cast(c_char_p).follow("space")  # type: ignore[arg-type]
    wrong: UserPtr[c_long] = p  # type: ignore[assignment]
    del wrong


def const_pointers(a: int, space: AddrSpace) -> None:
    p = UserConstPtr[c_int](a)
    assert_type(p.get(space), UserRef[c_int])
    assert_type(p.get_as_slice(space, 3), UserSlice[c_int])
    assert_type(p.cast(c_char), UserConstPtr[c_char])
    assert_type(p.cast(c_char).get_as_str(space, limit=9), str)
    assert_type(p.cast(POINTER(c_char)).follow(space).get_as_str(space), str)
    assert_type(p.cast(c_char_p).follow(), UserConstPtr[c_char])
    assert_type(p.cast(c_wchar_p).follow(), UserConstPtr[c_wchar])
    assert_type(p.field("x"), UserConstPtr[Any])
    assert_type(p.field("x").follow(), UserConstPtr[Any])
    assert_type(p + 1, UserConstPtr[c_int])
    assert_type(p - p, int)
    assert_type(p.nullable(), UserConstPtr[c_int] | None)

    p.get_as_str(space)  # type: ignore[misc]
    UserConstPtr[Point](a).get_as_str(space)  # type: ignore[misc]
    writable: UserPtr[c_int] = p  # type: ignore[assignment]
    del writable


def addresses(address: VirtAddr) -> None:
    assert_type(address + 1, VirtAddr)
    assert_type(1 + address, VirtAddr)
    assert_type(address - 1, VirtAddr)
    assert_type(address - address, int)
    assert_type((address - 1).align_down(), VirtAddr)

    VirtAddr("16")  # type: ignore[arg-type]
    VirtAddr(1.5)  # type: ignore[arg-type]


def references(ref: UserRef[c_int], elements: UserSlice[c_int]) -> None:
    assert_type(ref.address, VirtAddr)
    assert_type(ref.ctype, type[c_int])
    assert_type(elements[1:], UserSlice[c_int])
    assert_type(elements.ctype, type[c_int])
    assert_type(elements.nbytes, int)
    assert_type(elements.tobytes(), bytes)
    assert_type(elements.copy(), "ctypes.Array[Any]")
    elements[0] = 5
    elements[1:3] = b"12345678"
    elements.write(bytearray(4))
    ref.value = 5

    ref.address = VirtAddr(3)  # type: ignore[misc]
    elements.write("text")  # type: ignore[arg-type]
    elements["first"]  # type: ignore[call-overload]


def providers(a: int, space: AddrSpace) -> None:
    UserPtr[c_int](a).get(Locked(space))  # a provider of a plain AddrSpace
    UserPtr[c_int](a).get(Unrelated())  # type: ignore[arg-type]
    assert_type(space.with_addr_space(lambda inner: inner.size), int)
    assert_type(space.map_alloc(None, PAGE_SIZE, MappingFlags.READ), VirtAddrRange)
    assert_type(space.base, VirtAddr)
    assert_type(space.find_free_area(0, PAGE_SIZE), VirtAddr | None)


class OwnSpace(AddrSpace):
    pass


class OwnView(GuardedView):
    pass


def derived(space: OwnSpace, view: OwnView) -> None:
    with space as entered, view as opened:
        assert_type(entered, OwnSpace)
        assert_type(opened, OwnView)


def views(mapping: mmap.mmap) -> None:
    with GuardedView(mapping) as view:
        assert_type(view, GuardedView)
        assert_type(view[0], int)
        assert_type(view[1:], bytes)
        assert_type(view.find(b"x"), int)
        assert_type(view.unpack_from("<I", 4), tuple[Any, ...])
        assert_type(view.readonly, bool)
        view[0] = 5
        view[1:3] = b"ab"
        view.read_into(bytearray(8), 8)
        view.read_into(b"constant")  # not seen: to mypy bytes may be writable buffers too
        view["first"]  # type: ignore[call-overload]
        view.readonly = False  # type: ignore[misc]
    GuardedView("text")  # type: ignore[arg-type]


def verbs(a: int) -> None:
    assert_type(uaccess.copy_from_user(a, 8), bytes)
    assert_type(uaccess.copy_from_user(a, 8, partial=True), bytes)
    assert_type(uaccess.copy_struct_from_user(a, 8, Point), Point)
    assert_type(uaccess.find_in_user(a, 8, b"x"), int | None)
    assert_type(uaccess.strncpy_from_user(a, 8), bytes)
    assert_type(uaccess.check_zeroed_user(a, 8), bool)
    assert_type(uaccess.probe_write(a, 8), int)
    uaccess.copy_to_user(a, memoryview(b"x"))
    uaccess.put_user(a, c_int, 5)

    uaccess.copy_from_user(a, 8, True)  # type: ignore[call-arg]
    uaccess.copy_from_user("a", 8)  # type: ignore[arg-type]
    uaccess.copy_to_user(a, "text")  # type: ignore[arg-type]
    uaccess.copy_struct_from_user(a, 8, int)  # type: ignore[type-var]
    uaccess.no_such_verb(a)  # type: ignore[attr-defined]


def words(a: int) -> None:
    assert_type(atomics.fetch_add(a, c_int, 1), int)
    assert_type(atomics.fetch_xor(a, c_int, 1), int)
    atomics.store(a, c_int, 5)
    atomics.load(a)  # type: ignore[call-arg]
    atomics.fetch_add("a", c_int, 1)  # type: ignore[arg-type]


def batches(addresses: "array.array[int]", numbers: list[VirtAddr], out: bytearray) -> None:
    assert_type(batch.gather_from_user(addresses, 8), tuple[bytes, bytes])
    assert_type(batch.gather_from_user(numbers, 8, out=out), tuple[bytearray, bytes])
    assert_type(batch.scatter_to_user(range(8), memoryview(out)), bytes)
    assert_type(batch.probe_many(numbers, 8), bytes)
    assert_type(batch.read_strings(addresses, 8), list[bytes | None])
    batch.gather_from_user(5, 8)  # type: ignore[call-overload]
    batch.probe_many(["a"], 8)  # type: ignore[list-item]
    batch.scatter_to_user(numbers, "text")  # type: ignore[arg-type]


def state(error: FaultError) -> None:
    assert_type(error.address, VirtAddr)
    assert_type(error.reason, FaultReason)
    assert_type(error.transferred, int)
    assert_type(error.signal, int | None)
    assert_type(is_accessing_user_memory(), bool)
    assert_type(access_user_memory(len, "abc"), int)
    repr(axptr_native.no_such_name)  # type: ignore[attr-defined]


def bad_memory(data: bytearray) -> None:
    assert_type(guard_page_after(data, 8), AbstractContextManager[Region])
    with straddling(memoryview(data), 3) as region, hole() as nothing, non_canonical() as wild, no_access(3):
        assert_type(region, Region)
        assert_type(wild, Region)
        assert_type(region.address, VirtAddr)
        assert_type(nothing.edge, VirtAddr)
        assert_type(region.size, int)
        assert_type(region.reason, FaultReason)
        assert_type(region.view(), GuardedView)
        region.size = 3  # type: ignore[misc]
    guard_page_after("text")  # type: ignore[arg-type]
    no_access(data)  # type: ignore[arg-type]


def sweeps(data: bytearray, kinds: list[str]) -> None:
    def parse(region: Region) -> list[str]:
        return [str(region)]

    assert_type(sweep(parse, data), Iterator[Case[list[str]]])
    sweep(parse, data, kinds=kinds, element=2, raises=(ValueError, SystemExit))
    for case in sweep(parse, data, kinds=SweepKind, raises=ValueError):
        assert_type(case.result, list[str] | None)
        assert_type(case.error, BaseException | None)
        assert_type(case.kind, SweepKind)
        assert_type(case.edge, VirtAddr)
    assert_type(SweepError(next(sweep(parse, data))).case, Case[Any])
    sweep(len, data)  # type: ignore[arg-type]
    sweep(parse, "text")  # type: ignore[arg-type]
    sweep(parse, data, raises=ValueError())  # type: ignore[arg-type]
    sweep(parse, data, kinds=3)  # type: ignore[arg-type]
