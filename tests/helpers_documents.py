# SPDX-License-Identifier: MIT
"""The blocks of code in the project's documents."""

import re
from typing import NamedTuple

_FENCED = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block: its language, the word behind it or nothing, and what is in it."""

    language: str
    option: str
    code: str


def blocks(text: str) -> list[Block]:
    """Return the blocks of a document, in order.  No fence is missed."""
    found = [Block(language, option or "", code) for language, option, code in _FENCED.findall(text)]
    assert len(found) * 2 == text.count("```")
    return found
