# SPDX-License-Identifier: MIT
"""Guarded calls: a fault inside a foreign function becomes an exception.

For tests and tools, not for production.  The function is abandoned midway: a lock that it held stays locked, memory
that it had allocated is lost, and what it was writing stays half written, the C library's own heap included.  The
process lives on to say what it found; more than that nobody can promise.
"""

from __future__ import annotations

import ctypes
import errno
import os
from _ctypes import CFuncPtr

from ._arguments import CALLBACK_REFUSED, convert_arguments, holds_callback, name_of
from ._buffer import IS_CPYTHON
from ._caller import caller_of, convert_result, describe_call
from ._native import ACCESSES, REASONS, Call, check_status
from ._symbols import symbol_name
from .addr import VirtAddr
from .errors import FaultError, FaultReason
from .flags import MappingFlags

TYPE_CHECKING = False  # typing itself would take most of the package's import time
if TYPE_CHECKING:
    from typing import Any

__all__ = ["CallFaultError", "GuardedFunction", "guarded", "guarded_call"]

_PYTHON_API = 4  # ctypes' FUNCFLAG_PYTHONAPI


class CallFaultError(FaultError):
    """``EFAULT``: a foreign function faulted, and was abandoned there.

    Attributes:
        address: What it accessed.  0 with reason NOT_CANONICAL, since the processor does not say.
        access: READ or WRITE, or EXECUTE for a jump to where there is no code.
        transferred: 0: nobody counts.
        size: None.
        reason: Why.  NOT_CANONICAL is also what x86 makes of a misaligned vector operand, and of a privileged
            instruction.
        instruction: The code that faulted, or None where the processor does not say.  After a jump, the address.
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
            causes = "an address that is not canonical, a misaligned vector operand or a privileged instruction"
            text = f"{self.strerror}: {causes}"
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
        caller, limits = caller_of(function)
        passed = convert_arguments(function, args, limits)
        call = describe_call(ctypes.cast(function, ctypes.c_void_p).value)
        received = caller(ctypes.c_uint64(ctypes.addressof(call)), *passed)
        if call.failed == -errno.EFAULT:
            raise _fault_of(call)
        check_status(call.failed)
        result = convert_result(function.restype, received)
        if function.errcheck:
            checked = function.errcheck(result, function, args)
            return result if checked is args else checked  # ctypes takes its arguments for "go on"
        return result

    def __repr__(self) -> str:
        return f"<GuardedFunction {name_of(self.function)}>"


def guarded(function: Any) -> GuardedFunction:
    """Return a foreign function that raises where the one given would end the process; see ``guarded_call()``.

    Raises:
        OSError: ENOTSUP, on a Python that is not CPython.
        TypeError: It is not a foreign function of ctypes, is one of Python's own (``ctypes.PyDLL``,
            ``ctypes.pythonapi``), or is a Python function made callable for C.
    """
    if not IS_CPYTHON:
        raise OSError(
            errno.ENOTSUP, f"{os.strerror(errno.ENOTSUP)}: this Python does not tell whether a fault is its own"
        )
    if not isinstance(function, CFuncPtr):
        raise TypeError(f"a foreign function of ctypes is required, not {function!r}")
    if type(function)._flags_ & _PYTHON_API:
        raise TypeError(f"{name_of(function)} works on the interpreter itself, which could not go on after a fault")
    if holds_callback(function):
        raise TypeError(f"the function {CALLBACK_REFUSED}")
    return GuardedFunction(function)


def guarded_call(function: Any, *args: Any) -> Any:
    """Call a foreign function of ctypes, so that a fault inside it is an exception.

    Arguments are converted by ``argtypes`` and ctypes' rules, and the result by ``restype`` and ``errcheck``, with
    these differences: an integer that does not fit is refused instead of cut; without ``argtypes`` an integer is
    passed as wide as an address; and a string that is returned as ``c_char_p`` or ``c_wchar_p`` is read by a guarded
    access.

    The GIL is dropped during the call.  A stack overflow is a fault like others.  Faults of Python code that the
    function calls, and of what that calls unguarded, crash, as they do elsewhere.  Parameter flags of a prototype are
    not used: every argument is passed by position.  ``docs/guarded-calls.md`` has the whole.

    Args:
        function: A function of a ``ctypes.CDLL``, or one made from an address with ``ctypes.CFUNCTYPE``.
        args: At most 16: integers, pointers, arrays, ``byref()``, bytes, str, None, and, where the processor has
            registers of their own for them, up to 8 floats.  Bytes and strings are the memory of the Python object.
            Not supported: structures by value, ``c_longdouble``, and the other byte order.

    Raises:
        OSError: ENOTSUP, on a Python that is not CPython.
        CallFaultError: The function faulted.  It was abandoned midway: **what it held or was writing stays so**.  The
            signal mask, the alternate signal stack and the floating-point environment are as they were before.
        TypeError: ``function`` is none, or an argument or its result is of a type that is not supported.  A callback
            into Python is refused: to abandon it would corrupt the interpreter.  One that the library has kept from
            before, or whose address is passed as an integer, is not noticed.
        ValueError: An integer does not fit.
        ctypes.ArgumentError: ctypes cannot convert an argument.
        FaultError: A string that was returned cannot be read.
    """
    return guarded(function)(*args)


def _fault_of(call: Call) -> CallFaultError:
    fault = call.fault
    access = ACCESSES[fault.access]
    instruction = fault.address if access is MappingFlags.EXECUTE else call.instruction or None
    return CallFaultError(fault.address, access, REASONS[fault.reason], fault.signal, instruction)
