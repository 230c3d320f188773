# SPDX-License-Identifier: MIT
"""Names for code addresses, for reports."""

from __future__ import annotations

import os
import struct

from . import _native

_EXECUTABLE = 2  # e_type: not relocated when loaded
_SYMBOL_TABLE = 2  # sh_type
_ARM = 40  # e_machine


class _Layout:
    """What is where in an ELF file, and which of a symbol's fields is its value, with its size next."""

    def __init__(self, header: str, section: str, symbol: str, value: int) -> None:
        self.header, self.section, self.symbol, self.value = header, section, symbol, value


_LAYOUT_32 = _Layout("HH12xI10xHH", "10I", "IIIBBH", 1)
_LAYOUT_64 = _Layout("HH20xQ10xHH", "IIQQQQIIQQ", "IBBHQQ", 4)


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
    if image[:4] != b"\x7fELF":  # elsewhere the file and offset must do
        return None
    order = "<" if image[5] == 1 else ">"
    layout = _LAYOUT_64 if image[4] == 2 else _LAYOUT_32
    kind, machine, sections_at, entry_size, count = struct.unpack_from(order + layout.header, image, 16)
    # Name, type, flags, address, offset, size, link, info, alignment, entry size.
    sections = [struct.unpack_from(order + layout.section, image, sections_at + i * entry_size) for i in range(count)]
    wanted = address if kind == _EXECUTABLE else address - base
    for section in sections:
        if section[1] != _SYMBOL_TABLE:
            continue
        names_at = sections[section[6]][4]
        for symbol in struct.iter_unpack(order + layout.symbol, image[section[4] : section[4] + section[5]]):
            name, start, size = symbol[0], symbol[layout.value], symbol[layout.value + 1]
            if machine == _ARM:
                start &= ~1  # which tells the kind of its instructions
            if start <= wanted < start + size:
                return image[names_at + name : image.index(b"\0", names_at + name)].decode("utf-8", "replace")
    return None
