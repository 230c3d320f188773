# SPDX-License-Identifier: MIT
"""Fault injection for tests: memory that really faults, its end at every place, and simulated faults."""

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .injection import fail_usercopy
    from .regions import (
        Region,
        guard_page_after,
        guard_page_before,
        hole,
        no_access,
        non_canonical,
        read_only,
        straddling,
        truncated_file,
    )
    from .sweeps import Case, SweepError, SweepKind, sweep

__all__ = [
    "Case",
    "Region",
    "SweepError",
    "SweepKind",
    "fail_usercopy",
    "guard_page_after",
    "guard_page_before",
    "hole",
    "no_access",
    "non_canonical",
    "read_only",
    "straddling",
    "sweep",
    "truncated_file",
]

_MODULES = {
    "Case": "sweeps",
    "SweepError": "sweeps",
    "SweepKind": "sweeps",
    "fail_usercopy": "injection",
    "sweep": "sweeps",
}
"""Where the names are that are not in ``regions``.  No module may be named like a function: it would take its place."""


if not TYPE_CHECKING:  # to a type checker, a name that is not imported above is an error

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value: object = getattr(import_module(f".{_MODULES.get(name, 'regions')}", __name__), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
