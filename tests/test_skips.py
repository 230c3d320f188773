# SPDX-License-Identifier: MIT
"""Every reason that the tests give for a skip stands in a document."""

import ast
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parent
DOCUMENTS = "\n".join(
    (TESTS.parent / "docs" / name).read_text(encoding="utf-8") for name in ("platforms.md", "windows.md")
)

SKIPPING = ("skip", "skipif", "importorskip")

THIS_RUN = {"this is the run on the other path"}
"""What is skipped in a run that another test makes."""


def reasons(source: str) -> Iterator[str]:
    """Yield each reason for a skip that a module spells out, with dots for what it fills in."""
    for call in ast.walk(ast.parse(source)):
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in SKIPPING):
            continue
        given = [keyword.value for keyword in call.keywords if keyword.arg == "reason"]
        (reason,) = given or call.args[-1:]
        if isinstance(reason, ast.Constant):
            yield str(reason.value)
        elif isinstance(reason, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "..." for part in reason.values)


def test_the_reasons_of_a_module_are_found() -> None:
    """By position, by keyword and with parts filled in; those that a table holds are left to the tables' tests."""
    source = """
pytest.skip("one"), pytest.skip(reason="two"), pytest.skip(f"lib{name} is three"), pytest.skip(TABLE["four"])
pytest.importorskip("five", reason="six"), pytest.mark.skipif(True, reason=f"{7}")
"""
    assert list(reasons(source)) == ["one", "two", "lib... is three", "six", "..."]


def test_every_reason_is_a_row() -> None:
    """What a run prints beside a skipped test is in a table that says where it holds."""
    found = {(file.stem, reason) for file in TESTS.glob("*.py") for reason in reasons(file.read_text(encoding="utf-8"))}
    assert len(found) > 20
    named = {(file, reason) for file, reason in found if reason in THIS_RUN or f"| {reason} |" in DOCUMENTS}
    assert found - named == set()
