"""The parts of an engine's work: jobs, the runner of a worker process, and its answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One piece of work: its number, its name in messages, and the input of its runner (picklable)."""

    number: int
    name: str
    work: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A job is finished, and its result durable."""

    number: int
    result: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A worker's report on a job in progress."""

    value: Any


class Answers(Protocol):
    """The answers of a runner; any of its threads may give them."""

    def idle(self) -> None:
        """Say that the worker can take another job, though this one may not be durable yet."""

    def done(self, number: int, result: Any) -> None:
        """Say that a job is finished: every job ends with this, or with an error."""

    def note(self, value: Any) -> None:
        """Report the progress of a job."""

    def failed(self, error: Exception) -> None:
        """Say that a job failed, outside `run`."""


class Runner(Protocol):
    """Runs jobs of one kind in a worker process. The parent creates it; workers get it by fork or by pickle."""

    def start(self, answers: Answers) -> None:
        """Start in a worker: release what only the parent holds."""

    def share(self, shared: Any) -> None:
        """Receive the data that all jobs share; once, before the first job."""

    def run(self, job: Job) -> None:
        """Run one job: `answers.idle()` once, and `answers.done()` now or later.

        Raises:
            MixerError, OSError: the job failed.
        """
