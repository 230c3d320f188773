# SPDX-License-Identifier: MIT
"""Code that runs between two lines of the package, as another thread's, a signal handler's or a finalizer's may."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from helpers_space import uncollected

import axptr_native

LINES = 250
"""More than an operation executes."""
_FOLDER = str(Path(axptr_native.__file__).parent / "_")[:-1]


@contextmanager
def before_line(number: int, act: Callable[[], object], *, within: str = "") -> Iterator[None]:
    """Run a function before the line of that number, from 0 on, that this thread executes in the package, if any.

    Or in a part of it, given the path from the package on.
    """
    lines = 0

    def count() -> None:
        nonlocal lines
        lines += 1
        if lines == number + 1:
            act()

    with before_each_line(count, within=within):
        yield
    assert lines <= LINES, f"{lines} lines are more than any test tries"
    assert lines or number, "no line of the package was executed"


@contextmanager
def before_each_line(act: Callable[[], object], *, within: str = "") -> Iterator[None]:
    """Run a function before each line that this thread executes in the package, or in a part of it."""

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(_FOLDER + within):
            return None
        if event == "line":
            act()
        return trace

    before = sys.gettrace()
    with uncollected():  # whose finalizers would run lines of the package too
        sys.settrace(trace)
        try:
            yield
        finally:
            sys.settrace(before)
