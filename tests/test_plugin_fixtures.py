# SPDX-License-Identifier: MIT
"""The fixtures of the pytest plugin: what they give faults, and it is gone after the test."""

import itertools
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from helpers_memory import require
from helpers_plugin import WORKERS, Session, passes, run_suite, xdist

from axptr_native import AddrSpace, FaultError, FaultReason, uaccess
from axptr_native._regions import Ending
from axptr_native.testing import Region
from axptr_native.testing._seeds import derived_seeds

pytest_plugins = ["pytester"]

Factory = Callable[..., Region]

each_way = pytest.mark.parametrize("options", [pytest.param((), id="alone"), WORKERS])


def test_the_space_is_fresh(aspace: AddrSpace) -> None:
    """It has 64 MiB and no area."""
    assert (aspace.size, aspace.areas()) == (64 << 20, ())


@pytest.mark.parametrize(
    ("name", "arguments", "size", "reason"),
    [
        ("guard_page_after", (b"some data",), 9, FaultReason.NOT_PERMITTED),
        ("guard_page_after", (b"some data", 8), 9, FaultReason.NOT_PERMITTED),
        ("guard_page_before", (b"some data",), 9, FaultReason.NOT_PERMITTED),
        ("no_access", (100,), 0, FaultReason.NOT_PERMITTED),
        ("truncated_file", (b"some data",), 9, FaultReason.BEYOND_END),
        ("hole", (), 0, FaultReason.NOT_MAPPED),
        ("straddling", (b"some data", 4), 4, FaultReason.NOT_PERMITTED),
    ],
)
def test_a_region_faults_at_its_edge(
    name: str, arguments: tuple[object, ...], size: int, reason: FaultReason, request: pytest.FixtureRequest
) -> None:
    """Each call of a factory gives a region of its own, entered, whose data is there and whose edge is bad."""
    if reason is FaultReason.BEYOND_END:
        require(Ending.END_OF_FILE)
    make: Factory = request.getfixturevalue(name)
    regions = [make(*arguments) for _ in range(3)]
    assert len({region.address for region in regions}) == 3
    for region in regions:
        assert region.size == size
        assert uaccess.copy_from_user(region.address, size) == b"some data"[:size]
        with pytest.raises(FaultError) as caught:
            uaccess.copy_from_user(region.edge, 1)
        assert (caught.value.address, caught.value.reason) == (region.edge, reason)


def test_read_only_data_can_be_read(read_only: Factory) -> None:
    """Writing it is a fault at its first byte."""
    region = read_only(b"some data")
    assert uaccess.copy_from_user(region.address, 9) == b"some data"
    with pytest.raises(FaultError) as caught:
        uaccess.copy_to_user(region.address, b"x")
    assert (caught.value.address, caught.value.reason) == (region.edge, FaultReason.NOT_PERMITTED)


def test_a_non_canonical_address_is_none_of_the_processors(non_canonical: Factory) -> None:
    """It faults as such, where the processor has such addresses."""
    try:
        region = non_canonical()
    except OSError as error:
        pytest.skip(str(error))
    with pytest.raises(FaultError) as caught:
        uaccess.copy_from_user(region.edge, 1)
    assert caught.value.reason is FaultReason.NOT_CANONICAL


CLEANED_UP = """
    import os
    import pytest
    from axptr_native import PAGE_SIZE, FaultError, MappingFlags, uaccess

    DATA = b"d" * 5000
    spaces = []
    seen = []

    def descriptors():
        return sorted(os.listdir("/proc/self/fd"))

    @pytest.fixture(scope="module")
    def before():
        return descriptors()

    @pytest.mark.parametrize("how", ["returns", "fails", "raises"])
    def test_uses_all(before, how, aspace, guard_page_after, guard_page_before, read_only, no_access, truncated_file,
                      hole, straddling):
        aspace.map_alloc(aspace.base, PAGE_SIZE, MappingFlags.READ)
        spaces.append(aspace)
        for region in [guard_page_after(DATA), guard_page_before(DATA), read_only(DATA), no_access(5000),
                       truncated_file(DATA), hole(), straddling(DATA, 4096), guard_page_after(b""), hole()]:
            seen.append(region.address)
        with pytest.raises(TypeError):
            guard_page_after()
        if how == "fails":
            pytest.fail("as it should")
        if how == "raises":
            raise SystemError("as it should")

    def test_all_is_gone(before):
        assert (len(spaces), len(seen)) == (3, 27)
        with open("/proc/self/maps") as maps:
            ranges = [[int(end, 16) for end in line.split()[0].split("-")] for line in maps]
        assert [address for address in seen if any(start <= address < end for start, end in ranges)] == []
        for address in [*seen, *(space.base for space in spaces)]:
            with pytest.raises(FaultError):
                uaccess.copy_from_user(address, 1)
        for space in spaces:
            with pytest.raises(ValueError, match="closed"):
                space.map_alloc(space.base, PAGE_SIZE, MappingFlags.READ)
        assert descriptors() == before
"""


def test_memory_is_given_back_after_each_test(pytester: pytest.Pytester) -> None:
    """Of tests that pass or fail nothing stays mapped, open, or accessible."""
    session = run_suite(pytester, CLEANED_UP)
    assert [(call.name, call.outcome) for call in session.calls.values()] == [
        ("test_uses_all[returns]", "passed"),
        ("test_uses_all[fails]", "failed"),
        ("test_uses_all[raises]", "failed"),
        ("test_all_is_gone", "passed"),
    ], session.stdout
    assert {report.outcome for report in session.reports if report.when == "teardown"} == {"passed"}


@each_way
def test_what_fixtures_give_crashes_a_child_that_touches_it(
    options: tuple[str, ...], pytester: pytest.Pytester
) -> None:
    """An unguarded access at an edge kills with the signal of the region's kind; guarded ones there do not."""
    tests = """
        import ctypes
        import pytest
        from axptr_native import FaultError, uaccess

        def touch(region):
            with pytest.raises(FaultError):
                uaccess.copy_from_user(region.edge, 1)
            assert ctypes.string_at(region.address, 4) == b"good"
            ctypes.string_at(region.edge, 1)

        @pytest.mark.must_crash("SIGSEGV")
        def test_guard_page(guard_page_after):
            touch(guard_page_after(b"good"))

        @pytest.mark.must_crash("SIGBUS")
        def test_file(truncated_file):
            touch(truncated_file(b"good"))

        @pytest.mark.must_crash("SIGSEGV")
        def test_write(read_only):
            ctypes.memset(read_only(b"good").address, 0, 1)

        @pytest.mark.must_crash("SIGSEGV")
        def test_space(aspace):
            ctypes.string_at(aspace.base, 1)
    """
    passes(run_suite(pytester, tests, *options), 4)


# Each test tells which of its accesses failed, and in what order it ran.
CHANCE = """
    import ctypes
    import pytest
    from axptr_native import FaultError, uaccess

    good = ctypes.create_string_buffer(8)

    def failures(injection):
        with injection:
            return "".join("F" if uaccess.probe_read(ctypes.addressof(good), 8) == 0 else "." for _ in range(64))

    @pytest.mark.xdist_group("all")
    @pytest.mark.parametrize("number", range(4))
    def test_chance(fail_usercopy, record_property, number):
        record_property("faults", [failures(fail_usercopy(probability=0.5)) for _ in range(2)])
        record_property("seeded", failures(fail_usercopy(probability=0.5, seed=7)))
"""


def faults(session: Session) -> dict[str, list[str]]:
    """Return which accesses failed, by test."""
    passes(session, 4)
    return {name.partition("@")[0]: call.properties["faults"] for name, call in session.calls.items()}


def test_faults_repeat_with_the_seed_whatever_ran_before(pytester: pytest.Pytester) -> None:
    """A test meets the same faults alone as after others; another test, use or seed makes others."""
    found = faults(run_suite(pytester, CHANCE, "--axptr-seed=1"))
    alone = run_suite(pytester, CHANCE, "--axptr-seed=1", "-k", "chance[2]")
    assert alone.calls["test_chance[2]"].properties["faults"] == found["test_chance[2]"]
    others = faults(run_suite(pytester, CHANCE, "--axptr-seed=2"))
    assert len({*itertools.chain(*found.values(), *others.values())}) == 16


def test_a_seed_that_is_given_is_taken(pytester: pytest.Pytester) -> None:
    """Then neither the test nor --axptr-seed matters."""
    sessions = [run_suite(pytester, CHANCE, f"--axptr-seed={seed}") for seed in (1, 2)]
    assert len({call.properties["seeded"] for session in sessions for call in session.calls.values()}) == 1


@xdist
@pytest.mark.parametrize("distribution", ["load", "loadgroup"])
def test_faults_repeat_on_any_worker(distribution: str, pytester: pytest.Pytester) -> None:
    """Workers share the seed, also a random one, and groups of tests do not change it."""
    spread = run_suite(pytester, CHANCE, "-p", "xdist", "-n", "2", "--dist", distribution)
    (seed,) = (line.partition("--axptr-seed=")[2] for line in spread.header)
    assert faults(spread) == faults(run_suite(pytester, CHANCE, f"--axptr-seed={seed}"))


@xdist
def test_two_workers_meet_the_same_faults(pytester: pytest.Pytester) -> None:
    """When each of them runs every test, their faults are alike."""
    session = run_suite(pytester, CHANCE, "-p", "xdist", "--dist", "each", "--tx", "2*popen")
    by_worker: dict[str | None, dict[str, object]] = {}
    for report in session.reports:
        if report.when == "call":
            by_worker.setdefault(report.worker, {})[report.name] = report.properties["faults"]
    assert set(by_worker) == {"gw0", "gw1"}
    assert len(by_worker["gw0"]) == 4
    assert by_worker["gw0"] == by_worker["gw1"]


def test_a_failure_tells_how_to_repeat_its_faults(pytester: pytest.Pytester) -> None:
    """A test that failed with simulated faults has the seed in its report; others do not."""
    tests = """
        def test_with(fail_usercopy):
            assert False

        def test_without():
            assert False

        def test_passes(fail_usercopy):
            pass
    """
    calls = run_suite(pytester, tests, "--axptr-seed=42").calls
    assert {name: call.sections for name, call in calls.items()} == {
        "test_with": {"simulated faults": "repeat them with --axptr-seed=42"},
        "test_without": {},
        "test_passes": {},
    }


def test_seeds_differ_by_run_by_test_and_by_use() -> None:
    """None of many is there twice, each has at most 64 bits, and they are the same in every process."""
    given = [
        seed
        for run in range(10)
        for test in ("a::b", "a::c", "\udc80")
        for seed in itertools.islice(derived_seeds(run, test), 10)
    ]
    assert len(set(given)) == 300
    assert 2**60 < max(given) < 2**64
    assert next(derived_seeds(42, "test_suite.py::test")) == 6182022109984854628


def test_the_factory_takes_what_the_context_manager_takes(
    fail_usercopy: Callable[..., AbstractContextManager[object]],
) -> None:
    """Its arguments are checked when it is called."""
    with pytest.raises(ValueError, match="probability must be from"):
        fail_usercopy(probability=2)
    with pytest.raises(TypeError):
        fail_usercopy(0.5)
