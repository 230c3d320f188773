# SPDX-License-Identifier: MIT
"""One function, and memory that ends at each place in turn: an access over the edge, by a single byte, is found."""

from __future__ import annotations

import ctypes
import enum
from collections.abc import Callable, Iterable, Iterator
from operator import index
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .._regions import ENDINGS, Ending
from ..errors import FaultError
from .regions import FENCE, Region, bytes_of, fenced_memory

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["Case", "SweepError", "SweepKind", "sweep"]

_Result = TypeVar("_Result")
_Exceptions = type[BaseException] | tuple[type[BaseException], ...]


class SweepKind(enum.Enum):
    """What lies beyond the edge, and on which side."""

    GUARD_PAGE_AFTER = "guard_page_after"
    """The data ends where nothing is permitted."""
    HOLE_AFTER = "hole_after"
    """The data ends where nothing is mapped."""
    TRUNCATED_FILE = "truncated_file"
    """The data ends where a mapped file does."""
    GUARD_PAGE_BEFORE = "guard_page_before"
    """The data starts where nothing before it is permitted; the sweep goes over its ends instead of its beginnings."""

    def __str__(self) -> str:
        return self.value


_ENDINGS = {
    SweepKind.GUARD_PAGE_AFTER: Ending.PROTECTION,
    SweepKind.HOLE_AFTER: Ending.HOLE,
    SweepKind.TRUNCATED_FILE: Ending.END_OF_FILE,
    SweepKind.GUARD_PAGE_BEFORE: Ending.PROTECTION,
}
_AFTER = tuple(
    kind
    for kind in (SweepKind.GUARD_PAGE_AFTER, SweepKind.HOLE_AFTER, SweepKind.TRUNCATED_FILE)
    if _ENDINGS[kind] in ENDINGS
)


class Case(Generic[_Result]):
    """One call of the function, and what came of it.

    As a string it tells how the function ended, where it faulted, counted from the edge, and which bytes are there.

    Attributes:
        kind: What lies beyond the edge.
        offset: Bytes that were good.
        address: Where they started.  The next case has moved other bytes there, and after the last one it is bad.
        edge: The first bad address.
        result: What the function returned, or None.
        error: The FaultError, or the exception of those that were expected, that it raised, or None.
    """

    __slots__ = ("_content", "address", "edge", "error", "kind", "offset", "result")

    def __init__(
        self, kind: SweepKind, region: Region, content: bytes, result: _Result | None, error: BaseException | None
    ) -> None:
        self.kind = kind
        self.offset = region.size
        self.address = region.address
        self.edge = region.edge
        self.result = result
        self.error = error
        self._content = content

    def __str__(self) -> str:
        lines = [self._headline()]
        if isinstance(self.error, FaultError):
            lines.append(str(self.error))
        return "\n".join([*lines, *self._dump()])

    def __repr__(self) -> str:
        return f"<Case {self._headline()}>"

    def _headline(self) -> str:
        return f"{self.kind}, offset {self.offset} of {len(self._content)}: {self._ended()}"

    def _ended(self) -> str:
        if self.error is None:
            return f"returned {self.result!r:.100}"
        if not isinstance(self.error, FaultError):
            return f"raised {type(self.error).__name__}: {self.error}"
        access, address = str(self.error.access).lower(), self.error.address
        beyond = 1 + (self.edge - address if self._is_before else address - self.edge)
        if 1 <= beyond <= FENCE:
            return f"{access} {beyond} byte{'s' * (beyond > 1)} beyond the edge"
        if address in range(self.address, self.address + self.offset):
            return f"{access} at byte {address - self.address} of the good ones"
        return f"{access} elsewhere"

    @property
    def _is_before(self) -> bool:
        return self.kind is SweepKind.GUARD_PAGE_BEFORE

    def _dump(self) -> Iterator[str]:
        """Yield up to three rows of 16 bytes, those next to the edge, which is marked; bad bytes are not shown."""
        total = len(self._content)
        if self._is_before:
            mark = total - self.offset
            good, bad = range(mark, total), range(mark)
            first = mark // 16
            last = max(first, min(first + 2, (total - 1) // 16))
        else:
            mark = self.offset
            last = max(0, mark - 1) // 16
            good, bad = range(mark), range(mark, 16 * last + 16)
            first = max(0, last - 2)
        for start in range(16 * first, 16 * last + 16, 16):
            row = range(start, start + 16)
            cells = [f"{self._content[at]:02x}" if at in good else "??" if at in bad else "  " for at in row]
            marked = "".join(("|" if at == mark else " ") + cell for at, cell in zip(row, cells, strict=True))
            text = "".join(_printable(self._content[at]) if at in good else " " for at in row)
            yield f"{start:04x} {marked}{'|' if row.stop == mark else ' '} {text}".rstrip()


class SweepError(Exception):
    """The function raised what nobody expected, the exception that this one is raised from.

    Attributes:
        case: The call that ended so; its ``error`` is that exception.
    """

    def __init__(self, case: Case[Any]) -> None:
        super().__init__(case)
        self.case = case

    def __str__(self) -> str:
        return str(self.case)


def sweep(
    function: Callable[[Region], _Result],
    data: ReadableBuffer,
    *,
    kinds: SweepKind | str | Iterable[SweepKind | str] = _AFTER,
    element: int = 1,
    raises: _Exceptions = (),
) -> Iterator[Case[_Result]]:
    """Call a function once for each place where its data can end.

    For each kind, and for each number of elements from none to all, ``function`` is given a region of so many, from the
    beginning of ``data`` up to the edge; or, where the edge comes before the data, of so many from the end of it.  What
    it does to them, the next call does not see.  The calls are made one by one, as the cases are asked for, and with
    the last one, or when the iterator is closed, the memory is given back.

    Args:
        function: What to call.  Whatever it accesses it has to access by the guarded means: ``uaccess``, pointers,
            views, ``guarded_call``.
        data: Any contiguous buffer, which is copied.
        kinds: Members of SweepKind or their values, one or several.  Left out: all whose edge comes after the
            data, as far as the system has them.
        element: Bytes by which the end moves.  What is left over at the end of ``data`` is not used.
        raises: Exceptions that the function may raise instead of returning, one or a tuple: what a parser says of data
            that is too short.  FaultError is always expected, and the case has it.

    Yields:
        The cases, by kind and then by number of elements.

    Raises:
        TypeError: An argument is of a wrong type.  Like the next two, raised at once, before anything is mapped.
        ValueError: ``element`` is not positive, there is no such kind, or there is none at all.
        BufferError: ``data`` is not contiguous.
        SweepError: The function raised another exception; the sweep is over.  One that is no Exception (an interrupt
            from the keyboard, say) comes out as it is.
        OSError: The system has no more memory or mappings.
    """
    if not callable(function):
        raise TypeError(f"a function of a region is required, not {function!r}")
    content, width = bytes_of(data), index(element)
    if width < 1:
        raise ValueError(f"an element must have at least 1 byte, not {width}")
    chosen = [_kind(kind) for kind in ([kinds] if isinstance(kinds, (str, SweepKind)) else kinds)]
    if not chosen:
        raise ValueError("at least one kind is required")
    listed = raises if isinstance(raises, tuple) else (raises,)
    for exception in listed:
        if not (isinstance(exception, type) and issubclass(exception, BaseException)):
            raise TypeError(f"an exception's class is required, not {exception!r}")
    whole = content[: len(content) - len(content) % width]
    return _cases(function, whole, chosen, width, (FaultError, *listed))


def _kind(kind: SweepKind | str) -> SweepKind:
    try:
        return SweepKind(kind)
    except ValueError:
        names = ", ".join(map(str, SweepKind))
        raise ValueError(f"a kind is one of {names}, not {kind!r}") from None


def _cases(
    function: Callable[[Region], _Result],
    content: bytes,
    kinds: list[SweepKind],
    element: int,
    expected: tuple[type[BaseException], ...],
) -> Iterator[Case[_Result]]:
    source = (ctypes.c_char * len(content)).from_buffer_copy(content)
    for kind in kinds:
        ending = _ENDINGS[kind]
        with fenced_memory(ending, len(content)) as memory:
            for size in range(0, len(content) + 1, element):
                if kind is SweepKind.GUARD_PAGE_BEFORE:
                    first, address, edge = len(content) - size, memory.start, memory.start - 1
                else:
                    first, address, edge = 0, memory.edge - size, memory.edge
                ctypes.memmove(address, ctypes.addressof(source) + first, size)
                region = Region(address, size, edge, ending.value)
                try:
                    result, error = _outcome(function, region, expected)
                except Exception as unexpected:
                    raise SweepError(Case(kind, region, content, None, unexpected)) from unexpected
                yield Case(kind, region, content, result, error)


def _outcome(
    function: Callable[[Region], _Result], region: Region, expected: tuple[type[BaseException], ...]
) -> tuple[_Result | None, BaseException | None]:
    # A function of its own: from the frame of the iterator, its exceptions would keep the iterator alive.
    try:
        return function(region), None
    except expected as error:
        return None, error


def _printable(byte: int) -> str:
    return chr(byte) if 0x20 <= byte < 0x7F else "."
