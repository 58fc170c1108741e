"""What an engine runs: jobs, the runner that a worker process keeps for them, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One piece of work: its number, how messages name it, and what its runner is given (picklable)."""

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
    """What a worker says of a job that is going on."""

    value: Any


class Answers(Protocol):
    """How a runner answers; from any of its threads."""

    def idle(self) -> None:
        """Say that the worker can take another job, though this one may not be durable yet."""

    def done(self, number: int, result: Any) -> None:
        """Say that a job is finished: every job ends with this, or with an error."""

    def note(self, value: Any) -> None:
        """Say how far a job is."""

    def failed(self, error: Exception) -> None:
        """Say that a job failed, outside `run`."""


class Runner(Protocol):
    """Runs jobs of one kind in a worker process. The parent makes it; workers get it by fork, or pickled."""

    def start(self, answers: Answers) -> None:
        """Begin a worker's life: let go of what the parent alone holds."""

    def share(self, shared: Any) -> None:
        """Take what all jobs have in common; once, before the first job."""

    def run(self, job: Job) -> None:
        """Run one job: `answers.idle()` once, and `answers.done()` now or later.

        Raises:
            MixerError, OSError: the job failed.
        """
