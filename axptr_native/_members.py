# SPDX-License-Identifier: MIT
"""What ctypes types say of what they hold and what they point to."""

from __future__ import annotations

import ctypes
from ctypes import c_char, c_char_p, c_wchar, c_wchar_p

TYPE_CHECKING = False  # typing itself would take most of the package's import time
if TYPE_CHECKING:
    from typing import Any


def is_complete(ctype: Any) -> bool:
    """Return whether nothing can change what the values of a type are: structures and unions may get fields late."""
    if issubclass(ctype, ctypes.Array):
        return is_complete(ctype._type_)
    if not issubclass(ctype, (ctypes.Structure, ctypes.Union)):
        return True
    return "_fields_" in vars(ctype) and all(map(is_complete, parts_of(ctype)))


def parts_of(ctype: Any) -> list[Any]:
    """Return the types of a structure's fields, those of the structures that it is derived from included."""
    return [field[1] for base in ctype.__mro__ for field in vars(base).get("_fields_", ())]


def find_field(ctype: Any, name: str) -> Any:
    """Return the entry of a member in its ``_fields_``, also of a member of an anonymous one, or None."""
    for base in ctype.__mro__:
        anonymous = vars(base).get("_anonymous_", ())
        for field in vars(base).get("_fields_", ()):
            found = field if field[0] == name else None
            if found is None and field[0] in anonymous:
                found = find_field(field[1], name)
            if found is not None:
                return found
    return None


def pointed_type(ctype: Any) -> Any:
    """Return the type of what a pointer type points to."""
    target = None
    if issubclass(ctype, ctypes._Pointer):
        target = getattr(ctype, "_type_", None)
    elif issubclass(ctype, (c_char_p, c_wchar_p)):
        target = c_char if issubclass(ctype, c_char_p) else c_wchar
    if target is None:
        raise TypeError(f"{ctype.__name__} does not say what it points to, if it does: cast to POINTER(T) first")
    return target
