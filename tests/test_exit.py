# SPDX-License-Identifier: MIT
"""Interpreters that end while address spaces, views and pagers are alive and in use end with 0 and say nothing."""

from pathlib import Path

import pytest
from child import HANG, check, run

ALIVE = """
import atexit, ctypes, mmap, os, sys, tempfile, threading
from axptr_native import *
from axptr_native.uaccess import copy_from_user
from helpers_processor import TELLS_END_OF_FILE
RW = MappingFlags.READ | MappingFlags.WRITE
PAGERS = sys.platform != "win32"
CUT = PAGERS and TELLS_END_OF_FILE  # Windows does not cut a file that is mapped
space = AddrSpace(64 * PAGE_SIZE)
memory = space.map_alloc(space.base, 4 * PAGE_SIZE, RW)
give, take = (lambda page, access: b"p" * PAGE_SIZE), (lambda page, data: None)
if PAGERS:
    paged = space.map_pager(None, 8 * PAGE_SIZE, RW, give, write_back=take)
else:
    paged = space.map_alloc(None, 8 * PAGE_SIZE, RW)
space.write(paged.start, b"dirty")
pointers = [kind[ctypes.c_int](start) for start in (memory.start, paged.start) for kind in (UserPtr, UserConstPtr)]
elements = UserPtr[ctypes.c_int](memory.start).get_as_slice(space, 100)
value = UserPtr[ctypes.c_int](paged.start).get(space)
with tempfile.TemporaryFile() as file:
    file.truncate(2 * PAGE_SIZE)
    view = GuardedView(mmap.mmap(file.fileno(), 2 * PAGE_SIZE))
    if CUT: file.truncate(PAGE_SIZE)
cycle = [space, elements, value, view]
cycle.append(cycle)

def use():
    "Do everything that can be done to a space; a fault is an answer too."
    def attempt(act):
        try: act()
        except (FaultError, ValueError): pass
    for pointer in pointers:  # first: of two areas, one is not what was looked for last
        attempt(lambda: pointer.get(space).value)
        attempt(lambda: pointer.get_as_slice(space, 3).copy())
    attempt(lambda: elements[3])
    attempt(lambda: elements.write(b"1234"))
    attempt(lambda: value.value)
    attempt(lambda: view[PAGE_SIZE - 4 : PAGE_SIZE + 4])
    attempt(lambda: copy_from_user(0, 8))
    attempt(lambda: space.write(paged.start + 3 * PAGE_SIZE, b"late"))
    attempt(lambda: space.populate_area(paged.start, paged.size, RW))
    attempt(lambda: space.evict(paged.start, paged.size))
    attempt(lambda: space.protect(memory.start, PAGE_SIZE, RW))
    attempt(lambda: space.unmap(space.map_alloc(None, PAGE_SIZE, RW).start, PAGE_SIZE))
    space.areas(), space.check_region_access(memory, RW), repr(space)
    with AddrSpace(PAGE_SIZE) as other:
        if PAGERS: other.map_pager(None, PAGE_SIZE, RW, lambda page, access: bytes(PAGE_SIZE))
        else: other.map_alloc(None, PAGE_SIZE, RW)
        other.read(other.base, 1)

class Late:
    "Somebody else's object, whose finalizer runs when modules are taken down."
    def __init__(self, *uses): self.uses = uses
    def __del__(self):
        for use in self.uses: use()
"""

ENDINGS = {
    "open": "",
    "sys.exit": "sys.exit(0)",
    "closed": "space.close()",
    "let go": "del space, elements, value, cycle",
    "in a block": "with space: sys.exit(0)",
    "after an exception": """
try:
    with space: raise KeyError
except KeyError: pass
use()
""",
    "used at exit": "atexit.register(use)",
    "closed at exit": "atexit.register(use), atexit.register(space.close), atexit.register(use)",
    "closed twice at exit": "atexit.register(space.close), atexit.register(space.close)",
    "used by a late finalizer": "sys.modules['late'] = late = Late(use)",
    "closed by a late finalizer": "sys.modules['late'] = late = Late(space.close, use, space.close)",
    "kept by a late finalizer": "sys.modules['late'] = late = Late(cycle.clear, lambda: cycle.append(space))",
    "while a thread operates on the space": """
entered = threading.Event()
def operate():
    with space._lock:
        entered.set()
        threading.Event().wait()
threading.Thread(target=operate, daemon=True).start()
entered.wait()
sys.modules['late'] = Late(use, space.close, use)
""",
    "while a thread waits in a pager": """
entered = threading.Event()
def wait_for_ever(page, access):
    entered.set()
    threading.Event().wait()
stuck = space.map_pager(None, PAGE_SIZE, RW, wait_for_ever).start
threading.Thread(target=lambda: space.read(stuck, 1), daemon=True).start()
entered.wait()
def touch():
    try: space.read(stuck, 1)
    except FaultError: pass
sys.modules['late'] = Late(touch, use, space.close, touch)
""",
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_interpreters_end_quietly(ending: str, tmp_path: Path) -> None:
    """A process that ends with a space open, paged, referenced or in use exits with 0 and says nothing."""
    outcome = check(run(ALIVE + ENDINGS[ending], cwd=tmp_path, options=["-X", "dev"], timeout=2 * HANG))
    assert (outcome.stdout, outcome.stderr) == ("", "")


@pytest.mark.parametrize("late", ["use", "space.close"])
def test_interpreters_end_quietly_under_daemon_threads(late: str, tmp_path: Path) -> None:
    """Threads that end in the middle of operations leave nothing held that a finalizer would wait for, in 20 ends."""
    code = f"""
import time, warnings
warnings.simplefilter("ignore", DeprecationWarning)
for _ in range(20):
    pid = os.fork()
    if pid == 0:
        break
    assert os.waitpid(pid, 0)[1] == 0
else:
    sys.exit(0)
sys.setswitchinterval(1e-5)
large = mmap.mmap(-1, 4 << 20)
address = ctypes.addressof(ctypes.c_char.from_buffer(large))
def repeated(act):
    started.release()
    while True: act()
started = threading.Semaphore(0)
acts = (use, use, lambda: copy_from_user(address, 4 << 20), lambda: space.evict(paged.start, paged.size))
for act in acts:
    threading.Thread(target=repeated, args=(act,), daemon=True).start()
for _ in acts: started.acquire()
sys.modules["late"] = Late({late})
atexit.register(use)
"""
    # The debug hooks of -X dev would fill the states of threads that the interpreter deletes at its end, and at which
    # a thread that asks for the GIL still looks: of 12000 ends of CPython 3.11 with such threads, and without this
    # library, 13 crashed, and none without the hooks.
    settings = {"PYTHONMALLOC": "default"}
    outcome = check(run(ALIVE + code, cwd=tmp_path, options=["-X", "dev"], environment=settings))
    assert (outcome.stdout, outcome.stderr) == ("", "")
