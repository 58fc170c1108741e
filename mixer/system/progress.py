"""Progress of work: one record for all kinds of work. `mixer.report.advance` renders it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum, auto


class Work(StrEnum):
    """Kinds of work; in brackets, the counted items."""

    PIN_SOURCE = auto()
    """A source is pinned (files)."""
    PIN_SOURCES = auto()
    """The sources of a finished build are pinned again (nothing)."""
    CHECK_SHARDS = auto()
    """The shards of a finished build are checked (shards)."""
    ENCODE_SAMPLE = auto()
    """Some sequences are encoded again by the reference (sequences)."""
    REBUILD_TASK = auto()
    """One task is built again (nothing)."""
    READ_FILES = auto()
    """Source files are read again (files)."""
    REMAKE_SHARD = auto()
    """A damaged shard is rebuilt (shards)."""
    CURATE = auto()
    """Facts of a source's texts are computed (rows)."""
    EXPORT = auto()
    """A build is exported (shards)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advance:
    """The progress of a piece of work."""

    work: Work
    # The source or file that is worked on, where there is one.
    about: str = ""
    # Of the things counted: 0 <= done <= total.
    done: int = 0
    total: int = 0
    done_bytes: int = 0
    total_bytes: int = 0


OnAdvance = Callable[[Advance], None]
"""Called when work begins and as it advances; several threads may call it, one at a time for one piece of work."""


def silent(advance: Advance) -> None:
    """Report nothing."""
