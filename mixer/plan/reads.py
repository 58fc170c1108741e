"""The blocks that a task reads from each source. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from mixer.mixing.blocks import BlockOrder
from mixer.plan.plan import Plan
from mixer.shards.records import TaskRecord


def blocks_read(plan: Plan, record: TaskRecord) -> Iterator[tuple[str, list[int]]]:
    """The sources that a finished task read, each with its block numbers, in the order of reading."""
    stage = plan.stage
    before, after = (plan.schedule.counts(draw - stage.first_draw).tolist() for draw in record.draws)
    for source, snapshot, start, stop in zip(stage.sources, plan.snapshots, before, after, strict=True):
        name = plan.source_names[source.source]
        order = BlockOrder(plan.recipe.seed, name, [snapshot.block_kept])
        stop = min(stop, start + order.num_cycle_rows)
        ranges = order.ranges(source.first_draw + start, source.first_draw + stop)
        yield name, list(dict.fromkeys(rows.block for rows in ranges))
