# SPDX-License-Identifier: MIT
"""docs/platforms.md says the same as the package's classifiers, the scripts and tox.ini."""

import re
from pathlib import Path

from limits import FREE_THREADED, PYPY

ROOT = Path(__file__).parents[1]
DOCUMENT = (ROOT / "docs" / "platforms.md").read_text(encoding="utf-8")
METADATA = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
CLASSIFIERS = set(re.findall(r'^  "(\w[^"]* :: [^"]+)",$', METADATA, flags=re.MULTILINE))

STATES = {"run here", "compiled here", "not tried"}
SYSTEMS = {
    "Linux": "Operating System :: POSIX :: Linux",
    "macOS": "Operating System :: MacOS",
    "FreeBSD": "Operating System :: POSIX :: BSD :: FreeBSD",
    "Windows": "Operating System :: Microsoft :: Windows",
}


def table(heading: str, column: str = "") -> list[dict[str, str]]:
    """Return the rows of a table under a heading, the first or that with a certain first column, by their columns."""
    section = DOCUMENT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    section = section[section.index(f"| {column}") :].partition("\n\n")[0]
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[2:]]


def test_every_feature_of_every_system_is_in_one_of_three_states() -> None:
    """A cell says one of the three things that the document defines."""
    features = ("guarded accesses", "guarded calls", "handlers of others", "Python package")
    assert {row[feature] for row in table("Systems") for feature in features} <= STATES
    assert {row["state"] for row in table("Pythons")} <= STATES
    assert all(row["wheel"].startswith("none") or row["wheel"].split(": ")[1] in STATES for row in table("Systems"))


def test_the_systems_of_the_classifiers_are_those_that_are_run() -> None:
    """A system has a classifier if and only if its Python package is run."""
    run = {re.split(r",| from ", row["system"])[0] for row in table("Systems") if row["Python package"] == "run here"}
    assert {SYSTEMS[name] for name in run} == {name for name in CLASSIFIERS if name.startswith("Operating System")}


def test_the_pythons_of_the_classifiers_are_those_that_are_run() -> None:
    """A version, or an implementation, of Python has a classifier if and only if it is run."""
    run = [row["Python"] for row in table("Pythons") if row["state"] == "run here"]
    versions = {version for python in run for version in re.findall(r"^CPython (3\.\d+)$", python)}
    prefix = "Programming Language :: Python :: "
    assert {f"{prefix}{version}" for version in versions} == {
        name for name in CLASSIFIERS if re.fullmatch(prefix + r"3\.\d+", name)
    }
    implementations = {python.split()[0] for python in run}
    assert {f"{prefix}Implementation :: {name}" for name in implementations} == {
        name for name in CLASSIFIERS if "Implementation" in name
    }


def test_the_wheels_of_the_table_are_those_that_the_script_builds() -> None:
    """Each tag that the script gives is in the table, and the other way round."""
    script = (ROOT / "tools" / "zig.py").read_text(encoding="utf-8")
    built = re.findall(r'Target\("[^"]+", "\w+", "\w+", "(\w+)"\)', script)
    named = [tag for row in table("Systems") for tag in re.findall(r"`(\w+)`", row["wheel"])]
    assert len(built) >= 6
    assert sorted(named) == sorted(built)


def test_every_reason_for_which_a_python_skips_tests_is_a_row() -> None:
    """What is skipped on a Python is in the table that says what it means, and nothing else is."""
    rows = {row["reason"]: row["Python"] for row in table("Pythons", "reason")}
    assert {reason for reason, python in rows.items() if "PyPy" in python} == set(PYPY.values())
    others = {reason for reason, python in rows.items() if "free-threaded" in python}
    assert others == {*FREE_THREADED.values(), "this interpreter runs without the GIL"}


def test_every_environment_of_the_document_is_one_of_tox() -> None:
    """What the document tells the reader to run exists."""
    settings = (ROOT / "tox.ini").read_text(encoding="utf-8")
    named = re.findall(r"`tox -e (\w+)`", DOCUMENT)
    assert named
    assert [name for name in named if not re.search(rf"testenv:.*\b{name}\b", settings) and name != "py310"] == []
