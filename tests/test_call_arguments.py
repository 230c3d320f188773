# SPDX-License-Identifier: MIT
"""Arguments and results of guarded calls are ctypes' own; what would be cut or corrupt is refused before the call."""

import ctypes
import sys
from collections.abc import Callable
from ctypes import byref, c_char_p, c_double, c_float, c_int, c_int32, c_longdouble, c_uint64, c_void_p, c_wchar_p
from functools import partial
from typing import Any
from unittest.mock import Mock

import pytest
from child import address_of
from helpers_call import Converter, Standing, fault_of_call, stub
from helpers_memory import END, LAST_CHARACTER, fault_of, poke
from helpers_platform import c_library
from helpers_processor import as_told

from axptr_native._caller import caller_of
from axptr_native._regions import Region
from axptr_native.call import guarded_call

WORD = 8 * ctypes.sizeof(c_void_p)

# What would be called is nowhere: these tests fail with a fault if anything is called.
nowhere = stub()

LIMITS = caller_of(nowhere)[1]
"""What a guarded call can pass on this processor."""


class Pair(ctypes.Structure):
    _fields_ = (("first", c_int), ("second", c_int))


# ---- Integers. ----

INTEGERS = {
    "c_byte": (ctypes.c_byte, 8, True),
    "c_ubyte": (ctypes.c_ubyte, 8, False),
    "c_short": (ctypes.c_short, 16, True),
    "c_ushort": (ctypes.c_ushort, 16, False),
    "c_int": (ctypes.c_int, 32, True),
    "c_uint": (ctypes.c_uint, 32, False),
    "c_long": (ctypes.c_long, 8 * ctypes.sizeof(ctypes.c_long), True),
    "c_ulong": (ctypes.c_ulong, 8 * ctypes.sizeof(ctypes.c_long), False),
    "c_longlong": (ctypes.c_longlong, 64, True),
    "c_ulonglong": (ctypes.c_ulonglong, 64, False),
    "c_size_t": (ctypes.c_size_t, WORD, False),
    "c_ssize_t": (ctypes.c_ssize_t, WORD, True),
    "c_void_p": (ctypes.c_void_p, WORD, False),
}


@pytest.mark.parametrize(("ctype", "bits", "signed"), INTEGERS.values(), ids=INTEGERS)
@pytest.mark.parametrize("around", [lambda value: value, Standing, lambda value: Standing(Standing(value))])
def test_an_integer_fits_its_argtype_or_is_refused(
    callee: Any, ctype: Any, bits: int, signed: bool, around: Callable[[int], Any]
) -> None:
    """The least and the greatest value arrive; one less and one more is a ValueError that names both."""
    least, greatest = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    same = callee.same_uint64
    same.argtypes, same.restype = [ctype], ctypes.c_size_t if ctype is c_void_p else ctype
    for value in (least, least + 1, 1, greatest - 1, greatest):
        assert guarded_call(same, around(value)) == value
    nowhere = stub()
    nowhere.argtypes = [ctype]
    for value in (least - 1, greatest + 1, -(1 << 70), 1 << 70, 1 << bits):
        with pytest.raises(
            ValueError, match=f"argument 1 of the function at 0x0: {value} does not fit {ctype.__name__}"
        ):
            guarded_call(nowhere, around(value))


@pytest.mark.parametrize("around", [lambda value: value, Standing])
def test_an_integer_without_an_argtype_is_passed_as_a_word_or_refused(
    callee: Any, around: Callable[[int], Any]
) -> None:
    """What fits a word, signed or not, arrives whole; ctypes would cut it to a C int."""
    callee.same_uint64.restype, half = ctypes.c_size_t, END // 2
    for value in (-half, -1, 0, 1, True, 1 << 30, END >> 32, half - 1, half, END - 1):
        assert guarded_call(callee.same_uint64, around(value)) == value % END
    for value in (-half - 1, END, -END):
        with pytest.raises(ValueError, match=f"argument 1 of the function at 0x0: {value} does not fit a word"):
            guarded_call(nowhere, around(value))


def test_what_is_behind_the_argtypes_is_passed_as_without(callee: Any) -> None:
    """More arguments than argtypes are allowed, as for variadic functions, if those find floats where others do."""
    callee.sum_of_doubles.argtypes, callee.sum_of_doubles.restype = [c_int], c_double
    if LIMITS.variadic:
        assert guarded_call(callee.sum_of_doubles, 2, c_double(1.5), c_double(2.25)) == 3.75
    else:
        with pytest.raises(TypeError, match="floats behind the argtypes cannot be passed on this processor"):
            guarded_call(callee.sum_of_doubles, 2, c_double(1.5), c_double(2.25))
    callee.same_int32.argtypes = [c_int]
    assert guarded_call(callee.same_int32, 5, 6, b"text") == 5


# ---- Words and floats. ----


def test_fifteen_words_behind_a_pointer_arrive_in_order(callee: Any) -> None:
    """Sixteen arguments, of which ten are on the stack."""
    words = [c_uint64(0x0101_0101_0101_0101 * (number + 1)) for number in range(15)]
    out: Any = (c_uint64 * 15)()
    guarded_call(callee.record_words, out, *words)
    assert list(out) == [word.value for word in words]


def test_floats_and_words_mixed_arrive_in_order(callee: Any) -> None:
    """Eight floats of both widths between integers of every width, the latter also on the stack."""
    kinds = "d b f q d H d i d Q d q f b d"
    ctypes_of = {"d": c_double, "f": c_float, "b": ctypes.c_int8, "q": ctypes.c_int64, "H": ctypes.c_uint16}
    ctypes_of |= {"i": c_int32, "Q": c_uint64}
    callee.record_mixed.argtypes = [c_void_p, *(ctypes_of[kind] for kind in kinds.split())]
    values = [0.5, -1, 1.5, -2, 2.5, 65535, 3.5, -3, 4.5, 1 << 52, 5.5, 1 << 40, 6.5, -128, 7.5]
    out: Any = (c_double * 15)()
    guarded_call(callee.record_mixed, out, *values)
    assert list(out) == values


@pytest.mark.parametrize("count", range(min(LIMITS.variadic, 7) + 1))
def test_floats_reach_a_variadic_function(callee: Any, count: int) -> None:
    """Up to as many as there are registers."""
    callee.sum_of_doubles.restype = c_double
    values = [1.5 + number for number in range(count)]
    assert guarded_call(callee.sum_of_doubles, count, *map(c_double, values)) == sum(values)
    buffer = ctypes.create_string_buffer(64)
    expected = b"7 " + b" ".join(b"%g" % value for value in values)
    template = b"%d " + b" ".join([b"%g"] * count)
    guarded_call(c_library().sprintf, buffer, template, 7, *map(c_double, values))
    assert buffer.value == expected


@pytest.mark.parametrize(
    "make", [c_double, c_double.from_param, c_float.from_param, lambda value: Standing(c_double(value))]
)
def test_floats_are_counted_whoever_made_them(make: Callable[[float], Any]) -> None:
    """One too many is refused, also if argtypes that are no ctypes made it."""
    nowhere, count = stub(), LIMITS.floats + 1
    nowhere.argtypes = [Converter(make)] * count
    with pytest.raises(TypeError, match=f"at most {count - 1} floats"):
        guarded_call(nowhere, *[0.5] * count)


SAME: dict[str, tuple[Any, list[Any]]] = {
    "bool": (ctypes.c_bool, [True, False, 1, 0, "yes", ""]),
    "char": (ctypes.c_char, [b"x", b"\xff", 200, bytearray(b"z")]),
    "wchar": (ctypes.c_wchar, ["x", "\u20ac", LAST_CHARACTER]),
    "int8": (ctypes.c_int8, [-1]),
    "uint8": (ctypes.c_uint8, [255]),
    "int16": (ctypes.c_int16, [-1]),
    "uint16": (ctypes.c_uint16, [65535]),
    "int32": (c_int32, [-1, c_int32(-5)]),
    "uint32": (ctypes.c_uint32, [1 << 31]),
    "int64": (ctypes.c_int64, [-1]),
    "uint64": (c_uint64, [1 << 63]),
    "pointer": (c_void_p, [None, 0, END // 2, c_void_p(5)]),
    "float": (c_float, [1.5, -0.0, float("inf"), 7, 1e300]),
    "double": (c_double, [1.5, 1e300, 7, c_double(3)]),
}


@pytest.mark.parametrize("name", SAME)
def test_a_value_comes_back_as_from_an_unguarded_call(callee: Any, name: str) -> None:
    """Every scalar type, as an argument and as a result, and types derived from it, are as ctypes has them."""
    ctype: Any
    ctype, values = SAME[name]
    function = callee[f"same_{name}"]
    derived: Any = type("Derived", (ctype,), {})
    for value in values:
        function.argtypes, function.restype = [ctype], ctype
        assert repr(guarded_call(function, value)) == repr(function(value))
        function.restype = derived
        assert (type(guarded_call(function, value)), guarded_call(function, value).value) == (
            derived,
            function(value).value,
        )


@pytest.mark.parametrize("ctype", [ctypes.c_int16, c_int32, c_uint64, c_double])
def test_the_other_byte_order_is_refused(callee: Any, ctype: Any) -> None:
    """Unguarded, ctypes crashes over it: an argtype, an argument or a restype; the machine's own order is passed."""
    native, swapped = ctype.__ctype_le__, ctype.__ctype_be__
    if sys.byteorder == "big":
        native, swapped = swapped, native
    nowhere = stub()
    nowhere.argtypes = [swapped]
    for function, argument in ((nowhere, 1), (stub(), swapped(1))):
        with pytest.raises(TypeError, match="cannot be passed in a guarded call"):
            guarded_call(function, argument)
    nowhere.restype = swapped
    with pytest.raises(TypeError, match="a guarded call does not return"):
        guarded_call(nowhere)
    same = callee.same_double if ctype is c_double else callee.same_uint64
    same.argtypes, same.restype = [native], native
    assert guarded_call(same, 5) == 5


def test_a_long_double_is_returned(callee: Any) -> None:
    """Results may be long doubles, although arguments may not."""
    callee.half_of.argtypes, callee.half_of.restype = [c_double], c_longdouble
    assert guarded_call(callee.half_of, 0.75) == 0.375


# ---- Pointers. ----

POINTERS: dict[str, Callable[[], Any]] = {
    "bytes": lambda: b"text",
    "a buffer": lambda: ctypes.create_string_buffer(b"text"),
    "an array": lambda: (ctypes.c_char * 5).from_buffer_copy(b"text\0"),
    "a reference": lambda: byref(ctypes.create_string_buffer(b"text")),
    "a pointer": lambda: ctypes.pointer(ctypes.create_string_buffer(b"text")),
    "c_char_p": lambda: c_char_p(b"text"),
    "c_void_p": lambda: ctypes.cast(c_char_p(b"text"), c_void_p),
}


@pytest.mark.parametrize("argtype", [None, c_void_p])
@pytest.mark.parametrize("make", POINTERS.values(), ids=POINTERS)
def test_what_ctypes_passes_as_an_address_is_passed_so(callee: Any, make: Callable[[], Any], argtype: Any) -> None:
    """The function finds the bytes, which stay alive for the call."""
    out = ctypes.create_string_buffer(5)
    callee.copy.argtypes = None if argtype is None else [argtype] * 3
    guarded_call(callee.copy, out, make(), 4)
    assert out.raw == b"text\0"


def test_none_is_null_and_a_string_is_wide(callee: Any) -> None:
    """As ctypes has it."""
    callee.same_pointer.restype = c_void_p
    assert guarded_call(callee.same_pointer, None) is None
    callee.same_pointer.restype = c_wchar_p
    assert guarded_call(callee.same_pointer, "\u20ac text") == "\u20ac text"


def test_a_c_function_may_be_passed(callee: Any) -> None:
    """A pointer to a function of a library is no callback into Python."""
    callee.call_with_three.argtypes = None
    assert guarded_call(callee.call_with_three, callee.same_int32, 5, 0, 0) == 1005
    assert guarded_call(callee.call_with_three, c_void_p(address_of(callee.same_int32)), 5, 0, 0) == 1005


def test_a_class_that_is_no_ctype_may_convert(callee: Any) -> None:
    """An argtype is whatever has a from_param, and what that returns is passed."""
    for made in (7, c_uint64(7), c_uint64.from_param(7), Standing(7), Standing(c_int(7))):
        callee.same_int32.argtypes = [Converter(Mock(return_value=made))]
        assert guarded_call(callee.same_int32, "anything") == 7
    callee.same_int32.argtypes = [Converter(Mock(side_effect=LookupError("nothing there")))]
    with pytest.raises(ctypes.ArgumentError, match="argument 1: LookupError: nothing there"):
        guarded_call(callee.same_int32, "anything")


def test_a_ctype_with_a_from_param_of_its_own_decides_what_fits(callee: Any) -> None:
    """The integer is what the class takes, not what it passes."""

    class Kilobytes(ctypes.c_uint8):
        @classmethod
        def from_param(cls, value: Any) -> Any:
            return ctypes.c_uint8(value // 1024)

    callee.same_uint8.argtypes = [Kilobytes]
    assert guarded_call(callee.same_uint8, 200 * 1024) == 200


def test_parameter_flags_are_not_used(callee: Any) -> None:
    """A function with output parameters takes them all by position."""
    prototype = ctypes.CFUNCTYPE(None, c_void_p, c_void_p, ctypes.c_size_t)
    copy = prototype(("copy", callee), ((2, "to"), (1, "from"), (1, "size", 4)))
    out = ctypes.create_string_buffer(4)
    assert guarded_call(copy, out, b"text", 4) is None
    assert out.raw == b"text"
    with pytest.raises(TypeError, match="takes 3 arguments or more, not 2"):
        guarded_call(copy, b"text", 4)


# ---- Results. ----


def test_a_pointer_is_returned_as_its_type(callee: Any) -> None:
    """Pointers and functions come as such, and what they point to can be used."""
    pair = Pair(1, 2)
    callee.same_pointer.restype = ctypes.POINTER(Pair)
    assert guarded_call(callee.same_pointer, byref(pair)).contents.second == 2
    assert not guarded_call(callee.same_pointer, None)
    callee.same_pointer.restype = ctypes.CFUNCTYPE(c_int, c_int)
    assert guarded_call(callee.same_pointer, callee.same_int32)(-9) == -9


def test_nothing_is_returned_for_no_restype(callee: Any) -> None:
    """A restype of None is None."""
    callee.same_int32.restype = None
    assert guarded_call(callee.same_int32, 5) is None


def test_a_callable_restype_gets_a_c_int(callee: Any) -> None:
    """And only after a return, not after a fault."""
    callee.read_at.restype = callee.same_uint64.restype = lambda value: ("made", value)
    assert guarded_call(callee.same_uint64, c_uint64((1 << 40) - 2)) == ("made", -2)
    assert fault_of_call(callee.read_at, 16).address == as_told(16)


def test_a_restypes_own_check_is_asked_about_results_only(callee: Any) -> None:
    """``_check_retval_`` decides what is returned, and does not see the nothing that a fault leaves."""
    asked = []

    class Status(c_int):
        @classmethod
        def _check_retval_(cls, status: "Status") -> int:
            asked.append(status.value)
            if status.value == 0:
                raise RuntimeError("zero")
            return -status.value

    callee.read_at.restype = callee.same_int32.restype = Status
    assert guarded_call(callee.same_int32, 3) == callee.same_int32(3) == -3
    assert fault_of_call(callee.read_at, 16).address == as_told(16)
    with pytest.raises(RuntimeError, match="zero"):
        guarded_call(callee.same_int32, 0)
    assert asked == [3, 3, 0]


def test_errcheck_gets_result_function_and_arguments(callee: Any) -> None:
    """It decides what is returned; the arguments themselves mean the result, as for ctypes."""
    same = callee.same_int32
    same.errcheck = lambda result, function, arguments: [result, function, arguments]
    assert guarded_call(same, 7) == [7, same, (7,)]
    same.errcheck = lambda *checked: checked[2]
    assert guarded_call(same, 7) == same(7) == 7
    callee.read_at.errcheck = Mock(side_effect=AssertionError)
    assert fault_of_call(callee.read_at, 16).address == as_told(16)


def test_a_text_is_read_by_a_guarded_access(callee: Any, region: Region) -> None:
    """A c_char_p that leads to text is that, and one that leads to bad memory is a FaultError of this thread's."""
    callee.same_pointer.restype = c_char_p
    assert guarded_call(callee.same_pointer, b"text") == b"text"
    assert guarded_call(callee.same_pointer, None) is None
    error = fault_of(lambda: guarded_call(callee.same_pointer, region.edge), "bad text")
    assert (error.address, error.transferred) == (region.edge, 0)
    poke(region.edge - 3, b"abc")
    error = fault_of(lambda: guarded_call(callee.same_pointer, region.edge - 3), "unended text")
    assert (error.address, error.transferred) == (region.edge, 3)


def test_a_wide_text_is_read_by_a_guarded_access(callee: Any, region: Region) -> None:
    """The same of a c_wchar_p."""
    callee.same_pointer.restype = c_wchar_p
    assert guarded_call(callee.same_pointer, "") == ""
    text = "ab".encode("utf-16-le" if ctypes.sizeof(ctypes.c_wchar) == 2 else "utf-32-le")
    poke(region.edge - len(text), text)
    for address in (region.edge, region.edge - len(text)):
        error = fault_of(partial(guarded_call, callee.same_pointer, address), "bad text")
        assert error.address == region.edge


@pytest.mark.parametrize("restype", [c_char_p, c_wchar_p])
@pytest.mark.parametrize("address", [1, END - 1, END - 3, END // 16])
def test_a_text_nowhere_is_a_fault(callee: Any, restype: Any, address: int) -> None:
    """Also one at the last bytes of the address space."""
    callee.same_pointer.restype = restype
    fault_of(lambda: guarded_call(callee.same_pointer, address), "bad text")


def test_a_type_derived_from_c_char_p_is_not_read(callee: Any) -> None:
    """As for ctypes, it comes as an instance."""

    class Text(c_char_p):
        pass

    callee.same_pointer.restype = Text
    text = guarded_call(callee.same_pointer, 16)
    assert (type(text), ctypes.cast(text, c_void_p).value) == (Text, 16)


@pytest.mark.parametrize("restype", [Pair, ctypes.Union, Pair * 2, ctypes.py_object, ctypes.Structure])
def test_a_result_that_is_no_scalar_is_refused(restype: Any) -> None:
    """Structures, unions, arrays and objects, before anything is called."""
    nowhere = stub()
    nowhere.restype = restype
    with pytest.raises(TypeError):
        guarded_call(nowhere)
