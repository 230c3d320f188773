# SPDX-License-Identifier: MIT
"""What a guarded call cannot pass, or must not, is refused with a clear exception, and nothing is called."""

import ctypes
from collections.abc import Callable
from ctypes import byref, c_char_p, c_double, c_int, c_longdouble, c_void_p
from typing import Any
from unittest.mock import Mock

import pytest
from helpers_call import CALLBACK, Converter, Standing, stub

from axptr_native._native import lib, lib_dropping_gil
from axptr_native._regions import Region
from axptr_native.call import guarded, guarded_call

# What would be called is nowhere: these tests fail with a fault if anything is called.
nowhere = stub()


class Pair(ctypes.Structure):
    _fields_ = (("first", c_int), ("second", c_int))


class Holder(ctypes.Structure):
    _fields_ = (("number", c_int), ("function", CALLBACK))


class Outer(ctypes.Structure):
    _fields_ = (("inner", Holder), ("pointer", ctypes.POINTER(Holder)), ("holders", Holder * 2))


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (len, "a foreign function of ctypes is required, not <built-in function len>"),
        (None, "a foreign function of ctypes is required, not None"),
        (5, "a foreign function of ctypes is required, not 5"),
        (lib.axp_install, "axp_install works on the interpreter itself"),
        (ctypes.pythonapi.Py_GetVersion, "Py_GetVersion works on the interpreter itself"),
        (ctypes.PYFUNCTYPE(None)(5), "the function at 0x5 works on the interpreter itself"),
        (CALLBACK(lambda value: value), "the function holds a callback into Python"),
    ],
)
def test_what_is_no_foreign_function_is_refused(function: Any, told: str) -> None:
    """guarded() says so at once, and guarded_call() does."""
    for use in (guarded, guarded_call):
        with pytest.raises(TypeError, match=told):
            use(function)


def test_a_function_of_this_library_that_drops_the_gil_may_be_called(region: Region) -> None:
    """It is a foreign function like others."""
    good = ctypes.create_string_buffer(8)
    assert guarded_call(lib_dropping_gil.axp_raw_copy_from_user, ctypes.addressof(good), region.start, 8) == 0


def test_the_number_of_arguments_is_checked(callee: Any) -> None:
    """Fewer than argtypes, and more than sixteen, are TypeErrors."""
    nowhere = stub()
    with pytest.raises(TypeError, match="a guarded call passes 16 arguments at most, not 17"):
        guarded_call(nowhere, *range(17))
    nowhere.argtypes = [c_int, c_int]
    with pytest.raises(TypeError, match="takes 2 arguments or more, not 1"):
        guarded_call(nowhere, 1)
    callee.copy.argtypes = [c_void_p] * 3
    with pytest.raises(TypeError, match="copy takes 3 arguments or more, not 0"):
        guarded_call(callee.copy)


class Looping:
    """Stands for itself."""

    @property
    def _as_parameter_(self) -> "Looping":
        return self


UNCONVERTIBLE = [
    1.5,
    object(),
    [1],
    (1, 2),
    {},
    bytearray(b"x"),
    1j,
    len,
    Mock(),
    Looping(),
    Standing(1.5),
    guarded(nowhere),
]


@pytest.mark.parametrize("argument", UNCONVERTIBLE, ids=lambda argument: type(argument).__name__)
@pytest.mark.parametrize("before", [0, 2])
def test_what_ctypes_cannot_convert_is_refused_by_its_number(argument: Any, before: int) -> None:
    """An ArgumentError names the argument's own place."""
    with pytest.raises(ctypes.ArgumentError, match=f"^argument {before + 1}: "):
        guarded_call(nowhere, *range(before), argument)


@pytest.mark.parametrize("argtype", [c_int, c_void_p, c_char_p, ctypes.POINTER(Pair), CALLBACK, c_double])
@pytest.mark.parametrize("argument", [object(), "\u20ac" * 3, Looping(), 1j])
def test_what_does_not_suit_its_argtype_is_refused(argtype: Any, argument: Any) -> None:
    """An ArgumentError, as for ctypes."""
    nowhere = stub()
    nowhere.argtypes = [c_int, argtype]
    if argtype is c_void_p and isinstance(argument, str):
        return  # the memory of a wide string
    with pytest.raises(ctypes.ArgumentError, match=r"^argument 2: "):
        guarded_call(nowhere, 1, argument)


UNSUPPORTED = [Pair(1, 2), c_longdouble(1), ctypes.py_object(5)]


@pytest.mark.parametrize("argument", UNSUPPORTED, ids=lambda argument: type(argument).__name__)
@pytest.mark.parametrize("given", ["itself", "with its argtype", "by another class", "by what stands for it"])
def test_what_a_guarded_call_cannot_pass_is_refused(argument: Any, given: str) -> None:
    """Structures by value, long doubles and objects are TypeErrors, whatever made them."""
    nowhere = stub()
    if given == "with its argtype":
        nowhere.argtypes = [type(argument)]
    elif given == "by another class":
        nowhere.argtypes = [Converter(type(argument).from_param)]
    elif given == "by what stands for it":
        argument = Standing(argument)
    with pytest.raises(TypeError, match=r"argument 1 of the function at 0x0: .* cannot be passed "):
        guarded_call(nowhere, argument)


def test_a_long_double_that_a_class_makes_of_a_float_is_refused() -> None:
    """Ctypes' own intermediate form is seen through."""
    nowhere = stub()
    nowhere.argtypes = [Converter(c_longdouble.from_param)]
    with pytest.raises(TypeError, match="cannot be passed in a guarded call"):
        guarded_call(nowhere, 1.5)


# ---- Callbacks. ----


def python_function(value: int) -> int:
    return value


def holder() -> Holder:
    return Holder(1, CALLBACK(python_function))


def pointing() -> Outer:
    return Outer(pointer=ctypes.pointer(holder()))


def holding_two() -> Any:
    outer = Outer()
    outer.holders[1].function = CALLBACK(python_function)
    return outer


def pointer_to_holder_filled_later() -> Any:
    pointer = ctypes.pointer(Holder())
    pointer.contents.function = CALLBACK(python_function)
    return pointer


def void_pointers() -> Any:
    return (c_void_p * 2)(None, ctypes.cast(CALLBACK(python_function), c_void_p))


HIDDEN = {
    "itself": lambda: CALLBACK(python_function),
    "a reference": lambda: byref(CALLBACK(python_function)),
    "a cast": lambda: ctypes.cast(CALLBACK(python_function), c_void_p),
    "a cast of a cast": lambda: ctypes.cast(ctypes.cast(CALLBACK(python_function), c_void_p), CALLBACK),
    "a structure's reference": lambda: byref(holder()),
    "a structure's field": lambda: holder().function,
    "a structure in one": lambda: byref(Outer(inner=holder())),
    "a part of one": lambda: byref(Outer(inner=holder()).inner),
    "a pointer in a structure": lambda: byref(pointing()),
    "an array in a structure": lambda: byref(holding_two()),
    "an array of structures": lambda: (Holder * 2)(Holder(), holder()),
    "an array of functions": lambda: (CALLBACK * 3)(CALLBACK(), CALLBACK(python_function)),
    "a pointer": lambda: ctypes.pointer(holder()),
    "a pointer to a pointer": lambda: ctypes.pointer(ctypes.pointer(holder())),
    "a pointer filled later": pointer_to_holder_filled_later,
    "an object's list": lambda: ctypes.py_object([1, CALLBACK(python_function)]),
    "an object's tuple": lambda: byref(ctypes.py_object((CALLBACK(python_function),))),
    "a view": lambda: (c_void_p * 1).from_buffer(CALLBACK(python_function)),
    "a function of PyDLL": lambda: ctypes.PYFUNCTYPE(c_int, c_int)(python_function),
}


@pytest.mark.parametrize("make", HIDDEN.values(), ids=HIDDEN)
@pytest.mark.parametrize("argtype", [None, c_void_p, Converter(lambda _: c_void_p())])
def test_a_callback_is_refused_wherever_it_hides(make: Callable[[], Any], argtype: Any) -> None:
    """Before anything is called, with the number of the argument."""
    nowhere = stub()
    if argtype is not None:
        nowhere.argtypes = [c_int, argtype]
    with pytest.raises(TypeError, match="argument 2 of the function at 0x0 holds a callback into Python"):
        guarded_call(nowhere, 1, make())


def test_a_callback_is_refused_behind_what_stands_for_it() -> None:
    """What an argument names as its parameter is looked at as well."""
    with pytest.raises(TypeError, match="argument 1 of the function at 0x0 holds a callback into Python"):
        guarded_call(nowhere, Standing(Standing(CALLBACK(python_function))))


def test_structures_without_callbacks_are_passed(callee: Any) -> None:
    """Structures that refer to each other in a circle, and to functions of C, are no obstacle."""

    class Node(ctypes.Structure):
        pass

    Node._fields_ = [("next", ctypes.POINTER(Node)), ("function", CALLBACK)]
    first, second = Node(), Node()
    first.next, second.next = ctypes.pointer(second), ctypes.pointer(first)
    first.function = ctypes.cast(callee.same_int32, CALLBACK)
    callee.same_pointer.restype = c_void_p
    assert guarded_call(callee.same_pointer, byref(first)) == ctypes.addressof(first)
