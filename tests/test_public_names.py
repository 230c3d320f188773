# SPDX-License-Identifier: MIT
"""What the package offers at its top level, and what importing it costs."""

import pickle
import subprocess
import sys

import pytest

import axptr_native
from axptr_native import atomics, batch, errors, guarded_view, handlers, ptr, uaccess

SUBMODULES = (atomics, batch, errors, guarded_view, handlers, ptr, uaccess)
LAZY = ["aspace", "batch", "check", "guarded_view", "ptr", "space", "view"]


def python(program: str) -> str:
    """Return what a program prints in a fresh interpreter that ends well."""
    run = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


@pytest.mark.parametrize("name", axptr_native.__all__)
def test_every_public_name_resolves(name: str) -> None:
    """Each name is there, is the same each time, and is what the module that defines it has."""
    value = getattr(axptr_native, name)
    assert value is getattr(axptr_native, name)
    assert name in dir(axptr_native)
    module = getattr(value, "__module__", None)
    if isinstance(module, str) and hasattr(value, "__name__"):
        assert module.startswith("axptr_native.")
        assert getattr(sys.modules[module], name) is value


def test_names_are_listed_once_and_in_order() -> None:
    """``__all__`` is sorted as a person would, constants first, and dir() lists every name once."""
    names = axptr_native.__all__
    assert len(set(names)) == len(names)
    assert names == sorted(names, key=lambda name: (not name.isupper(), name[0].islower(), name))
    listed = dir(axptr_native)
    assert len(set(listed)) == len(listed)
    assert set(names) <= set(listed)


def test_modules_export_what_they_define() -> None:
    """Each name in a module's own ``__all__`` is there."""
    for module in SUBMODULES:
        for name in module.__all__:
            assert hasattr(module, name), f"{module.__name__}.{name}"


@pytest.mark.parametrize("name", uaccess.__all__)
def test_functions_of_uaccess_say_that_they_are_its_own(name: str) -> None:
    """Whichever file one is written in, help() and pickles find it where it is public."""
    function = getattr(uaccess, name)
    assert function.__module__ == "axptr_native.uaccess"
    assert pickle.loads(pickle.dumps(function)) is function


@pytest.mark.parametrize("name", ["Userptr", "_nothing", "__wrapped__", "copy_from_user"])
def test_other_names_are_attribute_errors(name: str) -> None:
    """A name that is not public is AttributeError, and it says which."""
    with pytest.raises(AttributeError, match=f"'axptr_native' has no attribute '{name}'"):
        getattr(axptr_native, name)
    assert not hasattr(axptr_native, name)


def test_a_star_import_gives_every_name_and_no_other() -> None:
    """``from axptr_native import *`` binds the names of ``__all__``."""
    program = (
        "before = set(globals()); from axptr_native import *; import axptr_native;"
        "bound = set(globals()) - before - {'before', 'axptr_native'};"
        "print(sorted(bound ^ set(axptr_native.__all__)))"
    )
    assert python(program) == "[]"


def test_importing_the_package_imports_no_more_than_plain_addresses_need() -> None:
    """Neither the modules of address spaces and pointers nor typing and other slow ones are loaded by it."""
    program = (
        "import sys; before = set(sys.modules); import axptr_native; new = set(sys.modules) - before;"
        f"lazy = ['axptr_native.' + name for name in {LAZY}];"
        "slow = ['typing', 'dataclasses', 'inspect', 'tempfile', 'subprocess'];"
        "print(sorted(new & set(lazy + slow)))"
    )
    assert python(program) == "[]"


def test_a_name_loads_its_own_module_when_it_is_asked_for() -> None:
    """GuardedView comes without pointers and address spaces, UserPtr without AddrSpace, and dir() loads nothing."""
    program = (
        "import sys, axptr_native as a; dir(a)\n"
        f"def show(): print([name for name in {LAZY} if 'axptr_native.' + name in sys.modules])\n"
        "show(); a.GuardedView; show(); a.UserPtr; show(); a.AddrSpace; a.check_region; a.batch; show()"
    )
    nothing, view, pointer, everything = python(program).splitlines()
    assert nothing == "[]"
    assert view == "['guarded_view']"
    assert "aspace" not in pointer
    assert everything == str(LAZY)


def test_a_failing_name_leaves_the_package_usable() -> None:
    """After a misspelt import, the right one works."""
    program = (
        "import axptr_native\n"
        "try:\n    from axptr_native import UserPointer\n"
        "except ImportError as error:\n    print(error.name)\n"
        "from axptr_native import UserPtr\nprint(UserPtr.__name__)"
    )
    assert python(program).splitlines() == ["axptr_native", "UserPtr"]
