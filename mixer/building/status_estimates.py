"""Estimates from a build's records: the tokens, tasks and time left. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from mixer.building.run_file import Run
from mixer.shards.records import PlanRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedTask:
    """The part of a task's record that a status needs; `shard_bytes` is None for a task without sequences."""

    plan: str
    tokens: int
    shard_bytes: int | None


Noted = dict[int, tuple[float, FinishedTask | None]]
"""By task: when its record was written, and what it says; None: it is damaged."""
RECENT_SECONDS = 60.0
"""The seconds of the recent speed; longer where tasks take longer."""


def expected_tokens(plan: PlanRecord | None, run: Run | None) -> tuple[float | None, bool]:
    """The expected tokens of the build, and whether that is exact up to the end of the last sequence."""
    if plan is None:
        return None if run is None else run.expected_tokens, False
    target, epochs = plan.recipe.get("target") or {}, plan.recipe.get("epochs") or {}
    times = epochs.get("count", 1) if epochs.get("mode") == "redraw" else 1
    may_end_before = plan.recipe.get("when_exhausted") == "stop"
    if isinstance(tokens := target.get("tokens"), int):
        return tokens * times, not may_end_before
    if isinstance(sequences := target.get("sequences"), int):
        return sequences * times * plan.stages[-1].sequence.length, not may_end_before
    return None if run is None else run.expected_tokens, False


def tasks_left(
    plan: PlanRecord | None, run: Run | None, tokens: int, num_done: int, num_running: int, wanted: float | None
) -> int | None:
    """The estimated number of tasks not started: by the tokens per task so far, or by the plan."""
    left: float | None
    if wanted is None:
        left = None if run is None or run.estimated_tasks is None else run.estimated_tasks - num_done
    elif tokens:
        left = -(-wanted * num_done // tokens)
    elif run is not None and run.estimated_tasks is not None:
        left = run.estimated_tasks - num_done
    else:
        left = None if plan is None else -(-wanted // plan.stages[-1].task_tokens)
    return None if left is None else max(0, int(left) - num_running)


def recent_speed(done: Noted, run: Run | None, now: float) -> float | None:
    """Recent tokens per second of this run: in the last minute, or over the last two tasks per worker."""
    if run is None or run.building_unix is None:
        return None
    begun = run.building_unix
    noted = sorted(((at, record.tokens) for at, record in done.values() if record and at >= begun), reverse=True)
    if not noted:
        return None
    few = 2 * run.workers
    oldest = min(now - RECENT_SECONDS, noted[few][0] if len(noted) > few else begun)
    oldest = max(oldest, begun)
    seconds = now - oldest
    return sum(tokens for at, tokens in noted if at > oldest) / seconds if seconds > 0 else None
