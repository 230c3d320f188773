# SPDX-License-Identifier: MIT
"""How many examples a property test makes up."""

import os

from hypothesis import settings


def examples(count: int) -> settings:
    """Settings for a test that is worth so many examples, or as many as the environment asks for."""
    asked_for = int(os.environ.get("AXPTR_EXAMPLES", "0"))
    return settings(deadline=None, database=None, max_examples=max(count, asked_for))
