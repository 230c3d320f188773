# SPDX-License-Identifier: MIT
"""How many examples a property test makes up."""

import os

from helpers_processor import SLOWER
from hypothesis import settings


def examples(count: int) -> settings:
    """Settings for a test that is worth so many examples, fewer in an emulator, or as many as the environment asks."""
    asked_for = int(os.environ.get("AXPTR_EXAMPLES", "0"))
    return settings(deadline=None, database=None, max_examples=max(count // SLOWER, asked_for))
