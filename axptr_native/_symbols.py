# SPDX-License-Identifier: MIT
"""Names for code addresses, for reports."""

from __future__ import annotations

import os
import struct

from . import _native

_EXECUTABLE = 2  # e_type: not relocated when loaded
_SYMBOL_TABLE = 2  # sh_type


def symbol_name(address: int) -> str:
    """Return ``symbol in file`` for an address; less where less is known.

    The loader knows exported symbols only, and a signal handler seldom is one (faulthandler's is not), so the file's
    own symbol table is asked as well, if it was not stripped.
    """
    symbol = _native.Symbol()
    _native.check_status(_native.lib.axp_symbol_at(address, symbol))
    path = os.fsdecode(symbol.file)
    if not path:
        return f"{address:#x}"
    base = symbol.file_start or 0
    name = os.fsdecode(symbol.name) or _static_symbol(path, base, address)
    return f"{name or hex(address - base)} in {os.path.basename(path)}"


def _static_symbol(path: str, base: int, address: int) -> str | None:
    """Return the function at an address from an ELF file's symbol table, or None."""
    try:
        with open(path, "rb") as file:
            return _search_elf(file.read(), base, address)
    except (OSError, struct.error, IndexError):
        return None


def _search_elf(image: bytes, base: int, address: int) -> str | None:
    if image[:4] != b"\x7fELF" or image[4] != 2:  # 64-bit only: elsewhere the file and offset must do
        return None
    order = "<" if image[5] == 1 else ">"
    kind, sections_at = struct.unpack_from(f"{order}H22xQ", image, 16)
    entry_size, count = struct.unpack_from(f"{order}HH", image, 58)
    # Name, type, flags, address, offset, size, link, info, alignment, entry size.
    sections = [struct.unpack_from(f"{order}IIQQQQIIQQ", image, sections_at + i * entry_size) for i in range(count)]
    wanted = address if kind == _EXECUTABLE else address - base
    for section in sections:
        if section[1] != _SYMBOL_TABLE:
            continue
        names_at = sections[section[6]][4]
        for name, _, _, _, start, size in struct.iter_unpack(
            f"{order}IBBHQQ", image[section[4] : section[4] + section[5]]
        ):
            if start <= wanted < start + size:
                return image[names_at + name : image.index(b"\0", names_at + name)].decode("utf-8", "replace")
    return None
