"""A map over threads, for work that waits for files or servers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

from mixer.system.processes import usable_cores

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def map_in_threads(
    work: Callable[[_Item], _Result], items: Iterable[_Item], *, num_threads: int | None = None
) -> list[_Result]:
    """The results of `work` on each item, in the order of the items, computed several at a time.

    Items are begun in their order. When one fails, those not begun are left out: which error is raised does not depend
    on the threads' speed. A pool for each call: no thread is left when it returns or raises, so workers may be forked
    then; starting some threads costs nothing beside a request. A single item is worked on in the caller's thread.

    Args:
        work: called from several threads.
        items: what it is called with.
        num_threads: the most at a time; None: one for each usable core.

    Raises:
        Exception: the error of the first item, in their order, that failed.
    """
    items = list(items)
    num_threads = min(num_threads or usable_cores(), len(items))
    if num_threads < 2:
        return [work(item) for item in items]
    results: dict[int, _Result] = {}
    errors: dict[int, BaseException] = {}
    left, lock = iter(enumerate(items)), threading.Lock()
    stopped = False

    def work_on() -> None:
        while not stopped and not errors:
            with lock:
                index, item = next(left, (None, None))
            if index is None:
                return
            try:
                results[index] = work(item)  # type: ignore[arg-type]  # which is an item where there is an index
            except BaseException as error:
                errors[index] = error

    # The threads take the items themselves: handing them to the pool one by one, ^C could come while it holds a lock.
    with ThreadPoolExecutor(num_threads, "map") as pool:
        try:
            wait([pool.submit(work_on) for _ in range(num_threads)])
        finally:
            stopped = True
    try:
        if errors:
            raise errors[min(errors)]  # all items before it have begun, and ended
    finally:
        errors.clear()  # else the error, whose traceback has this frame, would hold on to itself
    return [results[index] for index in range(len(items))]
