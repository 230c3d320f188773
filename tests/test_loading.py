# SPDX-License-Identifier: MIT
"""Where the library is looked for, and what is said of one that is not there, or of another version."""

import sys
from pathlib import Path

import pytest

import axptr_native
from axptr_native import _builtins, _native

NAME = Path(_native.lib._name).name


@pytest.fixture
def folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Path]:
    """Three folders with the package, without a library: the one that is imported, and two that Python looks in."""
    found = [tmp_path / name / "axptr_native" for name in ("checkout", "first", "second")]
    for folder in found:
        folder.mkdir(parents=True)
    monkeypatch.setattr(axptr_native, "__path__", [str(found[0])])
    monkeypatch.setattr(sys, "path", [str(folder.parent) for folder in found[1:]])
    return found


def test_the_library_beside_the_package_comes_first(folders: list[Path]) -> None:
    """Of those that there are the one is loaded that lies nearest: in the package's folder, or where Python looks."""
    for folder in reversed(folders):
        (folder / NAME).touch()
        assert _native._find_library() == str(folder / NAME)


def test_a_missing_library_is_an_import_error_that_says_how_to_get_it(folders: list[Path]) -> None:
    """It names the file, the folder where it should be, and the command."""
    with pytest.raises(ImportError, match="has not been built") as caught:
        _native._find_library()
    message = str(caught.value)
    assert message.startswith(f"{NAME} is neither in {folders[0]} nor in another installed copy of the package")
    assert "'pip install .'" in message


def test_a_library_of_another_interface_is_an_import_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both numbers are told, and what to do."""
    monkeypatch.setattr(_native, "ABI_VERSION", _native.ABI_VERSION + 1)
    with pytest.raises(ImportError) as caught:
        _native._load()
    needed = _native.ABI_VERSION
    told = f"{NAME} has ABI version {needed - 1}, this package needs {needed}: install the package again."
    assert str(caught.value).endswith(told)


def test_a_library_that_lacks_a_function_is_an_import_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is of another version, and the cause names the function."""
    missing = ("axp_of_the_next_version", None, ())
    monkeypatch.setattr(_native, "_PRIVATE_PROTOTYPES", (*_native._PRIVATE_PROTOTYPES, missing))
    with pytest.raises(ImportError) as caught:
        _native._load()
    assert str(caught.value).endswith(f"{NAME} is of another version than this package: install the package again.")
    assert missing[0] in str(caught.value.__cause__)


def test_without_builtins_that_fit_calls_go_through_ctypes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that knows other builtins, or an interpreter whose objects are different, is told by its reason."""
    monkeypatch.delenv("AXPTR_CALLS", raising=False)
    with monkeypatch.context() as changed:
        changed.setattr(_builtins, "PYTHON_FUNCTIONS", _builtins.PYTHON_FUNCTIONS[:-1])
        assert _builtins._make_maker() == (None, "ctypes: the library has other builtins than this package knows")
    with pytest.raises(AttributeError, match="a list of this interpreter is not what was expected"):
        _builtins._offset_of(0x5A5A5A, [])
    assert _builtins._make_maker()[1] == "builtins"
