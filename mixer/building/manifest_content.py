"""Records of all tasks -> the manifest's content. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mixer.errors import IntegrityError
from mixer.plan.plan import Plan
from mixer.shards.consistency import inconsistencies, sums
from mixer.shards.records import (
    NOTHING,
    EpochsEntry,
    Manifest,
    ReferenceCheck,
    StageCounts,
    TaskRecord,
    Totals,
)

_NO_TOTALS = Totals(
    draws=0, documents=0, text_bytes=0, sequences=0, tokens=0, padding=0, tokens_left_out=0, truncated_documents=0
)


def manifest_content(plan: Plan, records: Sequence[TaskRecord]) -> Manifest:
    """The manifest's content without its id.

    Raises:
        IntegrityError: a source's draws are off their share by a row or more, or tokens do not add up; a bug.
    """
    planned = plan.record()
    cuts = tuple(record.cut for record in records if record.cut is not None)
    stop_task = records[-1].task + 1 if records else plan.stage.first_task
    totals = [NOTHING] * len(plan.stage.sources)
    check = ReferenceCheck()
    for record in records:
        totals = [one + other for one, other in zip(totals, record.counts, strict=True)]
        check += record.reference_check
    manifest = Manifest(
        id="",
        features=planned.features,
        name=planned.name,
        plan=planned.id,
        prefix_id=plan.prefix_id(stop_task, cuts),
        recipe=planned.recipe,
        tokenizer=planned.tokenizer,
        seed=planned.seed,
        split=planned.split,
        parent=planned.parent,
        sources=planned.sources,
        stages=planned.stages,
        cuts=cuts,
        counts=(
            StageCounts(
                stage=0,
                tasks=(plan.stage.first_task, stop_task),
                draws=(plan.stage.first_draw, records[-1].draws[1] if records else plan.stage.first_draw),
                sources=tuple(totals),
            ),
        ),
        shards=tuple(record.shard for record in records if record.shard is not None),
        epochs=EpochsEntry(count=plan.recipe.epochs.count, mode=plan.recipe.epochs.mode),
        totals=_NO_TOTALS,
        reference_check=check,
        hints={"measured_tokens_per_row": dict(zip(plan.source_names, plan.tokens_per_row, strict=True))},
    )
    manifest = replace(manifest, totals=sums(manifest))
    for problem in inconsistencies(manifest):
        raise IntegrityError(f"the records of the tasks contradict each other: {problem}", where="tasks")
    return manifest
