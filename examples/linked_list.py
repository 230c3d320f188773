# SPDX-License-Identifier: MIT
"""Walk a C library's linked list although one of its next pointers is corrupt, say where, and mend it.

A plain ``node.contents.next`` of ctypes would end the process at the first bad pointer.  The list lies in an address
space of its own here, so that its pages are real, what lies between them really faults, and an address outside is
refused even though something may be mapped there.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from itertools import pairwise

from axptr_native import PAGE_SIZE, AddrSpace, FaultError, MappingFlags, UserConstPtr, UserPtr

NAMES = ["ant", "bee", "cat", "dog", "eel"]


class Node(ctypes.Structure):
    """As C has it: ``struct node { struct node *next; int id; char name[12]; };``."""


Node._fields_ = [("next", ctypes.POINTER(Node)), ("id", ctypes.c_int), ("name", ctypes.c_char * 12)]


def build(space: AddrSpace) -> list[UserPtr[Node]]:
    """Build a list whose nodes lie here and there, as malloc would have them, and return where they are."""
    nodes = []
    for number, name in enumerate(NAMES):
        page = space.base + 2 * number * PAGE_SIZE  # every second page stays unmapped
        space.map_alloc(page, PAGE_SIZE, MappingFlags.READ | MappingFlags.WRITE)
        node = UserPtr[Node](page + 64 * number)
        node.get(space).value = Node(None, number, name.encode())
        nodes.append(node)
    for node, following in pairwise(nodes):
        node.field("next").get(space).value = following.address
    return nodes


def walk(space: AddrSpace, head: UserConstPtr[Node]) -> Iterator[tuple[UserConstPtr[Node], Node]]:
    """Yield where each node is and a copy of it.

    Raises:
        FaultError: A pointer leads nowhere.
        ValueError: A pointer leads back.
    """
    seen = set()
    node = head.nullable()
    while node is not None:
        if node in seen:
            raise ValueError(f"{node!r} comes a second time")
        seen.add(node)
        yield node, node.get(space).value
        node = node.field("next").follow(space).nullable()  # what it leads to has not been touched


def inspect(space: AddrSpace, head: UserConstPtr[Node]) -> UserConstPtr[Node] | None:
    """Print the list and return the last good node if what follows it is bad."""
    last = None
    names = []
    try:
        for node, content in walk(space, head):
            names.append(content.name.decode())
            last = node
    except (FaultError, ValueError) as error:
        print(f"  {' -> '.join(names)} -> ?  {error}")
        return last
    print(f"  {' -> '.join(names)} -> null")
    return None


def main() -> None:
    """Corrupt the third node's next pointer in every way that C knows."""
    with AddrSpace(16 * PAGE_SIZE) as space:
        nodes = build(space)
        head = UserConstPtr[Node](nodes[0].address)
        print("a good list:")
        inspect(space, head)

        link = nodes[2].field("next").get(space)
        ours = ctypes.create_string_buffer(64)
        for story, bad in {
            "overwritten by a string": int.from_bytes(b"A" * ctypes.sizeof(ctypes.c_void_p), "little"),
            "a few bits flipped": nodes[3].address ^ 0x3,
            "pointing to freed memory": nodes[3].address + PAGE_SIZE,
            "pointing into our own memory": ctypes.addressof(ours) & ~7,
            "leading back": nodes[1].address,
        }.items():
            link.value = bad
            print(f"{story}:")
            last = inspect(space, head)
            if last is not None:
                print(f"  cut after id {last.get(space).value.id}")
                UserPtr[Node](last.address).field("next").get(space).value = None
                inspect(space, head)


if __name__ == "__main__":
    main()
