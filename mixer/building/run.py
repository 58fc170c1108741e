"""Running the tasks of a plan on an engine, to the build's end."""

from __future__ import annotations

from collections.abc import Callable

from mixer.building.folder import BuildFolder
from mixer.building.jobs import TaskQueue, TaskResult
from mixer.building.ledger import Ledger, Progress
from mixer.engines.jobs import Done, Job
from mixer.engines.local import LocalEngine
from mixer.plan.plan import Plan
from mixer.shards.records import TaskRecord

OnJob = Callable[[int, int | None, Progress], None]


def run_tasks(
    plan: Plan,
    folder: BuildFolder,
    engine: LocalEngine,
    *,
    on_progress: Callable[[Progress], None],
    on_record: Callable[[TaskRecord], None],
    on_job: OnJob = lambda worker, task, progress: None,
) -> tuple[list[TaskRecord], Progress]:
    """Run the unfinished tasks to the build's end, then stop the engine.

    Args:
        plan: what is built.
        folder: where to.
        engine: what runs `TaskJobs`; its workers wait for the plan.
        on_progress: called after each task.
        on_record: called with the record of each finished task, those of an earlier run included.
        on_job: called with an idle worker, the task that it gets (None: there is none now), and how far all is.

    Returns:
        The records in the order of tasks, the last one ending where the target is met; and the final progress.

    Raises:
        DataError: bad data in a source.
        RecipeError: the allowed rows ran out before the target was met.
        TaskError: a worker died, or the disk is full or failing.
        TokenizerError: too many of the checked documents differ from the reference.
    """
    ledger = Ledger(plan)
    finished = folder.finished(plan)
    for record in finished:
        ledger.add(record, {})
    if not ledger.complete:
        engine.share(plan)
    for record in finished:
        on_record(record)
    queue = TaskQueue(ledger, engine.num_workers)

    def next_job(worker: int) -> Job | None:
        job = queue.next_job(worker)
        on_job(worker, None if job is None else job.number, ledger.progress)
        return job

    answers = iter(()) if ledger.complete else engine.run(next_job)
    for answer in answers:
        assert isinstance(answer, Done)
        result: TaskResult = answer.result
        ledger.add(result.record, result.seconds)
        ledger.progress.count_traffic(result.traffic)
        on_record(result.record)
        on_progress(ledger.progress)
        if ledger.complete:
            break
    engine.stop()
    records = ledger.finished()
    folder.drop_after(records[-1].task if records else -1)
    return records, ledger.progress
