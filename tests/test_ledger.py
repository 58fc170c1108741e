"""Where a build ends does not depend on who finishes which task when: the ledger against one task after another."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from manifest_kit import plan_to

from mixer.building.jobs import TaskQueue, TaskWork
from mixer.building.ledger import Ledger
from mixer.engines.jobs import Job
from mixer.errors import RecipeError, TokenizerError
from mixer.mixing.target import Extent
from mixer.mixing.tasks import Task
from mixer.plan.plan import Plan
from mixer.shards.records import Cut, Limit, ReferenceCheck, SourceCounts, TaskRecord

pytestmark = pytest.mark.quick

Sizes = list[list[int]]
"""Tokens of each sequence of each task; they repeat, as do the passes over a source."""


def made(sizes: Sizes, task: Task, limit: Limit | None, check: ReferenceCheck | None = None) -> TaskRecord:
    """What a task comes to: all of its sequences, or the first ones that reach the limit."""
    sequences = sizes[task.number % len(sizes)]
    kept = len(sequences)
    if limit is not None:
        values = sequences if limit.kind == "tokens" else [1] * len(sequences)
        kept = next((n for n in range(1, kept + 1) if sum(values[:n]) >= limit.amount), kept)
    tokens = sum(sequences[:kept])
    return TaskRecord(
        plan="b" * 64,
        task=task.number,
        stage=0,
        draws=(task.start, task.stop),
        limit=limit,
        cut=None if kept == len(sequences) else Cut(task=task.number, draws=task.stop - task.start, sequences=kept),
        sequences=kept,
        tokens=tokens,
        padding=0,
        counts=(SourceCounts(rows=10, documents=10, skipped={}, text_bytes=4 * tokens, tokens=tokens),),
        reference_check=check or ReferenceCheck(),
        content_xxh3=None,
        content_sha256=None,
        file=None,
    )


def one_after_another(plan: Plan, sizes: Sizes) -> list[TaskRecord]:
    """The build as one would make it by hand."""
    extent = plan.extent
    kind = "tokens" if extent.end_tokens is not None else "sequences"
    wanted = extent.end_tokens if extent.end_tokens is not None else extent.end_sequences
    records: list[TaskRecord] = []
    for number in count():
        task = plan.task(number)
        if task is None:
            if wanted is not None and plan.recipe.when_exhausted != "stop":
                raise RecipeError("not met")
            return records
        record = made(sizes, task, None)
        if wanted is not None and getattr(record, kind) >= wanted:
            return [*records, made(sizes, task, Limit(kind=kind, amount=wanted))]
        wanted = None if wanted is None else wanted - getattr(record, kind)
        records.append(record)
    raise AssertionError


def by_workers(plan: Plan, sizes: Sizes, known: list[TaskRecord], num_workers: int, data: st.DataObject) -> Ledger:
    """The build by workers that finish in any order, beginning from records of an earlier run."""
    ledger = Ledger(plan)
    for record in known:
        ledger.add(record, {})
    queue = TaskQueue(ledger, num_workers)
    jobs: list[Job | None] = [None] * num_workers
    while not ledger.complete:
        jobs = [job or queue.next_job(worker) for worker, job in enumerate(jobs)]
        busy = [worker for worker, job in enumerate(jobs) if job is not None]
        assert busy, "nobody has anything to do, and the build is not complete"
        worker = data.draw(st.sampled_from(busy))
        work: TaskWork = jobs[worker].work  # type: ignore[union-attr]
        jobs[worker] = None
        ledger.add(made(sizes, work.task, work.limit), {"read": 1.0})
    return ledger


EXTENTS = st.tuples(
    st.sampled_from(["end_tokens", "end_sequences", None]), st.integers(1, 120), st.none() | st.integers(1, 150)
)


@settings(deadline=None, max_examples=200)
@given(
    sizes=st.lists(st.lists(st.integers(1, 10), max_size=4), min_size=1, max_size=6).filter(any),
    extent=EXTENTS,
    estimated=st.integers(1, 400),
    when=st.sampled_from(["repeat", "stop"]),
    num_workers=st.integers(1, 5),
    data=st.data(),
)
def test_tasks_finished_in_any_order_end_in_the_same_place(
    sizes: Sizes,
    extent: tuple[str | None, int, int | None],
    estimated: int,
    when: str,
    num_workers: int,
    data: st.DataObject,
) -> None:
    """Targets in tokens and in sequences, bounds in draws, wrong estimates, any workers, any part of it done before."""
    kind, amount, max_draws = extent
    ends: dict[str, Any] = {"end_tokens": None, "end_sequences": None}
    if kind is not None:
        ends[kind] = amount
    bound = 50 if kind is None and max_draws is None else max_draws
    plan = plan_to(Extent(max_draws=bound, estimated_draws=estimated, **ends), when_exhausted=when)
    try:
        expected = one_after_another(plan, sizes)
    except RecipeError:
        with pytest.raises(RecipeError, match="the mix cannot be met"):
            by_workers(plan, sizes, [], num_workers, data)
        return
    # An earlier run: whole tasks, also such as lie behind the end, and perhaps the one that was cut there.
    tasks = [plan.task(number) for number in range(len(expected) + 3)]
    known = [made(sizes, task, None) for task in tasks if task is not None]
    known[len(expected) - 1] = data.draw(st.sampled_from([expected[-1], known[len(expected) - 1]]))
    before = data.draw(st.lists(st.sampled_from(known), unique_by=lambda record: record.task))
    ledger = by_workers(plan, sizes, before, num_workers, data)
    assert ledger.finished() == expected
    progress = ledger.progress
    assert (progress.num_tasks, progress.num_tokens, progress.num_sequences) == (
        len(expected),
        sum(record.tokens for record in expected),
        sum(record.sequences for record in expected),
    )
    assert progress.sources == ([sum_of(expected)] if expected else [])
    assert progress.num_resumed == len(before)


def sum_of(records: list[TaskRecord]) -> SourceCounts:
    first, *others = [record.counts[0] for record in records]
    for counts in others:
        first += counts
    return first


def test_the_task_in_which_the_build_ends_is_made_again_once() -> None:
    """Made whole first, since nobody knew; then up to there. What was made behind it is forgotten."""
    plan = plan_to(Extent(max_draws=None, end_tokens=13, end_sequences=None, estimated_draws=30))
    sizes = [[5, 5]]
    ledger = Ledger(plan)
    run = [ledger.take_run(1)[0] for _ in range(3)]
    for task in reversed(run):
        assert ledger.take_again() is None
        ledger.add(made(sizes, task, None), {"read": 1.0})
    assert not ledger.complete
    again = ledger.take_again()
    assert again == (run[1], Limit(kind="tokens", amount=3))
    assert ledger.take_again() is None
    assert not ledger.wants(run[2])
    ledger.add(made(sizes, *again), {"read": 1.0})
    assert ledger.complete
    assert [(record.task, record.tokens) for record in ledger.finished()] == [(0, 10), (1, 5)]


def test_documents_that_the_reference_encodes_otherwise_end_the_build() -> None:
    """One is a curiosity, two of two hundred are not."""
    plan = plan_to(Extent(max_draws=40, end_tokens=None, end_sequences=None, estimated_draws=40))
    ledger = Ledger(plan)
    first, second = (plan.task(number) for number in (0, 1))
    assert first is not None
    assert second is not None
    ledger.add(made([[5]], first, None, ReferenceCheck(documents=50, different=1)), {"read": 1.0})
    with pytest.raises(TokenizerError, match="3 of 100 documents checked have ids that differ"):
        ledger.add(made([[5]], second, None, ReferenceCheck(documents=50, different=2)), {"read": 1.0})
