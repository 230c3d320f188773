# SPDX-License-Identifier: MIT
"""axptr.h and the ctypes table say the same, and so does the compiled library."""

import ctypes
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from axptr_native import PAGE_SIZE, FaultReason, MappingFlags, _builtins, _native

ROOT = Path(__file__).parents[1]
HEADER_FOLDER = ROOT / "native"
HEADER = (HEADER_FOLDER / "axptr.h").read_text()
BUILTINS_HEADER = (HEADER_FOLDER / "builtins.h").read_text()

SCALARS: dict[str, Any] = {
    "int": ctypes.c_int,
    "int32_t": ctypes.c_int32,
    "int64_t": ctypes.c_int64,
    "uint8_t": ctypes.c_uint8,
    "uint16_t": ctypes.c_uint16,
    "uint32_t": ctypes.c_uint32,
    "uint64_t": ctypes.c_uint64,
    "uintptr_t": ctypes.c_void_p,  # as _native says: quicker, and as wide
    "size_t": ctypes.c_void_p,
    "double": ctypes.c_double,
}

Prototypes = tuple[tuple[str, Any, tuple[Any, ...]], ...]


class Function(NamedTuple):
    """A declaration of the header, types as they are written there."""

    name: str
    result: str
    arguments: tuple[str, ...]


def without_comments(header: str) -> str:
    return re.sub(r"/\*.*?\*/", " ", header, flags=re.DOTALL)


def type_of(declaration: str) -> str:
    """Return a declaration's type, without const and the name: ``axp_fault *`` of ``const axp_fault *fault``."""
    words = re.findall(r"\w+|\*", declaration)
    words = [word for word in words if word not in ("const", "struct")]
    if len(words) > 1 and words[-1] != "*":
        words.pop()
    return " ".join(words)


def functions_of(header: str) -> list[Function]:
    """Return every function that the header exports."""
    found = []
    for result, name, arguments in re.findall(
        r"^AXP_API\s+([^;(]*?)(\w+)\(([^;]*)\);", without_comments(header), re.MULTILINE
    ):
        types = () if arguments.strip() == "void" else tuple(type_of(argument) for argument in arguments.split(","))
        found.append(Function(name, type_of(f"{result} name"), types))
    return found


def structures_of(header: str) -> dict[str, list[tuple[str, str, int]]]:
    """Return each structure's fields: name, type, and the length of an array or 0."""
    found = {}
    for tag, body, name in re.findall(r"typedef struct (\w+) \{(.*?)\} (\w+);", without_comments(header), re.DOTALL):
        assert tag == name
        fields = re.findall(r"([^;]*?)(\w+)(?:\[(\d+)\])?;", body)
        found[name] = [(field, type_of(f"{kind} name"), int(length or 0)) for kind, field, length in fields]
    return found


def constants_of(header: str) -> dict[str, int]:
    """Return every number that the header defines, by name."""
    return {name: int(value) for name, value in re.findall(r"^#define (AXP_\w+) (\d+)\b", header, re.MULTILINE)}


def structure_class(name: str) -> Any:
    """Return the ctypes class of a structure: ``Fault`` for ``axp_fault``, or None."""
    return getattr(_native, "".join(part.title() for part in name.split("_")[1:]), None)


def allowed(kind: str, structures: dict[str, Any]) -> list[Any]:
    """Return the ctypes types that may stand for a type of the header."""
    if kind == "char *":
        return [ctypes.c_char_p]
    if kind == "void *":
        return [ctypes.c_void_p]
    if kind.endswith("*"):
        target = kind[:-1].strip()
        pointed = structures.get(target) or SCALARS.get(target)
        assert pointed is not None, f"the test does not know {kind!r}"
        return [ctypes.POINTER(pointed), ctypes.c_void_p]
    assert kind in SCALARS, f"the test does not know {kind!r}"
    return [SCALARS[kind]]


def differences(header: str, prototypes: Prototypes) -> Iterator[str]:
    """Tell every way in which the table is not what the header declares."""
    functions = functions_of(header)
    structures = {name: structure_class(name) for name in structures_of(header)}
    declared, listed = [function.name for function in functions], [name for name, _, _ in prototypes]
    for names, where in ((declared, "header"), (listed, "table")):
        yield from (f"{name} is in the {where} twice" for name in set(names) if names.count(name) > 1)
    yield from (f"{name} is missing from the table" for name in set(declared) - set(listed))
    yield from (f"{name} is not in the header" for name in set(listed) - set(declared))
    table = {name: (result, arguments) for name, result, arguments in prototypes}
    for function in functions:
        if function.name not in table:
            continue
        result, arguments = table[function.name]
        if result not in allowed(function.result, structures):
            yield f"{function.name} returns {function.result}, not {result.__name__}"
        if len(arguments) != len(function.arguments):
            yield f"{function.name} takes {len(function.arguments)} arguments, not {len(arguments)}"
            continue
        for number, (kind, argument) in enumerate(zip(function.arguments, arguments, strict=True)):
            if argument not in allowed(kind, structures):
                yield f"argument {number} of {function.name} is {kind}, not {argument.__name__}"


def layout_differences(header: str) -> Iterator[str]:
    """Tell every structure whose class has other fields, types or order."""
    for name, fields in structures_of(header).items():
        cls = structure_class(name)
        if cls is None:
            yield f"{name} has no class"
            continue
        expected = []
        for field, kind, length in fields:
            base = ctypes.c_char if kind == "char" else SCALARS.get(kind) or structure_class(kind)
            assert base is not None, f"the test does not know {kind!r}"
            expected.append((field, base * length if length else base))
        if [field for field, _ in cls._fields_] != [field for field, _ in expected]:
            yield f"{name} has the fields {[field for field, _ in expected]}"
        elif list(cls._fields_) != expected:
            yield f"{name} has a field of another type"


def test_the_table_is_the_header() -> None:
    """Every function is in PROTOTYPES with its result and arguments, and nothing else is."""
    assert list(differences(HEADER, _native.PROTOTYPES)) == []


def test_the_structures_are_the_header_s() -> None:
    """Every structure has a class with the same fields in the same order, and every class a structure."""
    assert list(layout_differences(HEADER)) == []
    classes = {
        value for value in vars(_native).values() if isinstance(value, type) and issubclass(value, ctypes.Structure)
    }
    assert classes == {structure_class(name) for name in structures_of(HEADER)}


def test_the_parser_sees_every_declaration() -> None:
    """Each AXP_API that is not its own definition is a parsed function, and each struct a parsed structure."""
    text = without_comments(HEADER)
    uses = len(re.findall(r"\bAXP_API\b", text)) - len(re.findall(r"#define AXP_API\b", text))
    assert len(functions_of(HEADER)) == uses >= 34
    assert len(structures_of(HEADER)) == len(re.findall(r"\bstruct \w+ \{", text)) >= 3
    numbers = re.findall(r"^#define (AXP_\w+) +\S", text, re.MULTILINE)
    assert set(constants_of(HEADER)) == set(numbers) - {"AXP_API"}


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("axp_unmap(uintptr_t start, size_t size)", "axp_unmap(uintptr_t start)", "axp_unmap takes 1 arguments, not 2"),
        ("axp_unmap(uintptr_t", "axp_unmapp(uintptr_t", "axp_unmapp is missing from the table"),
        ("axp_unmap(uintptr_t", "axp_unmapp(uintptr_t", "axp_unmap is not in the header"),
        ("uint8_t byte, size_t size", "uint32_t byte, size_t size", "argument 1 of axp_fill_user is uint32_t"),
        ("uint8_t byte, size_t size", "uint8_t *byte, size_t size", "argument 1 of axp_fill_user is uint8_t *"),
        ("axp_take_fault(axp_fault *", "axp_take_fault(axp_handler *", "argument 0 of axp_take_fault is axp_handler *"),
        (
            "AXP_API int axp_install",
            "AXP_API size_t axp_install",
            "axp_install returns size_t, not c_",
        ),
        ("AXP_API const char *axp_compiler", "AXP_API int axp_compiler", "axp_compiler returns int, not c_char_p"),
        ("int axp_install(void);", "int axp_install(void);\nAXP_API int axp_install(void);", "in the header twice"),
        ("int axp_install(void);", "int axp_install(void);\nAXP_API int axp_new(int a);", "axp_new is missing from"),
    ],
)
def test_a_changed_header_is_noticed(old: str, new: str, complaint: str) -> None:
    """Each mutation of a declaration is told, so that the comparison cannot go blind."""
    assert HEADER.count(old) == 1
    assert complaint in "\n".join(differences(HEADER.replace(old, new), _native.PROTOTYPES))


def test_a_changed_table_is_noticed() -> None:
    """Dropping, doubling or changing any one entry of the table is told."""
    table = _native.PROTOTYPES
    for at, (name, result, arguments) in enumerate(table):
        before, after = table[:at], table[at + 1 :]
        mutations: list[Prototypes] = [
            (*before, *after),
            (*table, table[at]),
            (*before, (name, ctypes.c_uint64, arguments), *after),
            (*before, (name, result, (*arguments, ctypes.c_int)), *after),
            (*before, (f"{name}_", result, arguments), *after),
            *((*before, (name, result, (*arguments[:i], ctypes.c_int64, *arguments[i + 1 :])), *after)
              for i in range(len(arguments))),
        ]  # fmt: skip
        for number, mutated in enumerate(mutations):
            assert list(differences(HEADER, mutated)), (name, number)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    int32_t code; ", "    int32_t kode; "),
        ("    uint32_t reason; ", "    uint64_t reason; "),
        ("    char name[128];", "    char name[129];"),
        ("    uintptr_t file_start;", "    int file_start;"),
        ("    char name[128];\n    char file[512];", "    char file[512];\n    char name[128];"),
        ("    char file[512];\n", "    char file[512];\n    int more;\n"),
    ],
)
def test_a_changed_structure_is_noticed(old: str, new: str) -> None:
    """Each mutation of a field is told."""
    assert HEADER.count(old) == 1
    assert list(layout_differences(HEADER.replace(old, new)))


def python_constants() -> dict[str, int]:
    """Return what the package says of every constant of the header."""
    named = {
        "AXP_ABI_VERSION": _native.ABI_VERSION,
        "AXP_FAULTS_KEPT": _native.FAULTS_KEPT,
        "AXP_INJECTION_ONE": _native.INJECTION_ONE,
        "AXP_INJECTION_ENDLESS": _native.INJECTION_ENDLESS,
        **{f"AXP_RESULT_{kind.upper()}": number for number, kind in enumerate(_native.RESULTS)},
        **{f"AXP_{reason.name}": reason.value for reason in FaultReason},
        **{f"AXP_{flag.name}": int(flag) for flag in MappingFlags},
    }
    for name, value in vars(_native).items():
        if name.startswith("MAP_"):
            named[f"AXP_{name}"] = value
    return named


def test_the_constants_are_the_header_s() -> None:
    """Every number of the header is in Python, and every one in Python in the header."""
    assert python_constants() == constants_of(HEADER)


def test_the_library_is_of_this_header() -> None:
    """The compiled library answers with the header's ABI version, the system's page size and a compiler."""
    assert _native.lib.axp_abi_version() == constants_of(HEADER)["AXP_ABI_VERSION"]
    assert _native.lib.axp_page_size() == PAGE_SIZE
    assert re.match(rb"(gcc|clang) \d+[.-]", _native.lib.axp_compiler() or b"gcc 0.")


def test_the_library_exports_every_function_and_nothing_else(tmp_path: Path) -> None:
    """Each declared function can be looked up, and no other symbol of ours is visible."""
    declared = {function.name for header in (HEADER, BUILTINS_HEADER) for function in functions_of(header)}
    library = ctypes.CDLL(_native.lib._name)
    assert {name for name in declared if not hasattr(library, name)} == set()
    nm = shutil.which("nm")
    if nm is None:
        pytest.skip("no nm to list the symbols with: only those declared were looked up")
    listed = subprocess.run(
        [nm, "-D", "--defined-only", _native.lib._name], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    names = {line.split()[-1].partition("@")[0] for line in listed.stdout.splitlines()}
    assert {name for name in names if name.startswith("axp")} == declared


PROBE = """
#include <stdio.h>
#include "axptr.h"
#include "builtins.h"
int main(void)
{
%s
    return 0;
}
"""


def test_a_compiler_lays_the_structures_out_alike(tmp_path: Path) -> None:
    """The sizes and offsets of every structure and field, and every constant, are the same in C."""
    compiler = shlex.split(os.environ.get("CC") or "cc")
    if shutil.which(compiler[0]) is None:
        pytest.skip(f"no C compiler: {compiler[0]} is not installed")
    expected = {}
    lines = []
    for name, fields in structures_of(HEADER).items():
        cls = structure_class(name)
        expected[f"sizeof({name})"] = ctypes.sizeof(cls)
        for field, _, _ in fields:
            expected[f"offsetof({name}, {field})"] = getattr(cls, field).offset
            expected[f"sizeof((({name} *)0)->{field})"] = getattr(cls, field).size
    for name, cls in (("axp_builtins", _builtins.Builtins), ("axp_word_type", _builtins.WordType)):
        expected[f"sizeof({name})"] = ctypes.sizeof(cls)
        expected |= {f"offsetof({name}, {field})": getattr(cls, field).offset for field, _ in cls._fields_}
    expected["sizeof(axp_python)"] = len(_builtins.PYTHON_FUNCTIONS) * ctypes.sizeof(ctypes.c_void_p)
    expected |= python_constants()
    for kind, ctype in SCALARS.items():
        expected[f"sizeof({kind})"] = ctypes.sizeof(ctype)
    lines = [
        f'    printf("%s=%llu\\n", "{expression}", (unsigned long long)({expression}));' for expression in expected
    ]
    source, program = tmp_path / "probe.c", tmp_path / "probe"
    source.write_text(PROBE % "\n".join(lines))
    command = [*compiler, "-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", f"-I{HEADER_FOLDER}"]
    subprocess.run([*command, "-o", program, source], check=True, cwd=tmp_path)
    printed = subprocess.run([program], capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    found = dict(line.rsplit("=", 1) for line in printed.splitlines())
    assert {expression: int(value) for expression, value in found.items()} == expected


def test_the_header_is_c_plus_plus_too(tmp_path: Path) -> None:
    """A C++ compiler takes it without a warning."""
    compiler = shutil.which("c++")
    if compiler is None:
        pytest.skip("no C++ compiler: c++ is not installed")
    source = tmp_path / "probe.cpp"
    source.write_text('#include "axptr.h"\nint main() { return axp_abi_version == nullptr; }\n')
    command: list[str | Path] = [
        compiler,
        "-fsyntax-only",
        "-Wall",
        "-Wextra",
        "-Wno-address",
        "-Werror",
        f"-I{HEADER_FOLDER}",
        source,
    ]
    subprocess.run(command, check=True, cwd=tmp_path)
