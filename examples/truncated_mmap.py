# SPDX-License-Identifier: MIT
"""Read a log through mmap while another process truncates it, and keep going.

That is what ``logrotate`` does with ``copytruncate``.  A plain ``mapping[start:end]`` is SIGBUS there, and nothing
catches it: not ``except``, and not a look at the file's size beforehand, for it may shrink right after.
"""

from __future__ import annotations

import mmap
import multiprocessing
import os
import tempfile
import time
from pathlib import Path

from axptr_native import PAGE_SIZE, FaultError, FaultReason, GuardedView

LINE = 64
LINES = 16 * PAGE_SIZE // LINE
KEPT = 100


def fill(path: Path) -> None:
    """Write the log: lines of one size, so that a line's number says where it is."""
    path.write_bytes(b"".join(f"{number:06} all is well".ljust(LINE - 1).encode() + b"\n" for number in range(LINES)))


def rotate(path: Path) -> None:
    """Be the other process."""
    time.sleep(0.2)  # the reader is busy by now
    os.truncate(path, KEPT * LINE)


def count_lines(view: GuardedView) -> int:
    """Return how many lines there are.

    Raises:
        FaultError: The file has become shorter.
    """
    lines = 0
    for offset in range(0, len(view), LINE):
        # The rest of a file's last page reads as zeros: that is no line, and no fault either.
        lines += view[offset : offset + LINE].endswith(b"\n")
    return lines


def open_view(path: Path) -> GuardedView:
    """Map a file as long as it is now; the mapping lives as long as the view."""
    with path.open("rb") as file:
        return GuardedView(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def main() -> None:
    """Read the log again and again until it is cut, then go on with what is left."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "service.log"
        fill(log)
        view = open_view(log)
        print(f"{count_lines(view)} lines in {len(view) // PAGE_SIZE} pages; another process will truncate the file")

        other = multiprocessing.get_context("spawn").Process(target=rotate, args=(log,))
        other.start()
        passes = 0
        deadline = time.monotonic() + 60
        try:
            while time.monotonic() < deadline:
                count_lines(view)
                passes += 1
        except FaultError as error:
            if error.reason is not FaultReason.BEYOND_END:
                raise  # anything else would be a bug of ours
            print(f"cut in the middle of a pass: {error}")
        other.join()
        print(f"{'some' if passes else 'no'} passes went well before that")

        # What the old view still has is what every process sees that had the file mapped.
        end = KEPT * LINE
        print(f"the last line: {view[end - LINE : end].decode().strip()!r}")
        rest = -end % PAGE_SIZE
        print(f"after it, {rest} bytes of its page: {'zeros' if not any(view[end : end + rest]) else 'data'}")
        view.release()

        view = open_view(log)
        print(f"opened again: {count_lines(view)} lines, and no process died")
        view.release()


if __name__ == "__main__":
    main()
