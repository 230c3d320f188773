# SPDX-License-Identifier: MIT
"""What docs/testing-with-real-faults.md shows is what happens.

A block that is named like a file is that file.  A block of shell is run, has to fail if it is marked so, and the
block of text behind it is in what it prints, but for addresses.  A block of Python without a name is a program.
"""

import itertools
import os
import re
import shutil
import sys
from pathlib import Path

import pytest
from child import Outcome, check, run, run_command
from helpers_documents import Block, blocks
from helpers_platform import require_words

DOCUMENT = Path(__file__).parent.parent / "docs" / "testing-with-real-faults.md"
BLOCKS = blocks(DOCUMENT.read_text(encoding="utf-8"))
FILES = [block for block in BLOCKS if "." in block.option]
PROGRAMS = [block.code for block in BLOCKS if block.language == "python" and not block.option]
COMMANDS = [block for block in BLOCKS if block.language == "sh" and not block.code.startswith("cc ")]
PRINTED = {shown: after.code for shown, after in itertools.pairwise(BLOCKS) if after.language == "text"}

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler: cc")


def shell(code: str, folder: Path) -> Outcome:
    """Run commands where ``python`` is this interpreter."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return run_command(["sh", "-ec", code], cwd=folder, environment={"PATH": path})


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of the document's files, and what its commands compile of them."""
    made = tmp_path_factory.mktemp("tutorial")
    for _, name, code in FILES:
        (made / name).write_text(code, encoding="utf-8")
    for block in BLOCKS:
        if block.language == "sh" and block not in COMMANDS:
            check(shell(block.code, made))
    return made


def test_every_block_of_the_tutorial_has_a_test() -> None:
    """A block is a file, a program, a command, or what the command before it prints."""
    shown = [block for block in BLOCKS if block.language == "text"]
    assert {block.language for block in BLOCKS} == {"c", "python", "sh", "text"}
    assert {block.option for block in BLOCKS if "." not in block.option} == {"", "fails"}
    assert [block.code for block in shown] == [PRINTED[block] for block in COMMANDS if block in PRINTED]
    assert len(FILES) == len({block.option for block in FILES})


@pytest.mark.parametrize("code", PROGRAMS)
def test_a_program_of_the_tutorial_runs(code: str, tmp_path: Path) -> None:
    """A block of Python without a name succeeds, and prints nothing."""
    require_words(code)
    assert check(run(code, cwd=tmp_path)) == (0, "", "")


@needs_compiler
@pytest.mark.parametrize("block", COMMANDS, ids=lambda block: block.code.split()[-1])
def test_a_command_of_the_tutorial_prints_what_is_shown(block: Block, folder: Path) -> None:
    """It fails or succeeds as it is marked, and each line that is shown is in the output."""
    outcome = check(shell(block.code, folder), returncode=1 if block.option == "fails" else 0)
    address = re.compile("0x[0-9a-f]+")
    printed = address.sub("0x", outcome.stdout)
    for line in PRINTED[block].splitlines():
        assert address.sub("0x", line) in printed, f"{line}\nis not in\n{outcome.stdout}"
