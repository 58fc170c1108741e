"""The work of a build, for people and for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mixer.report.estimates import about_bytes
from mixer.report.numbers import counted, exact, num_bytes, short
from mixer.report.status import status_json

if TYPE_CHECKING:
    from mixer.building.dry_run import DryRun


def dry_run_json(found: DryRun) -> dict[str, Any]:
    """The work of a build, for programs: `tasks`, `tokens` and bytes are estimates."""
    plan, status = found.plan, found.found
    return {
        "name": plan.recipe.name,
        "plan": None if plan.forecasting else plan.id,
        "out": str(found.out),
        "tasks": plan.estimated_tasks,
        "draws_per_task": plan.stage.draws_per_task,
        "tokens": plan.expected_tokens,
        "shard_bytes": found.shard_bytes.value,
        "text_bytes": found.text_bytes.value,
        "free_bytes": found.free_bytes,
        "tasks_finished": 0 if status is None else status.tasks_done,
        "tokens_finished": 0 if status is None else status.tokens,
        "status": None if status is None else status_json(status),
    }


def dry_run_in_words(found: DryRun) -> list[str]:
    """The work of a build, in lines."""
    plan, status = found.plan, found.found
    lines = [
        f"{plan.recipe.name}: {counted(len(plan.source_names), 'source')}, about {short(plan.expected_tokens)} tokens "
        f"in about {counted(plan.estimated_tasks, 'task')} of {exact(plan.stage.draws_per_task)} rows",
        f"shards of {about_bytes(found.shard_bytes)} in {found.out}, from {about_bytes(found.text_bytes)} of text; "
        f"{num_bytes(found.free_bytes)} are free there",
    ]
    if plan.forecasting:
        lines.append("contents are not fetched yet: these figures are from a sample of them")
    elif status is None or not status.tasks_done:
        lines.append("nothing is finished yet")
    elif status.state == "finished":
        lines.append(f"all of it is finished: {counted(status.tasks_done, 'task')}, {short(status.tokens)} tokens")
    else:
        left = "" if status.tasks_left is None else f", about {counted(status.tasks_left, 'task')} left"
        lines.append(f"finished before: {counted(status.tasks_done, 'task')}, {short(status.tokens)} tokens{left}")
    if status is not None and status.busy:
        lines.append("! another build is running in this folder: see `mixer status`")
    if found.shard_bytes.value - (0 if status is None else status.folder_bytes) > found.free_bytes:
        lines.append("! the disk has no room for it")
    return lines
