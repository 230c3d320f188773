# SPDX-License-Identifier: MIT
"""Test suites in which the pytest plugin is at work, and what pytest reported of them."""

import json
import sys
import textwrap
from importlib.util import find_spec
from typing import Any, NamedTuple

import pytest
from child import LONG, run_command

HEADER = "axptr-native: "

xdist = pytest.mark.skipif(find_spec("xdist") is None, reason="pytest-xdist is not installed")
WORKERS = pytest.param(("-p", "xdist", "-n", "2"), id="two-workers", marks=xdist)

# Plugins are loaded by name, so that those of this project's own environment do not slow each suite down.
CONFTEST = """
import json

class Reporter:
    def pytest_runtest_logreport(self, report):
        with open("reports", "a") as file:
            print(json.dumps({
                "name": report.nodeid.partition("::")[2], "when": report.when, "outcome": report.outcome,
                "text": str(report.longrepr or ""), "sections": dict(report.sections),
                "properties": dict(report.user_properties),
                "worker": getattr(getattr(report, "node", None), "gateway", None) and report.node.gateway.id,
            }), file=file)

def pytest_configure(config):
    config.addinivalue_line("markers", "xdist_group(name): pytest-xdist's, also without it.")
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Reporter())

"""


class Report(NamedTuple):
    """What pytest said of a test's setup, call or teardown."""

    name: str
    when: str
    outcome: str
    text: str
    sections: dict[str, str]
    properties: dict[str, Any]
    worker: str | None


class Session(NamedTuple):
    """How a run of pytest ended."""

    returncode: int
    stdout: str
    stderr: str
    reports: list[Report]

    @property
    def calls(self) -> dict[str, Report]:
        """The reports of the tests themselves, by name."""
        return {report.name: report for report in self.reports if report.when == "call"}

    @property
    def header(self) -> list[str]:
        """The lines that the plugin has printed of itself."""
        return [line for line in self.stdout.splitlines() if line.startswith(HEADER)]


def run_suite(
    pytester: pytest.Pytester, tests: str, *options: str, conftest: str = "", autoload: bool = False
) -> Session:
    """Run a suite of one module in a process of its own, with the plugin as its entry point names it."""
    pytester.makeini("[pytest]\n")
    pytester.makeconftest(CONFTEST + textwrap.dedent(conftest))
    pytester.makepyfile(test_suite=textwrap.dedent(tests))
    reported = pytester.path / "reports"
    reported.write_text("")
    plugins = () if autoload else ("-p", "axptr_native")
    done = run_command(
        [sys.executable, "-m", "pytest", "--strict-markers", *plugins, *options],
        cwd=pytester.path,
        environment={} if autoload else {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        timeout=2 * LONG,
    )
    reports = [Report(**json.loads(line)) for line in reported.read_text().splitlines()]
    return Session(done.returncode, done.stdout, done.stderr, reports)


def passes(session: Session, tests: int) -> Session:
    """Assert that so many tests passed and nothing else happened."""
    assert (session.returncode, len(session.calls)) == (0, tests), session.stdout + session.stderr
    return session
