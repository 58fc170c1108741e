"""One task: read -> tokenize -> shuffle -> pack -> write one shard. A pure function of (plan, task, limit).

The only place where the stages are chained.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa

from mixer import rng
from mixer.build.plan import Plan
from mixer.build.result import Limit, SourceCounts, TaskResult
from mixer.errors import IntegrityError
from mixer.files import sync_file
from mixer.mixing.blocks import BlockOrder
from mixer.mixing.tasks import Task, document_slots
from mixer.packing.best_fit import lay_best_fit
from mixer.packing.columns import Columns, build_columns, documents_stream
from mixer.packing.layout import Layout, lay_end_to_end
from mixer.shards.write import write_shard
from mixer.sources import SourceReader, Texts
from mixer.sources.text import text_offsets
from mixer.tokens.tokenizer import Tokenizer

KEPT, NULL, EMPTY, BAD, TOO_LONG = range(5)
SKIP_REASONS = {NULL: "null_text", EMPTY: "empty_text", BAD: "bad_row", TOO_LONG: "too_long"}

_T = TypeVar("_T")
_LARGE_BYTES = 1 << 20
_ENCODE_BYTES = 4 << 20
"""Pieces of text that are not large are gathered before they are encoded: a call costs half a millisecond."""
_CHECKED_DOCUMENTS, _CHECKED_BYTES = 4, 16 << 10
"""Per task, and per document: the reference is 15 times slower than the engine, and has to stay a small part."""
_CHECK_CANDIDATES = 16


@dataclass(slots=True, kw_only=True)
class _Documents:
    """The rows of a task in the order in which they are read: one entry per draw, skipped ones too.

    `length` counts the engine's ids; `status` is KEPT or why the row was skipped. `ids` holds the ids of the kept
    documents end to end, with room for two more.
    """

    source: np.ndarray
    row: np.ndarray
    pass_number: np.ndarray
    length: np.ndarray
    num_bytes: np.ndarray
    status: np.ndarray
    ids: np.ndarray


class TaskRunner:
    """Runs the tasks of one plan in one process, and keeps what they can share: open blocks, memory, the engine."""

    def __init__(self, plan: Plan, tokenizer: Tokenizer, out: Path) -> None:
        self._plan = plan
        self._tokenizer = tokenizer
        self._out = out
        recipe = plan.recipe
        named = list(zip(recipe.sources.items(), plan.snapshots))
        self._readers = [SourceReader(name, source, snap, recipe.on_bad_row) for (name, source), snap in named]
        self._orders = [BlockOrder(recipe.seed, name, snap.block_kept) for (name, _), snap in named]
        self._ids = np.empty(0, dtype=np.uint32)
        self._seconds: dict[str, float] = {}
        self._syncing = ThreadPoolExecutor(1, "sync")

    def run(self, task: Task, limit: Limit | None = None) -> TaskResult:
        """Build and publish the task's shard.

        Args:
            task: which draws.
            limit: where the build ends inside this task; None: it does not.

        Raises:
            DataError: a source is damaged, changed, or has a bad row that is not to be skipped.
            IntegrityError: tokens were lost or made; a bug.
            OSError: the shard cannot be written.
        """
        self._seconds = {}
        plan, recipe = self._plan, self._plan.recipe
        slots = plan.schedule.sources(task.start, task.stop)
        documents, checked, different = self._read(task, slots)
        if limit is not None:
            slots, documents = self._cut_draws(documents, slots, limit)
        task = Task(number=task.number, start=task.start, stop=task.start + len(slots))
        with self._timed("pack"):
            order = _kept_in_slot_order(documents, document_slots(slots, plan.source_names, recipe.seed, task.number))
            columns, layout = self._pack(documents, order, limit)
        counts = self._count(documents, layout, order)
        result = TaskResult(
            task=task.number,
            start=task.start,
            stop=task.stop,
            limit=limit,
            num_sequences=layout.num_sequences,
            num_tokens=int(layout.length.sum()),
            num_pad=int(columns.num_pad.sum()),
            shard=None,
            sources=counts,
            checked=checked,
            different=different,
        )
        if layout.num_sequences:
            result = result.with_shard(self._write(task.number, columns))
        return result

    def close(self) -> None:
        """Wait for what is still being written to the disk."""
        self._syncing.shutdown()

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds spent in each stage of the last task; for the build log."""
        return dict(self._seconds)

    def _read(self, task: Task, slots: np.ndarray) -> tuple[_Documents, int, int]:
        """Read and tokenize the rows of a task's draws."""
        counts = np.bincount(slots, minlength=len(self._readers))
        first_draws = self._plan.schedule.counts(task.start)
        num_draws = len(slots)
        documents = _Documents(
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
            with self._timed("check"):
                for place in chosen[(chosen >= draw) & (chosen < stop)].tolist():
                    if checked < _CHECKED_DOCUMENTS:
                        same = self._same(documents, texts, place, stop, used)
                        checked += same is not None
                        different += same is False
            draw = stop
        if draw != num_draws:
            raise IntegrityError(f"{draw:,} rows were read for {num_draws:,} draws", where=f"task {task.number}")
        documents.ids = self._ids
        return documents, checked, different

    def _gathered(self, counts: np.ndarray, first_draws: np.ndarray) -> Iterator[tuple[np.ndarray, Texts]]:
        """The rows of a task, source by source, in pieces worth encoding, with the pass of each row."""
        small: list[Texts] = []
        passes: list[np.ndarray] = []
        num_bytes = 0
        for source in range(len(self._readers)):
            first, count = int(first_draws[source]), int(counts[source])
            for pass_numbers, texts in self._timed_each(self._rows(source, first, first + count), "read"):
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
        if stop - start <= order.num_rows:
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
        step = max(1, len(picked) * _ENCODE_BYTES // max(1, whole.text.nbytes * len(picked) // order.num_rows))
        for begin in range(0, len(picked), step):
            some = picked[begin : begin + step]
            texts = Texts(text=whole.text.take(pa.array(some)), rows=whole.rows[some], bad=whole.bad[some])
            yield passes[begin : begin + step], texts

    def _tokenize(self, documents: _Documents, texts: Texts, draw: int, used: int) -> int:
        """Append the ids of some rows; returns how many ids are in the buffer now."""
        stop = draw + len(texts.rows)
        with self._timed("tokenize"):
            num_bytes, status = _row_status(texts)
            kept = status == KEPT
            text = texts.text if kept.all() else texts.text.filter(pa.array(kept))
            batch = self._tokenizer.encode(text)
        with self._timed("gather"):
            ids, lengths = batch.ids, np.diff(batch.offsets)
            longest = self._plan.recipe.max_document_tokens
            if longest is not None:
                fits = lengths + self._num_specials <= longest
                status[np.flatnonzero(kept)[~fits]] = TOO_LONG
                kept = status == KEPT
                ids, lengths = ids[np.repeat(fits, lengths)], lengths[fits]
            documents.status[draw:stop] = status
            documents.num_bytes[draw:stop] = np.where(kept, num_bytes, 0)
            documents.length[draw:stop][kept] = lengths
            self._reserve(used, len(ids))
            self._ids[used : used + len(ids)] = ids
        return used + len(ids)

    @property
    def _num_specials(self) -> int:
        return self._plan.recipe.sequence.bos + self._plan.recipe.sequence.eos

    def _reserve(self, used: int, more: int) -> None:
        """Make the id buffer large enough, keeping what is in it; it is reused from task to task."""
        if used + more + 2 > len(self._ids):
            larger = np.empty(max(used + more + 2, len(self._ids) * 3 // 2), dtype=np.uint32)
            larger[:used] = self._ids[:used]
            self._ids = larger

    def _same(self, documents: _Documents, texts: Texts, place: int, end: int, used: int) -> bool | None:
        """Whether a document's ids equal the reference's; None where it is not checked (skipped, or long).

        The document is number `place` of the task; `texts` are those before number `end`, their ids end at `used`.
        """
        if documents.status[place] != KEPT or documents.num_bytes[place] > _CHECKED_BYTES:
            return None
        stop = used - int(documents.length[place + 1 : end].sum())
        ids = self._ids[stop - int(documents.length[place]) : stop]
        text = texts.text[place - end].as_py()
        return self._tokenizer.reference.encode(text) == ids.tolist()

    def _cut_draws(self, documents: _Documents, slots: np.ndarray, limit: Limit) -> tuple[np.ndarray, _Documents]:
        """Keep only as many draws, in the order of the draws, as are needed to reach the build's end."""
        slot = np.argsort(slots, kind="stable")  # document d of the reading order was drawn at this slot
        tokens = np.zeros(len(slots), dtype=np.int64)
        tokens[slot] = np.where(documents.status == KEPT, documents.length + self._num_specials, 0)
        length = self._plan.recipe.sequence.length
        wanted = limit.amount * length if limit.kind == "sequences" else -(-limit.amount // length) * length
        num_draws = min(int(np.searchsorted(np.cumsum(tokens), wanted)) + 1, len(slots))
        drawn = slot < num_draws
        ids = documents.ids[: int(documents.length.sum()) + 2]
        kept_ids = ids[:-2][np.repeat(drawn, documents.length)]
        return slots[:num_draws], _Documents(
            source=documents.source[drawn],
            row=documents.row[drawn],
            pass_number=documents.pass_number[drawn],
            length=documents.length[drawn],
            num_bytes=documents.num_bytes[drawn],
            status=documents.status[drawn],
            ids=np.concatenate([kept_ids, np.zeros(2, dtype=np.uint32)]),
        )

    def _pack(self, documents: _Documents, order: np.ndarray, limit: Limit | None) -> tuple[Columns, Layout]:
        """Documents in their order -> sequences."""
        spec = self._plan.recipe.sequence
        offsets = np.concatenate([[0], np.cumsum(documents.length)])
        stream = documents_stream(
            documents.ids,
            offsets,
            order,
            self._tokenizer.bos_id if spec.bos else None,
            self._tokenizer.eos_id if spec.eos else None,
        )
        lengths = documents.length[order] + self._num_specials
        if len(stream) != lengths.sum():
            raise IntegrityError(f"{lengths.sum():,} tokens became a stream of {len(stream):,}")
        end_to_end = spec.packing == "concat"
        layout = (lay_end_to_end if end_to_end else lay_best_fit)(lengths, spec.length)
        if limit is not None:
            layout = layout.first(_sequences_until(layout, limit))
        columns = build_columns(
            layout,
            stream,
            lengths,
            end_to_end=end_to_end,
            pad_id=self._tokenizer.pad_id,
            source=documents.source[order],
            row=documents.row[order],
            pass_number=documents.pass_number[order],
        )
        return columns, layout

    def _count(self, documents: _Documents, layout: Layout, order: np.ndarray) -> tuple[SourceCounts, ...]:
        """Counts per source, with the proof that no token was lost or made."""
        num_sources = len(self._readers)
        kept = documents.status == KEPT
        tokens_in = np.bincount(
            documents.source[kept], documents.length[kept] + self._num_specials, minlength=num_sources
        ).astype(np.int64)
        packed_source = documents.source[order][layout.document]
        tokens = np.bincount(packed_source, layout.length, minlength=num_sources).astype(np.int64)
        cut = tokens_in - tokens
        num_cut = int(cut.sum())
        if (cut < 0).any() or int(tokens.sum()) != int(layout.length.sum()):
            raise IntegrityError(f"tokens per source went in as {tokens_in.tolist()} and came out as {tokens.tolist()}")
        pieces = np.bincount(layout.document, minlength=len(order))
        truncated = np.bincount(documents.source[order[pieces > 1]], minlength=num_sources)
        num_bytes = np.bincount(documents.source, documents.num_bytes, minlength=num_sources).astype(np.int64)
        counts = []
        for source in range(num_sources):
            status = np.bincount(documents.status[documents.source == source], minlength=len(SKIP_REASONS) + 1)
            counts.append(
                SourceCounts(
                    rows=int(status.sum()),
                    documents=int(status[KEPT]),
                    skipped={reason: int(status[code]) for code, reason in SKIP_REASONS.items() if status[code]},
                    num_bytes=int(num_bytes[source]),
                    tokens=int(tokens[source]),
                    tokens_left_out=int(cut[source]),
                    truncated=int(truncated[source]),
                )
            )
        assert num_cut == sum(count.tokens_left_out for count in counts)
        return tuple(counts)

    def _write(self, number: int, columns: Columns) -> dict:
        """Write and publish the shard; returns its entry without the counts."""
        path = shard_path(number)
        target = self._out / path
        temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        try:
            with self._timed("write"):
                digests = write_shard(temporary, columns)
            with self._timed("publish"):
                temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        # Durability is the manifest's: it is published after all shards are synced. To start early costs nothing here.
        self._syncing.submit(sync_file, target)
        return {
            "path": path,
            "bytes": digests.num_bytes,
            "file_xxh3": digests.file_xxh3,
            "content_xxh3": digests.content_xxh3,
        }

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[stage] = self._seconds.get(stage, 0.0) + time.perf_counter() - started

    def _timed_each(self, items: Iterator[_T], stage: str) -> Iterator[_T]:
        """The items, with the time that they took to come."""
        while True:
            with self._timed(stage):
                item = next(items, None)
            if item is None:
                return
            yield item


def shard_path(number: int) -> str:
    """The place of a task's shard in the build's folder."""
    return f"shards/{number:05d}.arrow"


def _chosen_for_check(seed: int, task: int, num_draws: int) -> np.ndarray:
    """Which documents, in reading order, may also be encoded by the reference; skipped and long ones will not."""
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


def _kept_in_slot_order(documents: _Documents, slots: np.ndarray) -> np.ndarray:
    """The documents that have text, in the order of their slots: int64, indices in reading order.

    A skipped document has no ids and so is an empty value of the gather; it is left out of the order.
    """
    order = np.empty(len(slots), dtype=np.int64)
    order[slots] = np.arange(len(slots))
    return order[documents.status[order] == KEPT]


def _sequences_until(layout: Layout, limit: Limit) -> int:
    """The number of sequences, from the first, that meets the limit."""
    if limit.kind == "sequences":
        return limit.amount
    reached = np.cumsum(layout.sequence_length - layout.num_pad())
    return int(np.searchsorted(reached, limit.amount)) + 1
