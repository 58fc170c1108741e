"""One machine, all cores: worker processes take runs of consecutive tasks; the parent keeps the ledger.

Workers are forked where the platform can, after the tokenizer is loaded, so that it is loaded once. A worker gets
consecutive tasks because they read on where the one before stopped: no block is opened and skipped through twice.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from mixer.building.folder import BuildFolder
from mixer.building.ledger import Ledger, Progress
from mixer.building.task import TaskRunner
from mixer.errors import MixerError, TaskError
from mixer.mixing.tasks import Task
from mixer.plan.plan import Plan
from mixer.shards.records import Limit, TaskRecord, shard_path
from mixer.stores import traffic
from mixer.system.processes import end_with_parent, keep_freed_memory, worker_context
from mixer.system.publish import sync_file
from mixer.tokens.tokenizer import Tokenizer

_Done = tuple[TaskRecord, dict[str, float], dict[str, float]]
"""A finished task, the seconds of its steps, and what went over the network."""
_Job = tuple[Task, Limit | None, Task | None]
"""A task, where the build ends inside it, and the task that will probably come after it."""


def run_tasks(
    plan: Plan,
    tokenizer: Tokenizer,
    folder: BuildFolder,
    *,
    workers: int,
    on_progress: Callable[[Progress], None],
    on_record: Callable[[TaskRecord], None],
) -> tuple[list[TaskRecord], Progress]:
    """Run the tasks that are not finished, to the build's end.

    Args:
        plan: what is built.
        tokenizer: the recipe's.
        folder: where to.
        workers: how many processes.
        on_progress: called after each task.
        on_record: called with the record of each finished task, those of an earlier run included; only while the
            workers run, so it may begin a thread.

    Returns:
        The records in the order of tasks, the last one ending where the target is met; and the final progress.

    Raises:
        DataError: bad data in a source.
        RecipeError: the rows that may be drawn ran out before the target was met.
        TaskError: a worker died, or the disk is full or failing.
        TokenizerError: too many of the checked documents differ from the reference.
    """
    ledger = Ledger(plan)
    finished = folder.finished(plan)
    for record in finished:
        ledger.add(record, {})
    pool: list[_Worker] = []
    try:
        if not ledger.complete:
            for _ in range(workers):
                pool.append(_Worker(plan, tokenizer, folder))
                pool[-1].launch()
        for record in finished:
            on_record(record)
        while not ledger.complete:
            for worker in pool:
                if worker.job is None:
                    worker.start(_next_job(ledger, worker, workers))
            waited_for = [worker for worker in pool if worker.is_busy]
            if not waited_for:
                break
            for worker in _ready(waited_for):
                done = worker.receive()
                if done is not None:
                    record, seconds, counted = done
                    ledger.add(record, seconds)
                    ledger.progress.count_traffic(counted)
                    on_record(record)
                    on_progress(ledger.progress)
    finally:
        for worker in pool:
            worker.stop()
    records = ledger.finished()
    folder.drop_after(records[-1].task if records else -1)
    return records, ledger.progress


def _next_job(ledger: Ledger, worker: _Worker, workers: int) -> _Job | None:
    """The worker's next task: the task that ends the build, the next of its own run, or the first of a new run.

    With it goes what probably comes after it: the next of its own run, or else the first that nobody has yet. That may
    become another worker's, but what is fetched for it is of use to all on this machine.
    """
    again = ledger.take_again()
    if again is not None:
        return *again, None
    if not worker.run:
        worker.run = ledger.take_run(workers)
    while worker.run:
        task = worker.run.pop(0)
        if ledger.wants(task):
            return task, None, worker.run[0] if worker.run else ledger.next_task
    return None


def _ready(busy: list[_Worker]) -> list[_Worker]:
    """Wait until a worker has something to say, or has died."""
    waiting = {worker.pipe: worker for worker in busy} | {worker.process.sentinel: worker for worker in busy}
    return list({id(worker): worker for worker in (waiting[item] for item in wait(list(waiting)))}.values())


class _Worker:
    """A worker process, its pipe, what it is doing, and the run of tasks that it has before it."""

    def __init__(self, plan: Plan, tokenizer: Tokenizer, folder: BuildFolder) -> None:
        # A forked worker shares the loaded tokenizer; a spawned one loads its own.
        context: Any = worker_context()
        self.pipe, self._theirs = context.Pipe()
        self.job: _Job | None = None
        self.run: list[Task] = []
        self._unsynced: list[Task] = []
        self._out = folder.out
        self.process: BaseProcess = context.Process(
            target=_serve, args=(self._theirs, plan, tokenizer, folder, os.getpid()), daemon=True
        )

    def launch(self) -> None:
        """Start the process."""
        with _signals_deferred():
            self.process.start()
            self._theirs.close()

    def start(self, job: _Job | None) -> None:
        """Give the worker a task; None: there is none now."""
        self.job = job
        if job is not None:
            try:
                self.pipe.send(job)
            except ConnectionError as error:
                raise self._died() from error

    @property
    def is_busy(self) -> bool:
        """Whether it is at work, or a shard that it wrote is not on the disk yet."""
        return self.job is not None or bool(self._unsynced)

    def receive(self) -> _Done | None:
        """What the worker says: it is free for another task (None), or a task is finished and on the disk.

        Raises:
            TaskError: the worker died, or could not write.
            MixerError: what its task raised.
        """
        try:
            answer = self.pipe.recv()
        except (EOFError, ConnectionError) as error:
            raise self._died() from error
        if isinstance(answer, OSError):
            raise TaskError(
                f"cannot write: {answer.strerror or answer}",
                where=str(answer.filename or self._out),
                hint="make room or fix the folder; the same command goes on where it was",
            ) from answer
        if isinstance(answer, BaseException):
            raise answer
        if answer is None:
            assert self.job is not None
            self._unsynced.append(self.job[0])
            self.job = None
            return None
        self._unsynced = [task for task in self._unsynced if task.number != answer[0].task]
        return answer

    def _died(self) -> TaskError:
        self.process.join()
        task = self.job[0] if self.job is not None else self._unsynced[0]
        return TaskError(
            f"the worker process that did task {task.number} died (exit code {self.process.exitcode})",
            where=str(self._out),
            hint="it may have run out of memory: use fewer --workers or a smaller task_tokens; "
            "the same command goes on where it was",
        )

    def stop(self) -> None:
        """End the process; what it is doing is thrown away."""
        if self.process.pid is not None:
            self.process.kill()
            self.process.join()
        self.pipe.close()


@contextmanager
def _signals_deferred() -> Iterator[None]:
    """Hold ^C and SIGTERM back: what a handler raises inside the hooks of a fork is swallowed, and the signal lost."""
    arrived: list[int] = []
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, lambda number, _: arrived.append(number)) or signal.SIG_DFL
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for arrival in arrived:
        signal.raise_signal(arrival)


def _serve(pipe: Connection, plan: Plan, tokenizer: Tokenizer, folder: BuildFolder, parent: int) -> None:
    """A worker's life: it ends with its parent, leaves ^C to it, and does not hold the folder's lock."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if not end_with_parent(parent):
        return
    folder.release()
    keep_freed_memory()
    runner, finisher = TaskRunner(plan, tokenizer, folder.out), _Finisher(pipe, folder)
    while True:
        try:
            task, limit, after = pipe.recv()
        except EOFError:
            return
        try:
            runner.expect(after)
            finisher.finish(runner.run(task, limit), runner.seconds, traffic.take())
        except (MixerError, OSError, MemoryError) as error:
            finisher.send(error)
        except Exception as error:
            error.add_note(f"in task {task.number}")
            finisher.send(_portable(error))


class _Finisher:
    """Makes shards durable while the worker is at its next task, then notes them; a record never precedes its shard.

    An error of the disk is told once, to the first who syncs the file: it has to be seen then, and stops the build.
    """

    def __init__(self, pipe: Connection, folder: BuildFolder) -> None:
        self._pipe, self._folder = pipe, folder
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(1, "sync")

    def send(self, answer: Any) -> None:
        """Say something to the parent; from either thread."""
        with self._lock:
            self._pipe.send(answer)

    def finish(self, record: TaskRecord, seconds: dict[str, float], counted: dict[str, float]) -> None:
        """Sync and note a task in the background; the worker is free meanwhile."""
        self.send(None)
        self._pool.submit(self._finish, (record, seconds, counted))

    def _finish(self, done: _Done) -> None:
        record = done[0]
        try:
            if record.shard is not None:
                sync_file(self._folder.out / record.shard.path)
            self._folder.keep(record)
        except OSError as error:
            error.filename = error.filename or str(self._folder.out / shard_path(record.task))
            self.send(error)
        except Exception as error:
            self.send(_portable(error))
        else:
            self.send(done)


def _portable(error: Exception) -> Exception:
    """The error with its traceback as a note, since tracebacks do not travel between processes."""
    import traceback

    lines = "".join(traceback.format_exception(error))
    return RuntimeError(f"{type(error).__name__}: {error}\n{lines}")
