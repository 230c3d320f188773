# SPDX-License-Identifier: MIT
"""The ten bugs of ``native_planted/planted.c``, what finds each, and where it must be found."""

import struct
from collections.abc import Callable
from typing import Any, NamedTuple

from helpers_memory import READ, WRITE
from helpers_regions import KINDS

from axptr_native import MappingFlags
from axptr_native.testing import Region, SweepKind

BEFORE = (SweepKind.GUARD_PAGE_BEFORE,)
AFTER = tuple(kind for kind in KINDS if kind not in BEFORE)

LINE = b"GET / HTTP/1.1\n"
PATH = b"/usr/lib/python"
NAME = b"eth0.100"
NUMBER = 65535
WORDS = struct.pack("8I", *range(1, 9))
PITCH = 12
PICTURE = struct.pack("30H", *range(30))
OPTIONS = bytes([1, 3, 10, 20, 30, 2, 0, 3, 1, 40, 4, 5, 1, 2, 3, 4, 5])
OPTIONS_END = {0: 0, 5: 60, 7: 60, 10: 100, 17: 115}
"""The sum of what is complete, by the sizes at which no option is cut."""
MESSAGE = bytes([9, 9, 9, 9, 0, 0, 0, 0])


class Planted(NamedTuple):
    """A bug that a sweep finds.

    Of so many good bytes, ``fault`` tells how far beyond the first bad one the bug accesses memory, or None where it
    keeps to what is good, and ``answer`` what the corrected twin returns.
    """

    name: str
    access: MappingFlags
    data: bytes
    arguments: Callable[[Region], tuple[Any, ...]]
    fault: Callable[[int], int | None]
    answer: Callable[[int], int]
    kinds: tuple[SweepKind, ...] = AFTER
    element: int = 1


PLANTED = [
    Planted(
        "copy_line",
        WRITE,
        bytes(20),
        arguments=lambda region: (region, region.size, LINE),
        fault=lambda size: 0 if size < len(LINE) else None,
        answer=lambda size: min(max(size - 1, 0), len(LINE) - 1),
    ),
    Planted(
        "sum_words",
        READ,
        WORDS,
        arguments=lambda region: (region, region.size // 4),
        fault=lambda _: 0,
        answer=lambda size: sum(struct.unpack(f"{size // 4}I", WORDS[:size])),
        element=4,
    ),
    Planted(
        "put_decimal",
        WRITE,
        bytes(10),
        arguments=lambda region: (region, region.size, NUMBER),
        fault=lambda width: 0 if width < len(str(NUMBER)) else None,
        answer=lambda width: -1 if width < len(str(NUMBER)) else width - len(str(NUMBER)),
        kinds=BEFORE,
    ),
    Planted(
        "last_slash",
        READ,
        PATH,
        arguments=lambda region: (region, region.size),
        fault=lambda _: 0,
        answer=lambda size: PATH[:size].rfind(b"/"),
    ),
    Planted(
        "set_name",
        READ,
        bytes(12),
        arguments=lambda region: (region, region.size, NAME),
        fault=lambda size: 0 if size <= len(NAME) else None,
        answer=lambda size: min(size, len(NAME)),
    ),
    Planted(
        "sum_column",
        READ,
        PICTURE,
        arguments=lambda region: (region, region.size // PITCH, PITCH),
        # Row y is taken from where row 2y is: the first of these that is not there is at the edge or a row beyond.
        fault=lambda size: size % (2 * PITCH) if size > PITCH else None,
        answer=lambda size: sum(struct.unpack_from("H", PICTURE, at)[0] for at in range(0, size, PITCH)),
        element=PITCH,
    ),
    Planted(
        "sum_options",
        READ,
        OPTIONS,
        arguments=lambda region: (region, region.size),
        fault=lambda size: None if size in OPTIONS_END else 0,
        answer=lambda size: OPTIONS_END.get(size, -1),
    ),
    Planted(
        "has_body",
        READ,
        MESSAGE,
        arguments=lambda region: (region, region.size),
        # The body would start behind the header, and there is no memory there.
        fault=lambda size: 4 - size if size < 4 else None,
        answer=lambda _: 0,
    ),
]
"""Those that a sweep finds; ``detach`` and ``capitalize`` need a region each."""
