# SPDX-License-Identifier: MIT
"""ctypes types that get their fields after they were used first, and types that have code of their own."""

import ctypes
from collections.abc import Callable
from ctypes import c_int, c_uint64, py_object, sizeof
from typing import Any, ClassVar

import pytest
from helpers_memory import READ, fault_of, good_memory, pattern, peek, poke
from helpers_space import RW, at

from axptr_native import PAGE_SIZE, AddrSpace, FaultReason, UserConstPtr, UserPtr, uaccess


class Base(ctypes.Structure):
    _fields_ = (("number", c_uint64),)


READS: dict[str, Callable[[int, Any], Any]] = {
    "copy_struct_from_user": lambda start, ctype: uaccess.copy_struct_from_user(start, sizeof(ctype), ctype),
    "UserRef": lambda start, ctype: UserPtr[ctype](start).get().value,  # type: ignore[valid-type]
    "UserSlice.copy": lambda start, ctype: UserConstPtr[ctype](start).get_as_slice(1).copy(),  # type: ignore[valid-type]
}


@pytest.mark.parametrize("base", [ctypes.Structure, ctypes.Union, Base])
@pytest.mark.parametrize("name", READS)
def test_objects_that_a_type_gets_late_are_not_made_from_untrusted_memory(name: str, base: type[Any]) -> None:
    """A type that was asked for before it had fields is TypeError once one of them is an object, also within others."""
    late: Any = type("Late", (base,), {})
    holder: Any = type("Holder", (ctypes.Structure,), {"_fields_": [("all", late * 2)]})
    with good_memory() as start:
        poke(start, pattern(64))
        for ctype in (late, holder, late * 2):
            fault_of(lambda ctype=ctype: uaccess.copy_struct_from_user(-1, 8, ctype), "no address")  # type: ignore[misc]
        late._fields_ = [("thing", py_object)]
        for ctype in (late, holder, late * 2):
            with pytest.raises(TypeError, match="object"):
                READS[name](start, ctype)


@pytest.mark.parametrize("family", [UserPtr, UserConstPtr])
def test_a_type_that_grew_is_checked_whole(family: Any, space: AddrSpace) -> None:
    """A pointer whose class was made before its type had all fields is checked for all of them, and their alignment."""
    late: Any = type("Late", (Base,), {})
    pointers = family[late]
    late._fields_ = [("rest", c_uint64 * 4)]
    assert sizeof(late) == 40
    space.map_alloc(space.base, PAGE_SIZE, RW)
    end = at(space, 1)
    assert bytes(pointers(end - 40).get(space).value) == bytes(40)
    assert pointers(end - 80).get_as_slice(space, 2).nbytes == 80
    for refused in (lambda: pointers(end - 8).get(space), lambda: pointers(end - 40).get_as_slice(space, 2)):
        assert fault_of(refused, "beyond the area").reason is FaultReason.REFUSED
    space.map_alloc(end, PAGE_SIZE, READ)
    if family is UserPtr:
        assert fault_of(lambda: pointers(end - 8).get(space), "read-only").reason is FaultReason.REFUSED
    off = end - 40 - ctypes.alignment(late) // 2
    assert fault_of(lambda: pointers(off).get(space), "off").reason is FaultReason.MISALIGNED


class Demanding(ctypes.Structure):
    """A structure that cannot be made without arguments, and grows when it is."""

    _fields_: ClassVar[Any] = (("x", c_int), ("y", c_int))
    made = 0

    def __init__(self, x: int, y: int) -> None:
        super().__init__(x, y)
        type(self).made += 1
        ctypes.resize(self, 64)


@pytest.mark.parametrize("name", READS)
def test_a_copy_runs_no_code_of_its_type(name: str) -> None:
    """A structure whose __init__ needs arguments is copied without it, byte by byte, and has its own size."""
    with good_memory() as start:
        poke(start, pattern(64))
        copied = READS[name](start, Demanding)
        assert memoryview(copied).cast("B").tobytes() == peek(start, 8)
        assert Demanding.made == 0
