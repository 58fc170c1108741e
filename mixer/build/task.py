"""One task: read -> tokenize -> shuffle -> pack -> write one shard. A pure function of (plan, task, limit).

The only place where the stages are chained.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from mixer.build.clock import StageClock
from mixer.build.documents import KEPT, SKIP_REASONS, DocumentReader, Documents
from mixer.build.plan import Plan
from mixer.build.result import Limit, SourceCounts, TaskResult
from mixer.errors import IntegrityError
from mixer.files import sync_file
from mixer.mixing.tasks import Task, document_slots
from mixer.packing.best_fit import lay_best_fit
from mixer.packing.columns import Columns, build_columns, documents_stream
from mixer.packing.layout import Layout, lay_end_to_end
from mixer.shards.write import write_shard
from mixer.tokens.tokenizer import Tokenizer


class TaskRunner:
    """Runs the tasks of one plan in one process, and keeps what they can share: open blocks, memory, the engine."""

    def __init__(self, plan: Plan, tokenizer: Tokenizer, out: Path) -> None:
        self._plan = plan
        self._tokenizer = tokenizer
        self._out = out
        self._clock = StageClock()
        self._documents = DocumentReader(plan, tokenizer, self._clock)
        self._syncing = ThreadPoolExecutor(1, "sync")

    def expect(self, after: Task | None) -> None:
        """Tell which task will probably be run after the next one: its remote blocks are fetched meanwhile."""
        self._documents.expect(after)

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
        self._clock.seconds = {}
        plan, recipe = self._plan, self._plan.recipe
        slots = plan.schedule.sources(task.start, task.stop)
        documents, checked, different = self._documents.read(task, slots)
        if limit is not None:
            slots, documents = self._cut_draws(documents, slots, limit)
        task = Task(number=task.number, start=task.start, stop=task.start + len(slots))
        with self._clock.timed("pack"):
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
        """Wait for what is still being written to the disk; no thread is left."""
        self._documents.close()
        self._syncing.shutdown()

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds spent in each stage of the last task; for the build log."""
        return dict(self._clock.seconds)

    def _cut_draws(self, documents: Documents, slots: np.ndarray, limit: Limit) -> tuple[np.ndarray, Documents]:
        """Keep only as many draws, in the order of the draws, as are needed to reach the build's end."""
        slot = np.argsort(slots, kind="stable")  # document d of the reading order was drawn at this slot
        tokens = np.zeros(len(slots), dtype=np.int64)
        tokens[slot] = np.where(documents.status == KEPT, documents.length + self._plan.num_specials, 0)
        length = self._plan.recipe.sequence.length
        wanted = limit.amount * length if limit.kind == "sequences" else -(-limit.amount // length) * length
        num_draws = min(int(np.searchsorted(np.cumsum(tokens), wanted)) + 1, len(slots))
        drawn = slot < num_draws
        ids = documents.ids[: int(documents.length.sum()) + 2]
        kept_ids = ids[:-2][np.repeat(drawn, documents.length)]
        return slots[:num_draws], Documents(
            source=documents.source[drawn],
            row=documents.row[drawn],
            pass_number=documents.pass_number[drawn],
            length=documents.length[drawn],
            num_bytes=documents.num_bytes[drawn],
            status=documents.status[drawn],
            ids=np.concatenate([kept_ids, np.zeros(2, dtype=np.uint32)]),
        )

    def _pack(self, documents: Documents, order: np.ndarray, limit: Limit | None) -> tuple[Columns, Layout]:
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
        lengths = documents.length[order] + self._plan.num_specials
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

    def _count(self, documents: Documents, layout: Layout, order: np.ndarray) -> tuple[SourceCounts, ...]:
        """Counts per source, with the proof that no token was lost or made."""
        num_sources = len(self._plan.snapshots)
        kept = documents.status == KEPT
        tokens_in = np.bincount(
            documents.source[kept], documents.length[kept] + self._plan.num_specials, minlength=num_sources
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
            with self._clock.timed("write"):
                digests = write_shard(temporary, columns)
            with self._clock.timed("publish"):
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


def shard_path(number: int) -> str:
    """The place of a task's shard in the build's folder."""
    return f"shards/{number:05d}.arrow"


def _kept_in_slot_order(documents: Documents, slots: np.ndarray) -> np.ndarray:
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
