"""Maps over threads; and that what is written, locked or mapped over threads goes through `mixer.system`."""

from __future__ import annotations

import ast
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import mixer
from mixer.system.threads import map_in_threads

PACKAGE = Path(mixer.__file__).parent
MODULES = {path.relative_to(PACKAGE).as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}
OUTSIDE = {name: path for name, path in MODULES.items() if not name.startswith("system/")}


def still_running() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("map")]


def test_results_are_in_the_order_of_the_items() -> None:
    """Whatever comes first; and no thread is left."""

    def work(number: int) -> int:
        time.sleep(0.01 * (7 - number))
        return number * number

    assert map_in_threads(work, range(8), num_threads=8) == [number * number for number in range(8)]
    assert map_in_threads(work, iter([3]), num_threads=8) == [9]
    assert map_in_threads(work, [], num_threads=8) == []
    assert still_running() == []


def test_no_more_threads_than_asked_for_work_at_a_time() -> None:
    """One item, or one thread, is the caller's own."""
    lock, busy, most = threading.Lock(), 0, 0

    def work(number: int) -> str:
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        time.sleep(0.01)
        with lock:
            busy -= 1
        return threading.current_thread().name

    names = map_in_threads(work, range(30), num_threads=3)
    assert most == 3
    assert len(set(names)) <= 3
    here = threading.current_thread().name
    assert map_in_threads(work, range(3), num_threads=1) == [here] * 3
    assert map_in_threads(work, range(1), num_threads=5) == [here]


def test_when_one_fails_those_not_begun_are_left_out() -> None:
    """Those that have begun end first, and no thread is left."""
    begun: list[int] = []
    ended: list[int] = []

    def work(number: int) -> None:
        begun.append(number)
        if number == 2:
            raise ValueError("two")
        time.sleep(0.1)
        ended.append(number)

    with pytest.raises(ValueError, match="two"):
        map_in_threads(work, range(1000), num_threads=4)
    assert len(begun) < 12
    assert sorted([*ended, 2]) == sorted(begun)
    assert still_running() == []


@pytest.mark.parametrize("slow", [0, 1])
def test_the_error_is_that_of_the_first_item_whichever_fails_first(slow: int) -> None:
    """What is said of two damaged files does not depend on chance."""

    def work(number: int) -> None:
        if number == slow:
            time.sleep(0.1)
        raise ValueError(str(number))

    with pytest.raises(ValueError, match=r"^0$"):
        map_in_threads(work, range(2), num_threads=2)


@pytest.mark.parametrize("num_items", [50, 100_000])
def test_an_interrupt_ends_a_map_without_what_is_left(num_items: int) -> None:
    """^C arrives in the thread that waits, or that still hands in the items."""
    begun: list[int] = []

    def work(number: int) -> None:
        begun.append(number)
        if number == 3:
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)

    with pytest.raises(KeyboardInterrupt):
        map_in_threads(work, range(num_items), num_threads=2)
    assert len(begun) < 20
    assert still_running() == []


# Where it may be done


def calls(path: Path) -> Iterator[ast.Call]:
    return (node for node in ast.walk(ast.parse(path.read_bytes())) if isinstance(node, ast.Call))


def name_of(call: ast.Call) -> str:
    """What is called, as it is written: `os.replace`, `.rename` of anything else."""
    function = call.func
    if isinstance(function, ast.Name):
        return function.id
    if isinstance(function, ast.Attribute):
        return f"{function.value.id}.{function.attr}" if isinstance(function.value, ast.Name) else f".{function.attr}"
    return ""


def renames(call: ast.Call) -> bool:
    """`os.replace`, `os.rename`, `os.link`, `shutil.move`, `path.rename(x)`, `path.replace(x)`: text needs two."""
    name = name_of(call)
    method = name.rpartition(".")[2]
    if name in ("os.replace", "os.rename", "os.renames", "os.link", "shutil.move"):
        return True
    is_method = "." in name and not call.keywords and len(call.args) == 1
    return is_method and method in ("rename", "replace", "hardlink_to")


def syncs_or_locks(call: ast.Call) -> bool:
    return name_of(call) in ("os.fsync", "os.fdatasync", "os.sync") or name_of(call).startswith("fcntl.")


def writes(call: ast.Call) -> bool:
    """`path.write_bytes`, `path.write_text`, `os.write`, `os.pwrite`, and `open` to write."""
    name = name_of(call)
    method = name.rpartition(".")[2]
    if method in ("write_bytes", "write_text") or name in ("os.write", "os.pwrite"):
        return True
    if method not in ("open", "FileIO", "fdopen"):
        return False
    modes = [*call.args[:2], *(keyword.value for keyword in call.keywords if keyword.arg == "mode")]
    texts = [mode.value for mode in modes if isinstance(mode, ast.Constant) and isinstance(mode.value, str)]
    return any(set(text) <= set("rwaxb+t") and set(text) & set("wax+") for text in texts)


def maps_over_threads(call: ast.Call) -> bool:
    return name_of(call).rpartition(".")[2] in ("ThreadPoolExecutor", "ThreadPool")


WRITERS = {
    # Opens the null device in place of a standard stream that is closed.
    "cli/main.py",
}
POOLS_THAT_STAY = {
    # Blobs of a whole chunk are on their way while earlier ones are handed on: an order of its own, over many calls.
    "stack/chunk.py",
    # Blocks are fetched ahead of a reader, and let go of when they are expected no more.
    "sources/prefetch.py",
    # One thread syncs the shards of a worker while the next is made.
    "building/jobs.py",
}


@pytest.mark.parametrize(
    ("is_meant", "allowed"),
    [(renames, set()), (syncs_or_locks, set()), (writes, WRITERS), (maps_over_threads, POOLS_THAT_STAY)],
    ids=["renames", "syncs or locks", "writes", "maps over threads"],
)
def test_plumbing_is_done_in_its_own_room(is_meant: Callable[[ast.Call], bool], allowed: set[str]) -> None:
    """`mixer/system/` does it for all: there it is tested, and there tests let the disk fail."""
    found = {name for name, path in OUTSIDE.items() if any(map(is_meant, calls(path)))}
    assert found == allowed


@pytest.mark.parametrize(
    ("line", "is_meant"),
    [
        ("os.replace(a, b)", renames),
        ("temporary.replace(path)", renames),
        ("(folder / name).rename(path)", renames),
        ("path.open('ab')", writes),
        ("open(path, mode='w')", writes),
        ("fcntl.flock(file, fcntl.LOCK_EX)", syncs_or_locks),
        ("futures.ThreadPoolExecutor(4)", maps_over_threads),
    ],
)
def test_the_rule_sees_what_it_is_for(line: str, is_meant: Callable[[ast.Call], bool]) -> None:
    """And no more."""
    (call,) = [node for node in ast.walk(ast.parse(line)) if isinstance(node, ast.Call)]
    assert is_meant(call)
    for other in ("text.replace('a', 'b')", "replace(record, file=file)", "path.open('rb')", "at.replace(day=1)"):
        (call,) = [node for node in ast.walk(ast.parse(other)) if isinstance(node, ast.Call)]
        assert not is_meant(call)


MOST_PARAMETERS = 8
ENTRIES = {
    # What others call: a build, a fetch, and the loaders of training frameworks. All but the first are by name.
    "building/build.py:build",
    "stack/fetch.py:fetch_stack_v2",
    "feed/grain.py:__init__",
    "feed/torch.py:__init__",
}


def test_a_function_with_more_than_eight_parameters_takes_a_record() -> None:
    """Commands and what others call may have more, by keyword."""
    found = set()
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not name.startswith("cli/"):
                given = node.args
                positional = [one for one in (*given.posonlyargs, *given.args) if one.arg not in ("self", "cls")]
                extra = [one for one in (given.vararg, given.kwarg) if one is not None]
                if len([*positional, *given.kwonlyargs, *extra]) > MOST_PARAMETERS:
                    found.add(f"{name}:{node.name}")
                    assert len(positional) <= MOST_PARAMETERS // 2, f"{name}:{node.name}"
    assert found == ENTRIES
