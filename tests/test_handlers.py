# SPDX-License-Identifier: MIT
"""The mark "accessing user memory", and the names of handlers."""

import ctypes
import errno
import signal
import threading
from pathlib import Path

import pytest

from axptr_native import FaultError, access_user_memory, handlers, is_accessing_user_memory, uaccess
from axptr_native._native import Handler, lib
from axptr_native._symbols import symbol_name


def test_the_mark_is_on_inside_and_off_outside() -> None:
    """The function sees the mark, gets its arguments, and its result comes back."""

    def function(*args: int, **kwargs: int) -> tuple[tuple[int, ...], dict[str, int], bool]:
        return args, kwargs, is_accessing_user_memory()

    assert not is_accessing_user_memory()
    assert access_user_memory(function, 1, 2, function=3) == ((1, 2), {"function": 3}, True)
    assert not is_accessing_user_memory()


def test_the_mark_nests() -> None:
    """The end of an inner access leaves the outer one marked."""

    def outer() -> bool:
        assert access_user_memory(is_accessing_user_memory)
        return is_accessing_user_memory()

    assert access_user_memory(outer)
    assert not is_accessing_user_memory()


def test_the_mark_is_taken_off_by_an_exception() -> None:
    """A fault inside comes out as itself and leaves no mark."""
    with pytest.raises(FaultError):
        access_user_memory(uaccess.copy_from_user, 0, 1)
    with pytest.raises(ZeroDivisionError):
        access_user_memory(access_user_memory, lambda: 1 // 0)
    assert not is_accessing_user_memory()


def test_the_mark_belongs_to_the_thread() -> None:
    """Another thread is not marked by ours."""
    seen: list[bool] = []

    def look() -> None:
        thread = threading.Thread(target=lambda: seen.append(is_accessing_user_memory()))
        thread.start()
        thread.join()

    access_user_memory(look)
    assert seen == [False]


def test_install_says_who_is_on_top() -> None:
    """After install() both signals are ours, and the chain ends in an action or a handler that is not ours."""
    status = handlers.install()
    assert set(status) == {signal.SIGSEGV, signal.SIGBUS}
    for number, state in status.items():
        assert state.signal is number
        assert state.on_top
        assert [handler.ours for handler in state.handlers].count(True) == 1
        assert state.handlers[0].name.startswith("on_signal_")
        assert "(ours)" in repr(state)


def test_other_signals_have_no_chain() -> None:
    """The C library answers for SIGSEGV and SIGBUS only."""
    assert lib.axp_handler_at(signal.SIGTERM, 0, Handler()) == -errno.EINVAL


def test_an_exported_function_has_its_name() -> None:
    """The loader's own symbols are used first."""
    exported = ctypes.cast(lib.axp_install, ctypes.c_void_p).value or 0
    assert symbol_name(exported) == f"axp_install in {Path(lib._name).name}"


def test_an_address_of_no_file_is_shown_as_a_number() -> None:
    """Nothing is made up for an address outside every file."""
    assert symbol_name(0x10) == "0x10"
