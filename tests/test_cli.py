# SPDX-License-Identifier: MIT
"""The command line, as a process."""

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import pytest
from child import LONG, clean_environment

from axptr_native import FaultReason, selftest
from axptr_native._regions import ENDINGS
from axptr_native.cli import main


def run(*arguments: str, folder: Path, options: Sequence[str] = ()) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, *options, "-m", "axptr_native", *arguments]
    return subprocess.run(
        command, cwd=folder, env=clean_environment(), capture_output=True, text=True, timeout=LONG, check=False
    )


def test_selftest_catches_every_fault(tmp_path: Path) -> None:
    """The last line counts the faults, none is lost, and the exit status says so."""
    child = run("selftest", folder=tmp_path)
    assert (child.returncode, child.stderr) == (0, "")
    caught = re.fullmatch(r"(\d+) real faults caught, 0 lost", child.stdout.splitlines()[-1])
    assert caught is not None
    assert int(caught[1]) > 400
    assert max(map(len, child.stdout.splitlines())) <= 100
    assert "\033" not in child.stdout


def test_selftest_catches_as_many_above_faulthandler(tmp_path: Path) -> None:
    """Where faulthandler is enabled from the start, no fault is lost, and it prints nothing."""
    plain = run("selftest", "--json", folder=tmp_path)
    above = run("selftest", "--json", folder=tmp_path, options=["-X", "faulthandler"])
    assert (above.returncode, above.stderr) == (0, "")
    assert json.loads(above.stdout)["lost"] == 0
    assert json.loads(above.stdout)["caught"] == json.loads(plain.stdout)["caught"]


def test_without_an_output_the_exit_status_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program without a console, where Python has no stdout, is told by the exit status alone."""
    monkeypatch.setattr(sys, "stdout", None)
    assert main(["selftest"]) == main(["info", "--json"]) == 0


def test_selftest_as_json_agrees_with_itself(tmp_path: Path) -> None:
    """The counts are the sum of the rows, and every kind of hardware fault that can be provoked is there."""
    child = run("selftest", "--json", folder=tmp_path)
    report = json.loads(child.stdout)
    assert report["caught"] == sum(row["faults"] for row in report["faults"])
    assert report["lost"] == 0
    assert all(row["got"] == row["expected"] and row["passed"] for row in report["faults"])
    reasons = {row["got"]["reason"] for row in report["faults"]} - {None}
    assert reasons >= {ending.value.name for ending in ENDINGS}


def test_selftest_is_coloured_on_a_terminal(tmp_path: Path) -> None:
    """On a terminal a line is green, and with NO_COLOR it is plain."""
    for setting, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        pty = pytest.importorskip("pty", reason="this system has no pseudo-terminals", exc_type=ImportError)
        controller, terminal = pty.openpty()
        child = subprocess.Popen(
            [sys.executable, "-m", "axptr_native", "selftest"],
            cwd=tmp_path,
            env={key: value for key, value in os.environ.items() if key != "NO_COLOR"} | setting,
            stdout=terminal,
            stdin=subprocess.DEVNULL,
        )
        os.close(terminal)
        output = b""
        # A terminal whose other side is closed ends with EIO on Linux.
        with contextlib.suppress(OSError):
            while chunk := os.read(controller, 4096):
                output += chunk
        os.close(controller)
        assert child.wait(timeout=LONG) == 0
        assert (b"\033[32m" in output) is coloured


@pytest.mark.parametrize(
    "got",
    [
        pytest.param(None, id="no fault"),
        pytest.param(selftest.Outcome(FaultReason.NOT_MAPPED, 0x1000, 3), id="another reason"),
        pytest.param(selftest.Outcome(FaultReason.BEYOND_END, 0x1001, 3), id="another address"),
        pytest.param(selftest.Outcome(FaultReason.BEYOND_END, 0x1000, 4), id="other bytes done"),
    ],
)
@pytest.mark.parametrize("options", [[], ["--json"]], ids=["table", "json"])
def test_selftest_fails_if_a_fault_is_not_exact(
    got: selftest.Outcome | None,
    options: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A row that differs in anything is counted as lost and makes the exit status 1."""
    row = selftest.Row("a fault", selftest.Outcome(FaultReason.BEYOND_END, 0x1000, 3), got, 2, 1.0)
    monkeypatch.setattr(selftest, "run", lambda: iter([row]))
    assert main(["selftest", *options]) == 1
    printed = capsys.readouterr().out
    if options:
        assert json.loads(printed)["lost"] == 2
    else:
        assert printed.splitlines()[-1] == "0 real faults caught, 2 lost"
        assert "LOST: " in printed
        assert "expected beyond the end of the file at 0x1000, 3 bytes done" in printed
        assert got is None or f"at {got.address:#x}; expected" in printed


def test_info_names_the_handlers(tmp_path: Path) -> None:
    """Both signals are handled by a function of this library, above the default action."""
    facts = json.loads(run("info", "--json", folder=tmp_path).stdout)
    assert facts["version"].startswith(version("axptr-native"))
    for name in ("SIGSEGV", "SIGBUS"):
        assert re.fullmatch(r"on_signal_\d in libaxptr_native\.\w+ \(ours\)", facts[name][0])
        assert facts[name][-1] == "default action"


def test_info_names_a_faulthandler_below(tmp_path: Path) -> None:
    """A handler that was there before is listed below ours."""
    child = run("info", folder=tmp_path, options=["-X", "faulthandler"])
    assert (child.returncode, child.stderr) == (0, "")
    line = next(line for line in child.stdout.splitlines() if line.startswith("SIGSEGV"))
    assert re.search(r"\(ours\), then .+ in .*(python|pypy)", line)


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["info", "--nonsense"]], ids=" ".join)
def test_a_wrong_command_line_is_explained(arguments: list[str], tmp_path: Path) -> None:
    """The usage goes to standard error and the exit status is 2."""
    child = run(*arguments, folder=tmp_path)
    assert child.returncode == 2
    assert child.stderr.startswith("usage: axptr-native")


def test_the_version_is_the_package_s(tmp_path: Path) -> None:
    """--version prints the version of the installed distribution."""
    assert run("--version", folder=tmp_path).stdout == f"axptr-native {version('axptr-native')}\n"
