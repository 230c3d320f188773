# SPDX-License-Identifier: MIT
"""Follow CPython's own object pointers from an id, taking every word for a pointer, and survive those that are none.

Debuggers, leak hunters and heap profilers do this.  An object's words are reference counts, hashes, lengths, text and
pointers, and nothing says which is which: the only way to know is to look, and most looks go wrong.

For CPython only: elsewhere an id is no address, and objects have no header of this kind.
"""

from __future__ import annotations

import ctypes
from collections import Counter
from collections.abc import Iterator

from axptr_native import FaultError, UserConstPtr, UserMemoryError
from axptr_native.uaccess import get_user

HEADER = object.__basicsize__  # its last word is ob_type, also in builds that add words of their own
WORD = ctypes.sizeof(ctypes.c_size_t)
TEXT_AT = "".__sizeof__() - 1  # an empty string is its header and a zero byte


class TypeObject(ctypes.Structure):
    """The beginning of CPython's PyTypeObject."""

    _fields_ = (
        ("header", ctypes.c_ubyte * HEADER),
        ("size", ctypes.c_ssize_t),
        ("name", ctypes.c_void_p),
        ("basicsize", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
    )


class Planet:
    """Something to find: its slots are words of the object."""

    __slots__ = ("moons", "name", "year")

    def __init__(self, name: str, year: float, *moons: str) -> None:
        self.name, self.year, self.moons = name, year, moons


def type_of(address: int) -> int:
    """Return the word where an object has the address of its type; FaultError if there is no such word."""
    # The plain verb: it asks nothing beforehand, and so its error has the processor's own reason.
    return int(get_user(address + HEADER - WORD, ctypes.c_size_t))


def is_object(address: int) -> bool:
    """Return whether its type's type, and so on, leads to ``type``; FaultError if it leads to bad memory."""
    for _ in range(3):  # an object, its class, a metaclass
        address = type_of(address)
        if address == id(type):
            return True
    return False


def describe(address: int) -> tuple[str, int]:
    """Return what an object looks like, and how many of its words to look at."""
    kind = UserConstPtr[TypeObject](type_of(address)).get().value
    name = UserConstPtr[ctypes.c_char](kind.name or 0).get_as_str(limit=200)
    if name == "str":
        return repr(UserConstPtr[ctypes.c_char](address + TEXT_AT).get_as_str(limit=200)), 0
    if name == "float":
        return repr(UserConstPtr[ctypes.c_double](address + HEADER).get().value), 0
    items = UserConstPtr[ctypes.c_ssize_t](address + HEADER).get().value if kind.itemsize else 0
    size = kind.basicsize + kind.itemsize * abs(items)
    return name, 0 if name == "type" else min(size // WORD, 512)


def walk(address: int, refused: Counter[str], seen: set[int], depth: int = 0) -> Iterator[str]:
    """Yield a line for each object that can be reached from an address; count the words that lead to none."""
    if address in seen:
        return
    try:
        if not is_object(address):
            refused["no object, but readable"] += 1
            return
        seen.add(address)
        text, words = describe(address)
        yield f"{'  ' * depth}{text}"
        content = UserConstPtr[ctypes.c_size_t](address).get_as_slice(words).copy()
    except UserMemoryError as error:
        refused[str(error.reason) if isinstance(error, FaultError) else "no text"] += 1
        return
    for word in content:
        yield from walk(word, refused, seen, depth + 1)


def main() -> None:
    """Walk from a tuple, then from addresses that are garbage."""
    # Words of types are left alone: from a type one gets to every module there is.
    known = {id(kind) for kind in (str, tuple, float, type, Planet)}
    system = (Planet("Mars", 1.88, "Phobos", "Deimos"), Planet("Neptune", 164.8, "Triton"), (8.5, "and more"))
    refused: Counter[str] = Counter()
    print("from the id of a tuple:")
    for line in walk(id(system), refused, set(known)):
        print(f"  {line}")
    print(f"{refused.total()} words led to no object: {dict(refused)}")

    print("from garbage:")
    freed = ctypes.create_string_buffer(1 << 24)  # large enough that its memory is unmapped when it is freed
    garbage = {
        "null": 0,
        "a small number": 4096,
        "one byte too far": id(system) + 1,
        "text": int.from_bytes(b"garbage!", "little"),
        "all ones": 2**64 - 1,
        "freed": ctypes.addressof(freed),
    }
    del freed
    for story, address in garbage.items():
        found: Counter[str] = Counter()
        lines = list(walk(address, found, set(known)))
        print(f"  {story}: {', '.join(lines or found)}")


if __name__ == "__main__":
    main()
