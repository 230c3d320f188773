# SPDX-License-Identifier: MIT
"""What ``axptr_native.testing`` offers, and what importing it costs."""

import sys

import pytest
from test_public_names import python

from axptr_native import testing


@pytest.mark.parametrize("name", testing.__all__)
def test_every_name_of_the_kit_resolves(name: str) -> None:
    """Each name is there, listed, and what the module that defines it has."""
    value = getattr(testing, name)
    assert name in dir(testing)
    assert value.__name__ == name
    assert value.__module__.startswith("axptr_native.testing.")
    assert getattr(sys.modules[value.__module__], name) is value


def test_the_kits_names_are_listed_once_and_in_order() -> None:
    """``__all__`` is sorted, classes first, and dir() lists every name once."""
    assert testing.__all__ == sorted(set(testing.__all__))
    assert len(set(dir(testing))) == len(dir(testing))


def test_other_names_of_the_kit_are_attribute_errors() -> None:
    """A name that is not public is AttributeError, and it says which."""
    for name in ("Sweep", "fenced_memory", "FENCE"):
        with pytest.raises(AttributeError, match=rf"'axptr_native\.testing' has no attribute '{name}'"):
            getattr(testing, name)


def test_the_kit_is_loaded_when_a_name_of_it_is_asked_for() -> None:
    """Neither the package nor the kit imports its modules before."""
    program = (
        "import sys, axptr_native, axptr_native.testing as kit; dir(kit)\n"
        "def show(): print(sorted(name for name in sys.modules if name.startswith('axptr_native.testing.')))\n"
        "show(); kit.hole; show(); kit.sweep; show()"
    )
    regions, sweeps = "axptr_native.testing.regions", "axptr_native.testing.sweeps"
    assert python(program).splitlines() == ["[]", str([regions]), str([regions, sweeps])]


def test_no_module_takes_the_place_of_a_function() -> None:
    """Whichever of the kit's modules is imported first, its names are functions and classes."""
    program = (
        "import pkgutil, types, axptr_native.testing as kit\n"
        "for module in pkgutil.iter_modules(kit.__path__): print(module.name in kit.__all__)"
    )
    assert set(python(program).splitlines()) == {"False"}
