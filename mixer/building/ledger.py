"""The ledger of a build: finished tasks, next tasks, and the end of the build."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from mixer.errors import RecipeError, TokenizerError
from mixer.mixing.tasks import Task
from mixer.plan.plan import Plan
from mixer.shards.records import NOTHING, Limit, LimitKind, ReferenceCheck, SourceCounts, TaskRecord
from mixer.stores import traffic

MAX_DIFFERENT_SHARE = 0.01
"""Of the documents checked against the reference; above it (and one document) the build ends."""
_LONGEST_RUN = 8


@dataclass(slots=True, kw_only=True)
class Progress:
    """The progress of a build, as shown while it runs and kept in its log."""

    estimated_tasks: int
    num_tasks: int = 0
    num_resumed: int = 0
    num_tokens: int = 0
    num_sequences: int = 0
    sources: list[SourceCounts] = field(default_factory=list)
    reference_check: ReferenceCheck = field(default_factory=ReferenceCheck)
    step_seconds: dict[str, float] = field(default_factory=dict)
    # What went over the network, by the names of `traffic.take`.
    traffic: dict[str, float] = field(default_factory=dict)

    def count_traffic(self, counted: Mapping[str, float]) -> None:
        """Count network traffic."""
        self.traffic = traffic.added(self.traffic, counted)

    def add(self, record: TaskRecord) -> None:
        """Count a finished task."""
        self.num_tasks += 1
        self.num_tokens += record.tokens
        self.num_sequences += record.sequences
        counts = self.sources or [NOTHING] * len(record.counts)
        self.sources = [one + other for one, other in zip(counts, record.counts, strict=True)]
        self.reference_check += record.reference_check

    def count_again(self, records: Iterable[TaskRecord]) -> None:
        """Count these tasks and no others; the seconds of the steps stay, since the work was done."""
        self.num_tasks = self.num_tokens = self.num_sequences = 0
        self.sources, self.reference_check = [], ReferenceCheck()
        for record in records:
            self.add(record)


class Ledger:
    """Takes finished tasks in any order; those without a gap before them determine the end of the build."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.progress = Progress(estimated_tasks=plan.estimated_tasks)
        self._done: dict[int, TaskRecord] = {}
        self._next = 0
        self._prefix = 0
        self._reached = 0
        self._last: int | None = None
        self._again: Task | None = None
        extent = plan.extent
        self._kind: LimitKind = "tokens" if extent.end_tokens is not None else "sequences"
        self._wanted = extent.end_tokens if extent.end_tokens is not None else extent.end_sequences

    @property
    def next_task(self) -> Task | None:
        """The first task that no worker has taken."""
        return self._plan.task(self._next)

    @property
    def complete(self) -> bool:
        """Whether every task up to the build's end is done."""
        return self._last is not None and self._last in self._done

    def take_again(self) -> tuple[Task, Limit] | None:
        """The task in which the build ends, to be built again up to there; None if unknown or taken."""
        if self._again is None:
            return None
        task, self._again = self._again, None
        return task, self._limit()

    def take_run(self, workers: int) -> list[Task]:
        """The next consecutive tasks for one worker: long runs at first, single tasks towards the end."""
        wanted = min(_LONGEST_RUN, (self._plan.estimated_tasks - self._next) // (2 * workers))
        run: list[Task] = []
        while self._last is None and len(run) < max(1, wanted):
            task = self._plan.task(self._next)
            if task is None:
                break
            self._next += 1
            if self.wants(task):
                run.append(task)
        return run

    def wants(self, task: Task) -> bool:
        """Whether a task is still to be done."""
        return task.number not in self._done and (self._last is None or task.number < self._last)

    def add(self, record: TaskRecord, seconds: dict[str, float]) -> None:
        """Add a finished task, and check whether the build's end is reached.

        Raises:
            RecipeError: all allowed rows are drawn, and the target is not met.
            TokenizerError: too many documents differ from the reference.
        """
        self._done[record.task] = record
        self.progress.add(record)
        self.progress.num_resumed += not seconds
        for step, spent in seconds.items():
            self.progress.step_seconds[step] = self.progress.step_seconds.get(step, 0.0) + spent
        _check_against_reference(self.progress.reference_check)
        while self._last is None and self._prefix in self._done:
            self._advance(self._done[self._prefix])
        if self.complete:
            self.progress.count_again(self.finished())

    def _advance(self, record: TaskRecord) -> None:
        reached = self._reached + (record.tokens if self._kind == "tokens" else record.sequences)
        if self._wanted is not None and reached >= self._wanted:
            self._last = self._prefix
            if record.limit != self._limit():  # made whole; it is made again, up to where the build ends
                self._again = self._plan.task(self._prefix)
                del self._done[self._prefix]
                self.progress.count_again(self._done.values())
            return
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

    def finished(self) -> list[TaskRecord]:
        """The tasks up to the build's end, in order."""
        return [self._done[number] for number in range((-1 if self._last is None else self._last) + 1)]


def _check_against_reference(check: ReferenceCheck) -> None:
    if check.different > 1 + MAX_DIFFERENT_SHARE * check.documents:
        raise TokenizerError(
            f"{check.different:,} of {check.documents:,} documents checked have ids that differ from the reference",
            hint="the engine does not encode exactly as this tokenizer does; please report it",
        )
