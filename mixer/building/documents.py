"""The first half of a task: the rows of its draws, read and tokenized, in the order in which they are read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from mixer import rng
from mixer.building.holdout import held_out
from mixer.building.step_clock import StepClock
from mixer.errors import IntegrityError
from mixer.mixing.blocks import BlockOrder
from mixer.mixing.tasks import Task
from mixer.plan.plan import Plan
from mixer.shards.records import ReferenceCheck
from mixer.sources.reader import SourceReader, Texts
from mixer.sources.text import text_offsets
from mixer.tokens.tokenizer import Tokenizer

if TYPE_CHECKING:
    from mixer.sources.prefetch import FetchAhead, RemoteBlocks

KEPT, NULL, EMPTY, BAD, TOO_LONG, HELD_OUT, NOT_HELD_OUT = range(7)
SKIP_REASONS = {
    NULL: "null_text",
    EMPTY: "empty_text",
    BAD: "bad_row",
    TOO_LONG: "too_long",
    HELD_OUT: "held_out",
    NOT_HELD_OUT: "not_held_out",
}

_LARGE_BYTES = 1 << 20
_ENCODE_BYTES = 4 << 20
"""Pieces of text that are not large are gathered before they are encoded: a call costs half a millisecond."""
_CHECKED_DOCUMENTS, _CHECKED_BYTES = 4, 16 << 10
"""Per task, and per document: the reference is 15 times slower than the engine, and has to stay a small part."""
_CHECK_CANDIDATES = 16


@dataclass(slots=True, kw_only=True)
class Documents:
    """The rows of a task in reading order: one entry per draw, skipped ones included.

    `length` counts the engine's ids; `status` is KEPT or why the row was skipped. `ids` holds the ids of the kept
    documents end to end, then those of BOS and EOS.
    """

    source: np.ndarray
    row: np.ndarray
    pass_number: np.ndarray
    length: np.ndarray
    num_bytes: np.ndarray
    status: np.ndarray
    ids: np.ndarray


class DocumentReader:
    """Reads the documents of one plan's tasks, which share open blocks and the id buffer."""

    def __init__(self, plan: Plan, tokenizer: Tokenizer, clock: StepClock) -> None:
        self._plan = plan
        self._tokenizer = tokenizer
        self._clock = clock
        recipe = plan.recipe
        named = list(zip(recipe.sources.items(), plan.snapshots))
        self._readers = [SourceReader(name, source, snap, recipe.on_bad_row) for (name, source), snap in named]
        self._orders = [BlockOrder(recipe.seed, name, [snap.block_kept]) for (name, _), snap in named]
        self._ahead = _fetch_ahead(self._readers)
        # A document of more bytes is too long, whatever its tokens are.
        longest = recipe.max_document_tokens
        self._most_bytes = None if longest is None else tokenizer.most_bytes(max(0, longest - plan.num_specials))
        self._after: Task | None = None
        self._ids = np.empty(0, dtype=np.uint32)

    def close(self) -> None:
        """Stop fetching ahead and end its threads."""
        if self._ahead is not None:
            self._ahead.close()

    def expect(self, after: Task | None) -> None:
        """Announce the task after the next one: its remote blocks are fetched after those of the next."""
        self._after = after

    def read(self, task: Task, slots: np.ndarray) -> tuple[Documents, ReferenceCheck]:
        """Read and tokenize the rows of a task's draws.

        Args:
            task: which draws.
            slots: the source of each draw; int16[draws].

        Returns:
            The documents, and what the check of some of them against the reference found.

        Raises:
            DataError: a source is damaged, changed, or has a bad row and `on_bad_row` is error.
        """
        counts = np.bincount(slots, minlength=len(self._readers))
        first_draws = self._first_draws(task.start)
        self._fetch_ahead(first_draws, first_draws + counts)
        num_draws = len(slots)
        documents = Documents(
            source=np.repeat(np.arange(len(counts), dtype=np.int16), counts),
            row=np.empty(num_draws, dtype=np.int64),
            pass_number=np.empty(num_draws, dtype=np.int32),
            length=np.zeros(num_draws, dtype=np.int64),
            num_bytes=np.zeros(num_draws, dtype=np.int64),
            status=np.zeros(num_draws, dtype=np.int8),
            ids=self._ids,
        )
        chosen = _chosen_for_check(self._plan.recipe.seed, task.number, num_draws)
        checked = different = draw = used = 0
        for pass_numbers, texts in self._gathered(counts, first_draws):
            stop = draw + len(texts.rows)
            documents.row[draw:stop] = texts.rows
            documents.pass_number[draw:stop] = pass_numbers
            used = self._tokenize(documents, texts, draw, used)
            with self._clock.timed("check"):
                for place in chosen[(chosen >= draw) & (chosen < stop)].tolist():
                    if checked < _CHECKED_DOCUMENTS:
                        same = self._same(documents, texts, place, stop, used)
                        checked += same is not None
                        different += same is False
            draw = stop
        if draw != num_draws:
            raise IntegrityError(f"{draw:,} rows were read for {num_draws:,} draws", where=f"task {task.number}")
        # Of a tokenizer without BOS or EOS the recipe asks for none: the 0 is not used.
        self._reserve(used, 0)
        self._ids[used : used + 2] = self._tokenizer.bos_id or 0, self._tokenizer.eos_id or 0
        documents.ids = self._ids[: used + 2]
        return documents, ReferenceCheck(documents=checked, different=different)

    def _first_draws(self, draw: int) -> np.ndarray:
        """The number of each source's next draw at a draw of the build, in its selection's own numbering: int64."""
        stage = self._plan.stage
        begun = np.array([source.first_draw for source in stage.sources], dtype=np.int64)
        return begun + self._plan.schedule.counts(draw - stage.first_draw)

    def _fetch_ahead(self, first_draws: np.ndarray, stop_draws: np.ndarray) -> None:
        """Start fetching the blocks of the sources' draws, and of the task after them, in the order of reading."""
        if self._ahead is None:
            return
        blocks = [*self._blocks(first_draws, stop_draws)]
        if self._after is not None:
            blocks += self._blocks(*map(self._first_draws, (self._after.start, self._after.stop)))
        self._ahead.expect(blocks)

    def _blocks(self, first_draws: np.ndarray, stop_draws: np.ndarray) -> Iterator[tuple[RemoteBlocks, int]]:
        """The remote blocks of the sources' draws, without those that are open already."""
        for reader, order, start, stop in zip(self._readers, self._orders, first_draws.tolist(), stop_draws.tolist()):
            if reader.remote is None or start == stop:
                continue
            if stop - start <= order.num_cycle_rows:
                blocks = [rows.block for rows in order.ranges(start, stop)]
            else:
                blocks = list(range(order.num_blocks))
            yield from ((reader.remote, block) for block in blocks if block != reader.open_block)

    def _gathered(self, counts: np.ndarray, first_draws: np.ndarray) -> Iterator[tuple[np.ndarray, Texts]]:
        """The rows of a task, source by source, in pieces worth encoding, with the pass of each row."""
        small: list[Texts] = []
        passes: list[np.ndarray] = []
        num_bytes = 0
        for source in range(len(self._readers)):
            first, count = int(first_draws[source]), int(counts[source])
            for pass_numbers, texts in self._clock.timed_each(self._rows(source, first, first + count), "read"):
                large = texts.text.nbytes >= _LARGE_BYTES
                if small and (large or num_bytes >= _ENCODE_BYTES):
                    yield np.concatenate(passes), _joined(small)
                    small, passes, num_bytes = [], [], 0
                if large:
                    yield pass_numbers, texts
                else:
                    small.append(texts)
                    passes.append(pass_numbers)
                    num_bytes += texts.text.nbytes
        if small:
            yield np.concatenate(passes), _joined(small)

    def _rows(self, source: int, start: int, stop: int) -> Iterator[tuple[np.ndarray, Texts]]:
        """The rows of a source's draws [start, stop), with the pass of each.

        A source that comes round within the task is read once; it is no larger than the task.
        """
        reader, order = self._readers[source], self._orders[source]
        if stop - start <= order.num_cycle_rows:
            for rows in order.ranges(start, stop):
                for texts in reader.read(rows.block, rows.start, rows.stop):
                    yield np.full(len(texts.rows), rows.pass_number, dtype=np.int32), texts
            return
        block_rows = self._plan.snapshots[source].block_kept
        whole = _joined(
            [part for block, kept in enumerate(block_rows.tolist()) for part in reader.read(block, 0, kept)]
        )
        first_row = np.cumsum(block_rows) - block_rows
        picked, passes = order.rows(start, stop, first_row)
        step = max(1, len(picked) * _ENCODE_BYTES // max(1, whole.text.nbytes * len(picked) // order.num_cycle_rows))
        for begin in range(0, len(picked), step):
            some = picked[begin : begin + step]
            texts = Texts(text=whole.text.take(pa.array(some)), rows=whole.rows[some], bad=whole.bad[some])
            yield passes[begin : begin + step], texts

    def _tokenize(self, documents: Documents, texts: Texts, draw: int, used: int) -> int:
        """Append the ids of some rows; returns the number of ids in the buffer."""
        stop = draw + len(texts.rows)
        with self._clock.timed("tokenize"):
            num_bytes, status = _row_status(texts)
            self._split(texts, status)
            if self._most_bytes is not None:
                status[(status == KEPT) & (num_bytes > self._most_bytes)] = TOO_LONG
            kept = status == KEPT
            text = texts.text if kept.all() else texts.text.filter(pa.array(kept))
            batch = self._tokenizer.encode(text)
        with self._clock.timed("gather"):
            ids, lengths = batch.ids, np.diff(batch.offsets)
            longest = self._plan.recipe.max_document_tokens
            if longest is not None:
                fits = lengths + self._plan.num_specials <= longest
                status[np.flatnonzero(kept)[~fits]] = TOO_LONG
                kept = status == KEPT
                ids, lengths = ids[np.repeat(fits, lengths)], lengths[fits]
            documents.status[draw:stop] = status
            documents.num_bytes[draw:stop] = np.where(kept, num_bytes, 0)
            documents.length[draw:stop][kept] = lengths
            self._reserve(used, len(ids))
            self._ids[used : used + len(ids)] = ids
        return used + len(ids)

    def _split(self, texts: Texts, status: np.ndarray) -> None:
        """Skip the documents of the other split."""
        holdout = self._plan.recipe.holdout
        if holdout is None:
            return
        held = held_out(texts.text, holdout.fraction)
        if self._plan.split == "train":
            status[(status == KEPT) & held] = HELD_OUT
        else:
            status[(status == KEPT) & ~held] = NOT_HELD_OUT

    def _reserve(self, used: int, more: int) -> None:
        """Make the id buffer large enough, keeping its contents; tasks share it."""
        if used + more + 2 > len(self._ids):
            larger = np.empty(max(used + more + 2, len(self._ids) * 3 // 2), dtype=np.uint32)
            larger[:used] = self._ids[:used]
            self._ids = larger

    def _same(self, documents: Documents, texts: Texts, place: int, end: int, used: int) -> bool | None:
        """Whether a document's ids equal the reference's; None where it is not checked (skipped, or long).

        The document is number `place` of the task; `texts` are those before number `end`, their ids end at `used`.
        """
        if documents.status[place] != KEPT or documents.num_bytes[place] > _CHECKED_BYTES:
            return None
        stop = used - int(documents.length[place + 1 : end].sum())
        ids = self._ids[stop - int(documents.length[place]) : stop]
        text = texts.text[place - end].as_py()
        return bool(self._tokenizer.reference.encode(text) == ids.tolist())


def _fetch_ahead(readers: Sequence[SourceReader]) -> FetchAhead | None:
    """The fetcher of the blocks of remote sources; None if all sources are local."""
    remote = [reader.remote for reader in readers if reader.remote is not None]
    if not remote:
        return None
    from mixer.sources.prefetch import FetchAhead  # with the clients of stores: not for local files

    ahead = FetchAhead()
    for blocks in remote:
        blocks.use(ahead)
    return ahead


def _chosen_for_check(seed: int, task: int, num_draws: int) -> np.ndarray:
    """The documents, in reading order, that the reference may also encode; never skipped or long ones."""
    words = rng.words(rng.key(seed, "check", task), _CHECK_CANDIDATES)
    return np.unique((words % np.uint64(num_draws)).astype(np.int64))


def _joined(parts: list[Texts]) -> Texts:
    """Several pieces of text as one."""
    if len(parts) == 1:
        return parts[0]
    return Texts(
        text=pa.concat_arrays([part.text for part in parts]),
        rows=np.concatenate([part.rows for part in parts]),
        bad=np.concatenate([part.bad for part in parts]),
    )


def _row_status(texts: Texts) -> tuple[np.ndarray, np.ndarray]:
    """Bytes of text (int64[rows]) and status (int8[rows]) of each row."""
    num_bytes = np.diff(text_offsets(texts.text))
    status = np.where(num_bytes == 0, np.int8(EMPTY), np.int8(KEPT))
    if texts.text.null_count:
        status[np.asarray(texts.text.is_null())] = NULL
    status[texts.bad] = BAD
    return num_bytes, status
