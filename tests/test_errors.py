# SPDX-License-Identifier: MIT
"""What the exceptions say, and that they survive pickling, copying and other processes."""

import copy
import errno
import multiprocessing
import os
import pickle
import re
import sys
import traceback
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from axptr_native import (
    EncodingError,
    FaultError,
    FaultReason,
    MappingFlags,
    TooLongError,
    UserMemoryError,
    VirtAddr,
    uaccess,
)
from axptr_native._regions import Region

HEADER = Path(__file__).parents[1] / "native" / "axptr.h"
READ, WRITE, EXECUTE = MappingFlags.READ, MappingFlags.WRITE, MappingFlags.EXECUTE


class OwnFaultError(FaultError):
    """A subclass with an attribute of its own."""

    note = "class"


class OwnEncodingError(EncodingError):
    pass


class OwnTooLongError(TooLongError):
    pass


class OwnUserError(UserMemoryError):
    pass


def fault() -> FaultError:
    return FaultError(0x7F3A00001000, READ, FaultReason.NOT_MAPPED, transferred=16, size=64, signal=11)


MAKERS: list[Callable[[], UserMemoryError]] = [
    fault,
    lambda: FaultError(-1, WRITE, FaultReason.OUT_OF_RANGE),
    lambda: FaultError(2**70, READ | WRITE, FaultReason.INJECTED, size=2**64),
    lambda: OwnFaultError(4096, EXECUTE, FaultReason.REFUSED, transferred=3, size=4, signal=7),
    lambda: EncodingError(0x1000, "byte 0xff at 3"),
    lambda: OwnEncodingError(0x1000, ""),
    lambda: TooLongError(0x1000, 255),
    lambda: OwnTooLongError(0x1000, 1),
    lambda: UserMemoryError(errno.E2BIG, "Argument list too long: byte 3"),
    lambda: OwnUserError(errno.EFAULT, "refused"),
    lambda: UserMemoryError(errno.ENOMEM, "refused", "a file"),
]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            fault(),
            "[Errno 14] Bad address: cannot read 0x7f3a00001000: not mapped (16 of 64 bytes transferred)",
        ),
        (
            FaultError(0x10, WRITE, FaultReason.NOT_PERMITTED, size=1, signal=11),
            "[Errno 14] Bad address: cannot write 0x10: not permitted (0 of 1 byte transferred)",
        ),
        (
            FaultError(0, EXECUTE, FaultReason.BEYOND_END),
            "[Errno 14] Bad address: cannot execute 0x0: beyond the end of the file",
        ),
        (
            FaultError(1 << 63, WRITE, FaultReason.NOT_CANONICAL, size=0),
            "[Errno 14] Bad address: cannot write 0x8000000000000000: not a canonical address "
            "(0 of 0 bytes transferred)",
        ),
        (
            FaultError(-1, READ, FaultReason.OUT_OF_RANGE),
            "[Errno 14] Bad address: cannot read -0x1: out of the address space",
        ),
        (
            FaultError(3, MappingFlags(0), FaultReason.MISALIGNED),
            "[Errno 14] Bad address: cannot access 0x3: misaligned",
        ),
        (FaultError(3, READ, FaultReason.REFUSED), "[Errno 14] Bad address: cannot read 0x3: refused"),
        (FaultError(3, READ, FaultReason.HARDWARE), "[Errno 14] Bad address: cannot read 0x3: hardware memory error"),
        (FaultError(3, READ, FaultReason.INJECTED), "[Errno 14] Bad address: cannot read 0x3: injected fault"),
        (
            EncodingError(0x1000, "byte 0xff at 3"),
            f"[Errno {errno.EILSEQ}] {os.strerror(errno.EILSEQ)}: text at 0x1000: byte 0xff at 3",
        ),
        (
            TooLongError(0x1000, 255),
            f"[Errno {errno.ENAMETOOLONG}] String too long: no terminator within 255 elements at 0x1000",
        ),
        (
            TooLongError(0x1000, 1),
            f"[Errno {errno.ENAMETOOLONG}] String too long: no terminator within 1 element at 0x1000",
        ),
    ],
    ids=lambda value: value.__class__.__name__,
)
def test_messages_say_what_where_and_why(error: UserMemoryError, text: str) -> None:
    """str() and the traceback's last line are exactly the documented text."""
    assert str(error) == text
    name = type(error).__name__
    assert traceback.format_exception_only(type(error), error)[-1].rstrip() == f"axptr_native.errors.{name}: {text}"
    assert repr(error) == f"{name}({error.errno}, {text.partition('] ')[2]!r})"


def test_a_real_fault_has_the_documented_message(region: Region) -> None:
    """The numbers in it are those of the access, in an error that an access raised."""
    with pytest.raises(FaultError) as caught:
        uaccess.copy_to_user(region.edge - 16, bytes(64))
    reason = str(caught.value.reason)
    expected = f"[Errno 14] Bad address: cannot write {region.edge:#x}: {reason} (16 of 64 bytes transferred)"
    assert str(caught.value) == expected


def test_they_are_os_errors_with_their_errno() -> None:
    """Each is a UserMemoryError and an OSError, and carries errno, strerror and two args."""
    numbers = {FaultError: errno.EFAULT, EncodingError: errno.EILSEQ, TooLongError: errno.ENAMETOOLONG}
    for make in MAKERS:
        error = make()
        assert isinstance(error, UserMemoryError)
        assert isinstance(error, OSError)
        assert not isinstance(error, UnicodeError | ValueError | LookupError)
        for kind, number in numbers.items():
            if isinstance(error, kind):
                assert error.errno == number
        assert error.args == (error.errno, error.strerror)
        assert isinstance(error.strerror, str)


def test_fields_are_what_was_given() -> None:
    """Attributes hold the arguments; the address is a VirtAddr; what was left out has its default."""
    error = fault()
    assert (error.address, error.access, error.reason) == (0x7F3A00001000, READ, FaultReason.NOT_MAPPED)
    assert (error.transferred, error.size, error.signal) == (16, 64, 11)
    least = FaultError(5, WRITE, FaultReason.REFUSED)
    assert (least.transferred, least.size, least.signal) == (0, None, None)
    for addressed in (error, least, EncodingError(5, "x"), TooLongError(5, 1)):
        assert type(addressed.address) is VirtAddr


def same(error: UserMemoryError, other: UserMemoryError) -> None:
    assert other is not error
    assert type(other) is type(error)
    assert str(other) == str(error)
    assert repr(other) == repr(error)
    assert other.args == error.args
    assert (other.errno, other.strerror, other.filename) == (error.errno, error.strerror, error.filename)
    for field in getattr(error, "__slots__", ()):
        assert getattr(other, field) == getattr(error, field)
        assert type(getattr(other, field)) is type(getattr(error, field))
    assert vars(other) == vars(error)
    assert {name: type(value) for name, value in vars(other).items()} == {
        name: type(value) for name, value in vars(error).items()
    }


def decorate(error: UserMemoryError) -> None:
    """Give an error what callers give it: an attribute and, where Python has them, a note."""
    error.extra = ["of", {"ours": 1}]  # type: ignore[attr-defined]
    if sys.version_info >= (3, 11):
        error.add_note("while reading the header")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_error_survives_pickling(protocol: int) -> None:
    """Type, message, args, attributes and notes come back, for subclasses too."""
    for make in MAKERS:
        for decorated in (False, True):
            error = make()
            if decorated:
                decorate(error)
            same(error, pickle.loads(pickle.dumps(error, protocol)))


@pytest.mark.parametrize("copier", [copy.copy, copy.deepcopy])
def test_every_error_survives_copying(copier: Callable[[UserMemoryError], UserMemoryError]) -> None:
    """The copy says the same, and changing it leaves the original alone."""
    for make in MAKERS:
        error = make()
        decorate(error)
        other = copier(error)
        same(error, other)
        other.another = 1  # type: ignore[attr-defined]
        assert not hasattr(error, "another")


def test_errors_are_equal_and_hash_by_identity() -> None:
    """Two errors that say the same are two errors, as for every exception."""
    first, second = fault(), fault()
    assert len({first, second}) == 2
    assert first != second
    assert hash(first) == hash(first)


def test_a_fault_in_a_worker_process_arrives_whole() -> None:
    """ProcessPoolExecutor raises the worker's FaultError here, fields and message included."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        with pytest.raises(FaultError) as caught:
            pool.submit(uaccess.copy_from_user, 8, 64).result()
        with pytest.raises(FaultError) as refused:
            pool.submit(uaccess.clear_user, -1, 64).result()
        assert pool.submit(uaccess.probe_read, 8, 64).result() == 0, "the worker lives"
    error = caught.value
    assert (error.address, error.access, error.reason, error.transferred) == (8, READ, FaultReason.NOT_MAPPED, 0)
    assert (error.size, error.signal) == (64, 11)
    assert str(error) == "[Errno 14] Bad address: cannot read 0x8: not mapped (0 of 64 bytes transferred)"
    assert (refused.value.reason, refused.value.signal) == (FaultReason.OUT_OF_RANGE, None)


def test_reasons_and_flags_have_the_values_of_the_header() -> None:
    """FaultReason and MappingFlags agree with axptr.h by name and number, in both directions."""
    text = HEADER.read_text()
    numbers = {name: int(value) for name, value in re.findall(r"^#define AXP_(\w+) (\d+)", text, re.MULTILINE)}
    between = text[text.index("Why a span could not be accessed") : text.index("typedef struct axp_fault")]
    reasons = re.findall(r"^#define AXP_(\w+) \d+", between, re.MULTILINE)
    assert {reason.name: reason.value for reason in FaultReason} == {name: numbers[name] for name in reasons}
    assert len(reasons) == len({numbers[name] for name in reasons}) >= 9
    assert {flag.name: flag.value for flag in MappingFlags} == {
        name: numbers[name] for name in ("READ", "WRITE", "EXECUTE")
    }


def test_every_reason_has_words_of_its_own() -> None:
    """str() of each reason is lower-case text that no other reason has."""
    texts = [str(reason) for reason in FaultReason]
    assert len(set(texts)) == len(FaultReason)
    assert all(text == text.lower() and "_" not in text for text in texts)
    for reason in FaultReason:
        assert pickle.loads(pickle.dumps(reason)) is reason
