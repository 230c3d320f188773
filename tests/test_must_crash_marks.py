# SPDX-License-Identifier: MIT
"""The marks of tests that have to crash: which one counts, and which are refused."""

import pytest
from helpers_plugin import WORKERS, passes, run_suite

pytest_plugins = ["pytester"]


def test_the_closest_mark_counts(pytester: pytest.Pytester) -> None:
    """A class's mark is for its methods, a method's own and a parameter's take its place."""
    tests = """
        import os, signal
        import pytest

        @pytest.mark.must_crash(signal.SIGTERM)
        class TestClass:
            def test_of_the_class(self):
                os.kill(os.getpid(), signal.SIGTERM)

            @pytest.mark.must_crash(signal.SIGKILL)
            def test_of_its_own(self):
                os.kill(os.getpid(), signal.SIGKILL)

            @pytest.mark.parametrize("number", [
                15, *(pytest.param(number, marks=pytest.mark.must_crash(number)) for number in (9, signal.SIGRTMIN + 2))
            ])
            def test_of_a_parameter(self, number):
                os.kill(os.getpid(), number)
    """
    passes(run_suite(pytester, tests), 5)


WRONG = {
    "": "must_crash() missing 1 required positional argument: 'signal'",
    "11, 1, 2": "must_crash() takes from 1 to 2 positional arguments but 3 were given",
    "11, within=1": "must_crash() got an unexpected keyword argument 'within'",
    "'SEGV'": "must_crash needs the name of a signal, such as 'SIGSEGV', not 'SEGV'",
    "0": "must_crash needs the number of a signal, not 0",
    "-11": "must_crash needs the number of a signal, not -11",
    "True": "must_crash needs a signal: a number, a signal.Signals or a name, not True",
    "None": "must_crash needs a signal: a number, a signal.Signals or a name, not None",
    "11, timeout=0": "must_crash needs a timeout of more than 0 seconds, not 0",
    "11, timeout=float('nan')": "must_crash needs a timeout of more than 0 seconds, not nan",
    "11, timeout=float('inf')": "must_crash needs a timeout of more than 0 seconds, not inf",
    "11, timeout='1'": "must_crash needs a timeout in seconds, not '1'",
}


@pytest.mark.parametrize("options", [pytest.param((), id="alone"), WORKERS])
def test_wrong_arguments_are_errors_of_the_collection(options: tuple[str, ...], pytester: pytest.Pytester) -> None:
    """Each says which test it is and what is wrong, no test runs, and no worker is lost."""
    tests = "import pytest\ndef test_good(): pass\n"
    for number, arguments in enumerate(WRONG):
        tests += f"@pytest.mark.must_crash({arguments})\ndef test_{number}(): pass\n"
    session = run_suite(pytester, tests, *options)
    assert session.returncode in (1, 2)
    assert session.calls == {}
    for number, message in enumerate(WRONG.values()):
        assert f"test_suite.py::test_{number}: {message}\n" in session.stdout
    assert "INTERNALERROR" not in session.stdout


def test_a_coroutine_that_unittest_would_run_cannot_be_marked(pytester: pytest.Pytester) -> None:
    """It is refused before it runs."""
    tests = """
        import unittest
        import pytest

        class TestAsync(unittest.IsolatedAsyncioTestCase):
            @pytest.mark.must_crash(9)
            async def test_async(self):
                raise SystemExit("it ran")
    """
    session = run_suite(pytester, tests)
    refused = "test_suite.py::TestAsync::test_async: only a test that is a function can be marked must_crash"
    assert refused in session.stdout.splitlines()
    assert (session.returncode, session.calls) == (2, {})
