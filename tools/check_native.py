# SPDX-License-Identifier: MIT
"""Build the package in many ways, run the test-suite against each build, and read the C sources with analysers.

``check_native.py``: gcc and clang, without and with optimisation and hardening, then clang-tidy and cppcheck.
``check_native.py --sanitize address``: gcc and clang with AddressSanitizer and UndefinedBehaviorSanitizer.
``check_native.py --sanitize undefined``: gcc and clang with the latter alone, which leaves copying as shipped.

What follows on the command line goes to pytest.  What a machine has not got is skipped, and the table says so.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from programs import ROOT, SUITE_HANG, CheckError, SkipError, last_line, require_usable, run, table

COMPILERS = ("gcc", "clang")
HARDENED = "-D_FORTIFY_SOURCE=3 -fstack-protector-strong -fstack-clash-protection -fcf-protection"
FLAGS = ("-O0", "-O3 -flto", f"-O3 -flto {HARDENED}")
SANITIZERS = {
    "address": "-O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all",
    # User memory may be at address 0, and is accessed there like any other.
    "undefined": "-O3 -g -fno-omit-frame-pointer -fsanitize=undefined -fno-sanitize=null,nonnull-attribute "
    "-fno-sanitize-recover=all",
}
RUNTIMES = {
    "address": ("libclang_rt.asan-{machine}.so", "libclang_rt.asan.so", "libasan.so"),
    "undefined": ("libclang_rt.ubsan_standalone-{machine}.so", "libclang_rt.ubsan_standalone.so", "libubsan.so"),
}
"""The files of clang, which finds gcc's too, and of gcc."""

SANITIZER_ENVIRONMENT = {
    # The handlers under test are the library's: the sanitizer's own would print a report for every caught fault.
    "ASAN_OPTIONS": "handle_segv=0:handle_sigbus=0:allow_user_segv_handler=1"
    ":allocator_may_return_null=1"  # a MemoryError, as malloc's failure would be
    ":detect_leaks=0"  # an interpreter leaks by design
    ":use_sigaltstack=0"  # leaving a handler costs 4 us without an alternate stack, 400 to 2500 with one
    ":abort_on_error=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:handle_segv=0:handle_sigbus=0:allow_user_segv_handler=1",
    "PYTHONMALLOC": "malloc",  # so that each object has its own red zones
}

DISARMED = "such a stack is not seen from inside a handler, of which the sanitizer warns when one leaves it"

NOT_SANITIZED = {
    "test_environment.py::test_good_accesses_make_no_system_calls_but_a_few_at_each_tick": "the sanitizer makes some",
    "test_fork.py::test_a_child_forked_during_installs_catches_its_faults_and_gets_on_top": (
        "200 forks with a shadow memory take minutes"
    ),
    "test_builtins.py::test_the_suite_passes_on_the_other_path": "a quarter of the suite takes longer than it may",
    "test_region_limits.py::test_without_mappings_nothing_is_left": "the sanitizer needs mappings too, and aborts",
    "test_call_crashes.py::test_stack_overflows_are_exceptions[main-disarming itself]": DISARMED,
    "test_call_crashes.py::test_stack_overflows_are_exceptions[thread-disarming itself]": DISARMED,
}
"""Tests that cannot run under AddressSanitizer, and why."""

OVERFLOWING_BUFFER = """
import ctypes
from axptr_native._native import lib
malloc = ctypes.CDLL(None).malloc
malloc.argtypes, malloc.restype = (ctypes.c_void_p,), ctypes.c_void_p
good = ctypes.create_string_buffer(64)
lib.axp_copy_from_user(malloc(16), ctypes.addressof(good), 64)
"""
OVERFLOWING_NUMBER = "import ctypes; ctypes.CDLL({!r}).add(2**31 - 1, 1)"
ADD = "int add(int left, int right);\nint add(int left, int right) { return left + right; }\n"

CANARIES = {
    "address": (OVERFLOWING_BUFFER, "AddressSanitizer: heap-buffer-overflow"),
    "undefined": (OVERFLOWING_NUMBER, "runtime error: signed integer overflow"),
}
"""A buffer of the caller's own that is too small, and a number that is too large, and what the sanitizer must say."""


class Build(NamedTuple):
    """One way to compile the library."""

    compiler: str
    flags: str
    sanitizer: str = ""
    preload: str = ""

    @property
    def name(self) -> str:
        """What the table calls it."""
        return f"{self.compiler} {self.sanitizer or self.flags.replace(HARDENED, 'hardened')}"


class Row(NamedTuple):
    """A line of the table."""

    name: str
    built: str
    tests: str
    ok: bool = True


def runtime(compiler: str, sanitizer: str) -> str | None:
    """Return the file of a compiler's sanitizer runtime, which must be loaded before everything else."""
    for name in RUNTIMES[sanitizer]:
        option = f"-print-file-name={name.format(machine=platform.machine())}"
        found = Path(run([compiler, option]).output.strip())
        if found.is_absolute() and found.is_file() and found.read_bytes()[:4] == b"\x7fELF":
            return str(found)
    return None


def install(build: Build, folder: Path) -> Path:
    """Install the package as built so into a folder of its own, and return that."""
    target = folder / "installed"
    flags = f"{build.flags} -Werror"
    # A library that lacks a function (an atomic that needs libatomic, say) should fail here and not at its first call.
    complete = "" if build.preload or sys.platform == "darwin" else "-Wl,--no-undefined"
    settings = {
        "build-dir": str(folder / "build"),
        "cmake.build-type": "None",
        "cmake.define.AXPTR_WERROR": "ON",
        "cmake.define.CMAKE_EXPORT_COMPILE_COMMANDS": "ON",
        "install.strip": "false",
    }
    done = run(
        [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--no-build-isolation", "--verbose"]
        + [f"--config-settings={name}={value}" for name, value in settings.items()]
        + ["--target", str(target), str(ROOT)],
        environment={"CC": build.compiler, "CFLAGS": flags, "LDFLAGS": complete},
    )
    if done.returncode != 0:
        print(f"==== {build.name}\n{done.output}", flush=True)
        raise CheckError("FAILED")
    return target


def environment_of(build: Build, installed: Path) -> dict[str, str]:
    """Return the variables with which an interpreter finds a build."""
    found = {"PYTHONPATH": str(installed)}
    return found | SANITIZER_ENVIRONMENT | {"LD_PRELOAD": build.preload} if build.preload else found


def check_canary(build: Build, installed: Path, folder: Path) -> None:
    """Make sure that the sanitizer sees a plain overflow."""
    canary, said = CANARIES[build.sanitizer]
    library = folder / "canary.so"
    run([build.compiler, *build.flags.split(), "-shared", "-fPIC", "-x", "c", "-", "-o", library], stdin=ADD)
    command = [sys.executable, "-c", canary.format(str(library))]
    done = run(command, environment=environment_of(build, installed), cwd=folder)
    if said not in done.output:
        print(f"==== {build.name}\n{done.output}", flush=True)
        raise CheckError("FAILED: the sanitizer is blind")


def test(build: Build, installed: Path, folder: Path, arguments: Sequence[str]) -> str:
    """Run the test-suite against a build and return its summary."""
    loaded = run(
        [sys.executable, "-c", "import axptr_native._native as native; print(native.lib._name)"],
        environment=environment_of(build, installed),
        cwd=folder,
    )
    if Path(last_line(loaded.output)).parent.parent != installed:
        print(f"==== {build.name}\n{loaded.output}", flush=True)
        raise CheckError("FAILED: another build was loaded")
    options = [f"--rootdir={ROOT}", f"--config-file={ROOT / 'pyproject.toml'}", "-p", "no:cacheprovider", "-n", "auto"]
    if build.sanitizer == "address":
        options += ["-p", "no:faulthandler"]  # which sets up an alternate stack
        options += [f"--deselect=tests/{name}" for name in NOT_SANITIZED]
    # They run in another folder, where nothing but the build is to be imported from.
    files = [ROOT / argument for argument in arguments if (ROOT / argument).is_file()]
    others = [argument for argument in arguments if ROOT / argument not in files]
    done = run(
        [sys.executable, "-m", "pytest", *options, *others, *(files or [ROOT / "tests"])],
        environment=environment_of(build, installed),
        cwd=folder,
        timeout=SUITE_HANG,
    )
    summary = last_line(done.output)
    if done.returncode != 0:
        print(f"==== {build.name}\n{done.output}", flush=True)
        raise CheckError(f"FAILED: {summary}")
    return summary


def check(build: Build, folder: Path, installed: Path | CheckError, arguments: Sequence[str]) -> Row:
    """Test a build."""
    if isinstance(installed, CheckError):
        return Row(build.name, str(installed), "", ok=False)
    print(f"testing {build.name} ...", flush=True)
    try:
        if build.preload:
            check_canary(build, installed, folder)
        return Row(build.name, "yes", test(build, installed, folder, arguments))
    except CheckError as error:
        return Row(build.name, "yes", str(error), ok=False)


def plan(sanitizer: str, folder: Path, compilers: Sequence[str]) -> tuple[list[Build], list[str]]:
    """Return what can be built here, and what cannot and why."""
    builds: list[Build] = []
    skipped: list[str] = []
    for compiler in compilers:
        for flags in (SANITIZERS[sanitizer],) if sanitizer else FLAGS:
            preload = (runtime(compiler, sanitizer) or "") if sanitizer and shutil.which(compiler) else ""
            build = Build(compiler, flags, sanitizer, preload)
            try:
                require_usable(compiler, flags, folder)
                if sanitizer and not preload:
                    raise SkipError(f"no shared runtime of the {sanitizer} sanitizer for {compiler}")
                builds.append(build)
            except SkipError as reason:
                if (line := f"skipped: {reason}") not in skipped:
                    skipped.append(line)
    return builds, skipped


def analyse(commands: Path) -> list[Row]:
    """Read the sources with what analysers there are; ``commands`` is a folder with compile_commands.json."""
    sources = sorted(path for path in (ROOT / "native").glob("*.c") if "windows" not in path.name)
    analysers = {
        "clang-tidy": [
            f"-p={commands}",
            "--quiet",
            "--warnings-as-errors=*",
            "--extra-arg=-Wno-unknown-warning-option",
        ],
        "cppcheck": [
            *("--quiet", "--error-exitcode=1", "--enable=warning,performance,portability", "--inline-suppr"),
            *("--std=c11", "-D_GNU_SOURCE", "-Inative"),
            # What the signal handler writes, and an address of which no more than its value is used.
            *("--suppress=uninitStructMember", "--suppress=ctuuninitvar"),
        ],
    }
    rows = []
    for name, options in analysers.items():
        if shutil.which(name) is None:
            continue
        done = run([name, *options, *sources])
        if done.returncode != 0:
            print(f"==== {name}\n{done.output}", flush=True)
        rows.append(Row(name, "", "no findings" if done.returncode == 0 else "FAILED", ok=done.returncode == 0))
    return rows


def main() -> int:
    """Check everything and return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--compiler", choices=COMPILERS, help="build by this one alone")
    parser.add_argument("--sanitize", choices=SANITIZERS, default="", help="run under a sanitizer instead")
    options, arguments = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary).resolve()
        compilers = COMPILERS if options.compiler is None else (options.compiler,)
        builds, skipped = plan(options.sanitize, scratch, compilers)
        folders = [scratch / str(number) for number in range(len(builds))]

        def try_to_install(build: Build, folder: Path) -> Path | CheckError:
            folder.mkdir()
            try:
                return install(build, folder)
            except CheckError as error:
                return error

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            installed = list(pool.map(try_to_install, builds, folders))
        rows = [check(*each, arguments) for each in zip(builds, folders, installed, strict=True)]
        if not options.sanitize:
            if builds:
                rows += analyse(folders[-1] / "build")
            skipped += [f"skipped: {name} not found" for name in ("clang-tidy", "cppcheck") if not shutil.which(name)]
    print(table([("configuration", "built", "tests"), *((row.name, row.built, row.tests) for row in rows)]))
    if options.sanitize == "address":
        for test_name, reason in NOT_SANITIZED.items():
            print(f"deselected: {test_name}: {reason}")
    for line in skipped:
        print(line)
    return 0 if all(row.ok for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
