# SPDX-License-Identifier: MIT
"""What the README shows is what happens."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from child import LONG
from helpers_documents import blocks
from helpers_platform import require_words

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = blocks(README)
PYTHON = [(option, code) for language, option, code in BLOCKS if language == "python"]


def run(code: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=LONG, check=False
    )


def test_every_fence_of_the_readme_is_known() -> None:
    """There are blocks of Python and of shell, and no others."""
    assert {language for language, _, _ in BLOCKS} == {"python", "sh"}


@pytest.mark.parametrize("code", [code for option, code in PYTHON if not option])
def test_a_block_of_python_runs(code: str, tmp_path: Path) -> None:
    """A block by itself is a program that succeeds."""
    require_words(code)
    child = run(code, tmp_path)
    assert (child.returncode, child.stderr) == (0, "")


@pytest.mark.parametrize(("number", "code"), [(option.partition("=")[2], code) for option, code in PYTHON if option])
def test_the_problem_is_real(number: str, code: str, tmp_path: Path) -> None:
    """A block that is marked with a signal dies of it."""
    require_words(code)
    assert run(code, tmp_path).returncode == -getattr(signal.Signals, number)


def test_the_message_in_the_readme_is_the_real_one(tmp_path: Path) -> None:
    """The comment above print() shows what is printed, but for the address."""
    code = next(code for _, code in PYTHON if "# [Errno 14]" in code)
    require_words(code)
    shown = code.partition("# [Errno")[2].partition("\n")[0]
    printed = run(code, tmp_path).stdout.strip()
    address = re.compile("0x[0-9a-f]+")
    assert printed == address.sub(address.search(printed)[0], f"[Errno{shown}")  # type: ignore[index]


def test_continuous_integration_runs_the_command_of_the_readme() -> None:
    """The shell blocks are the two commands, and CI takes the test command from here."""
    assert [code.strip() for language, _, code in BLOCKS if language == "sh"] == [
        "pip install . && axptr-native selftest",
        "pip install tox && tox -e py",
    ]
    assert "grep '^pip install tox'" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_every_link_leads_to_a_file() -> None:
    """Relative links of the README and the docs point to files of the project."""
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        text = re.sub(r"^```.*?^```$|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
