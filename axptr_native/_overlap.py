# SPDX-License-Identifier: MIT
"""Writing a buffer over memory that it may lie in itself."""

from __future__ import annotations

from operator import index

from ._buffer import locate
from ._native import go_on
from .uaccess import copy_from_user, copy_to_user


def write_buffer(addr: int, source: memoryview, *, release_gil: bool = False) -> None:
    """Write the bytes of a buffer at an address, as memmove does.

    ``copy_to_user`` goes page by page: where the target begins inside the source, that would be written over before it
    is read.
    """
    addr = index(addr)
    data: bytes | memoryview = source
    if type(source.obj) is not bytes:  # over those nobody may write
        own, size = locate(source, writable=False)
        if own < addr + size and addr < own + size:
            data = go_on(copy_from_user, own, size)
    if release_gil:
        copy_to_user(addr, data, release_gil=True)
    else:  # the builtin, which takes no options
        copy_to_user(addr, data)
