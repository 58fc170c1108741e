"""Traced sequences as text and JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mixer.report.console import visible

if TYPE_CHECKING:
    from rich.console import Console

    from mixer.feed.trace import TracedSequence


def trace_json(found: Sequence[TracedSequence]) -> list[dict[str, Any]]:
    """The sequences as JSON values; `pass_number` is called `pass`."""
    values = [dataclasses.asdict(sequence) for sequence in found]
    for value in values:
        value["segments"] = [
            {"pass" if key == "pass_number" else key: inner for key, inner in segment.items()}
            for segment in value["segments"]
        ]
    return values


def print_trace(found: Sequence[TracedSequence], console: Console) -> None:
    """A line for each sequence, and one for each of its segments."""
    for one in found:
        console.print(
            f"epoch {one.epoch}, position {one.position:,}: sequence {one.sequence:,}, "
            f"row {one.shard_row} of {one.shard}",
            soft_wrap=True,
        )
        for segment in one.segments:
            stop = segment.start + segment.length
            place = f"{visible(segment.file)}, row {segment.row_in_file:,}"
            console.print(
                f"  {visible(segment.source)} row {segment.row:,} ({place}), pass {segment.pass_number}, "
                f"tokens {segment.start:,}..{stop:,}",
                soft_wrap=True,
            )
