# SPDX-License-Identifier: MIT
"""What faults to inject, as Linux's fault injection has it, and where a program is told to by its environment."""

from __future__ import annotations

import os
from operator import index

from . import _native
from ._native import INJECTION_ENDLESS, INJECTION_ONE, Injection, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

WORD_MAX = 2**64 - 1


def make_injection(
    *, probability: float = 1.0, interval: int = 1, times: int | None = None, space: int = 0, seed: int | None = None
) -> Injection:
    """Return an injection that has not begun.

    Raises:
        TypeError: An argument is not a number.
        ValueError: It is outside its range.
    """
    chance = float(probability) if isinstance(probability, (int, float)) else None
    if chance is None:
        raise TypeError(f"probability must be a number from 0.0 to 1.0, not {probability!r}")
    if not 0.0 <= chance <= 1.0:
        raise ValueError(f"probability must be from 0.0 to 1.0, not {probability!r}")
    numerator, denominator = chance.as_integer_ratio()
    return Injection(
        probability=-(-numerator * INJECTION_ONE // denominator),  # rounded up: what is possible stays so
        interval=_check("interval", interval, 1, WORD_MAX),
        times=INJECTION_ENDLESS if times is None else _check("times", times, 0, INJECTION_ENDLESS - 1),
        space=_check("space", space, 0, WORD_MAX),
        seed=int.from_bytes(os.urandom(8), "little") if seed is None else _check("seed", seed, 0, WORD_MAX),
    )


def _check(name: str, value: Any, lowest: int, highest: int) -> int:
    try:
        number = index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, not {value!r}") from None
    if not lowest <= number <= highest:
        raise ValueError(f"{name} must be from {lowest} to {highest}, not {number}")
    return number


_READERS: dict[str, Callable[[str], Any]] = {
    "probability": float,
    "interval": int,
    "times": int,
    "space": int,
    "seed": int,
}


def _parse(text: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part in text.split(","):
        name, equals, value = (word.strip() for word in part.partition("="))
        if not equals or name not in _READERS:
            raise ValueError(f"{part.strip()!r} is not one of {', '.join(f'{known}=...' for known in _READERS)}")
        if name in found:
            raise ValueError(f"{name} is there twice")
        try:
            found[name] = _READERS[name](value)
        except ValueError:
            raise ValueError(f"{name} must be a number, not {value!r}") from None
    return found


def inject_from_environment(variable: str) -> None:
    """Inject faults into the accesses of the whole program, as a variable of its environment says.

    Raises:
        ValueError: The variable does not say what.
    """
    text = os.environ[variable]
    try:
        injection = make_injection(**_parse(text))
    except ValueError as error:
        raise ValueError(f"the environment's {variable}={text!r}: {error}") from None
    _native.injecting = True
    lib.axp_inject_everywhere(injection)  # where the package is imported a second time, it goes on as it is
