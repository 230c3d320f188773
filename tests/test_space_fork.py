# SPDX-License-Identifier: MIT
"""Address spaces in a forked child: at rest, whole, and the child's own."""

from pathlib import Path

import pytest
from child import check, run

from axptr_native._spaces import MOST_TRIES

COMMON = """
import os, resource, signal, sys, threading, time, warnings
from child import HANG
from axptr_native import PAGE_SIZE, AddrSpace, FaultError, MappingFlags
warnings.simplefilter("ignore", DeprecationWarning)  # of a fork with threads: it is what this is about
RW = MappingFlags.READ | MappingFlags.WRITE

def in_fork(body):
    pid = os.fork()
    if pid == 0:
        signal.alarm(HANG)
        try:
            body()
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
"""


def said(code: str, tmp_path: Path, *, early: str = "") -> str:
    """Run code in a child, which must succeed, and return what it complained of."""
    return check(run(early + COMMON + code, cwd=tmp_path)).stderr


@pytest.mark.parametrize("paged", [False, True], ids=["memory", "pager"])
def test_a_child_forked_during_operations_has_whole_spaces(paged: bool, tmp_path: Path) -> None:
    """Forked while threads map, fault, evict and unmap, a child finds each area whole, and goes on with them."""
    mapped = "map_pager(None, 2 * PAGE_SIZE, RW, lambda page, access: b'p' * PAGE_SIZE)"
    mapped = mapped if paged else "map_alloc(None, 2 * PAGE_SIZE, RW)"
    code = f"""
sys.setswitchinterval(1e-5)
spaces = [AddrSpace(64 * PAGE_SIZE) for _ in range(2)]
stop = False
def operate(space):
    while not stop:
        mapped = space.{mapped}
        space.write(mapped.start, b"x")
        space.evict(mapped.start, mapped.size)
        space.protect(mapped.start, PAGE_SIZE, MappingFlags.READ)
        space.unmap(mapped.start, mapped.size)
def body():
    for space in spaces:
        for area in space.areas():
            readable = space.read(area.range.start, area.range.size)
            assert set(readable) <= set(b"px\\0"), readable
        mapped = space.{mapped}
        space.write(mapped.start, b"child")
        assert space.read(mapped.start, 5) == b"child"
        space.close()
    AddrSpace(PAGE_SIZE).map_pager(None, PAGE_SIZE, RW, lambda page, access: None)
threads = [threading.Thread(target=operate, args=(space,)) for space in spaces]
for thread in threads: thread.start()
try:
    for _ in range(60): in_fork(body)
finally:
    stop = True
    for thread in threads: thread.join()
"""
    assert said(code, tmp_path) == ""


def test_a_page_on_its_way_in_another_thread_is_asked_for_by_the_child(tmp_path: Path) -> None:
    """A child forked while a thread waits in a pager, or in a write-back, does not wait for it."""
    code = """
entered, go_on = threading.Event(), threading.Event()
def slow():
    if threading.current_thread() is not threading.main_thread():
        entered.set()
        go_on.wait()
def page_in(page, access):
    slow()
    return b"p" * PAGE_SIZE
space = AddrSpace(4 * PAGE_SIZE)
start = space.map_pager(None, PAGE_SIZE, RW, page_in, write_back=lambda page, data: slow()).start
def body(expected):
    assert space.read(start, 1) == expected
    space.write(start, b"c")
    assert space.evict(start, PAGE_SIZE) == 1
for act, expected in ((lambda: space.write(start, b"x"), b"p"), (lambda: space.evict(start, PAGE_SIZE), b"x")):
    thread = threading.Thread(target=act)
    thread.start()
    entered.wait()
    in_fork(lambda: body(expected))
    go_on.set()
    thread.join()
    entered.clear()
    go_on.clear()
assert space.read(start, 1) == b"p"
"""
    assert said(code, tmp_path) == ""


def test_a_pager_may_fork(tmp_path: Path) -> None:
    """An access whose pager forks goes on in both processes, and so does an eviction whose write-back forks."""
    code = """
pids = []
def forks():
    pids.append(os.fork())
    if pids[-1] == 0: signal.alarm(HANG)
def page_in(page, access):
    forks()
    return b"p" * PAGE_SIZE
space = AddrSpace(4 * PAGE_SIZE)
start = space.map_pager(None, 2 * PAGE_SIZE, RW, page_in, write_back=lambda page, data: forks()).start
assert space.read(start, 2) == b"pp"
space.write(start, b"x")
assert space.evict(start, PAGE_SIZE) == 1
if 0 not in pids:
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0, 0]
assert space.read(start, 2) == b"pp"
os._exit(0)
"""
    assert said(code, tmp_path) == ""


def test_a_child_without_room_for_its_pages_cannot_reach_the_parents(tmp_path: Path) -> None:
    """Where the child can have no file of its own it says so, its pager areas are gone, and the parent's stay."""
    code = """
space, other = AddrSpace(8 * PAGE_SIZE), AddrSpace(8 * PAGE_SIZE)
start = space.map_pager(None, 2 * PAGE_SIZE, RW, lambda page, access: b"p" * PAGE_SIZE).start
memory = other.map_alloc(None, PAGE_SIZE, RW).start
space.write(start, b"parent")
def body():
    for access in (lambda: space.write(start, b"child!"), lambda: space.read(start + PAGE_SIZE, 1)):
        try: access()
        except FaultError: pass
        else: raise AssertionError("the page is there")
    assert space.areas() == ()
    other.write(memory, b"child")
    resource.setrlimit(resource.RLIMIT_NOFILE, limit)
    assert space.map_pager(start, PAGE_SIZE, RW, lambda page, access: b"c" * PAGE_SIZE).start == start
    assert space.read(start, 1) == b"c"
limit = resource.getrlimit(resource.RLIMIT_NOFILE)
free = os.dup(0)
os.close(free)
resource.setrlimit(resource.RLIMIT_NOFILE, (free, limit[1]))
in_fork(body)
assert space.read(start, 6) == b"parent"
"""
    complaint = said(code, tmp_path)
    assert complaint.startswith("Exception ignored in")
    assert complaint.count("Too many open files") == 1


@pytest.mark.parametrize("change", ["write(start, b'y' * size)", "evict(start, size)", "close()"])
def test_a_child_has_the_pages_as_they_were_at_the_fork(change: str, tmp_path: Path) -> None:
    """What the parent does with its pages right after the fork is not seen by the child, however late that runs."""
    code = f"""
size = 64 * PAGE_SIZE
for _ in range(20):
    space = AddrSpace(size)
    start = space.map_pager(None, size, RW, lambda page, access: b"p" * PAGE_SIZE).start
    space.write(start, b"x" * size)
    pid = os.fork()
    if pid == 0:
        os._exit(space.read(start, size) != b"x" * size)
    space.{change}
    assert os.waitpid(pid, 0)[1] == 0
"""
    assert said(code, tmp_path) == ""


@pytest.mark.parametrize(("times", "content"), [(1, b"xp"), (2, b"xp"), (MOST_TRIES, None)])
def test_a_fork_that_is_interrupted_while_it_waits_is_whole(times: int, content: bytes | None, tmp_path: Path) -> None:
    """What a signal handler raises first while a fork waits for a thread is told after it; the child has its pages.

    A fork that is interrupted again and again gives up waiting, and in the child its pages fault.
    """
    code = f"""
sys.setswitchinterval(100)  # who has the interpreter keeps it until it waits
space, operated = AddrSpace(4 * PAGE_SIZE), AddrSpace(4 * PAGE_SIZE)
start = space.map_pager(None, PAGE_SIZE, RW, lambda page, access: b"p" * PAGE_SIZE).start
space.write(start, b"x")
entered, forking, raised, told = threading.Event(), [], [], []
main = threading.main_thread().ident
def interrupt(_, frame):
    if frame.f_code.co_name == "_hold_all" and len(raised) < {times}:
        raised.append(RuntimeError if raised else KeyboardInterrupt)
        raise raised[-1]
signal.signal(signal.SIGUSR1, interrupt)
sys.unraisablehook = lambda raised: told.append(raised.exc_type)
def operate():
    with operated._lock:
        entered.set()
        while not forking: os.sched_yield()
        # Again and again: a signal that comes just before the fork waits does not interrupt it.  By C alone: with a
        # signal on its way, CPython 3.11 spins where a function begins that is traced.
        while len(raised) < {times}:
            signal.pthread_kill(main, signal.SIGUSR1)
            time.sleep(0.001)
thread = threading.Thread(target=operate)
thread.start()
entered.wait()
def body():
    try: content = space.read(start, 2)
    except FaultError: content = None
    assert content == {content!r}, content
    operated.map_alloc(None, PAGE_SIZE, RW)
forking.append(True)
in_fork(body)
thread.join()
assert told == [KeyboardInterrupt], told
def use():
    for each in (space, operated): each.unmap(each.base, PAGE_SIZE)
for _ in range(2):
    thread = threading.Thread(target=use)
    thread.start()
    thread.join(HANG)
    assert not thread.is_alive(), "a space is still held"
    in_fork(lambda: operated.map_alloc(None, PAGE_SIZE, RW))
"""
    assert said(code, tmp_path) == ""


def test_what_a_signal_handler_raises_as_a_fork_returns_leaves_nothing_held(tmp_path: Path) -> None:
    """A signal that comes during the fork, with spaces held, is told after it, and other threads and forks go on."""
    code = """
space, told = AddrSpace(PAGE_SIZE), []
def interrupt(*_): raise KeyboardInterrupt
signal.signal(signal.SIGUSR1, interrupt)
sys.unraisablehook = lambda raised: told.append(raised.exc_type)
for _ in range(3):
    in_fork(lambda: space.map_alloc(None, PAGE_SIZE, RW))
    assert told == [KeyboardInterrupt], told
    told.clear()
    thread = threading.Thread(target=lambda: space.unmap(space.base, PAGE_SIZE), daemon=True)
    thread.start()
    thread.join(HANG)
    assert not thread.is_alive(), "the space is still held"
"""
    # Registered first, and so called last before the fork; in C, so that Python sees the signal only afterwards.
    last = "os.register_at_fork(before=functools.partial(ctypes.CDLL(None)['raise'], signal.SIGUSR1))"
    early = f"import ctypes, functools, os, signal\n{last}\n"
    assert said(code, tmp_path, early=early) == ""


@pytest.mark.parametrize("left", range(3, 25))
def test_a_fork_with_little_stack_left_comes_to_its_end(left: int, tmp_path: Path) -> None:
    """Where each try to have the spaces at rest fails the fork goes on without, and nothing is held afterwards."""
    code = f"""
sys.unraisablehook = lambda raised: None
space = AddrSpace(4 * PAGE_SIZE)
space.write(space.map_pager(None, PAGE_SIZE, RW, lambda page, access: bytes(PAGE_SIZE)).start, b"x")
def down(calls):
    return fork() if calls == 0 else down(calls - 1)
def fork():
    child = os.fork()
    if child == 0: os._exit(0)
    return child
depth, frame = 0, sys._getframe()
while frame: depth, frame = depth + 1, frame.f_back
assert os.waitpid(down(sys.getrecursionlimit() - depth - {left}), 0)[1] == 0
thread = threading.Thread(target=lambda: space.read(space.base, 1), daemon=True)
thread.start()
thread.join(HANG)
assert not thread.is_alive(), "the space is still held"
"""
    assert said(code, tmp_path) == ""


def test_a_fork_has_pages_of_its_own(tmp_path: Path) -> None:
    """What a forked child writes, evicts and closes leaves the parent's pages as they are."""
    code = """
space = AddrSpace(4 * PAGE_SIZE)
start = space.map_pager(None, 2 * PAGE_SIZE, RW, lambda page, access: b"p" * PAGE_SIZE).start
space.write(start, b"parent")
for change in (lambda: space.write(start, b"child!"), lambda: space.evict(start, PAGE_SIZE), space.close):
    in_fork(change)
    assert space.read(start, 6) == b"parent", space.read(start, 6)
"""
    assert said(code, tmp_path) == ""
