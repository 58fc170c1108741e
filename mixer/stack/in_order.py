"""Many requests at once, with results in the order of the requests."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import Protocol, TypeVar


class Sized(Protocol):
    """A request with a known approximate size of its result."""

    @property
    def num_bytes(self) -> int:
        """The bytes."""


_Request = TypeVar("_Request", bound=Sized)
_Result = TypeVar("_Result")


def in_order(
    requests: Iterable[_Request],
    fetch: Callable[[_Request], _Result],
    executor: Executor,
    *,
    max_requests: int,
    max_bytes: int,
) -> Iterator[tuple[_Request, _Result]]:
    """Each request with its result, in the order of the requests, whatever the order of arrival.

    At most so many requests, of at most so many bytes together (one may have more by itself), are begun and not handed
    on yet: a slow one holds back only as much as fits.

    Raises:
        Exception: the error of the first request that failed.
    """
    begun: deque[tuple[_Request, Future[_Result]]] = deque()
    num_bytes = 0
    try:
        for request in requests:
            while begun and (len(begun) >= max_requests or num_bytes + request.num_bytes > max_bytes):
                first, future = begun.popleft()
                num_bytes -= first.num_bytes
                yield first, future.result()
            begun.append((request, executor.submit(fetch, request)))
            num_bytes += request.num_bytes
        while begun:
            first, future = begun.popleft()
            yield first, future.result()
    finally:
        for _, future in begun:
            future.cancel()
