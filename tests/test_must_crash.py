# SPDX-License-Identifier: MIT
"""Tests that have to crash: each way in which they can end, told in words."""

import os
import signal
from importlib.util import find_spec

import pytest
from helpers_plugin import WORKERS, passes, run_suite

from axptr_native.testing._crash import expect_crash, must_crash

pytest_plugins = ["pytester"]

CAPTURED = {"Captured stdout call": "to stdout\n", "Captured stderr call": "to stderr\n"}

SUITE = """
    import ctypes, os, signal, sys, threading
    import pytest

    def say():
        print("to stdout")
        print("to stderr", file=sys.stderr)

    @pytest.mark.must_crash(signal.SIGSEGV)
    def test_dies_as_expected():
        say()
        ctypes.memset(0, 0, 1)

    @pytest.mark.must_crash(9)
    def test_is_killed():
        os.kill(os.getpid(), signal.SIGKILL)

    @pytest.mark.must_crash("SIGABRT")
    def test_aborts():
        say()
        os.abort()

    @pytest.mark.must_crash(signal.SIGSEGV)
    def test_returns():
        say()

    @pytest.mark.must_crash(signal.SIGSEGV)
    def test_raises():
        say()
        assert "this" == "that"

    @pytest.mark.must_crash(signal.SIGBUS)
    def test_dies_of_another_signal():
        say()
        os.kill(os.getpid(), signal.SIGTERM)

    @pytest.mark.must_crash(signal.SIGSEGV)
    def test_exits():
        say()
        os._exit(3)

    @pytest.mark.must_crash(signal.SIGSEGV)
    def test_exits_well():
        say()
        os._exit(0)

    @pytest.mark.must_crash(signal.SIGSEGV)
    def test_raises_system_exit():
        say()
        sys.exit(3)

    @pytest.mark.must_crash(signal.SIGKILL, timeout=1.25)
    def test_hangs():
        say()
        threading.Event().wait()

    @pytest.mark.must_crash(signal.SIGSEGV)
    def test_skips():
        pytest.skip("not here")

    @pytest.mark.must_crash(signal.SIGSEGV)
    def test_expects_to_fail():
        pytest.xfail("not yet")
"""

FAILURES = {
    "test_returns": "the test must die of SIGSEGV, but it ended normally",
    "test_dies_of_another_signal": "the test must die of SIGBUS, but it died of SIGTERM",
    "test_exits": "the test must die of SIGSEGV, but it exited with status 3",
    "test_exits_well": "the test must die of SIGSEGV, but it exited with status 0",
    "test_hangs": "the test must die of SIGKILL, but it did not end within 1.25 s and was killed",
}


@pytest.mark.parametrize(
    "options",
    [
        pytest.param((), id="alone"),
        WORKERS,
        pytest.param(("-p", "no:faulthandler"), id="no-faulthandler"),
        pytest.param(("-p", "no:cacheprovider"), id="no-cache"),
        pytest.param(("--capture=sys",), id="captured-by-python"),
        pytest.param(("-p", "no:capture"), id="not-captured"),
        pytest.param(
            ("-p", "randomly"),
            id="random-order",
            marks=pytest.mark.skipif(find_spec("pytest_randomly") is None, reason="pytest-randomly is not installed"),
        ),
    ],
)
def test_each_ending_is_told_in_words(options: tuple[str, ...], pytester: pytest.Pytester) -> None:
    """Death of the signal passes, everything else fails and says what it was, whatever else pytest was told."""
    session = run_suite(pytester, SUITE, "-W", "error", *options)
    calls = session.calls
    assert session.returncode == 1, session.stdout + session.stderr
    assert {name for name, call in calls.items() if call.outcome == "passed"} == {
        "test_dies_as_expected",
        "test_is_killed",
        "test_aborts",
    }
    assert {name for name, call in calls.items() if call.outcome == "skipped"} == {"test_skips", "test_expects_to_fail"}
    assert {name: calls[name].text for name in FAILURES} == FAILURES
    raised = calls["test_raises"].text.splitlines()
    assert raised[:2] == ["the test must die of SIGSEGV, but it raised:", ""]
    assert '>       assert "this" == "that"' in raised
    assert "E       AssertionError: assert 'this' == 'that'" in raised
    assert "E       SystemExit: 3" in calls["test_raises_system_exit"].text.splitlines()
    assert len(calls) == 12
    if "no:capture" not in options:
        assert [name for name in FAILURES if calls[name].sections != CAPTURED] == []
        assert calls["test_aborts"].sections["Captured stdout call"] == "to stdout\n"


def test_another_death_shows_its_traceback(pytester: pytest.Pytester) -> None:
    """What faulthandler prints in the child is in the report, and nothing of it goes past pytest."""
    tests = """
        import ctypes, pytest

        @pytest.mark.must_crash("SIGBUS")
        def test_a_null_pointer():
            ctypes.memset(0, 0, 1)
    """
    session = run_suite(pytester, tests)
    call = session.calls["test_a_null_pointer"]
    assert call.text == "the test must die of SIGBUS, but it died of SIGSEGV"
    assert call.sections["Captured stderr call"].startswith("Fatal Python error: Segmentation fault\n")
    assert "in test_a_null_pointer\n" in call.sections["Captured stderr call"]
    assert session.stderr == ""


def test_fixtures_and_exit_handlers_belong_to_the_parent(pytester: pytest.Pytester) -> None:
    """What fixtures set up is there in the child; they are torn down once, as the exit handlers run once."""
    conftest = """
        import atexit, os

        def note(event):
            with open("events", "a") as file:
                print(event, os.getpid() == PARENT, file=file)

        PARENT = os.getpid()
        atexit.register(note, "exit handler")

        def pytest_sessionfinish():
            note("session finish")
    """
    tests = """
        import os, signal
        import pytest
        from conftest import note

        @pytest.fixture
        def resource(tmp_path):
            note("set up")
            (tmp_path / "file").write_text("fixture's")
            yield tmp_path / "file"
            note("torn down")

        @pytest.mark.parametrize("ending", ["die", "return", "raise", "exit"])
        @pytest.mark.must_crash(signal.SIGKILL)
        def test_in_child(resource, ending):
            note(resource.read_text())
            if ending == "raise":
                raise SystemExit
            if ending == "exit":
                os._exit(0)
            if ending == "die":
                os.kill(os.getpid(), signal.SIGKILL)
    """
    run_suite(pytester, tests, conftest=conftest)
    each = ["set up True", "fixture's False", "torn down True"]
    events = (pytester.path / "events").read_text().splitlines()
    assert events == [*each * 4, "session finish True", "exit handler True"]


def test_a_crash_dumps_no_core(pytester: pytest.Pytester) -> None:
    """The limit in the child is less than any core has, and the hard limit stays."""
    tests = """
        import os, resource, pytest
        hard = resource.getrlimit(resource.RLIMIT_CORE)[1]

        @pytest.mark.must_crash("SIGABRT")
        def test_limit():
            assert resource.getrlimit(resource.RLIMIT_CORE) in [(0, hard), (1, hard)]
            os.abort()

        def test_the_parent_keeps_its_limit():
            assert resource.getrlimit(resource.RLIMIT_CORE)[1] == hard
    """
    passes(run_suite(pytester, tests), 2)
    assert list(pytester.path.glob("core*")) == []


def test_methods_of_unittest_crash_between_set_up_and_tear_down(pytester: pytest.Pytester) -> None:
    """The setUp and tearDown run in the parent, around the child."""
    tests = """
        import ctypes, os, unittest
        import pytest

        class TestCrashes(unittest.TestCase):
            parent = os.getpid()

            def setUp(self):
                print("setUp", os.getpid() == self.parent)

            def tearDown(self):
                print("tearDown", os.getpid() == self.parent)

            @pytest.mark.must_crash("SIGSEGV")
            def test_crashes(self):
                assert os.getpid() != self.parent
                ctypes.memset(0, 0, 1)

            @pytest.mark.must_crash("SIGSEGV")
            def test_fails(self):
                print("test", os.getpid() == self.parent)
                self.assertEqual(1, 2)

            @pytest.mark.must_crash("SIGSEGV")
            def test_skips(self):
                self.skipTest("not here")

            def test_without_the_mark(self):
                assert os.getpid() == self.parent
    """
    calls = run_suite(pytester, tests).calls
    assert {name: call.outcome for name, call in calls.items()} == {
        "TestCrashes::test_crashes": "passed",
        "TestCrashes::test_fails": "failed",
        "TestCrashes::test_skips": "skipped",
        "TestCrashes::test_without_the_mark": "passed",
    }
    failed = calls["TestCrashes::test_fails"]
    assert failed.text.startswith("the test must die of SIGSEGV, but it raised:\n")
    assert "AssertionError: 1 != 2" in failed.text
    assert failed.sections == {"Captured stdout call": "setUp True\ntest False\ntearDown True\n"}


def test_asynchronous_tests_need_a_plugin_as_ever(pytester: pytest.Pytester) -> None:
    """Without one it does not pass, and pytest's own words, which differ by version, are in the report."""
    tests = "import pytest\n@pytest.mark.must_crash(9)\nasync def test_async(): pass\n"
    call = run_suite(pytester, tests).calls["test_async"]
    assert call.outcome != "passed"
    assert "async def function" in call.text


def test_an_interrupt_ends_the_child_too(pytester: pytest.Pytester) -> None:
    """When pytest is interrupted while it waits, the child is killed and reaped before pytest ends."""
    tests = """
        import os, signal, threading
        import pytest

        # A shell starts what runs in the background with interrupts ignored.
        signal.signal(signal.SIGINT, signal.default_int_handler)

        @pytest.mark.must_crash("SIGSEGV")
        def test_waits():
            with open("child", "w") as file:
                file.write(str(os.getpid()))
            parent = f"/proc/{os.getppid()}"
            # It sleeps: in what Python itself does after a fork it swallows an interrupt.
            while len(os.listdir(f"{parent}/task")) < 2 or ") S " not in open(f"{parent}/stat").read():
                pass
            os.kill(os.getppid(), signal.SIGINT)
            threading.Event().wait()
    """
    session = run_suite(pytester, tests)
    assert session.returncode == pytest.ExitCode.INTERRUPTED
    with pytest.raises(ProcessLookupError):
        os.kill(int((pytester.path / "child").read_text()), 0)


def test_a_fork_of_the_child_does_not_return_to_pytest(pytester: pytest.Pytester) -> None:
    """A process that the body forks and lets run out ends there, and what it would say is not taken for the child's."""
    tests = """
        import os, signal
        import pytest

        @pytest.mark.must_crash("SIGKILL")
        def test_forks():
            pid = os.fork()
            if pid:
                os.waitpid(pid, 0)
                os.kill(os.getpid(), signal.SIGKILL)

        def test_runs_once():
            with open("ran", "a") as file:
                file.write("once")
    """
    passes(run_suite(pytester, tests), 2)
    assert (pytester.path / "ran").read_text() == "once"


def test_each_forked_test_crashes_in_a_child_of_its_own(pytester: pytest.Pytester) -> None:
    """Under pytest-forked the outcomes are the same."""
    if find_spec("pytest_forked") is None:
        pytest.skip("pytest-forked is not installed")
    options = ("-p", "pytest_forked", "--forked")
    if run_suite(pytester, "def test_nothing(): pass\n", *options).returncode != 0:
        pytest.skip("this pytest-forked fails any test under this pytest")
    tests = """
        import ctypes, pytest

        @pytest.mark.must_crash("SIGSEGV")
        def test_crashes():
            ctypes.memset(0, 0, 1)

        @pytest.mark.must_crash("SIGSEGV")
        def test_returns():
            pass
    """
    calls = run_suite(pytester, tests, *options).calls
    assert calls["test_crashes"].outcome == "passed"
    assert calls["test_returns"].text == "the test must die of SIGSEGV, but it ended normally"


def test_a_long_traceback_and_output_come_through(capfd: pytest.CaptureFixture[str]) -> None:
    """More than a pipe holds, of text of any kind, arrives whole; what is no text arrives escaped."""

    def body() -> None:
        print("é" * 200_000)
        os.write(2, b"\xff")
        raise RuntimeError

    with pytest.raises(pytest.fail.Exception) as caught:
        expect_crash(body, must_crash(9), lambda error: type(error).__name__ * 100_000)
    assert caught.value.msg == "the test must die of SIGKILL, but it raised:\n\n" + "RuntimeError" * 100_000
    assert capfd.readouterr() == ("é" * 200_000 + "\n", "\\xff")


def test_an_error_that_cannot_be_described_is_told_all_the_same() -> None:
    """Where the description fails, both tracebacks are there."""

    def body() -> None:
        raise RuntimeError("the error")

    def describe(error: BaseException) -> str:
        raise ValueError(f"the description of {type(error).__name__}")

    with pytest.raises(pytest.fail.Exception) as caught:
        expect_crash(body, must_crash(signal.SIGKILL), describe)
    assert caught.value.msg is not None
    assert "RuntimeError: the error" in caught.value.msg
    assert "ValueError: the description of RuntimeError" in caught.value.msg


def test_an_ending_that_somebody_else_took_is_told() -> None:
    """Where the system forgets how children end at once, that is an error and no wrong guess."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with pytest.raises(ChildProcessError, match=r"how the child ended is lost: .* SIGCHLD is ignored"):
            expect_crash(lambda: os.kill(os.getpid(), signal.SIGKILL), must_crash(signal.SIGKILL), repr)
    finally:
        signal.signal(signal.SIGCHLD, before)
