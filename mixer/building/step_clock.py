"""The seconds of the steps of a task, for the build log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

_T = TypeVar("_T")


class StepClock:
    """Adds up the seconds of each step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Count what happens inside as this step's time."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[step] = self.seconds.get(step, 0.0) + time.perf_counter() - started

    def timed_each(self, items: Iterator[_T], step: str) -> Iterator[_T]:
        """The items; the time to produce each is counted."""
        while True:
            with self.timed(step):
                item = next(items, None)
            if item is None:
                return
            yield item
