"""The tasks of a build as jobs of an engine: the choice of the next one, and its run in a worker process."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from mixer.building.folder import BuildFolder
from mixer.building.ledger import Ledger
from mixer.building.task import TaskRunner
from mixer.engines.jobs import Answers, Job
from mixer.mixing.tasks import Task
from mixer.plan.plan import Plan
from mixer.shards.records import Limit, TaskRecord, shard_path
from mixer.stores import traffic
from mixer.system.processes import keep_freed_memory
from mixer.system.publish import sync_file
from mixer.tokens.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskWork:
    """A task, where the build ends inside it, and the task that will probably come after it."""

    task: Task
    limit: Limit | None
    after: Task | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskResult:
    """A finished task, the seconds of its steps, and its network traffic."""

    record: TaskRecord
    seconds: dict[str, float]
    traffic: dict[str, float]


class TaskQueue:
    """Gives each worker consecutive tasks: each reads on where the one before stopped, so no block is opened twice."""

    def __init__(self, ledger: Ledger, num_workers: int) -> None:
        self._ledger, self._num_workers = ledger, num_workers
        self._runs: list[list[Task]] = [[] for _ in range(num_workers)]

    def next_job(self, worker: int) -> Job | None:
        """The worker's next task: the one that ends the build, the next of its own run, or the first of a new run.

        With it goes what probably comes after it: the next of its own run, or else the first that no worker has. That
        may become another worker's, but what is fetched for it is of use to all on this machine.
        """
        again = self._ledger.take_again()
        if again is not None:
            task, limit = again
            return _job(task, limit, None)
        if not self._runs[worker]:
            self._runs[worker] = self._ledger.take_run(self._num_workers)
        run = self._runs[worker]
        while run:
            task = run.pop(0)
            if self._ledger.wants(task):
                return _job(task, None, run[0] if run else self._ledger.next_task)
        return None


def _job(task: Task, limit: Limit | None, after: Task | None) -> Job:
    return Job(number=task.number, name=f"task {task.number}", work=TaskWork(task=task, limit=limit, after=after))


class TaskJobs:
    """Runs tasks in a worker process; shards are synced while the worker runs its next task.

    A record never precedes its shard. An error of the disk is told once, to the first who syncs the file: it has to be
    seen then, and stops the build.
    """

    def __init__(self, tokenizer: Tokenizer, folder: BuildFolder) -> None:
        self._tokenizer, self._folder = tokenizer, folder

    def start(self, answers: Answers) -> None:
        """Release the folder's lock, which a forked worker inherits."""
        self._folder.release()
        keep_freed_memory()
        self._answers = answers
        self._syncing = ThreadPoolExecutor(1, "sync")
        # While the parent surveys the sources, this process has nothing else to do.
        threading.Thread(target=lambda: self._tokenizer.reference, daemon=True).start()

    def share(self, shared: Plan) -> None:
        """Receive the plan."""
        self._runner = TaskRunner(shared, self._tokenizer, self._folder.out)

    def run(self, job: Job) -> None:
        """Run a task; its shard is synced in the background."""
        work: TaskWork = job.work
        self._runner.expect(work.after)
        record = self._runner.run(work.task, work.limit)
        result = TaskResult(record=record, seconds=self._runner.seconds, traffic=traffic.take())
        self._answers.idle()
        self._syncing.submit(self._finish, result)

    def _finish(self, result: TaskResult) -> None:
        record = result.record
        try:
            if record.shard is not None:
                sync_file(self._folder.out / record.shard.path)
            self._folder.keep(record)
        except OSError as error:
            error.filename = error.filename or str(self._folder.out / shard_path(record.task))
            self._answers.failed(error)
        except Exception as error:
            self._answers.failed(error)
        else:
            self._answers.done(record.task, result)
