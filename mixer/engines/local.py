"""One machine: worker processes that run jobs of one kind.

Workers may be forked long before the first job: early enough that the parent has no threads and no
connections yet, late enough that they share loaded data. The data that all jobs share are sent later.
"""

from __future__ import annotations

import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from typing import Any

from mixer.engines.jobs import Done, Job, Note, Runner
from mixer.errors import MixerError, TaskError, write_error
from mixer.system.processes import StartMethod, end_with_parent, worker_context

_IDLE = "idle"
_SHARED = "shared"


class LocalEngine:
    """Worker processes; a context manager that ends them and discards their unfinished jobs.

    Args:
        runner: runs the jobs, in each worker.
        num_workers: how many processes.
        where: the place that messages name, such as the output folder.
        died_hint: what to do if a worker died.
        method: how the processes start.
    """

    def __init__(
        self,
        runner: Runner,
        num_workers: int,
        *,
        where: str,
        died_hint: str,
        method: StartMethod = "fork",
    ) -> None:
        self._where, self._died_hint = where, died_hint
        self.num_workers = num_workers
        self._runner, self._method = runner, method
        self._workers: list[_Worker] = []

    def __enter__(self) -> LocalEngine:
        try:
            for _ in range(self.num_workers):
                self._workers.append(_Worker(self._runner, self._method))
                self._workers[-1].launch()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the workers and discard their unfinished jobs."""
        for worker in self._workers:
            worker.stop()

    def share(self, shared: Any) -> None:
        """Send all workers the data that their jobs share.

        Raises:
            TaskError: one died.
        """
        for worker in self._workers:
            self._send(worker, (_SHARED, shared))

    def run(self, next_job: Callable[[int], Job | None]) -> Iterator[Done | Note]:
        """The answers of the workers, until all jobs are finished.

        Args:
            next_job: the next job for an idle worker, given by its number; None: there is none now. It is asked again
                after every answer.

        Raises:
            TaskError: a worker died, or cannot write.
            MixerError: the error of the first job that failed.
        """
        while True:
            for number, worker in enumerate(self._workers):
                if worker.is_idle and (job := next_job(number)) is not None:
                    worker.is_idle = False
                    worker.jobs[job.number] = job
                    self._send(worker, job)
            busy = [worker for worker in self._workers if worker.jobs or not worker.is_idle]
            if not busy:
                return
            for worker in _ready(busy):
                answer = self._receive(worker)
                if isinstance(answer, Done):
                    del worker.jobs[answer.number]
                if answer == _IDLE:
                    worker.is_idle = True
                else:
                    yield answer

    def _send(self, worker: _Worker, message: Any) -> None:
        try:
            worker.pipe.send(message)
        except ConnectionError as error:
            raise self._died(worker) from error

    def _receive(self, worker: _Worker) -> Any:
        try:
            answer = worker.pipe.recv()
        except (EOFError, ConnectionError) as error:
            raise self._died(worker) from error
        if isinstance(answer, OSError):
            raise write_error(answer, self._where) from answer
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def _died(self, worker: _Worker) -> TaskError:
        """The error for a worker that died. It names the last started job: earlier ones are being synced."""
        worker.process.join()
        of = f" that did {list(worker.jobs.values())[-1].name}" if worker.jobs else ""
        message = f"the worker process{of} died (exit code {worker.process.exitcode})"
        return TaskError(message, where=self._where, hint=self._died_hint)


def _ready(busy: list[_Worker]) -> list[_Worker]:
    """Wait until a worker has an answer or has died."""
    waiting: dict[Any, _Worker] = {worker.pipe: worker for worker in busy}
    waiting |= {worker.process.sentinel: worker for worker in busy}
    return list({id(worker): worker for worker in (waiting[item] for item in wait(list(waiting)))}.values())


class _Worker:
    """A worker process, the pipe to it, and its unfinished jobs in the order of their start."""

    def __init__(self, runner: Runner, method: StartMethod) -> None:
        # Made right before the process: a worker forked meanwhile would hold this pipe open when its owner is dead.
        context: Any = worker_context(method)
        self.pipe, self._theirs = context.Pipe()
        self.is_idle = True
        self.jobs: dict[int, Job] = {}
        self.process: Any = context.Process(target=_serve, args=(self._theirs, runner, os.getpid()), daemon=True)

    def launch(self) -> None:
        """Start the process."""
        with _signals_deferred():
            self.process.start()
            self._theirs.close()

    def stop(self) -> None:
        """End the process."""
        if self.process.pid is not None:
            self.process.kill()
            self.process.join()
        self.pipe.close()


@contextmanager
def _signals_deferred() -> Iterator[None]:
    """Delay ^C and SIGTERM: an exception of a handler inside fork hooks would be swallowed, and the signal lost."""
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


class _PipeAnswers:
    """Answers over a worker's pipe, from any of its threads."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()

    def idle(self) -> None:
        self._send(_IDLE)

    def done(self, number: int, result: Any) -> None:
        self._send(Done(number=number, result=result))

    def note(self, value: Any) -> None:
        self._send(Note(value=value))

    def failed(self, error: Exception) -> None:
        self._send(error if isinstance(error, (MixerError, OSError, MemoryError)) else _portable(error))

    def _send(self, answer: Any) -> None:
        with self._lock:
            self._pipe.send(answer)


def _serve(pipe: Connection, runner: Runner, parent: int) -> None:
    """The main loop of a worker: it ends with its parent, which handles ^C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if not end_with_parent(parent):
        return
    answers = _PipeAnswers(pipe)
    runner.start(answers)
    while True:
        try:
            message = pipe.recv()
        except EOFError:
            return
        try:
            if isinstance(message, Job):
                runner.run(message)
            else:
                runner.share(message[1])
        except BrokenPipeError:
            return  # nobody is left to tell
        except Exception as error:
            if isinstance(message, Job):
                error.add_note(f"in {message.name}")
            answers.failed(error)


def _portable(error: Exception) -> Exception:
    """The error with its traceback as a note, since tracebacks do not travel between processes."""
    lines = "".join(traceback.format_exception(error))
    return RuntimeError(f"{type(error).__name__}: {error}\n{lines}")
