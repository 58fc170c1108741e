"""The local engine: jobs of any kind in worker processes, and what is said when one fails or dies."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections import Counter
from typing import Any

import pytest

from mixer.engines.jobs import Answers, Done, Job, Note
from mixer.engines.local import LocalEngine
from mixer.errors import DataError, TaskError


class Doubling:
    """Doubles numbers; some numbers stand for what else may happen."""

    def __init__(self, parent: int) -> None:
        self._parent = parent

    def start(self, answers: Answers) -> None:
        self._answers = answers
        assert os.getpid() != self._parent

    def share(self, shared: Any) -> None:
        if shared is None:
            raise DataError("nothing to share", where="the plan")
        self._factor = shared

    def run(self, job: Job) -> None:
        match job.work:
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)
            case "bad data":
                raise DataError("the row is bad", where="row 3", hint="mend it")
            case "no space":
                raise OSError(28, "No space left on device", "/out/shards/00003.arrow")
            case "bug":
                raise ZeroDivisionError("1 // 0")
            case "later":
                self._answers.idle()
                self._answers.note("syncing")
                time.sleep(0.05)
                self._answers.done(job.number, os.getpid())
            case number:
                self._answers.done(job.number, number * self._factor)
                self._answers.idle()


def jobs_of(*works: Any) -> list[Job]:
    return [Job(number=number, name=f"task {number}", work=work) for number, work in enumerate(works)]


def engine_of(num_workers: int = 2, **arguments: Any) -> LocalEngine:
    return LocalEngine(Doubling(os.getpid()), num_workers, where="OUT", died_hint="use fewer", **arguments)


def run(works: list[Any], num_workers: int = 2, **arguments: Any) -> list[Done | Note]:
    left = iter(jobs_of(*works))
    with engine_of(num_workers, **arguments) as engine:
        engine.share(2)
        return list(engine.run(lambda worker: next(left, None)))


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("num_workers", [1, 3])
def test_every_job_is_done_once(num_workers: int, method: str) -> None:
    """By however many workers, and however they start."""
    answers = run(list(range(20)), num_workers, method=method)
    assert sorted((answer.number, answer.result) for answer in answers if isinstance(answer, Done)) == [
        (number, 2 * number) for number in range(20)
    ]
    assert multiprocessing.active_children() == []


def test_an_idle_worker_may_have_jobs_that_are_not_done() -> None:
    """It takes the next one meanwhile; notes come through, and the end waits for every job."""
    answers = run(["later"] * 7)
    assert Counter(type(answer) for answer in answers) == {Done: 7, Note: 7}
    assert {answer.value for answer in answers if isinstance(answer, Note)} == {"syncing"}
    assert 1 <= len({answer.result for answer in answers if isinstance(answer, Done)}) <= 2


@pytest.mark.parametrize(
    ("work", "kind", "message"),
    [
        ("bad data", DataError, "row 3: the row is bad\n  hint: mend it"),
        ("no space", TaskError, "00003.arrow: cannot write: No space left on device"),
        ("bug", RuntimeError, r"ZeroDivisionError: 1 // 0\n(.|\n)*in task 2"),
        ("die", TaskError, r"OUT: the worker process that did task 2 died \(exit code -9\)\n  hint: use fewer"),
    ],
)
@pytest.mark.parametrize("num_workers", [1, 2, 4])
def test_a_job_that_fails_ends_the_run(work: str, kind: type[Exception], message: str, num_workers: int) -> None:
    """With the error of its kind, also while other workers wait and hold what they inherited; none is left running."""
    with pytest.raises(kind, match=message):
        run([1, 2, work, *["later"] * 9], num_workers)
    assert multiprocessing.active_children() == []


def test_what_is_shared_may_be_refused() -> None:
    """The error comes with the first answer."""
    with engine_of() as engine:
        engine.share(None)
        answers = engine.run(lambda worker: jobs_of("later")[0] if worker == 0 else None)
        with pytest.raises(DataError, match="nothing to share"):
            list(answers)


def test_an_engine_that_is_left_ends_its_workers() -> None:
    """At once, whatever they are doing, and also where nothing was ever asked of them."""
    with engine_of(3):
        assert len(multiprocessing.active_children()) == 3
    assert multiprocessing.active_children() == []
    with engine_of() as engine:
        engine.share(2)
        for _ in engine.run(lambda worker: jobs_of("later")[0]):
            break
    assert multiprocessing.active_children() == []
