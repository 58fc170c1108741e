"""Computing facts: chunks as jobs of an engine, every missing kind in one reading of the text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from mixer.curate.facts.chunks import FactChunk, fact_chunks
from mixer.curate.facts.files import FactFiles, facts_folder
from mixer.curate.facts.kinds import FactKind, FactRows, reads_text_of
from mixer.engines.jobs import Answers, Done, Job
from mixer.engines.local import LocalEngine
from mixer.sources.reader import SourceReader
from mixer.sources.scan import needs_of
from mixer.sources.snapshot import Snapshot
from mixer.system.processes import keep_freed_memory
from mixer.system.progress import Advance, OnAdvance, Work, silent

if TYPE_CHECKING:
    from mixer.recipe import Source

_DIED_HINT = (
    "it may have run out of memory: use fewer --workers; or, if a script of yours called mixer, put the "
    'call under `if __name__ == "__main__":`, then run the same command again to resume'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedFacts:
    """The facts that are wanted of one source."""

    name: str
    source: Source
    snapshot: Snapshot
    kinds: tuple[FactKind, ...]

    def files(self, kind: FactKind, cache_dir: Path) -> FactFiles:
        """Where facts of a kind are."""
        return FactFiles(folder=facts_folder(cache_dir, self.snapshot, self.source, kind))


@dataclass(frozen=True, slots=True, kw_only=True)
class _FactWork:
    source: int
    chunk: FactChunk


def missing_facts(wanted: Sequence[WantedFacts], cache_dir: Path) -> list[_FactWork]:
    """The chunks of which some facts are not there."""
    return [
        _FactWork(source=number, chunk=chunk)
        for number, one in enumerate(wanted)
        for chunk in fact_chunks(one.snapshot)
        if not all(one.files(kind, cache_dir).is_finished(chunk) for kind in one.kinds)
    ]


def compute_facts(
    wanted: Sequence[WantedFacts], cache_dir: Path, *, workers: int, on_advance: OnAdvance = silent
) -> int:
    """Compute the facts that are not there yet; finished chunks are kept, whatever stops the rest.

    Returns:
        How many chunks were computed.

    Raises:
        RecipeError: a filter, a column or a function does not fit.
        DataError: a source cannot be read, or changed since it was pinned.
        TaskError: a worker died, or the disk is full or failing.
    """
    works = missing_facts(wanted, cache_dir)
    if not works:
        return 0
    jobs = (
        Job(number=number, name=f"facts of {wanted[work.source].name}, chunk {work.chunk.number}", work=work)
        for number, work in enumerate(works)
    )
    total = sum(work.chunk.rows[1] - work.chunk.rows[0] for work in works)
    done = 0
    engine = LocalEngine(
        FactJobs(cache_dir),
        min(workers, len(works)),
        where=str(cache_dir),
        died_hint=_DIED_HINT,
        method="spawn",  # clients of stores may have started threads, which do not survive a fork
    )
    with engine:
        engine.share(tuple(wanted))
        for answer in engine.run(lambda worker: next(jobs, None)):
            assert isinstance(answer, Done)
            work = works[answer.number]
            done += work.chunk.rows[1] - work.chunk.rows[0]
            on_advance(Advance(work=Work.CURATE, about=wanted[work.source].name, done=done, total=total))
    return len(works)


class FactJobs:
    """Computes the facts of chunks in a worker process."""

    def __init__(self, cache_dir: Path) -> None:
        self._cache_dir = cache_dir

    def start(self, answers: Answers) -> None:
        """Nothing of the parent's has to be released."""
        self._answers = answers
        keep_freed_memory()

    def share(self, shared: tuple[WantedFacts, ...]) -> None:
        """Receive what is wanted."""
        self._wanted = shared

    def run(self, job: Job) -> None:
        """Compute what is missing of a chunk."""
        work: _FactWork = job.work
        wanted = self._wanted[work.source]
        kinds = {
            kind: files
            for kind in wanted.kinds
            if not (files := wanted.files(kind, self._cache_dir)).is_finished(work.chunk)
        }
        batches: Mapping[FactKind, list[pa.RecordBatch]] = {kind: [] for kind in kinds}
        for rows in iter_fact_rows(wanted, work.chunk, tuple(kinds)):
            for kind, found in batches.items():
                found.append(pa.RecordBatch.from_pydict(kind.columns(rows)))
        for kind, files in kinds.items():
            files.write(work.chunk, batches[kind], dict(kind.identity))
        self._answers.done(job.number, None)
        self._answers.idle()


def iter_fact_rows(wanted: WantedFacts, chunk: FactChunk, kinds: Sequence[FactKind]) -> Iterator[FactRows]:
    """All rows of a chunk, kept or not, piece by piece, with what the kinds read."""
    reads_text = any(map(reads_text_of, kinds))
    extra = tuple(dict.fromkeys(path for kind in kinds for path in kind.reads))
    scan = replace(needs_of(wanted.name, wanted.source), predicate=None, extra_paths=extra, reads_text=reads_text)
    reader = SourceReader(wanted.name, wanted.source, replace(wanted.snapshot, kept_rows=None), "skip", scan=scan)
    for block in range(*chunk.blocks):
        with reader.pieces(block, 0) as (_, pieces):
            for piece in pieces:
                bad = np.zeros(len(piece.batch), dtype=bool)
                bad[list(piece.bad)] = True
                text = pa.nulls(len(piece.batch), pa.large_string())
                if reads_text and len(piece.batch):
                    texts = reader.texts(block, piece, np.arange(len(piece.batch)))
                    text, bad = texts.text, texts.bad
                yield FactRows(text, piece.batch, bad)
