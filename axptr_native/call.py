# SPDX-License-Identifier: MIT
"""Guarded calls: a fault inside a foreign function becomes an exception.

For tests and tools, not for production.  The function is abandoned midway: a lock that it held stays locked, memory
that it had allocated is lost, and what it was writing stays half written, the C library's own heap included.  The
process lives on to say what it found; more than that nobody can promise.
"""

from __future__ import annotations

import ctypes
import errno
import threading
from _ctypes import CFuncPtr

from ._memory import READ_WRITE, protect_memory, reserve_memory, unmap_memory
from ._native import ACCESSES, ADDRESS_MAX, REASONS, RESULTS, Call, Caller, check_status, go_on, lib
from ._scalar import scalar_of
from ._symbols import symbol_name
from .addr import PAGE_SIZE, VirtAddr
from .errors import FaultError, FaultReason
from .flags import MappingFlags
from .uaccess import copy_from_user, count_elements, strncpy_from_user

TYPE_CHECKING = False  # typing itself would take most of the package's import time
if TYPE_CHECKING:
    from typing import Any

__all__ = ["CallFaultError", "GuardedFunction", "guarded", "guarded_call"]

_PYTHON_API = 4  # ctypes' FUNCFLAG_PYTHONAPI
_POINTERS = (ctypes._Pointer, CFuncPtr)
_BY_VALUE = (ctypes.Structure, ctypes.Union)
_FLOATS = ("f", "d")
_WIDEST = 8
"""Bytes that a guarded call passes for one argument."""
_WORD = RESULTS.index("word")
_RESULTS = dict.fromkeys("?cbBhHiIlLqQuPzZ", _WORD) | {
    "f": RESULTS.index("float"),
    "d": RESULTS.index("double"),
    "g": RESULTS.index("long_double"),
}
"""How each of ctypes' simple types is returned."""

_SIGNAL_STACK = 64 * 1024


class CallFaultError(FaultError):
    """``EFAULT``: a foreign function faulted, and was abandoned there.

    Attributes:
        address: What it accessed.  0 with reason NOT_CANONICAL, since the processor does not say.
        access: READ or WRITE, or EXECUTE for a jump to where there is no code.
        transferred: 0: nobody counts.
        size: None.
        instruction: The code that faulted, or None where the processor does not say.
    """

    __slots__ = ("_symbol", "instruction")

    def __init__(
        self,
        address: int,
        access: MappingFlags,
        reason: FaultReason,
        signal: int | None = None,
        instruction: int | None = None,
        symbol: str | None = None,
    ) -> None:
        super().__init__(address, access, reason, signal=signal)
        self.instruction = None if instruction is None else VirtAddr(instruction)
        self._symbol = symbol

    @property
    def symbol(self) -> str | None:
        """The function that faulted and its file, as far as they can be told: ``parse in libpacket.so``.

        None after a jump to where there is no code.  Looked up the first time, which may read the file's symbol table.
        """
        if self._symbol is None and self.instruction is not None and self.access is not MappingFlags.EXECUTE:
            self._symbol = symbol_name(self.instruction)
        return self._symbol

    def _text(self) -> str:
        text = super()._text()
        if self.reason is FaultReason.NOT_CANONICAL:
            text = f"{self.strerror}: access to an address that is not canonical"
        return f"{text}, in {self.symbol}" if self.symbol else text

    def __reduce__(self) -> tuple[Any, ...]:
        fields = (self.address, self.access, self.reason, self.signal, self.instruction, self.symbol)
        return type(self), fields, self.__dict__


class GuardedFunction:
    """A foreign function whose faults are exceptions, as ``guarded()`` makes it.

    Attributes:
        function: The function itself.  Its ``argtypes``, ``restype`` and ``errcheck`` are looked up at each call.
    """

    __slots__ = ("function",)

    def __init__(self, function: Any) -> None:
        self.function = function

    def __call__(self, *args: Any) -> Any:
        """Call it; see ``guarded_call()``."""
        function = self.function
        kind, received = _received_as(function.restype)
        caller, limits = _caller_of(function, kind)
        passed = _convert_all(function, args, limits)
        stack = _signal_stack()
        call = Call(
            function=ctypes.cast(function, ctypes.c_void_p).value,
            stack_start=stack.start,
            stack_size=stack.size,
            running=_running,
            interpreter=_current_interpreter(),
        )
        caller.restype = received
        result = caller(ctypes.c_uint64(ctypes.addressof(call)), *passed)
        if call.failed == -errno.EFAULT:
            raise _fault_of(call)
        check_status(call.failed)
        result = _result(function.restype, result, received)
        return function.errcheck(result, function, args) if function.errcheck else result

    def __repr__(self) -> str:
        return f"<GuardedFunction {_name(self.function)}>"


def guarded(function: Any) -> GuardedFunction:
    """Return a foreign function that raises where the one given would end the process; see ``guarded_call()``.

    Raises:
        TypeError: It is not a foreign function of ctypes, is one of Python's own (``ctypes.PyDLL``,
            ``ctypes.pythonapi``), or is a Python function made callable for C.
    """
    if not isinstance(function, CFuncPtr):
        raise TypeError(f"a foreign function of ctypes is required, not {function!r}")
    if type(function)._flags_ & _PYTHON_API:
        raise TypeError(f"{_name(function)} works on the interpreter itself, which could not go on after a fault")
    _refuse_callbacks(function, "the function")
    return GuardedFunction(function)


def guarded_call(function: Any, *args: Any) -> Any:
    """Call a foreign function of ctypes, so that a fault inside it is an exception.

    Arguments are converted by ``argtypes`` and ctypes' rules, and the result by ``restype`` and ``errcheck``, with
    these differences: an integer that does not fit is refused instead of cut; without ``argtypes`` an integer is
    passed as wide as an address; and a string that is returned as ``c_char_p`` or ``c_wchar_p`` is read by a guarded
    access.

    The GIL is dropped during the call.  A stack overflow is a fault like others.  Faults of Python code that the
    function calls crash, as they do elsewhere.

    Args:
        function: A function of a ``ctypes.CDLL``, or one made from an address with ``ctypes.CFUNCTYPE``.
        args: At most 16: integers, pointers, arrays, ``byref()``, bytes, str, None, and, where the processor has
            registers of their own for them, up to 8 floats.  Bytes and strings are the memory of the Python object.
            Not supported: structures by value, and ``c_longdouble``.

    Raises:
        CallFaultError: The function faulted.  It was abandoned midway: **what it held or was writing stays so**.  The
            signal mask, the alternate signal stack and the floating-point environment are as they were before.
        TypeError: ``function`` is none, or an argument or its result is of a type that is not supported.  A callback
            into Python is refused: to abandon it would corrupt the interpreter.  One that the library has kept from
            before is not noticed.
        ValueError: An integer does not fit.
        ctypes.ArgumentError: ctypes cannot convert an argument.
    """
    return guarded(function)(*args)


def _fault_of(call: Call) -> CallFaultError:
    fault = call.fault
    return CallFaultError(
        fault.address, ACCESSES[fault.access], REASONS[fault.reason], fault.signal, call.instruction or None
    )


def _name(function: Any) -> str:
    return getattr(function, "__name__", None) or f"the function at {ctypes.cast(function, ctypes.c_void_p).value:#x}"


# ---- Callers: the library's functions that call others. ----

_callers: dict[tuple[int, int], tuple[type[Any], Caller]] = {}


def _caller_of(function: Any, kind: int) -> tuple[Any, Caller]:
    """Return what calls a function, and the limits it has; a new one, since ``restype`` belongs to each call."""
    flags = type(function)._flags_
    if (flags, kind) not in _callers:
        limits = Caller()
        check_status(lib.axp_caller_of(kind, limits))
        # Of the same flags: those of errno are ctypes' own, and it honours them.
        _callers[flags, kind] = type("_Caller", (CFuncPtr,), {"_flags_": flags, "_restype_": ctypes.c_int}), limits
    caller_type, limits = _callers[flags, kind]
    return caller_type(limits.address), limits


def _running_interpreter() -> int | None:
    """Return the address of a function that tells, inside a signal handler, which of Python's threads runs."""
    for name in ("PyThreadState_GetUnchecked", "_PyThreadState_UncheckedGet"):
        if hasattr(ctypes.pythonapi, name):
            return ctypes.cast(ctypes.pythonapi[name], ctypes.c_void_p).value
    return None


_running = _running_interpreter()
_current_interpreter = ctypes.PYFUNCTYPE(ctypes.c_void_p)(("PyThreadState_Get", ctypes.pythonapi))


class _SignalStack:
    """Memory for a thread's signal handlers, with a page below it that nothing may touch."""

    def __init__(self) -> None:
        self.size = _SIGNAL_STACK
        self._reserved = reserve_memory(PAGE_SIZE + self.size)
        self.start = self._reserved + PAGE_SIZE
        protect_memory(self.start, self.size, READ_WRITE)

    def __del__(self, unmap: Any = unmap_memory, page: int = PAGE_SIZE) -> None:
        unmap(self._reserved, page + self.size)


_thread = threading.local()


def _signal_stack() -> _SignalStack:
    """Return this thread's; it is up only during a call, and only where there is no other."""
    try:
        stack: _SignalStack = _thread.stack
    except AttributeError:
        stack = _thread.stack = _SignalStack()
    return stack


# ---- Arguments. ----


def _convert_all(function: Any, args: tuple[Any, ...], limits: Caller) -> list[Any]:
    argtypes = function.argtypes or ()
    if len(args) < len(argtypes):
        raise TypeError(f"{_name(function)} takes at least {len(argtypes)} arguments, not {len(args)}")
    if len(args) > limits.arguments:
        raise TypeError(
            f"{_name(function)}: a guarded call passes {limits.arguments} arguments at most, not {len(args)}"
        )
    passed = []
    floats = 0
    for number, argument in enumerate(args, 1):
        where = f"argument {number} of {_name(function)}"
        argtype = argtypes[number - 1] if number <= len(argtypes) else None
        _refuse_callbacks(argument, where)
        converted = argument if argtype is None else _from_param(argtype, argument, number, where)
        passed.append(_passable(converted, where))
        floats += getattr(argtype or type(passed[-1]), "_type_", None) in _FLOATS
    if floats > limits.floats:
        raise TypeError(f"{_name(function)}: a guarded call passes at most {limits.floats} floats on this processor")
    return passed


def _from_param(argtype: Any, argument: Any, number: int, where: str) -> Any:
    """Convert an argument as ctypes does."""
    if isinstance(argtype, type) and issubclass(argtype, ctypes._SimpleCData):
        _refuse_type(argtype, where)
        if isinstance(argument, int) and (argtype is ctypes.c_void_p or scalar_of(argtype).is_integer):
            scalar_of(argtype).pack(argument)
    elif isinstance(argtype, type) and issubclass(argtype, _BY_VALUE):
        _refuse_type(argtype, where)
    try:
        return argtype.from_param(argument)
    except Exception as error:
        raise ctypes.ArgumentError(f"argument {number}: {type(error).__name__}: {error}") from error


def _passable(argument: Any, where: str) -> Any:
    """Return what ctypes passes as it is meant: without argtypes it would cut integers."""
    while not isinstance(argument, (int, bytes, str)) and hasattr(argument, "_as_parameter_"):
        argument = argument._as_parameter_
    if isinstance(argument, int):
        if not -(ADDRESS_MAX + 1) // 2 <= argument <= ADDRESS_MAX:
            raise ValueError(f"{where}: {argument} does not fit a word")
        return ctypes.c_void_p(argument)
    if isinstance(argument, float):
        raise TypeError(f"{where}: a float is passed as its argtype says, and there is none")
    _refuse_type(type(argument), where)
    _refuse_callbacks(argument, where)
    return argument


def _refuse_type(ctype: type[Any], where: str) -> None:
    if issubclass(ctype, _BY_VALUE):
        raise TypeError(f"{where}: a guarded call does not pass {ctype.__name__} by value; byref() makes a pointer")
    is_simple = issubclass(ctype, ctypes._SimpleCData) and ctype is not ctypes._SimpleCData
    if is_simple and (getattr(ctype, "_type_", None) == "O" or ctypes.sizeof(ctype) > _WIDEST):
        raise TypeError(f"{where}: {ctype.__name__} cannot be passed by a guarded call")


def _refuse_callbacks(argument: Any, where: str) -> None:
    """Refuse what ctypes has made of a Python function, wherever it is held in an argument."""
    seen: set[int] = set()
    held = [argument]
    while held:
        entry = held.pop()
        if id(entry) in seen:
            continue
        seen.add(id(entry))
        if type(entry).__name__ == "CThunkObject":
            raise TypeError(f"{where} holds a callback into Python: to abandon that would corrupt the interpreter")
        if isinstance(entry, dict):
            held += entry.values()
        elif isinstance(entry, (tuple, list)):
            held += entry
        else:
            held += (getattr(entry, name, None) for name in ("_objects", "_obj", "_b_base_"))


# ---- Results. ----


def _received_as(restype: Any) -> tuple[int, Any]:
    """Return how a result comes, and as what ctypes is to take it."""
    if restype is None or restype in _TEXTS:
        return _WORD, None if restype is None else ctypes.c_void_p
    if not (isinstance(restype, type) and issubclass(restype, ctypes._Pointer.__mro__[1])):
        return _WORD, ctypes.c_int  # a callable, which gets an int
    if issubclass(restype, _POINTERS):
        return _WORD, restype
    code = getattr(restype, "_type_", None)
    if not issubclass(restype, ctypes._SimpleCData) or code not in _RESULTS:
        raise TypeError(f"a guarded call does not return {restype.__name__}: a result is a scalar or a pointer")
    return _RESULTS[code], restype


def _read_text(addr: int) -> bytes:
    return strncpy_from_user(addr, ADDRESS_MAX - addr)


def _read_wide_text(addr: int) -> str:
    width = ctypes.sizeof(ctypes.c_wchar)
    length = count_elements(addr, width, (ADDRESS_MAX - addr) // width)
    text: Any = (ctypes.c_wchar * length).from_buffer_copy(go_on(copy_from_user, addr, length * width))
    return "".join(text)


_TEXTS: dict[Any, Any] = {ctypes.c_char_p: _read_text, ctypes.c_wchar_p: _read_wide_text}


def _result(restype: Any, received: Any, kept_by_ctypes: Any) -> Any:
    """Return a result as ``restype`` has it."""
    if restype in _TEXTS:
        return None if received is None else _TEXTS[restype](received)
    return received if restype is kept_by_ctypes else restype(received)
