"""A map over threads, for work that waits for files or servers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TypeVar

from mixer.system.processes import usable_cores

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def map_in_threads(
    work: Callable[[_Item], _Result], items: Iterable[_Item], *, num_threads: int | None = None
) -> list[_Result]:
    """What `work` makes of each item, in the order of the items, several at a time.

    Items are begun in their order. When one fails, those not begun are left out: which error is raised does not depend
    on the threads' speed. A pool for each call: no thread is left when it returns or raises, so workers may be forked
    then; starting some threads costs nothing beside a request. A single item is worked on in the caller's thread.

    Args:
        work: called from several threads.
        items: what it is called with.
        num_threads: the most at a time; None: one for each usable core.

    Raises:
        Exception: what `work` raised for the first item, in their order, that failed.
    """
    items = list(items)
    num_threads = min(num_threads or usable_cores(), len(items))
    if num_threads < 2:
        return [work(item) for item in items]
    with ThreadPoolExecutor(num_threads, "map") as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            for future in futures:  # those that have begun, or are done, go on
                future.cancel()
    try:
        # All before the first that failed have begun, so none of them was cancelled.
        return [future.result() for future in futures]
    finally:
        futures.clear()  # else an error, whose traceback has this frame, would hold on to itself
