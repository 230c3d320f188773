# SPDX-License-Identifier: MIT
"""Atomic operations on user memory: sequentially consistent, on values of 1, 2, 4 or 8 bytes.

A type is a ctypes simple type or a pointer type, as for ``uaccess.get_user``; ``fetch_add`` and its kin take integer
types. All but ``load`` and ``store`` return what was there.  Every function raises FaultError where the memory cannot
be accessed, and with reason MISALIGNED where the address is not a multiple of the type's size; then nothing was
changed and ``transferred`` is 0. ``load`` needs READ, everything else WRITE.  TypeError and ValueError for a type or
a value that will not do come before anything is touched.
"""

from __future__ import annotations

from ctypes import addressof

from ._builtins import builtin
from ._native import check_span, lib
from ._paging import resume
from ._scalar import Scalar, scalar_of
from .flags import MappingFlags

TYPE_CHECKING = False  # typing itself would take most of the package's import time
if TYPE_CHECKING:
    from typing import Any

__all__ = ["compare_exchange", "exchange", "fetch_add", "fetch_and", "fetch_or", "fetch_xor", "load", "store"]


@builtin
def load(addr: int, ctype: type[Any]) -> Any:
    """Return the value at ``addr``."""
    scalar = scalar_of(ctype)
    addr, width = check_span(addr, scalar.width, MappingFlags.READ)
    value = scalar.carrier()
    if lib.axp_atomic_load(addr, width, addressof(value)):
        resume(lambda _: lib.axp_atomic_load(addr, width, addressof(value)), width)
    return value.value


@builtin
def store(addr: int, ctype: type[Any], value: Any) -> None:
    """Write ``value`` at ``addr``."""
    scalar = scalar_of(ctype)
    addr, width = check_span(addr, scalar.width, MappingFlags.WRITE)
    packed = scalar.pack(value)
    if lib.axp_atomic_store(addr, width, addressof(packed)):
        resume(lambda _: lib.axp_atomic_store(addr, width, addressof(packed)), width)


@builtin
def exchange(addr: int, ctype: type[Any], value: Any) -> Any:
    """Write ``value`` at ``addr`` and return what was there."""
    scalar = scalar_of(ctype)
    return _update("axp_atomic_exchange", addr, scalar, scalar.pack(value))


@builtin
def compare_exchange(addr: int, ctype: type[Any], expected: Any, desired: Any) -> Any:
    """Write ``desired`` at ``addr`` if ``expected`` is there; return what was there, so ``expected`` on success.

    Values are compared bit by bit.  The memory must be writable even if they differ.
    """
    scalar = scalar_of(ctype)
    return _update("axp_atomic_compare_exchange", addr, scalar, scalar.pack(expected), scalar.pack(desired))


@builtin
def fetch_add(addr: int, ctype: type[Any], operand: int) -> int:
    """Add ``operand``, which may be negative, modulo 2 to the power of the type's bits; return what was there."""
    return _fetch("axp_atomic_fetch_add", addr, ctype, operand)


@builtin
def fetch_and(addr: int, ctype: type[Any], operand: int) -> int:
    """Keep the bits that are set in ``operand``; return what was there."""
    return _fetch("axp_atomic_fetch_and", addr, ctype, operand)


@builtin
def fetch_or(addr: int, ctype: type[Any], operand: int) -> int:
    """Set the bits that are set in ``operand``; return what was there."""
    return _fetch("axp_atomic_fetch_or", addr, ctype, operand)


@builtin
def fetch_xor(addr: int, ctype: type[Any], operand: int) -> int:
    """Flip the bits that are set in ``operand``; return what was there."""
    return _fetch("axp_atomic_fetch_xor", addr, ctype, operand)


def _fetch(name: str, addr: int, ctype: type[Any], operand: int) -> int:
    scalar = scalar_of(ctype)
    if not scalar.is_native_integer:
        raise TypeError(f"{ctype.__name__} is not an integer type in the machine's byte order")
    result: int = _update(name, addr, scalar, scalar.wrap(operand))
    return result


def _update(name: str, addr: int, scalar: Scalar, *operands: Any) -> Any:
    addr, width = check_span(addr, scalar.width, MappingFlags.WRITE)
    previous = scalar.carrier()
    update = getattr(lib, name)
    if update(addr, width, *map(addressof, operands), addressof(previous)):
        resume(lambda _: update(addr, width, *map(addressof, operands), addressof(previous)), width)
    return previous.value
