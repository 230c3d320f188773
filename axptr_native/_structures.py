# SPDX-License-Identifier: MIT
"""Structures that are copied from user memory."""

from __future__ import annotations

import errno
import os
from ctypes import Array, Structure, Union, _SimpleCData, addressof, sizeof

from . import _native
from ._buffer import new_data
from ._native import as_one, check_span, lib, lib_for
from ._paging import resume
from ._scalar import refuse_objects
from ._scans import find_nonzero
from .errors import UserMemoryError
from .flags import MappingFlags

TYPE_CHECKING = False  # typing itself would take most of the package's import time
if TYPE_CHECKING:
    from typing import Any, TypeVar

    _Data = TypeVar("_Data", bound="Structure | Union | Array[Any] | _SimpleCData[Any]")


def copy_struct_from_user(addr: int, usize: int, ctype: type[_Data]) -> _Data:
    """Return a copy of an extensible structure, as a system call takes it from an older or a newer caller.

    Args:
        addr: Where the caller's structure is.
        usize: Its size as the caller knows it.  Smaller than ours: the rest of ours is zero.  Larger: what we do not
            know must be zero.
        ctype: Our structure (or union, array, simple type).  A pointer in it is copied, and what it points to is not:
            following it through ctypes is an unguarded access.

    Raises:
        FaultError: It cannot be read.
        TypeError: ``ctype`` holds Python objects.
        UserMemoryError: ``errno`` is E2BIG: the caller uses a part that we do not know.

    Source: Linux ``copy_struct_from_user``.
    """
    refuse_objects(ctype)
    addr, usize = check_span(addr, usize, MappingFlags.READ)
    if _native.injecting and not lib.axp_injection_held():
        copied: _Data = as_one(addr, usize, MappingFlags.READ, copy_struct_from_user, addr, usize, ctype)
        return copied
    result: _Data = new_data(ctype)
    size = min(usize, sizeof(ctype))
    own = addressof(result)
    if size and lib_for(size).axp_raw_copy_from_user(own, addr, size):
        resume(lambda done: lib_for(size).axp_raw_copy_from_user(own + done, addr + done, size - done), usize)
    unknown = size + find_nonzero(addr + size, usize - size, usize, before=size)
    if unknown < usize:
        where = f"byte {unknown} of {usize} at {addr:#x}"
        raise UserMemoryError(
            errno.E2BIG, f"{os.strerror(errno.E2BIG)}: {where} is not zero, and {ctype.__name__} has only {size}"
        )
    return result
