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
