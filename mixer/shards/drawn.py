"""The draws of a row of a source, and their tasks: computed, without reading a shard."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mixer.mixing.blocks import BlockOrder
from mixer.mixing.draws import DrawSchedule
from mixer.shards.manifest import SELECTIONS, SNAPSHOTS, load_named
from mixer.shards.records import Manifest, StageCounts, StageSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """One time that a row was drawn, or may have been.

    `tasks` [first, stop) are those in which its draw can be: one where it `is_certain`. Where the selection keeps some
    rows of the row's block and not others, it is known from the source alone whether, and where, it was drawn.
    """

    pass_number: int
    tasks: tuple[int, int]
    is_certain: bool


def drawings(folder: Path, manifest: Manifest, source: int, row: int, kept_number: int | None = None) -> list[Drawing]:
    """Each time that a row was drawn, pass by pass; empty where the build ends before it.

    Args:
        folder: the build.
        manifest: its manifest.
        source: the source's number.
        row: its ordinal in the source's snapshot.
        kept_number: its number among the kept rows of its block, where that is known.

    Raises:
        IntegrityError: the snapshot or a selection is missing or damaged.
    """
    found: list[Drawing] = []
    for counts in manifest.counts:
        for entry, drawn in zip(manifest.stages[counts.stage].sources, counts.sources, strict=True):
            if entry.source == source and drawn.rows:
                found += _drawings_of_stage(folder, manifest, counts, entry, drawn.rows, row, kept_number)
    return found


def _drawings_of_stage(
    folder: Path,
    manifest: Manifest,
    counts: StageCounts,
    entry: StageSource,
    num_drawn: int,
    row: int,
    kept_number: int | None,
) -> Iterator[Drawing]:
    stage, name = manifest.stages[counts.stage], manifest.sources[entry.source].name
    rows = [rows for file in load_named(folder, SNAPSHOTS, manifest.sources[entry.source].snapshot)["files"]
            for rows in file["rows"]]  # fmt: skip
    block_rows = np.array(rows, dtype=np.int64)
    kept = load_named(folder, SELECTIONS, entry.selection)["kept"]
    passes = [block_rows] if kept is None else [np.array(one, dtype=np.int64) for one in kept]
    stops = np.cumsum(block_rows)
    block = int(np.searchsorted(stops, row, side="right"))
    row_in_block = row - int(stops[block] - block_rows[block])
    order = BlockOrder(manifest.seed, name, passes)
    schedule = DrawSchedule([one.weight for one in stage.sources])
    index = stage.sources.index(entry)
    end = entry.first_draw + num_drawn

    def task_of(draw: int) -> int:
        """The task that holds a draw of the source."""
        n = schedule.draws_until(index, draw - entry.first_draw + 1) - 1
        return stage.first_task + n // stage.draws_per_task

    last_pass = order.locate(end - 1)[0]
    for pass_number in range(order.locate(entry.first_draw)[0], last_pass + 1):
        start, stop = order.block_draws(block, pass_number)
        number = row_in_block if stop - start == int(block_rows[block]) else kept_number
        if number is not None:
            start, stop = start + number, start + number + 1
        start, stop = max(start, entry.first_draw), min(stop, end)
        if start < stop:
            tasks = task_of(start), task_of(stop - 1) + 1
            yield Drawing(pass_number=pass_number, tasks=tasks, is_certain=number is not None)
