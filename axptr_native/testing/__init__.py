# SPDX-License-Identifier: MIT
"""For tests of code that accesses user memory."""

from .injection import fail_usercopy

__all__ = ["fail_usercopy"]
