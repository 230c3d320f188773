# SPDX-License-Identifier: MIT
"""Tests that a platform cannot run, and why: each is a row of its table in ``docs/platforms.md``."""

from helpers_processor import NOT_ON_PROCESSOR

NOT_HERE = NOT_ON_PROCESSOR
"""Files, and tests of files: why they are skipped."""
