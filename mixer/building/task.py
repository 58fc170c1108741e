"""One task: read -> tokenize -> shuffle -> pack -> write one shard. A pure function of (plan, task, limit).

The only place where these steps are chained.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mixer.building.documents import KEPT, SKIP_REASONS, DocumentReader, Documents
from mixer.building.ending import limited_draws, limited_sequences
from mixer.building.step_clock import StepClock
from mixer.errors import IntegrityError
from mixer.mixing.tasks import Task, document_slots
from mixer.packing.best_fit import lay_best_fit
from mixer.packing.columns import Columns, build_columns, documents_stream
from mixer.packing.layout import Layout, lay_end_to_end
from mixer.plan.plan import Plan
from mixer.shards.records import Cut, Limit, ShardFile, SourceCounts, TaskRecord, shard_path
from mixer.shards.write import ShardDigests, write_shard
from mixer.system.publish import publishing
from mixer.tokens.tokenizer import Tokenizer


class TaskRunner:
    """Runs the tasks of one plan in one process; they share open blocks, memory and the engine."""

    def __init__(self, plan: Plan, tokenizer: Tokenizer, out: Path) -> None:
        self._plan = plan
        self._tokenizer = tokenizer
        self._out = out
        self._clock = StepClock()
        self._documents = DocumentReader(plan, tokenizer, self._clock)

    def expect(self, after: Task | None) -> None:
        """Announce the task that will probably run after the next one: its remote blocks are fetched ahead."""
        self._documents.expect(after)

    def run(self, task: Task, limit: Limit | None = None) -> TaskRecord:
        """Build the task's shard, as far as a target goes.

        Args:
            task: which draws.
            limit: where the build ends inside this task; None: it does not.

        Raises:
            DataError: a source is damaged, changed, or has a bad row and `on_bad_row` is error.
            IntegrityError: tokens were lost or made; a bug.
            OSError: the shard cannot be written.
        """
        return self._run(task, limit, None)

    def run_cut(self, task: Task, cut: Cut | None) -> TaskRecord:
        """Build the task's shard as it was built before: whole, or cut where that one was cut.

        Raises:
            DataError, IntegrityError, OSError: as `run`.
        """
        return self._run(task, None, cut)

    def _run(self, task: Task, limit: Limit | None, cut: Cut | None) -> TaskRecord:
        self._clock.seconds = {}
        plan, recipe = self._plan, self._plan.recipe
        if cut is not None:
            task = Task(number=task.number, start=task.start, stop=task.start + cut.draws)
        slots = plan.schedule.sources(task.start - plan.stage.first_draw, task.stop - plan.stage.first_draw)
        documents, check = self._documents.read(task, slots)
        if limit is not None:
            num_draws = limited_draws(self._draw_tokens(documents, slots), limit, recipe.sequence.length)
            slots, documents = _first_draws(documents, slots, num_draws)
        with self._clock.timed("pack"):
            order = _kept_in_slot_order(documents, document_slots(slots, plan.source_names, recipe.seed, task.number))
            stream, lengths, whole = self._lay(documents, order)
            if limit is not None:
                layout = whole.first(limited_sequences(whole, limit))
            else:
                layout = whole if cut is None else whole.first(cut.sequences)
            columns = self._columns(documents, order, stream, lengths, layout)
        num_draws = len(slots)
        is_whole = num_draws == plan.stage.draws_per_task and layout.num_sequences == whole.num_sequences
        digests = self._write(task.number, columns) if layout.num_sequences else None
        return TaskRecord(
            plan=plan.id,
            task=task.number,
            stage=0,
            draws=(task.start, task.start + num_draws),
            limit=limit,
            cut=None if is_whole else Cut(task=task.number, draws=num_draws, sequences=layout.num_sequences),
            sequences=layout.num_sequences,
            tokens=int(layout.length.sum()),
            padding=int(columns.num_pad.sum()),
            counts=self._count(documents, layout, order),
            reference_check=check,
            content_xxh3=None if digests is None else digests.content_xxh3,
            content_sha256=None if digests is None else digests.content_sha256,
            file=None if digests is None else ShardFile(bytes=digests.num_bytes, xxh3=digests.file_xxh3),
        )

    def close(self) -> None:
        """Stop fetching ahead and end its threads."""
        self._documents.close()

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds spent in each step of the last task; for the build log."""
        return dict(self._clock.seconds)

    def _draw_tokens(self, documents: Documents, slots: np.ndarray) -> np.ndarray:
        """Tokens of each draw, in the order of the draws: int64[draws]."""
        tokens = np.zeros(len(slots), dtype=np.int64)
        tokens[_slot_of_documents(slots)] = np.where(
            documents.status == KEPT, documents.length + self._plan.num_specials, 0
        )
        return tokens

    def _lay(self, documents: Documents, order: np.ndarray) -> tuple[np.ndarray, np.ndarray, Layout]:
        """Documents in their order -> their tokens end to end, the token count of each, and the layout."""
        spec = self._plan.recipe.sequence
        offsets = np.concatenate([[0], np.cumsum(documents.length)])
        stream = documents_stream(documents.ids, offsets, order, with_bos=spec.bos, with_eos=spec.eos)
        lengths = documents.length[order] + self._plan.num_specials
        if len(stream) != lengths.sum():
            raise IntegrityError(f"{lengths.sum():,} tokens became a stream of {len(stream):,}")
        lay = lay_end_to_end if spec.packing == "concat" else lay_best_fit
        return stream, lengths, lay(lengths, spec.length)

    def _columns(
        self, documents: Documents, order: np.ndarray, stream: np.ndarray, lengths: np.ndarray, layout: Layout
    ) -> Columns:
        return build_columns(
            layout,
            stream,
            lengths,
            end_to_end=self._plan.recipe.sequence.packing == "concat",
            pad_id=self._tokenizer.pad_id,
            source=documents.source[order],
            row=documents.row[order],
            pass_number=documents.pass_number[order],
        )

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
                    text_bytes=int(num_bytes[source]),
                    tokens=int(tokens[source]),
                    tokens_left_out=int(cut[source]),
                    truncated_documents=int(truncated[source]),
                )
            )
        return tuple(counts)

    def _write(self, number: int, columns: Columns) -> ShardDigests:
        """Write the shard into its place; the caller makes it durable."""
        with self._clock.timed("write"), publishing(self._out / shard_path(number), durable=False) as file:
            return write_shard(file, columns, self._plan.stage.sequence.batch_sequences)


def _kept_in_slot_order(documents: Documents, slots: np.ndarray) -> np.ndarray:
    """The documents that have text, in the order of their slots: int64, indices in reading order.

    A skipped document has no ids and so is an empty value of the gather; it is left out of the order.
    """
    order = np.empty(len(slots), dtype=np.int64)
    order[slots] = np.arange(len(slots))
    return order[documents.status[order] == KEPT]


def _slot_of_documents(slots: np.ndarray) -> np.ndarray:
    """The draw of each document, in reading order, before they are shuffled: int64[draws]."""
    return np.argsort(slots, kind="stable")


def _first_draws(documents: Documents, slots: np.ndarray, num_draws: int) -> tuple[np.ndarray, Documents]:
    """Only the documents of the first draws of a task, in the order of the draws."""
    drawn = _slot_of_documents(slots) < num_draws
    ids = documents.ids[: int(documents.length.sum()) + 2]
    kept_ids = ids[:-2][np.repeat(drawn, documents.length)]
    return slots[:num_draws], Documents(
        source=documents.source[drawn],
        row=documents.row[drawn],
        pass_number=documents.pass_number[drawn],
        length=documents.length[drawn],
        num_bytes=documents.num_bytes[drawn],
        status=documents.status[drawn],
        ids=np.concatenate([kept_ids, ids[-2:]]),
    )
