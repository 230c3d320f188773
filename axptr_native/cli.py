# SPDX-License-Identifier: MIT
"""The command line: ``axptr-native selftest`` and ``axptr-native info``."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import version

from . import selftest
from ._builtins import call_path
from ._machine import cpu_name
from ._native import ABI_VERSION, lib
from .addr import PAGE_SIZE, VirtAddr
from .handlers import status

_GREEN, _RED, _PLAIN = "\033[32m", "\033[31m", "\033[0m"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        The exit status: 0, or 1 if the self-test found a fault that was not reported exactly.
    """
    parser = argparse.ArgumentParser(prog="axptr-native", description="Guarded access to memory that is not trusted.")
    parser.add_argument("--version", action="version", version=f"axptr-native {version('axptr-native')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command, function, help_text in (
        ("selftest", _selftest, "provoke every kind of real fault that this platform has, and compare"),
        ("info", _info, "show what this installation runs on and who handles the signals"),
    ):
        subparser = commands.add_parser(command, help=help_text, description=help_text)
        subparser.add_argument("--json", action="store_true", help="print JSON instead of a table")
        subparser.set_defaults(function=function)
    chosen = parser.parse_args(arguments)
    try:
        exit_status: int = chosen.function(chosen.json)
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return exit_status


def _selftest(as_json: bool) -> int:
    rows = []
    if not as_json:
        print(_line("fault", "caught as", "bytes", "first time"))
    for row in selftest.run():
        rows.append(row)
        if not as_json:
            # As it happens: if a fault is lost, the last line tells which was the last to be caught.
            print(_colour(_describe(row), row.passed), flush=True)
    lost = sum(row.faults for row in rows if not row.passed)
    caught = sum(row.faults for row in rows) - lost
    if as_json:
        print(json.dumps({"caught": caught, "lost": lost, "faults": [_as_json(row) for row in rows]}, indent=2))
    else:
        print(f"{caught} real faults caught, {lost} lost")
    return 1 if lost else 0


def _line(*columns: str) -> str:
    return "  ".join(text.ljust(width) for text, width in zip(columns, (50, 26, 5, 0), strict=True)).rstrip()


def _describe(row: selftest.Row) -> str:
    caught, done = ("no fault", "") if row.got is None else (_reason(row.got), str(row.got.transferred))
    line = _line(row.name, caught, done, f"{row.microseconds:.1f} us")
    if row.passed:
        return line
    expected = row.expected
    at = "" if row.got is None else f"at {VirtAddr(row.got.address)}; "
    wanted = f"{_reason(expected)} at {VirtAddr(expected.address)}, {expected.transferred} bytes done"
    return f"{line}\n  LOST: {at}expected {wanted}"


def _reason(outcome: selftest.Outcome) -> str:
    return str(outcome.reason or "partial result")


def _as_json(row: selftest.Row) -> dict[str, object]:
    return {
        "fault": row.name,
        "expected": _outcome_as_json(row.expected),
        "got": row.got and _outcome_as_json(row.got),
        "faults": row.faults,
        "microseconds": round(row.microseconds, 1),
        "passed": row.passed,
    }


def _outcome_as_json(outcome: selftest.Outcome) -> dict[str, object]:
    return {
        "reason": outcome.reason and outcome.reason.name,
        "address": outcome.address,
        "transferred": outcome.transferred,
    }


def _colour(text: str, passed: bool) -> str:
    if sys.stdout is None or not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return text
    return f"{_GREEN if passed else _RED}{text}{_PLAIN}"


def _info(as_json: bool) -> int:
    facts: dict[str, str | list[str]] = {
        "version": f"{version('axptr-native')} (ABI {ABI_VERSION})",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "platform": platform.platform(),
        "CPU": cpu_name(),
        "page size": str(PAGE_SIZE),
        "C library": " ".join(platform.libc_ver()).strip() or "unknown",
        "compiler": os.fsdecode(lib.axp_compiler()),
        "calls": call_path,
    }
    for signal, state in status().items():
        facts[signal.name] = [handler.name + " (ours)" * handler.ours for handler in state.handlers]
    if as_json:
        print(json.dumps(facts, indent=2))
        return 0
    for name, fact in facts.items():
        print(f"{name + ':':<12} {fact if isinstance(fact, str) else _chain(fact)}")
    return 0


def _chain(handlers: Iterable[str]) -> str:
    return ", then ".join(handlers)
