"""How far a piece of work is: one record for all kinds of it. `mixer.report.advance` renders it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum, auto


class Work(StrEnum):
    """What is being done; in brackets, what is counted."""

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
    """A damaged shard is made again (shards)."""
    EXPORT = auto()
    """A build is exported (shards)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advance:
    """How far a piece of work is."""

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
    """Tell nobody."""
