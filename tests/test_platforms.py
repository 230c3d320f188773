# SPDX-License-Identifier: MIT
"""docs/platforms.md says the same as the package's classifiers, the scripts and tox.ini."""

import itertools
import re
from pathlib import Path

import helpers_platform
from helpers_processor import BY_PLACE
from helpers_python import BY_PYTHON

ROOT = Path(__file__).parents[1]
DOCUMENT = (ROOT / "docs" / "platforms.md").read_text(encoding="utf-8")
METADATA = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
SETTINGS = (ROOT / "tox.ini").read_text(encoding="utf-8")
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


def environments() -> set[str]:
    """Return the names of tox.ini, where some are written as one with braces."""
    written = re.findall(r"^(?:env_list = |\[testenv:)([\w{},]+)", SETTINGS, flags=re.MULTILINE)
    parts = [re.split(r"[{}]", name) for name in written]
    return {"".join(chosen) for split in parts for chosen in itertools.product(*(part.split(",") for part in split))}


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


def test_what_windows_skips_is_in_its_document() -> None:
    """Each reason for which a test is not run there is a row of the table."""
    document = (ROOT / "docs" / "windows.md").read_text(encoding="utf-8")
    reasons = {value for name, value in vars(helpers_platform).items() if name.isupper() and isinstance(value, str)}
    assert len(reasons) > 10
    assert [reason for reason in reasons if f"\n| {reason} |" not in document] == []


def test_what_is_skipped_on_a_processor_is_a_row() -> None:
    """Each reason is in the table, by where it holds, and the other way round."""
    rows = {(row["where"], row["reason"]) for row in table("What is skipped")}
    assert rows == {(place, reason) for place, tests in BY_PLACE.items() for reason in tests.values()}


def test_the_processors_of_tox_are_those_that_the_script_knows() -> None:
    """There is an environment for each, and no other, and the table's are among them."""
    script = (ROOT / "tools" / "foreign.py").read_text(encoding="utf-8")
    known = re.findall(r'^    "(\w+)": processor\(', script, flags=re.MULTILINE)
    (environments,) = re.findall(r"^\[testenv:{(i386,.*)}\]$", SETTINGS, flags=re.MULTILINE)
    assert known == environments.split(",")
    assert {row["environment"] for row in table("Processors")} <= {f"`tox -e {name}`" for name in known}


def test_every_reason_for_which_a_python_skips_tests_is_a_row() -> None:
    """What is skipped on a Python is in the table that says what it means, and nothing else is."""
    rows = {(python, row["reason"]) for row in table("Pythons", "reason") for python in row["Python"].split(", ")}
    reasons = {(python, reason) for python, tests in BY_PYTHON.items() for reason in tests.values()}
    assert rows == {*reasons, ("free-threaded", "this interpreter runs without the GIL")}


def test_every_environment_of_the_document_is_one_of_tox() -> None:
    """What the document tells the reader to run exists."""
    named = re.findall(r"`tox -e (\w+)`", DOCUMENT)
    assert named
    assert set(named) <= environments()
