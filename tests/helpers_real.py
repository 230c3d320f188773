# SPDX-License-Identifier: MIT
"""Real libraries, with prototypes, whose every call is guarded: zlib, expat and SQLite as the system has them."""

import ctypes
import ctypes.util
import random
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from axptr_native.call import guarded
from axptr_native.testing import Region

_POINTER, _INT, _LONG, _INT64 = ctypes.c_void_p, ctypes.c_int, ctypes.c_ulong, ctypes.c_int64


def load(name: str, prototypes: dict[str, tuple[Any, ...]]) -> Any:
    """Load a library and return those of its functions that it has, guarded; skip where there is no such library.

    Args:
        name: As the linker has it.
        prototypes: By function, the type of its result and those of its arguments.
    """
    file = ctypes.util.find_library(name)
    if file is None:
        pytest.skip(f"lib{name} is not on this system")
    library = ctypes.CDLL(file)
    found = SimpleNamespace()
    for name, (result, *arguments) in prototypes.items():
        if hasattr(library, name):
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
            setattr(found, name, guarded(function))
    return found


def mutated(data: bytes, seed: int, count: int) -> Iterator[bytes]:
    """Yield data with one to four bytes changed, and half of the time cut somewhere: the same for the same seed."""
    chosen = random.Random(seed)
    for _ in range(count):
        changed = bytearray(data)
        for _ in range(chosen.randint(1, 4)):
            changed[chosen.randrange(len(changed))] = chosen.choice((0, 1, 0x7F, 0x80, 0xFF, chosen.randrange(256)))
        yield bytes(changed[: chosen.randrange(len(changed))] if chosen.random() < 0.5 else changed)


def put_last(region: Region, data: bytes) -> int:
    """Put data right before the edge of a region that is large enough, and return its address."""
    start = region.size - len(data)
    region.view()[start:] = data
    return int(region.address) + start


# ---- zlib ----

Z_FINISH = 4
Z_OK, Z_STREAM_END, Z_NEED_DICT, Z_DATA_ERROR, Z_BUF_ERROR = 0, 1, 2, -3, -5


class ZStream(ctypes.Structure):
    """``z_stream``."""

    _fields_ = (
        ("next_in", _POINTER),
        ("avail_in", ctypes.c_uint),
        ("total_in", _LONG),
        ("next_out", _POINTER),
        ("avail_out", ctypes.c_uint),
        ("total_out", _LONG),
        ("msg", _POINTER),
        ("state", _POINTER),
        ("zalloc", _POINTER),
        ("zfree", _POINTER),
        ("opaque", _POINTER),
        ("data_type", _INT),
        ("adler", _LONG),
        ("reserved", _LONG),
    )


class GzipHeader(ctypes.Structure):
    """``gz_header``."""

    _fields_ = (
        ("text", _INT),
        ("time", _LONG),
        ("xflags", _INT),
        ("os", _INT),
        ("extra", _POINTER),
        ("extra_len", ctypes.c_uint),
        ("extra_max", ctypes.c_uint),
        ("name", _POINTER),
        ("name_max", ctypes.c_uint),
        ("comment", _POINTER),
        ("comm_max", ctypes.c_uint),
        ("hcrc", _INT),
        ("done", _INT),
    )


def load_zlib() -> Any:
    """Return zlib."""
    return load(
        "z",
        {
            "zlibVersion": (ctypes.c_char_p,),
            "adler32": (_LONG, _LONG, _POINTER, ctypes.c_uint),
            "crc32": (_LONG, _LONG, _POINTER, ctypes.c_uint),
            "compressBound": (_LONG, _LONG),
            "compress2": (_INT, _POINTER, _POINTER, _POINTER, _LONG, _INT),
            "inflate": (_INT, _POINTER, _INT),
            "inflateEnd": (_INT, _POINTER),
            "inflateGetHeader": (_INT, _POINTER, _POINTER),
            "inflateInit2_": (_INT, _POINTER, _INT, ctypes.c_char_p, _INT),
            "inflateReset": (_INT, _POINTER),
        },
    )


class Inflater:
    """One stream of zlib's, used again for each input."""

    def __init__(self, zlib: Any, window_bits: int) -> None:
        self.stream = ZStream()
        self._zlib = zlib
        self._address = ctypes.addressof(self.stream)
        version, size = zlib.zlibVersion(), ctypes.sizeof(ZStream)
        assert zlib.inflateInit2_(self._address, window_bits, version, size) == Z_OK

    def start(self, room: int, size: int) -> None:
        """Begin a new stream, which is to fill so many bytes at most."""
        assert self._zlib.inflateReset(self._address) == Z_OK
        self.stream.next_out, self.stream.avail_out = room, size

    def feed(self, source: int, size: int, flush: int = 0) -> int:
        """Inflate, and return zlib's status; ``stream`` has what was used and made."""
        self.stream.next_in, self.stream.avail_in = source, size
        status: int = self._zlib.inflate(self._address, flush)
        return status

    def take_header(self, header: GzipHeader) -> None:
        """Have the stream's header, which is to come, put there."""
        assert self._zlib.inflateGetHeader(self._address, ctypes.addressof(header)) == Z_OK

    def close(self) -> None:
        """Give its memory back."""
        assert self._zlib.inflateEnd(self._address) == Z_OK


# ---- expat ----


def load_expat() -> Any:
    """Return expat."""
    return load(
        "expat",
        {
            "XML_ParserCreate": (_POINTER, ctypes.c_char_p),
            "XML_ParserCreateNS": (_POINTER, ctypes.c_char_p, ctypes.c_char),
            "XML_ParserReset": (ctypes.c_ubyte, _POINTER, ctypes.c_char_p),
            "XML_ParserFree": (None, _POINTER),
            "XML_Parse": (_INT, _POINTER, _POINTER, _INT, _INT),
            "XML_GetErrorCode": (_INT, _POINTER),
            "XML_GetCurrentByteIndex": (ctypes.c_long, _POINTER),
        },
    )


# ---- SQLite ----

SQLITE_OK, SQLITE_ERROR, SQLITE_ROW, SQLITE_DONE = 0, 1, 100, 101
SQLITE_DESERIALIZE_READONLY = 4


def load_sqlite() -> Any:
    """Return SQLite."""
    prepare = (_INT, _POINTER, _POINTER, _INT, _POINTER, _POINTER)
    bind = (_INT, _POINTER, _INT, _POINTER, _INT, _POINTER)
    return load(
        "sqlite3",
        {
            "sqlite3_open": (_INT, ctypes.c_char_p, _POINTER),
            "sqlite3_close": (_INT, _POINTER),
            "sqlite3_deserialize": (_INT, _POINTER, ctypes.c_char_p, _POINTER, _INT64, _INT64, ctypes.c_uint),
            "sqlite3_prepare_v2": prepare,
            "sqlite3_prepare16_v2": prepare,
            "sqlite3_bind_text": bind,
            "sqlite3_bind_blob": bind,
            "sqlite3_step": (_INT, _POINTER),
            "sqlite3_reset": (_INT, _POINTER),
            "sqlite3_finalize": (_INT, _POINTER),
            "sqlite3_column_blob": (_POINTER, _POINTER, _INT),
            "sqlite3_column_bytes": (_INT, _POINTER, _INT),
        },
    )


class Database:
    """A connection of SQLite's, to memory."""

    def __init__(self, sqlite: Any) -> None:
        self._sqlite = sqlite
        handle = ctypes.c_void_p()
        assert sqlite.sqlite3_open(b":memory:", ctypes.addressof(handle)) == SQLITE_OK
        self.handle = handle.value

    def prepare(self, address: int, size: int, *, wide: bool = False) -> tuple[int, int | None, int | None]:
        """Compile the first statement of a text; return the status, the statement, and where the rest starts."""
        statement, tail = ctypes.c_void_p(), ctypes.c_void_p()
        function = self._sqlite.sqlite3_prepare16_v2 if wide else self._sqlite.sqlite3_prepare_v2
        status = function(self.handle, address, size, ctypes.addressof(statement), ctypes.addressof(tail))
        return status, statement.value, tail.value

    def statement(self, text: bytes) -> int | None:
        """Compile a text, and return the statement, or None if it is wrong or the database is corrupt."""
        memory = ctypes.create_string_buffer(text)
        return self.prepare(ctypes.addressof(memory), len(text))[1]

    def drop(self, statement: int | None) -> None:
        """Give a statement's memory back."""
        self._sqlite.sqlite3_finalize(statement)

    def run(self, text: bytes) -> bytes | None:
        """Compile a text, run it, and return the first column of its first row, if it has one."""
        statement = self.statement(text)
        result = self.value(statement)
        self.drop(statement)
        return result

    def value(self, statement: int | None) -> bytes | None:
        """Run a statement, and return the first column of its first row, if it has one."""
        row = None
        if self._sqlite.sqlite3_step(statement) == SQLITE_ROW:
            size = self._sqlite.sqlite3_column_bytes(statement, 0)
            row = ctypes.string_at(self._sqlite.sqlite3_column_blob(statement, 0) or 0, size) if size else b""
        self._sqlite.sqlite3_reset(statement)
        return row

    def deserialize(self, address: int, size: int) -> None:
        """Take a database's file that is in memory for the connection's own."""
        arguments = self.handle, b"main", address, size, size, SQLITE_DESERIALIZE_READONLY
        assert self._sqlite.sqlite3_deserialize(*arguments) == SQLITE_OK

    def close(self) -> None:
        """Close it, once nothing of it is in use."""
        assert self._sqlite.sqlite3_close(self.handle) == SQLITE_OK
