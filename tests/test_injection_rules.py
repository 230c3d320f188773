# SPDX-License-Identifier: MIT
"""When a fault is injected: Linux's order, chance that repeats, and what is refused."""

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from child import check, run
from helpers_injection import access, accesses, expected_luck

from axptr_native import FaultError, FaultReason, uaccess
from axptr_native.testing import fail_usercopy


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, "xxxxxxxxxxxx"),
        ({"probability": 0.0}, "............"),
        ({"times": 0}, "............"),
        ({"times": 3}, "xxx........."),
        ({"interval": 1}, "xxxxxxxxxxxx"),
        ({"interval": 4}, "...x...x...x"),
        ({"interval": 13}, "............"),
        ({"interval": 5, "times": 1}, "....x......."),
        # An access that is as large as what is left of the space may fail, and takes nothing off it.
        ({"space": 1}, "xxxxxxxxxxxx"),
        ({"space": 8}, "xxxxxxxxxxxx"),
        ({"space": 9}, ".xxxxxxxxxxx"),
        ({"space": 16}, ".xxxxxxxxxxx"),
        ({"space": 40}, "....xxxxxxxx"),
        ({"space": 2**64 - 1}, "............"),
        # The interval counts what the space let through, and the times count failures.
        ({"space": 24, "interval": 3}, "....x..x..x."),
        ({"space": 24, "interval": 3, "times": 2}, "....x..x...."),
    ],
)
def test_the_rules_are_asked_in_linux_s_order(arguments: dict[str, Any], expected: str) -> None:
    """times, space, interval and probability: which of twelve accesses of 8 bytes fail."""
    with fail_usercopy(**arguments) as injection:
        found = accesses(12)
    assert found == expected
    assert (injection.calls, injection.failures) == (12, expected.count("x"))


def test_space_is_what_is_left_for_smaller_accesses() -> None:
    """An access that is too large for what is left of the space fails, and a smaller one after it does not."""
    with fail_usercopy(space=20):
        # Left before each: 20, 12, 12, 4, 4, 2, 1, 1.
        assert [access(size) for size in (8, 16, 8, 4, 2, 1, 1, 2)] == list(".x.x..xx")


def test_a_seed_gives_this_sequence() -> None:
    """splitmix64 from 1, half of the time: these accesses fail, whatever the machine and the version."""
    with fail_usercopy(probability=0.5, seed=1):
        assert accesses(64) == expected_luck(1, 0.5, 64)
    assert expected_luck(1, 0.5, 32) == "...xx...x.x.x.xx....xxxxxx..x..."


@pytest.mark.parametrize("probability", [5e-324, 2**-53, 0.001, 0.1, 1 / 3, 0.9, 1 - 2**-53, 1.0, 1, 0, True])
@pytest.mark.parametrize("seed", [0, 7, 2**64 - 1])
def test_probabilities_are_fractions(probability: float, seed: int) -> None:
    """An access fails where the seed's next number, of 53 bits, is below the probability."""
    with fail_usercopy(probability=probability, seed=seed):
        assert accesses(300) == expected_luck(seed, probability, 300)


def test_random_numbers_are_drawn_only_where_they_decide() -> None:
    """Calls that space or interval let through do not use up the sequence."""
    with fail_usercopy(probability=0.5, seed=3, interval=2):
        found = accesses(64)
    assert found[::2] == "." * 32
    assert found[1::2] == expected_luck(3, 0.5, 32)


def test_a_seed_that_is_not_given_is_told_and_repeats() -> None:
    """Without a seed each one has its own, and the attribute gives the same faults again."""
    with fail_usercopy(probability=0.5) as injection, fail_usercopy() as other:
        assert injection.seed != other.seed
    with injection:
        found = accesses(100)
    with fail_usercopy(probability=0.5, seed=injection.seed):
        assert accesses(100) == found


def test_it_begins_anew_each_time_it_is_entered() -> None:
    """Entered again, counters are 0 and the same calls fail; the counters stay readable in between."""
    injection = fail_usercopy(probability=0.5, seed=9, times=10)
    assert (injection.calls, injection.failures) == (0, 0)
    found = set()
    for _ in range(3):
        with injection as entered:
            assert entered is injection
            assert injection.calls == 0
            found.add(accesses(40))
        assert (injection.calls, injection.failures) == (40, 10)
    assert len(found) == 1


SCRIPT = """
import ctypes
from axptr_native import FaultError, uaccess
from axptr_native._builtins import call_path
from axptr_native.testing import fail_usercopy
good = ctypes.create_string_buffer(b"text", 8)
at = ctypes.addressof(good)
def said(way):
    try:
        way()
        return "."
    except FaultError as error:
        return "x"
ways = (lambda: uaccess.copy_from_user(at, 8), lambda: uaccess.put_user(at, ctypes.c_int, 5),
        lambda: uaccess.strncpy_from_user(at, 8), lambda: uaccess.copy_in_user(at + 1, at, 4))
with fail_usercopy(probability=0.4, interval=2, space=64, seed=12):
    print(call_path.partition(",")[0], "".join(said(ways[i % 4]) for i in range(200)))
"""


def test_a_fresh_process_and_the_other_call_path_see_the_same_faults(tmp_path: Path) -> None:
    """The same seed fails the same calls in two new processes, one through builtins and one through ctypes."""
    found = {}
    for asked in ("", "ctypes"):
        path, said = (
            check(run(SCRIPT, cwd=tmp_path, environment={"AXPTR_CALLS": asked})).stdout.rstrip().split(maxsplit=1)
        )
        found[path] = said
    assert "ctypes" in found
    assert len(set(found.values())) == 1
    assert {".", "x"} == set(found["ctypes"])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"probability": -0.1}, ValueError, r"probability must be from 0.0 to 1.0, not -0.1"),
        ({"probability": 1.0000001}, ValueError, r"probability must be from 0.0 to 1.0, not 1.0000001"),
        ({"probability": 50}, ValueError, r"probability must be from 0.0 to 1.0, not 50"),
        ({"probability": float("nan")}, ValueError, r"probability must be from 0.0 to 1.0, not nan"),
        ({"probability": "1"}, TypeError, r"probability must be a number from 0.0 to 1.0, not '1'"),
        ({"probability": None}, TypeError, r"probability must be a number from 0.0 to 1.0, not None"),
        ({"interval": 0}, ValueError, r"interval must be from 1 to 18446744073709551615, not 0"),
        ({"interval": 2**64}, ValueError, r"interval must be from 1 to \d+, not 18446744073709551616"),
        ({"interval": 1.5}, TypeError, r"interval must be an integer, not 1.5"),
        ({"times": -1}, ValueError, r"times must be from 0 to 9223372036854775806, not -1"),
        ({"times": "3"}, TypeError, r"times must be an integer, not '3'"),
        ({"space": -1}, ValueError, r"space must be from 0 to 18446744073709551615, not -1"),
        ({"space": None}, TypeError, r"space must be an integer, not None"),
        ({"seed": -1}, ValueError, r"seed must be from 0 to 18446744073709551615, not -1"),
        ({"seed": 2**64}, ValueError, r"seed must be from 0 to 18446744073709551615, not 18446744073709551616"),
        ({"seed": b"x"}, TypeError, r"seed must be an integer, not b'x'"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    """Each is TypeError or ValueError that says what would do, and nothing is injected."""
    with pytest.raises(error, match=message):
        fail_usercopy(**arguments)
    assert accesses(2) == ".."


def test_what_it_is_can_be_read() -> None:
    """repr() tells the seed, the calls and the failures."""
    with fail_usercopy(seed=5, interval=2) as injection:
        accesses(5)
    assert repr(injection) == "<fail_usercopy seed=5 calls=5 failures=2>"


@pytest.mark.parametrize(
    ("read", "expected"), [(uaccess.strncpy_from_user, b"a string"), (uaccess.strnlen_user, len(b"a string"))]
)
def test_a_string_of_a_limit_that_drops_the_gil_is_one_access(
    read: Callable[[int, int], object], expected: object
) -> None:
    """It fails as a whole, or is read or measured, however far it might have gone."""
    string = ctypes.create_string_buffer(b"a string")
    with fail_usercopy(times=1) as injection:
        with pytest.raises(FaultError) as caught:
            read(ctypes.addressof(string), 2 << 20)
        assert read(ctypes.addressof(string), 2 << 20) == expected
    assert (caught.value.reason, caught.value.transferred, caught.value.size) == (FaultReason.INJECTED, 0, 2 << 20)
    assert (injection.calls, injection.failures) == (2, 1)
