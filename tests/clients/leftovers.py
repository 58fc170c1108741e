"""What a process holds of a build, and what it started: nothing of it may be left behind."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """Threads and child processes by id, maps of the files under a folder, entries of /dev/shm."""

    threads: frozenset[int | None]
    children: frozenset[int]
    # How many maps there are of each file: their addresses say nothing, as the kernel joins neighbours.
    maps: Counter[str]
    shared: frozenset[str]

    @property
    def named_memory(self) -> frozenset[str]:
        """Shared memory that has a name; the locks that Python names for spawned processes are none."""
        return frozenset(name for name in self.shared if not name.startswith("sem.mp-"))

    def beyond(self, before: Holdings) -> Holdings:
        """What is held now and was not before. What an earlier test held may have gone since: that is no matter."""
        return Holdings(
            threads=self.threads - before.threads,
            children=self.children - before.children,
            maps=self.maps - before.maps,
            shared=self.shared - before.shared,
        )


_NOTHING = Holdings(threads=frozenset(), children=frozenset(), maps=Counter(), shared=frozenset())


def holdings(folder: Path) -> Holdings:
    """What this process holds now.

    Python's resource tracker is left out: the first spawn starts it, and it lives as long as the process.
    """
    children = [one for one in psutil.Process().children() if "resource_tracker" not in " ".join(one.cmdline())]
    lines = Path("/proc/self/maps").read_text().splitlines()
    return Holdings(
        threads=frozenset(thread.ident for thread in threading.enumerate()),
        children=frozenset({one.pid for one in children} | {one.pid or 0 for one in multiprocessing.active_children()}),
        maps=Counter(line.split(maxsplit=5)[5] for line in lines if str(folder) in line),
        shared=frozenset(path.name for path in Path("/dev/shm").iterdir()),
    )


def assert_nothing_is_left(folder: Path, before: Holdings, *, patience_seconds: float = 10.0) -> None:
    """This process holds nothing that it did not hold before; a thread that feeds a closed queue may take a moment."""
    deadline = time.monotonic() + patience_seconds
    while (left := holdings(folder).beyond(before)) != _NOTHING and time.monotonic() < deadline:
        time.sleep(0.01)
    assert left == _NOTHING, left
