"""Chunks as jobs of an engine: processes that fetch side by side.

Each is a fresh process, not a fork: the bucket's client starts threads, which do not survive a fork.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mixer.engines.jobs import Answers, Done, Job
from mixer.engines.local import LocalEngine
from mixer.stack.blobs import Origin
from mixer.stack.fetch_folder import FetchFolder
from mixer.stack.fetch_plan import Chunk, FetchPlan

_DIED_HINT = (
    "it may have run out of memory: use fewer --workers; or, if a script of yours called mixer, put the "
    'call under `if __name__ == "__main__":`, then run the same command again to resume'
)


def fetch_chunks(
    plan: FetchPlan,
    chunks: Sequence[Chunk],
    out: Path,
    origin: Origin,
    *,
    workers: int,
    connections: int,
    on_files: Callable[[int, int], None],
    on_chunk: Callable[[dict[str, Any], bool], None],
) -> None:
    """Fetch chunks; finished ones are checked and kept.

    Args:
        plan: the fetch.
        chunks: which of its chunks.
        out: the folder.
        origin: where the blobs are.
        workers: processes.
        connections: blobs that are on their way at once, over all of them.
        on_files: told of files read and bytes of text, as they come.
        on_chunk: told of each finished chunk, and whether it was finished before.

    Raises:
        MixerError: the error of the first chunk that failed, or a worker died.
    """
    workers = min(workers, len(chunks))
    left = (Job(number=chunk.number, name=chunk.name, work=None) for chunk in chunks)
    jobs = ChunkJobs(origin, max(1, connections // workers), out)
    with LocalEngine(jobs, workers, where=str(out), died_hint=_DIED_HINT, method="spawn") as engine:
        engine.share(plan)
        for answer in engine.run(lambda worker: next(left, None)):
            if isinstance(answer, Done):
                on_chunk(answer.result.record, answer.result.was_finished)
            else:
                on_files(*answer.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkResult:
    """The record of a chunk, and whether it was finished before."""

    record: dict[str, Any]
    was_finished: bool


class ChunkJobs:
    """Fetches chunks in a worker process."""

    def __init__(self, origin: Origin, num_connections: int, out: Path) -> None:
        self._origin, self._num_connections, self._out = origin, num_connections, out

    def start(self, answers: Answers) -> None:
        """Nothing of the parent's has to be released."""
        self._answers = answers

    def share(self, shared: FetchPlan) -> None:
        """Receive the plan, and open the bucket."""
        from mixer.stack.chunk import ChunkFetcher

        self._plan, self._folder = shared, FetchFolder(self._out, shared)
        self._fetcher = ChunkFetcher(shared, self._origin, self._num_connections)

    def run(self, job: Job) -> None:
        """Fetch a chunk, unless it is finished."""
        chunk = self._plan.chunks[job.number]
        record = self._folder.finished(chunk)
        was_finished = record is not None
        if record is None:
            record = self._fetcher.run(chunk, self._folder.path(chunk), lambda *more: self._answers.note(more))
            self._folder.keep(chunk, record)
        self._answers.done(job.number, ChunkResult(record=record, was_finished=was_finished))
        self._answers.idle()
