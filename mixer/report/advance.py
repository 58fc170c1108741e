"""The progress of work, as lines on stderr."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from mixer.report.console import SECONDS_BETWEEN_LINES, say
from mixer.report.numbers import counted, exact, num_bytes
from mixer.system.progress import Advance, Work


class AdvanceLines:
    """Prints the progress of work from time to time; nothing for short work.

    Args:
        quiet: say nothing.
        clock: seconds that only go forward.
    """

    def __init__(self, *, quiet: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self._quiet = quiet
        self._clock = clock
        self._last_line = clock()
        self._lock = threading.Lock()

    def __call__(self, advance: Advance) -> None:
        """Take an advance into account; from any thread."""
        with self._lock:
            if self._quiet or self._clock() - self._last_line < SECONDS_BETWEEN_LINES:
                return
            self._last_line = self._clock()
        say_advance(advance)


def say_advance(advance: Advance) -> None:
    """Print the progress of work."""
    say(advance_line(advance))


def advance_line(advance: Advance) -> str:
    """The progress of work in one line. Pure."""
    done, total = exact(advance.done), advance.total
    match advance.work:
        case Work.PIN_SOURCE:
            files = f"{done} of {counted(total, 'file')} pinned"
            return f"{advance.about}: {files}, {num_bytes(advance.done_bytes)} of {num_bytes(advance.total_bytes)}"
        case Work.PIN_SOURCES:
            return "pinning the sources"
        case Work.CHECK_SHARDS:
            return f"checking {counted(total, 'shard')}"
        case Work.ENCODE_SAMPLE:
            return f"encoding a sample of {counted(total, 'sequence')} with the reference"
        case Work.REBUILD_TASK:
            return "rebuilding one task"
        case Work.READ_FILES:
            return f"reading {counted(total, 'file')} of the sources"
        case Work.CURATE:
            return f"{advance.about}: facts of {done} of {counted(total, 'row')}"
        case Work.REMAKE_SHARD:
            return f"rebuilding {advance.about} ({done} of {exact(total)})"
        case Work.EXPORT:
            return f"{done} of {counted(total, 'shard')}"
