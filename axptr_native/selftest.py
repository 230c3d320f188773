# SPDX-License-Identifier: MIT
"""Every kind of real fault that this platform has, provoked through the public API."""

from __future__ import annotations

import faulthandler
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from ctypes import c_int, c_uint64
from functools import partial
from pathlib import Path
from typing import NamedTuple

from . import atomics, uaccess
from ._regions import ENDINGS, Ending, Region, ending_memory, is_x86_64, never_canonical
from .addr import PAGE_SIZE
from .errors import FaultError, FaultReason
from .flags import MappingFlags
from .handlers import access_user_memory, install, is_accessing_user_memory

_THREADS, _FAULTS_A_THREAD = 8, 50


class Outcome(NamedTuple):
    """What an access came to; ``reason`` is None where the operation does not tell (a partial copy, a probe)."""

    reason: FaultReason | None
    address: int
    transferred: int


class Case(NamedTuple):
    """One way to fault; ``provoke`` returns None if the access went through."""

    name: str
    expected: Outcome
    provoke: Callable[[], Outcome | None]
    faults: int = 1


class Row(NamedTuple):
    """A case and what came of it."""

    name: str
    expected: Outcome
    got: Outcome | None
    faults: int
    microseconds: float

    @property
    def passed(self) -> bool:
        """Whether the fault was caught with exactly the fields that were expected."""
        return self.got == self.expected


def run() -> Iterator[Row]:
    """Provoke every fault and yield each as it is done.

    A fault that is not caught ends the process, as it would anywhere.
    """
    for make_cases in (_ends, _read_only, _wild, _company):
        for case in make_cases():
            started = time.perf_counter()
            got = case.provoke()
            spent = time.perf_counter() - started
            yield Row(case.name, case.expected, got, case.faults, spent / case.faults * 1e6)


def _caught(function: Callable[..., object], *args: object) -> Outcome | None:
    try:
        function(*args)
    except FaultError as error:
        return Outcome(error.reason, error.address, error.transferred)
    return None


def _ends() -> Iterator[Case]:
    """Accesses that run over the edge, for each thing that can lie beyond it."""
    names = {
        Ending.HOLE: "unmapped",
        Ending.PROTECTION: "protected",
        Ending.END_OF_FILE: "past the end of the file",
    }
    for ending, name in names.items():
        if ending not in ENDINGS:
            continue
        with ending_memory(ending) as region, ending_memory(Ending.HOLE) as other:
            for access, before, function, args in _over_the_edge(region.edge, other.start):
                uaccess.copy_to_user(region.start, b"x" * (region.edge - region.start))
                expected = Outcome(ending.value, region.edge, before)
                yield Case(f"{access}, {name}", expected, partial(_caught, function, *args))
            yield Case(f"partial copy, {name}", Outcome(None, region.edge, 100), partial(_partial, region))


def _over_the_edge(edge: int, good: int) -> Iterator[tuple[str, int, Callable[..., object], tuple[object, ...]]]:
    yield "read", 13, uaccess.copy_from_user, (edge - 13, 64)
    yield "read of three pages", PAGE_SIZE + 5, uaccess.copy_from_user, (edge - PAGE_SIZE - 5, 3 * PAGE_SIZE)
    yield "write", 13, uaccess.copy_to_user, (edge - 13, b"y" * 64)
    yield "clear", 7, uaccess.clear_user, (edge - 7, 64)
    yield "copy between, source", 21, uaccess.copy_in_user, (good, edge - 21, 64)
    yield "copy between, target", 21, uaccess.copy_in_user, (edge - 21, good, 64)
    yield "load across the edge", 0, uaccess.get_user, (edge - 3, c_uint64)
    yield "store across the edge", 0, uaccess.put_user, (edge - 3, c_uint64, 0)
    yield "string that runs off", 20, uaccess.strncpy_from_user, (edge - 20, 100)
    yield "search", 20, uaccess.find_in_user, (edge - 20, 100, b"needle")
    yield "atomic load", 0, atomics.load, (edge, c_int)
    yield "atomic add", 0, atomics.fetch_add, (edge, c_int, 1)
    yield "atomic compare-exchange", 0, atomics.compare_exchange, (edge, c_int, 0, 1)


def _partial(region: Region) -> Outcome:
    data = uaccess.copy_from_user(region.edge - 100, 200, partial=True)
    return Outcome(None, region.edge - 100 + len(data), len(data))


def _read_only() -> Iterator[Case]:
    """Accesses that the memory is there for, but not for writing."""
    with ending_memory(Ending.PROTECTION, flags=MappingFlags.READ) as region:
        expected = Outcome(FaultReason.NOT_PERMITTED, region.start, 0)
        for name, function, args in (
            ("write", uaccess.copy_to_user, (b"x" * 8,)),
            ("store", uaccess.put_user, (c_int, 1)),
            ("atomic add", atomics.fetch_add, (c_int, 1)),
        ):
            yield Case(f"{name}, read-only", expected, partial(_caught, function, region.start, *args))
        yield Case("probe for writing, read-only", Outcome(None, region.start, 0), partial(_probe, region))


def _probe(region: Region) -> Outcome:
    return Outcome(None, region.start, uaccess.probe_write(region.start, PAGE_SIZE))


def _wild() -> Iterator[Case]:
    """Addresses that were never anybody's."""
    for name, address, reason in _wild_addresses():
        expected = Outcome(reason, address, 0)
        yield Case(f"read, {name}", expected, partial(_caught, uaccess.copy_from_user, address, 16))
        yield Case(f"write, {name}", expected, partial(_caught, uaccess.copy_to_user, address, b"x" * 16))


def _wild_addresses() -> Iterator[tuple[str, int, FaultReason]]:
    yield "NULL", 0, FaultReason.NOT_MAPPED
    yield "NULL page", 0x10, FaultReason.NOT_MAPPED
    wild = never_canonical()
    if wild is not None:
        yield "non-canonical", wild, FaultReason.NOT_CANONICAL
    if is_x86_64():
        yield "kernel half", 0xFFFF_8000_0000_0000, FaultReason.NOT_MAPPED


def _company() -> Iterator[Case]:
    """Faults in company: nested marks, other threads, blocked signals, other handlers."""
    with ending_memory(Ending.PROTECTION) as region:
        expected = Outcome(FaultReason.NOT_PERMITTED, region.edge, 0)

        fault = partial(_caught, uaccess.get_user, region.edge, c_int)
        for name, provoke, faults in (
            ("nested", _nested, 1),
            (f"in {_THREADS} threads", _in_threads, _THREADS * _FAULTS_A_THREAD),
            *([("all signals blocked", _with_signals_blocked, 1)] if hasattr(signal, "pthread_sigmask") else []),
            ("beside faulthandler", _beside_faulthandler, 1),
        ):
            yield Case(name, expected, partial(provoke, fault), faults)


def _nested(fault: Callable[[], Outcome | None]) -> Outcome | None:
    def inner() -> Outcome | None:
        outcome = fault()
        return outcome if is_accessing_user_memory() else None

    return access_user_memory(access_user_memory, inner)


def _in_threads(fault: Callable[[], Outcome | None]) -> Outcome | None:
    outcomes: list[Outcome | None] = []
    _run_threads(_THREADS, lambda: outcomes.extend(fault() for _ in range(_FAULTS_A_THREAD)))
    alike = len(outcomes) == _THREADS * _FAULTS_A_THREAD and len(set(outcomes)) == 1
    return outcomes[0] if alike else None


def _with_signals_blocked(fault: Callable[[], Outcome | None]) -> Outcome | None:
    """Fault in a new thread that blocks every signal before its first access."""
    outcomes: list[Outcome | None] = []

    def work() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        outcomes.append(fault())

    _run_threads(1, work)
    return outcomes[0] if outcomes else None


def _run_threads(count: int, work: Callable[[], None]) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _beside_faulthandler(fault: Callable[[], Outcome | None]) -> Outcome | None:
    """Fault with faulthandler on top of us; what it prints goes nowhere."""
    if faulthandler.is_enabled():
        return fault()
    with Path(os.devnull).open("w") as nowhere:
        faulthandler.enable(nowhere)
        try:
            return fault()
        finally:
            faulthandler.disable()
            install()
