# SPDX-License-Identifier: MIT
"""A kernel of four system calls, and a user program that passes it good pointers and bad ones.

The user program lives in an address space and calls through a C function pointer, as ``syscall(2)``.  It passes bare
numbers.  No handler looks at an address itself: a bad one is FaultError where it is used, and ``Kernel.syscall``
makes ``-EFAULT`` of it in one place.
"""

from __future__ import annotations

import ctypes
import errno
import itertools
import os
from ctypes import c_char, c_long, c_size_t

from axptr_native import PAGE_SIZE, AddrSpace, MappingFlags, UserConstPtr, UserPtr

SYSCALL = ctypes.CFUNCTYPE(c_long, c_long, c_size_t, c_size_t, c_size_t)
READ, WRITE, EXECVE, OPENAT = 0, 1, 59, 257
PATH_MAX, ARG_MAX = 4096, 64


class Kernel:
    """The kernel's side.  Nothing here touches user memory but through a user pointer."""

    def __init__(self, aspace: AddrSpace) -> None:
        self.aspace = aspace
        self.disk = {"/etc/motd": b"Welcome to the toy kernel.\n"}
        self.files: dict[int, bytes] = {}  # what is still to be read
        self.console = bytearray()

    def syscall(self, number: int, a: int, b: int, c: int) -> int:
        """Return the call's result, or a negative errno."""
        handlers = {READ: self.read, WRITE: self.write, EXECVE: self.execve, OPENAT: self.openat}
        try:
            result = handlers[number](a, b, c)
        except OSError as error:
            result = -(error.errno or errno.EIO)
        told = result if result >= 0 else f"-{errno.errorcode[-result]} ({os.strerror(-result)})"
        print(f"    {handlers[number].__name__} = {told}")
        return result

    def openat(self, _directory: int, path: int, _flags: int) -> int:
        """Open a file."""
        name = UserConstPtr[c_char](path).get_as_str(self.aspace, limit=PATH_MAX)
        if name not in self.disk:
            return -errno.ENOENT
        self.files[3 + len(self.files)] = self.disk[name]
        return 2 + len(self.files)

    def read(self, descriptor: int, buffer: int, size: int) -> int:
        """Read from a file.  Where the buffer is bad, nothing is read, so nothing is lost."""
        if descriptor not in self.files:
            return -errno.EBADF
        data = self.files[descriptor][:size]
        UserPtr[c_char](buffer).get_as_slice(self.aspace, len(data)).write(data)
        self.files[descriptor] = self.files[descriptor][len(data) :]
        return len(data)

    def write(self, descriptor: int, buffer: int, size: int) -> int:
        """Write to the console."""
        if descriptor != 1:
            return -errno.EBADF
        self.console += UserConstPtr[c_char](buffer).get_as_slice(self.aspace, size).tobytes()
        return size

    def execve(self, path: int, argv: int, _envp: int) -> int:
        """Say what would be run: argv is an array of pointers to strings, and ends with a null pointer."""
        name = UserConstPtr[c_char](path).get_as_str(self.aspace, limit=PATH_MAX)
        words = UserConstPtr[c_size_t](argv).get_as_null_terminated(self.aspace, limit=ARG_MAX)
        arguments = [UserConstPtr[c_char](word).get_as_str(self.aspace, limit=PATH_MAX) for word in words]
        print(f"    (would run {name} with {arguments})")
        return 0


def user_program(kernel: Kernel) -> None:
    """Be the user: fill one's own memory as any C program does, and call the kernel."""
    syscall = SYSCALL(kernel.syscall)
    writable = kernel.aspace.map_alloc(None, PAGE_SIZE, MappingFlags.READ | MappingFlags.WRITE)
    constant = kernel.aspace.map_alloc(None, PAGE_SIZE, MappingFlags.READ)
    free = itertools.count(writable.start, 64)

    def put(data: bytes) -> int:
        address = next(free)
        ctypes.memmove(address, data + b"\0", len(data) + 1)
        return address

    path = put(b"/etc/motd")
    argv, buffer = next(free), next(free)
    (c_size_t * 4).from_address(argv)[:] = [put(b"cat"), put(b"-n"), path, 0]

    print("a program that is right, but for one thing:")
    file = syscall(OPENAT, 0, path, 0)
    syscall(READ, file, constant.start, 64)  # its constants cannot be written to, and nothing is lost
    syscall(WRITE, 1, buffer, syscall(READ, file, buffer, 64))
    syscall(EXECVE, path, argv, 0)

    print("a program that is wrong, or worse:")
    for story, number, a, b, c in [
        ("a null path", OPENAT, 0, 0, 0),
        ("a path that is not text", OPENAT, 0, put(b"/etc/\xff"), 0),
        ("a buffer that runs out of its mapping", WRITE, 1, constant.end - 5, 4096),
        ("an address of the kernel's", WRITE, 1, id(kernel), 24),
        ("a size that overflows", WRITE, 1, buffer, 2**64 - 1),
        ("an argv that is misaligned", EXECVE, path, argv + 1, 0),
        ("an argv that leads to garbage", EXECVE, path, path, 0),
    ]:
        print(f"  {story}:")
        syscall(number, a, b, c)


def main() -> None:
    """Run the user program, and show that the kernel is still there."""
    with AddrSpace(16 * PAGE_SIZE) as space:
        kernel = Kernel(space)
        user_program(kernel)
        print(f"the kernel lives; on its console: {kernel.console.decode()!r}")


if __name__ == "__main__":
    main()
