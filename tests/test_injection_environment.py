# SPDX-License-Identifier: MIT
"""AXPTR_FAIL_USERCOPY: faults in a whole program that knows nothing of them."""

from pathlib import Path

import pytest
from child import check, run

PROGRAM = """
import ctypes, sys, threading
from axptr_native import uaccess
good = ctypes.create_string_buffer(8)
def access():
    try:
        uaccess.copy_from_user(ctypes.addressof(good), 8)
    except OSError as error:
        return "x" if error.reason.name == "INJECTED" else "?"
    return "."
def accesses(count):
    return "".join(access() for _ in range(count))
"""
COUNTERS = """
from axptr_native.testing.injection import injected_everywhere
"""


def said(code: str, setting: str | None, tmp_path: Path) -> list[str]:
    """Return the lines that a program prints with the variable set so."""
    environment = {} if setting is None else {"AXPTR_FAIL_USERCOPY": setting}
    return check(run(PROGRAM + code, cwd=tmp_path, environment=environment)).stdout.splitlines()


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        (None, "............"),
        ("", "............"),
        ("probability=1", "xxxxxxxxxxxx"),
        ("interval=4", "...x...x...x"),
        ("times=2", "xx.........."),
        ("space=24,interval=3", "....x..x..x."),
        (" interval = 5 , times = 1 ", "....x......."),
        ("probability=0.5,seed=1", "...xx...x.x."),
        ("probability=1,interval=2,times=3,space=17,seed=7", "...x.x.x...."),
    ],
)
def test_a_program_is_told_by_its_environment(setting: str | None, expected: str, tmp_path: Path) -> None:
    """The rules are fail_usercopy's; an unset or empty variable changes nothing."""
    assert said("print(accesses(12))", setting, tmp_path) == [expected]


def test_both_call_paths_are_told(tmp_path: Path) -> None:
    """The way through ctypes fails the same calls."""
    environment = {"AXPTR_FAIL_USERCOPY": "probability=0.5,seed=1", "AXPTR_CALLS": "ctypes"}
    outcome = check(run(PROGRAM + "print(accesses(12))", cwd=tmp_path, environment=environment))
    assert outcome.stdout.strip() == "...xx...x.x."


def test_all_threads_share_its_counters(tmp_path: Path) -> None:
    """Of 8000 accesses in eight threads exactly every third fails, up to the number of times."""
    code = f"""
{COUNTERS}
found = []
barrier = threading.Barrier(8)
def body():
    barrier.wait()
    found.append(accesses(1000))
sys.setswitchinterval(1e-5)
threads = [threading.Thread(target=body) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print("".join(found).count("x"), injected_everywhere())
"""
    assert said(code, "interval=3,seed=2", tmp_path) == ["2666 <InjectionCounters seed=2 calls=8000 failures=2666>"]
    assert said(code, "times=7,seed=2", tmp_path) == ["7 <InjectionCounters seed=2 calls=8000 failures=7>"]


def test_a_thread_s_own_decides_in_its_place(tmp_path: Path) -> None:
    """Inside fail_usercopy() the program's neither fails nor counts anything, and goes on afterwards."""
    code = f"""
{COUNTERS}
from axptr_native.testing import fail_usercopy
print(accesses(3))
with fail_usercopy(probability=0.0):
    print(accesses(5))
print(accesses(3), injected_everywhere().calls)
"""
    assert said(code, "interval=4", tmp_path) == ["...", ".....", "x.. 6"]


def test_a_seed_that_is_not_set_can_be_found(tmp_path: Path) -> None:
    """The seed that a program had is told, and set it fails the same calls."""
    code = f"{COUNTERS}\nprint(injected_everywhere().seed)\nprint(accesses(200))"
    seed, found = said(code, "probability=0.5", tmp_path)
    assert {".", "x"} == set(found)
    assert said(code, f"probability=0.5,seed={seed}", tmp_path) == [seed, found]


def test_nothing_is_told_where_it_is_not_set(tmp_path: Path) -> None:
    """Without the variable there are no counters, and the modules of fault injection are not imported."""
    code = """
print([name for name in sys.modules if name.startswith(("axptr_native._injection", "axptr_native.testing"))])
from axptr_native.testing.injection import injected_everywhere
print(injected_everywhere())
"""
    assert said(code, None, tmp_path) == ["[]", "None"]


def test_a_child_inherits_it(tmp_path: Path) -> None:
    """A forked child goes on from where its parent was, and so does the parent."""
    code = """
import os
print(accesses(2), flush=True)
pid = os.fork()
if pid == 0:
    print(accesses(3), flush=True)
    os._exit(0)
os.waitpid(pid, 0)
print(accesses(3))
"""
    assert said(code, "interval=3", tmp_path) == ["..", "x..", "x.."]


def test_a_package_that_is_imported_again_goes_on_with_it(tmp_path: Path) -> None:
    """After a second import in the process the counters are those of the first."""
    code = """
print(accesses(2))
for name in [name for name in sys.modules if name.startswith("axptr_native")]:
    del sys.modules[name]
from axptr_native import uaccess
print(accesses(3))
"""
    assert said(code, "interval=3", tmp_path) == ["..", "x.."]


NAMES = "probability=..., interval=..., times=..., space=..., seed=..."


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("1", f"'1' is not one of {NAMES}"),
        ("yes", f"'yes' is not one of {NAMES}"),
        ("chance=1", f"'chance=1' is not one of {NAMES}"),
        ("probability=1;times=2", "probability must be a number, not '1;times=2'"),
        ("probability=", "probability must be a number, not ''"),
        ("probability=often", "probability must be a number, not 'often'"),
        ("probability=nan", "probability must be from 0.0 to 1.0, not nan"),
        ("probability=10", "probability must be from 0.0 to 1.0, not 10.0"),
        ("interval=0", "interval must be from 1 to 18446744073709551615, not 0"),
        ("interval=1.5", "interval must be a number, not '1.5'"),
        ("times=-1", "times must be from 0 to 9223372036854775806, not -1"),
        ("space=4k", "space must be a number, not '4k'"),
        ("seed=99999999999999999999", "seed must be from 0 to 18446744073709551615, not 99999999999999999999"),
        ("times=1,times=2", "times is there twice"),
        ("times=1,", f"'' is not one of {NAMES}"),
        (",", f"'' is not one of {NAMES}"),
        (" ", f"'' is not one of {NAMES}"),
    ],
)
def test_nonsense_is_an_error_at_import(setting: str, complaint: str, tmp_path: Path) -> None:
    """The import is ValueError that names the variable, its value and what is wrong, and nothing is injected."""
    code = """
try:
    import axptr_native
except ValueError as error:
    print(error)
"""
    outcome = check(run(code, cwd=tmp_path, environment={"AXPTR_FAIL_USERCOPY": setting}))
    assert outcome.stdout.strip() == f"the environment's AXPTR_FAIL_USERCOPY={setting!r}: {complaint}"
