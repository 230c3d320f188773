# SPDX-License-Identifier: MIT
"""The programs in examples/ run, and say what they are there to say."""

import sys
from pathlib import Path

from child import check, run_command

EXAMPLES = Path(__file__).parent.parent / "examples"


def output(name: str, folder: Path) -> str:
    """Run an example as a program that leaves nothing behind, and return what it printed."""
    outcome = check(run_command([sys.executable, str(EXAMPLES / name)], cwd=folder))
    assert outcome.stderr == ""
    assert list(folder.iterdir()) == []
    return outcome.stdout


def test_every_example_has_a_test() -> None:
    """No example is forgotten here."""
    tests = Path(__file__).read_text(encoding="utf-8")
    assert [path.name for path in EXAMPLES.glob("*.py") if f'output("{path.name}", tmp_path)' not in tests] == []


def test_the_toy_kernel_answers_bad_pointers_with_an_error_each(tmp_path: Path) -> None:
    """Good calls succeed, each bad one is answered with its errno, and nothing leaks to the console."""
    before, _, after = output("toy_kernel.py", tmp_path).partition("a program that is wrong")
    calls = [line.strip() for line in before.splitlines()[1:]]
    assert calls == [
        "openat = 3",
        "read = -EFAULT (Bad address)",
        "read = 27",
        "write = 27",
        "(would run /etc/motd with ['cat', '-n', '/etc/motd'])",
        "execve = 0",
    ]
    assert after.count("= -EFAULT (Bad address)") == 6
    assert after.count("openat = -EILSEQ") == 1
    assert "on its console: 'Welcome to the toy kernel.\\n'" in after


def test_a_reader_outlives_the_truncation_of_its_log(tmp_path: Path) -> None:
    """The fault is named, what is left is read, and the reader goes on."""
    printed = output("truncated_mmap.py", tmp_path)
    assert "cut in the middle of a pass: [Errno 14] Bad address: cannot read 0x" in printed
    assert "beyond the end of the file" in printed
    assert "the last line: '000099 all is well'" in printed
    assert "of its page: zeros" in printed
    assert "opened again: 100 lines" in printed


def test_a_walk_of_the_heap_finds_the_objects_and_survives_the_garbage(tmp_path: Path) -> None:
    """What the tuple holds is found, and each kind of garbage gets its reason."""
    found, _, garbage = output("walk_the_heap.py", tmp_path).partition("from garbage:")
    lines = [line.strip() for line in found.splitlines()]
    assert lines.count("Planet") == 2
    assert {"'Mars'", "'Deimos'", "1.88", "'Neptune'", "164.8", "'Triton'", "8.5", "'and more'"} <= set(lines)
    assert "words led to no object" in lines[-1]
    assert "  null: not mapped\n" in garbage
    assert "  all ones: out of the address space\n" in garbage
    assert len(garbage.strip().splitlines()) == 6


def test_a_compressed_file_is_paged_in_and_out(tmp_path: Path) -> None:
    """All pages are read with few in memory, and what was written reaches the file."""
    printed = output("demand_paging.py", tmp_path)
    assert "mapped: PagingCounters(pages_in=0" in printed
    assert [number for number in (3, 30, 60) if f"page {number} was written to" in printed] == [3, 30, 60]
    assert printed.count("was written to") == 3
    assert "never more than 8 pages at a time" in printed
    assert "page 30 begins with b'!!!!!!!!line number   30'" in printed


def test_a_corrupt_list_is_walked_named_and_mended(tmp_path: Path) -> None:
    """Every kind of bad pointer is met after the third node, and the list is cut there."""
    printed = output("linked_list.py", tmp_path)
    assert "  ant -> bee -> cat -> dog -> eel -> null\n" in printed
    assert printed.count("  ant -> bee -> cat -> ?  ") == 5
    assert printed.count("  ant -> bee -> cat -> null\n") == 5
    assert printed.count("misaligned") == 2
    assert printed.count("comes a second time") == 1
