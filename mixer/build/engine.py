"""One machine, all cores: worker processes take the tasks in order; the parent keeps the account.

Workers are forked where the platform can, after the tokenizer is loaded, so that it is loaded once.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import partial

from mixer.build.folder import BuildFolder
from mixer.build.plan import Plan
from mixer.build.result import Limit, SourceCounts, TaskResult
from mixer.build.task import TaskRunner
from mixer.errors import RecipeError, TaskError, TokenizerError
from mixer.mixing.tasks import Task
from mixer.tokens.tokenizer import Tokenizer

MAX_DIFFERENT_SHARE = 0.01


@dataclass(slots=True, kw_only=True)
class Progress:
    """How far a build is; what is shown while it runs and kept in its log."""

    estimated_tasks: int
    num_tasks: int = 0
    num_resumed: int = 0
    num_tokens: int = 0
    num_sequences: int = 0
    sources: list[SourceCounts] = field(default_factory=list)
    checked: int = 0
    different: int = 0
    stage_seconds: dict[str, float] = field(default_factory=dict)

    def add(self, result: TaskResult, seconds: dict[str, float]) -> None:
        """Count a finished task."""
        self.num_tasks += 1
        self.num_resumed += not seconds
        self.num_tokens += result.num_tokens
        self.num_sequences += result.num_sequences
        counts = self.sources or [SourceCounts()] * len(result.sources)
        self.sources = [one + other for one, other in zip(counts, result.sources)]
        self.checked += result.checked
        self.different += result.different
        for stage, spent in seconds.items():
            self.stage_seconds[stage] = self.stage_seconds.get(stage, 0.0) + spent


def run_tasks(
    plan: Plan,
    tokenizer: Tokenizer,
    folder: BuildFolder,
    *,
    workers: int,
    on_progress: Callable[[Progress], None],
) -> tuple[list[TaskResult], Progress]:
    """Run the tasks that are not finished, to the build's end.

    Returns:
        The results in the order of tasks, the last one ending where the target is met; and the final progress.

    Raises:
        DataError: bad data in a source.
        RecipeError: the rows that may be drawn ran out before the target was met.
        TaskError: a worker died, or the disk is full.
        TokenizerError: too many of the checked documents differ from the reference.
    """
    account = _Account(plan, Progress(estimated_tasks=plan.estimated_tasks), on_progress)
    for result in folder.finished().values():
        account.add(result, {})
    runner = partial(TaskRunner, plan, tokenizer, folder.out)
    with _pool(workers, runner, folder) as pool:
        running: set[Future] = set()
        try:
            while not account.complete:
                while len(running) < workers and (job := account.next_job()) is not None:
                    running.add(pool.submit(_run, *job))
                if not running:
                    break
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    account.add(*future.result())
        except BrokenProcessPool as error:
            raise TaskError(
                "a worker process died",
                where=str(folder.out),
                hint="it may have run out of memory: use fewer --workers or a smaller task_tokens; "
                "the same command goes on where it was",
            ) from error
        except OSError as error:
            raise TaskError(
                f"cannot write: {error.strerror}",
                where=str(error.filename or folder.out),
                hint="make room or fix the folder; the same command goes on where it was",
            ) from error
        finally:
            for future in running:
                future.cancel()
    results = account.results()
    folder.drop_after(results[-1].task if results else -1)
    return results, account.progress


class _Account:
    """Which tasks are done, which to run next, and where the build ends."""

    def __init__(self, plan: Plan, progress: Progress, on_progress: Callable[[Progress], None]) -> None:
        self._plan = plan
        self._on_progress = on_progress
        self.progress = progress
        self._done: dict[int, TaskResult] = {}
        self._next = 0
        self._prefix = 0
        self._reached = 0
        self._last: int | None = None
        self._again: Task | None = None
        extent = plan.extent
        self._kind, self._wanted = (
            ("tokens", extent.end_tokens) if extent.end_tokens is not None else ("sequences", extent.end_sequences)
        )

    @property
    def complete(self) -> bool:
        """Whether every task up to the build's end is done."""
        return self._last is not None and self._last in self._done and self._again is None

    def next_job(self) -> tuple[Task, Limit | None] | None:
        """The next task to run, lowest first; None where nothing is to be started now."""
        if self._again is not None:
            task, self._again = self._again, None
            return task, self._limit()
        if self._last is not None:
            return None
        while self._next in self._done:
            self._next += 1
        task = self._plan.task(self._next)
        if task is not None:
            self._next += 1
            return task, None
        return None

    def add(self, result: TaskResult, seconds: dict[str, float]) -> None:
        """Take a finished task into account, and look whether the build's end is reached."""
        self._done[result.task] = result
        self.progress.add(result, seconds)
        _check_against_reference(self.progress)
        while self._last is None and self._prefix in self._done:
            self._advance(self._done[self._prefix])
        self._on_progress(self.progress)

    def _advance(self, result: TaskResult) -> None:
        reached = self._reached + result.reached(self._kind)
        if self._wanted is not None and reached >= self._wanted:
            self._last = self._prefix
            if result.limit != self._limit():
                self._again = self._plan.task(self._prefix)
            return
        if result.limit is not None:  # of a run that ended here; it holds less than the task
            del self._done[self._prefix]
            self._again = self._plan.task(self._prefix)
            raise TaskError("the folder's last task ends where this build does not", hint="choose another -o")
        self._reached = reached
        self._prefix += 1
        if self._plan.task(self._prefix) is None:
            self._last = self._prefix - 1
            self._check_met()

    def _limit(self) -> Limit:
        assert self._wanted is not None
        return Limit(kind=self._kind, amount=self._wanted - self._reached)

    def _check_met(self) -> None:
        if self._wanted is not None and self._plan.recipe.when_exhausted != "stop":
            raise RecipeError(
                f"the mix cannot be met: {self._wanted:,} {self._kind} were asked for, and all {self._prefix:,} tasks "
                f"that the sources allow gave {self._reached:,}; the estimate from a sample was higher",
                where="target",
                hint=f"ask for at most {self._reached:,} {self._kind}, or allow more passes",
            )

    def results(self) -> list[TaskResult]:
        """The results up to the build's end, in order."""
        return [self._done[number] for number in range((-1 if self._last is None else self._last) + 1)]


def _check_against_reference(progress: Progress) -> None:
    allowed = 1 + MAX_DIFFERENT_SHARE * progress.checked
    if progress.different > allowed:
        raise TokenizerError(
            f"{progress.different:,} of {progress.checked:,} documents checked have other ids than the reference gives",
            hint="this tokenizer is not handled exactly by the engine; please report it",
        )


_runner: TaskRunner | None = None
_folder: BuildFolder | None = None


def _pool(workers: int, runner: Callable[[], TaskRunner], folder: BuildFolder) -> ProcessPoolExecutor:
    method = "fork" if sys.platform == "linux" else "spawn"
    return ProcessPoolExecutor(
        workers, multiprocessing.get_context(method), initializer=_start_worker, initargs=(runner, folder, os.getpid())
    )


def _start_worker(runner: Callable[[], TaskRunner], folder: BuildFolder, parent: int) -> None:
    """Set up a worker: it ends with its parent, leaves ^C to it, and does not hold the folder's lock."""
    global _runner, _folder
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(1)
    folder.release()
    keep_freed_memory()
    _runner, _folder = runner(), folder


def keep_freed_memory() -> None:
    """Let malloc keep what is freed: page faults of arrays made anew for each task cost as much as tokenizing.

    glibc gives large blocks back to the system at once and takes fresh pages for the next; harmless elsewhere.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        m_trim_threshold, m_mmap_threshold = -1, -3
        mallopt(m_mmap_threshold, 1 << 30)
        mallopt(m_trim_threshold, 1 << 30)


def _run(task: Task, limit: Limit | None) -> tuple[TaskResult, dict[str, float]]:
    assert _runner is not None
    assert _folder is not None
    result = _runner.run(task, limit)
    _folder.keep(result)
    return result, _runner.seconds
