# SPDX-License-Identifier: MIT
"""Real libraries keep to the memory that they are given, whatever is in it and wherever it ends.

Each input ends, or starts, where the memory does.  Every truncation of a good one is swept over every kind of end, and
mutations of it come from seeds.  A fault in the library, or an answer that its documentation does not allow, fails.
"""

import ctypes
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from helpers_processor import SLOWER
from helpers_real import (
    SQLITE_ERROR,
    SQLITE_OK,
    Z_BUF_ERROR,
    Z_DATA_ERROR,
    Z_FINISH,
    Z_NEED_DICT,
    Z_OK,
    Z_STREAM_END,
    Database,
    GzipHeader,
    Inflater,
    load_expat,
    load_sqlite,
    load_zlib,
    mutated,
    put_last,
)

from axptr_native.testing import Region, SweepKind, guard_page_after, guard_page_before, sweep

SEEDS = range(4)
MUTATIONS = 300 // SLOWER

each_seed = pytest.mark.parametrize("seed", SEEDS)

# ---- zlib ----

PLAIN = bytes(range(0, 256, 2)) + b"a" * 270 + b"the quick brown fox jumps over the lazy dog; " * 3
"""Literals, a match of the greatest length at the smallest distance, and matches that overlap the end of the room."""

WINDOW_BITS = {"raw": -15, "zlib": 15, "gzip": 31}
STRATEGIES = {
    "stored": (0, zlib.Z_DEFAULT_STRATEGY),
    "fixed": (9, getattr(zlib, "Z_FIXED", 4)),
    "dynamic": (9, zlib.Z_DEFAULT_STRATEGY),
    "literals": (9, zlib.Z_HUFFMAN_ONLY),
}


@pytest.fixture(scope="session")
def libz() -> Any:
    """zlib, guarded."""
    return load_zlib()


@pytest.fixture(params=WINDOW_BITS)
def window_bits(request: pytest.FixtureRequest) -> int:
    """Each wrapping of a stream."""
    return WINDOW_BITS[request.param]


@pytest.fixture(params=STRATEGIES)
def packed(request: pytest.FixtureRequest, window_bits: int) -> bytes:
    """PLAIN, compressed in each way."""
    level, strategy = STRATEGIES[request.param]
    compressor = zlib.compressobj(level, zlib.DEFLATED, window_bits, 9, strategy)
    return compressor.compress(PLAIN) + compressor.flush()


@pytest.fixture
def inflater(libz: Any, window_bits: int) -> Iterator[Inflater]:
    """A stream of zlib's, of that wrapping."""
    made = Inflater(libz, window_bits)
    yield made
    made.close()


@pytest.fixture
def room() -> Iterator[Region]:
    """Room for PLAIN, with not a byte to spare."""
    with guard_page_after(bytes(len(PLAIN))) as region:
        yield region


def made(inflater: Inflater, room: Region) -> bytes:
    """Return what has been inflated so far."""
    return room.view()[: inflater.stream.total_out]


def test_zlib_inflates_every_truncation(inflater: Inflater, packed: bytes, room: Region) -> None:
    """What comes of a stream that is cut is the beginning of the plain text, and all of it for the whole stream."""

    def inflate(source: Region) -> int:
        inflater.start(room.address, room.size)
        return inflater.feed(source.address, source.size)

    for case in sweep(inflate, packed):
        whole = case.offset == len(packed)
        assert case.result in ((Z_STREAM_END,) if whole else (Z_OK, Z_BUF_ERROR)), str(case)
        assert PLAIN.startswith(made(inflater, room)), str(case)
        assert inflater.stream.total_out == len(PLAIN) or not whole, str(case)


def test_zlib_inflates_into_every_size_of_room(inflater: Inflater, packed: bytes) -> None:
    """Room that is too small is filled to its last byte, and not beyond."""
    with guard_page_after(packed) as source:

        def inflate(target: Region) -> bytes:
            inflater.start(target.address, target.size)
            assert inflater.feed(source.address, source.size) in (Z_OK, Z_STREAM_END, Z_BUF_ERROR)
            return target.view()[:]

        for case in sweep(inflate, bytes(len(PLAIN)), kinds=(SweepKind.HOLE_AFTER, SweepKind.GUARD_PAGE_BEFORE)):
            assert case.result == PLAIN[: case.offset], str(case)


def test_zlib_inflates_in_two_pieces_cut_anywhere(inflater: Inflater, packed: bytes, room: Region) -> None:
    """Both pieces end at an edge, and together they give the plain text."""
    with guard_page_after(packed) as rest:

        def inflate(first: Region) -> int:
            inflater.start(room.address, room.size)
            assert inflater.feed(first.address, first.size) in (Z_OK, Z_STREAM_END, Z_BUF_ERROR)
            return inflater.feed(rest.address + first.size, rest.size - first.size, Z_FINISH)

        for case in sweep(inflate, packed[:-1], kinds=SweepKind.TRUNCATED_FILE):
            assert (case.result, made(inflater, room)) == (Z_STREAM_END, PLAIN), str(case)


@each_seed
def test_zlib_survives_mutations(inflater: Inflater, packed: bytes, seed: int) -> None:
    """A stream that is corrupt has one of the results that are documented, without a fault."""
    guarded_room = guard_page_after if seed % 2 else guard_page_before  # a match may lead to before the room, too
    with guard_page_after(packed) as source, guarded_room(bytes(len(PLAIN))) as room:
        for data in mutated(packed, seed, MUTATIONS):
            inflater.start(room.address, room.size)
            status = inflater.feed(put_last(source, data), len(data))
            assert status in (Z_OK, Z_STREAM_END, Z_NEED_DICT, Z_DATA_ERROR, Z_BUF_ERROR), data.hex()


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_zlib_keeps_to_the_room_for_a_header_of_gzip(libz: Any, step: int) -> None:
    """An extra field, in pieces of each size, fills the room that there is for it and no more (CVE-2022-37434)."""
    extra = bytes(range(1, 61))
    stream = b"\x1f\x8b\x08\x04" + bytes(6) + len(extra).to_bytes(2, "little") + extra + b"\3\0"

    def inflate(target: Region) -> bytes:
        header = GzipHeader(extra=int(target.address), extra_max=target.size)
        plain = ctypes.create_string_buffer(1)
        inflater.start(ctypes.addressof(plain), 1)
        inflater.take_header(header)
        for at in range(0, len(stream), step):
            piece = stream[at : at + step]
            inflater.feed(put_last(source, piece), len(piece))
        assert (header.done, header.extra_len) == (1, len(extra))
        return target.view()[:]

    with closing(Inflater(libz, 31)) as inflater, guard_page_after(stream) as source:
        for case in sweep(inflate, bytes(len(extra) + 4), kinds=SweepKind.GUARD_PAGE_AFTER):
            assert case.result == extra[: case.offset].ljust(case.offset, b"\0"), str(case)


@pytest.mark.parametrize("name", ["adler32", "crc32"])
def test_zlib_sums_every_truncation(libz: Any, name: str) -> None:
    """The checksum of what there is, at every alignment of its start and its end, is Python's."""
    checksum, expected = getattr(libz, name), getattr(zlib, name)

    def summed(source: Region) -> int:
        return checksum(1, source.address, source.size)  # type: ignore[no-any-return]

    for case in sweep(summed, PLAIN, kinds=SweepKind):
        data = PLAIN[len(PLAIN) - case.offset :] if case.kind is SweepKind.GUARD_PAGE_BEFORE else PLAIN[: case.offset]
        assert case.result == expected(data, 1), str(case)


@pytest.mark.parametrize("level", [1, 6, 9])
def test_zlib_compresses_every_truncation(libz: Any, level: int) -> None:
    """What is compressed into the room that zlib says is enough can be decompressed."""
    with guard_page_after(bytes(libz.compressBound(len(PLAIN)))) as target:

        def compressed(source: Region) -> bytes:
            size = ctypes.c_ulong(libz.compressBound(source.size))
            start = target.edge - size.value
            status = libz.compress2(start, ctypes.addressof(size), source.address, source.size, level)
            assert status == Z_OK
            return ctypes.string_at(int(start), size.value)

        for case in sweep(compressed, PLAIN, element=3):
            assert zlib.decompress(case.result or b"") == PLAIN[: case.offset], str(case)


# ---- expat ----

DOCUMENT = """<?xml version="1.0"?>
<!DOCTYPE a [<!ENTITY e "x&#233;y"><!ATTLIST n:b c CDATA "d"><!ELEMENT a (#PCDATA|n:b)*><!-- in the DTD --> ]>
<a xmlns:n="urn:n" n:k='v&lt;w'>
<b/>\u00e9\u20ac&e;&#x41;<![CDATA[ ]] > ]]><!-- no --><?p i?><n:b c="&amp;">t</n:b></a>"""
LATIN = DOCUMENT.replace("\u20ac", "").replace('"1.0"', '"1.0" encoding="iso-8859-1"', 1)
DOCUMENTS = {
    "utf-8": DOCUMENT.encode(),
    "utf-8-bom": DOCUMENT.encode("utf-8-sig"),
    "utf-16-le": b"\xff\xfe" + DOCUMENT.encode("utf-16-le"),
    "utf-16-be": b"\xfe\xff" + DOCUMENT.encode("utf-16-be"),
    "latin-1": LATIN.encode("latin-1"),
    "ascii": DOCUMENT.encode("ascii", "xmlcharrefreplace"),
}
STATUS_ERROR, STATUS_OK = 0, 1


@pytest.fixture(scope="session")
def expat() -> Any:
    """expat, guarded."""
    return load_expat()


@pytest.fixture(params=["plain", "namespaces"])
def parser(request: pytest.FixtureRequest, expat: Any) -> Iterator[Any]:
    """A parser of each kind."""
    made = expat.XML_ParserCreateNS(None, b"|") if request.param == "namespaces" else expat.XML_ParserCreate(None)
    yield made
    expat.XML_ParserFree(made)


@pytest.fixture(params=DOCUMENTS)
def document(request: pytest.FixtureRequest) -> bytes:
    """A document in each encoding, every proper beginning of which is none."""
    return DOCUMENTS[request.param]


def test_expat_parses_every_truncation(expat: Any, parser: Any, document: bytes) -> None:
    """A document that is cut is an error, whose place is in what there was; the whole one is none."""

    def parse(source: Region) -> tuple[int, int]:
        expat.XML_ParserReset(parser, None)
        status = expat.XML_Parse(parser, source.address, source.size, 1)
        assert -1 <= expat.XML_GetCurrentByteIndex(parser) <= source.size
        return status, expat.XML_GetErrorCode(parser)

    for case in sweep(parse, document):
        status, code = case.result or (None, None)
        if case.offset == len(document):
            assert (status, code) == (STATUS_OK, 0), str(case)
        else:
            assert status == STATUS_ERROR, str(case)
            assert code, str(case)


def test_expat_parses_in_two_pieces_cut_anywhere(expat: Any, parser: Any, document: bytes) -> None:
    """Both pieces end at an edge, and together they are the document."""
    with guard_page_after(document) as rest:

        def parse(first: Region) -> tuple[int, int]:
            expat.XML_ParserReset(parser, None)
            status = expat.XML_Parse(parser, first.address, first.size, 0)
            return status, expat.XML_Parse(parser, rest.address + first.size, rest.size - first.size, 1)

        for case in sweep(parse, document, kinds=SweepKind.TRUNCATED_FILE):
            assert case.result == (STATUS_OK, STATUS_OK), str(case)


@each_seed
def test_expat_survives_mutations(expat: Any, parser: Any, document: bytes, seed: int) -> None:
    """A document that is corrupt is parsed, or is an error with a place, without a fault."""
    with guard_page_after(document) as source:
        for data in mutated(document, seed, MUTATIONS):
            expat.XML_ParserReset(parser, None)
            status = expat.XML_Parse(parser, put_last(source, data), len(data), 1)
            assert (status, bool(expat.XML_GetErrorCode(parser))) in ((STATUS_OK, False), (STATUS_ERROR, True)), data
            assert -1 <= expat.XML_GetCurrentByteIndex(parser) <= len(data), data


# ---- SQLite ----

STATEMENTS = {
    "select": "SELECT 'it''s', x'c0ffee', 1.5e-3, \"a\", [b c], ?1, :n, @n FROM t -- \u00e9\n WHERE 1 /* \u20ac */",
    "recursive": "WITH RECURSIVE r(n) AS (VALUES(1) UNION ALL SELECT n+1 FROM r WHERE n<9) SELECT sum(n) OVER() FROM r",
    "create": "CREATE TABLE IF NOT EXISTS u(k INTEGER PRIMARY KEY, v TEXT DEFAULT 'd' CHECK(v NOT LIKE '%\U0001f600'))",
}
EXPRESSIONS = [
    "CAST(? AS INTEGER)",
    "CAST(? AS REAL)",
    "CAST(? AS NUMERIC)",
    "? + 0",
    "hex(?)",
    "length(?)",
    "upper(?)",
    "quote(?)",
    "? LIKE '%9_e%'",
    "? GLOB '*[0-9]e*'",
    "instr(?, '7e')",
    "replace(?, '9', 'nine')",
    "trim(?, '- ')",
    "substr(?, -3)",
    "printf('%.5s|%q', ?1, ?1)",
    "unicode(?)",
    "date(?)",
    "? = '-1'",
]
VALUE = "-1234567890123456789.75e-12 \u00e9\u20ac\U0001f600 2024-02-29 12:30:00.5 +01:00".encode()


@pytest.fixture(scope="session")
def sqlite() -> Any:
    """SQLite, guarded."""
    return load_sqlite()


@pytest.fixture
def database(sqlite: Any) -> Iterator[Database]:
    """An open database."""
    made = Database(sqlite)
    yield made
    made.close()


@pytest.mark.parametrize("wide", [False, True], ids=["utf-8", "utf-16"])
@pytest.mark.parametrize("statement", STATEMENTS.values(), ids=STATEMENTS)
def test_sqlite_compiles_every_truncation(database: Database, statement: str, wide: bool) -> None:
    """A statement without a terminator, cut anywhere, is compiled or is an error, and the rest is in what there was."""

    def compiled(source: Region) -> None:
        status, made, tail = database.prepare(source.address, source.size, wide=wide)
        database.drop(made)
        assert status in (SQLITE_OK, SQLITE_ERROR)
        assert tail is None or source.address <= tail <= source.edge

    text = statement.encode("utf-16-le" if wide else "utf-8")
    for case in sweep(compiled, text, element=2 if wide else 1):
        assert case.error is None, str(case)


@pytest.mark.parametrize("kind", ["text", "blob"])
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_sqlite_evaluates_every_truncation(sqlite: Any, database: Database, expression: str, kind: str) -> None:
    """A value that SQLite does not copy, cut anywhere, gives what it does in ordinary memory."""
    statement = database.statement(f"SELECT {expression}".encode())
    bind = getattr(sqlite, f"sqlite3_bind_{kind}")

    def evaluated(address: int, size: int) -> bytes | None:
        assert bind(statement, 1, address, size, None) == SQLITE_OK
        return database.value(statement)

    for case in sweep(lambda source: evaluated(int(source.address), source.size), VALUE):
        ordinary = ctypes.create_string_buffer(VALUE[: case.offset], case.offset + 16)
        assert (case.result, case.error) == (evaluated(ctypes.addressof(ordinary), case.offset), None), str(case)
    database.drop(statement)


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file of a database in pages of 512 bytes: a table with an index, and a row that overflows its page."""
    path = tmp_path_factory.mktemp("sqlite") / "image.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA page_size = 512")
        connection.execute("CREATE TABLE t(k INTEGER PRIMARY KEY, v TEXT, w BLOB)")
        connection.execute("CREATE INDEX i ON t(v)")
        connection.executemany(
            "INSERT INTO t VALUES(?, ?, ?)", [(n, f"{n:x}" * (n % 9), bytes(n % 5 * 9)) for n in range(60)]
        )
        connection.execute("INSERT INTO t VALUES(?, ?, ?)", (60, "long", bytes(700)))
        connection.commit()
    return path.read_bytes()


@each_seed
def test_sqlite_survives_mutations_of_a_database(sqlite: Any, image: bytes, seed: int) -> None:
    """A database that is corrupt, read where it lies, is read or refused without a fault."""
    if not hasattr(sqlite, "sqlite3_deserialize"):
        pytest.skip("this SQLite was built without sqlite3_deserialize()")
    with guard_page_after(image) as source:
        for data in mutated(image, seed, 3 * MUTATIONS):
            database = Database(sqlite)
            database.run(b"PRAGMA mmap_size = 1000000")  # then pages are looked at where they lie, uncopied
            database.deserialize(put_last(source, data), len(data))
            for text in (b"SELECT sum(length(w)) FROM t", b"SELECT max(v) FROM t WHERE v > '5'", b"PRAGMA quick_check"):
                database.run(text)
            database.close()
