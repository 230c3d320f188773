# SPDX-License-Identifier: MIT
"""The seeds of simulated faults: one for a run, and from it one for each use in each test."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator


def derived_seeds(seed: int, test: str) -> Iterator[int]:
    """Give the seeds of a test, without end: 64 bits each, the same in every process and whatever ran before."""
    for use in itertools.count():
        text = f"{seed} {use} {test}".encode(errors="backslashreplace")
        yield int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")
