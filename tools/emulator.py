# SPDX-License-Identifier: MIT
"""qemu, which runs the programs of processors that this machine is not: Debian's, fetched once and kept."""

from __future__ import annotations

from pathlib import Path

from debian_packages import CACHE, SUITE, making, own_architecture, unpack


def emulator(processor: str) -> Path:
    """Return qemu for a processor, by qemu's name: it is linked statically, so that it runs beside any root.

    Raises:
        SkipError: It cannot be fetched.
    """
    home = CACHE / "foreign" / "qemu"
    if not home.exists():
        print("fetching qemu ...", flush=True)
        with making(home) as made:
            unpack(["qemu-user"], SUITE, [own_architecture()], made)
    return home / "usr" / "bin" / f"qemu-{processor}"
