# SPDX-License-Identifier: MIT
"""What may be done with memory."""

import enum


class MappingFlags(enum.IntFlag):
    """The access that a mapping allows, or that an operation attempted.

    Source: axptr's ``MappingFlags``; the values are the same.
    """

    READ = 1
    WRITE = 2
    EXECUTE = 4

    # Each version of Python has words of its own.

    def __str__(self) -> str:
        names = [name for name, flag in MappingFlags.__members__.items() if self & flag]
        rest = int(self) & ~7
        return "|".join(names + [f"{rest:#x}"] * (rest != 0)) or "0"

    def __repr__(self) -> str:
        return f"<MappingFlags.{self}: {int(self)}>" if self else "<MappingFlags: 0>"

    def __format__(self, specification: str) -> str:
        return format(int(self), specification) if specification else str(self)
