"""How far the pinning of large sources is, on stderr."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from mixer.report.console import say
from mixer.report.numbers import num_bytes
from mixer.sources.pin_progress import PinCount

SECONDS_BETWEEN_LINES = 5.0


class PinProgress:
    """Says now and then how many files and bytes of a source are pinned; nothing of what takes no time.

    Args:
        quiet: say nothing.
        clock: seconds that only go forward.
    """

    def __init__(self, *, quiet: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._quiet = quiet
        self._clock = clock
        self._last_line = clock()
        self._lock = threading.Lock()

    def __call__(self, name: str, count: PinCount) -> None:
        """Take what is pinned by now into account; from any thread."""
        with self._lock:
            if self._quiet or self._clock() - self._last_line < SECONDS_BETWEEN_LINES:
                return
            self._last_line = self._clock()
        say(
            f"{name}: {count.files:,} of {count.num_files:,} files pinned, "
            f"{num_bytes(count.bytes)} of {num_bytes(count.num_bytes)}"
        )
