"""The rows of a step, and the sequences of a row: for a spike in the loss, and for a removal request."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mixer.errors import UsageError
from mixer.feed.cursor import Cursor, rank_offsets, stream
from mixer.feed.integers import check_whole, shown
from mixer.feed.order import Order
from mixer.feed.sequences import SequenceSet
from mixer.feed.steps import MOST_EPOCHS, Steps, how_many
from mixer.shards.drawn import drawings
from mixer.shards.records import Manifest
from mixer.shards.row_files import RowFiles


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedSegment:
    """Tokens [start, start + length) of the document of one row: number `row_in_file` of a file of its source."""

    source: str
    row: int
    file: str
    row_in_file: int
    pass_number: int
    start: int
    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedSequence:
    """A sequence as a run meets it: in an epoch, at a position of its order, and where it lies."""

    epoch: int
    position: int
    sequence: int
    shard: str
    shard_row: int
    segments: tuple[TracedSegment, ...]


def trace_step(
    sequences: SequenceSet, cursor: Cursor, *, step: int, rank: int, world: int, batch: int, epochs: int
) -> list[TracedSequence]:
    """The sequences of one rank in one step, in their order, with the rows that they hold. O(1) in the step.

    Args:
        sequences: the build.
        cursor: where step 0 began.
        step: from 0.
        rank: of `world` ranks.
        world: how many ranks there were.
        batch: sequences of a rank in a step, gradient accumulation included.
        epochs: how many epochs the run had.

    Raises:
        UsageError: the rank is outside its world, or the run has no such step.
    """
    num_steps = Steps(batch_size=batch, rank=rank, world=world, epochs=epochs).left(cursor)
    assert num_steps is not None
    if not 0 <= step < num_steps:
        raise UsageError(
            f"there is no step {shown(step)}: {how_many(epochs, 'epoch')} of {how_many(len(sequences), 'sequence')} "
            f"have {how_many(num_steps, 'whole step')} of {world} x {batch}",
            where="--step",
            hint="steps start at 0; --epochs is the number of epochs of the run",
        )
    order = cursor.order(sequences)
    offsets = rank_offsets(np.array([step]), rank=rank, world=world, batch=batch)[0]
    epoch_of, numbers = stream(order, cursor, offsets)
    _, positions = cursor.epochs.locate(cursor.place + offsets)
    places = zip(epoch_of.tolist(), positions.tolist(), numbers.tolist(), strict=True)
    files = RowFiles(sequences.folder, sequences.manifest)
    return [_traced(sequences, files, epoch, position, number) for epoch, position, number in places]


def trace_row(sequences: SequenceSet, order: Order, *, source: str, row: int, epochs: int) -> list[TracedSequence]:
    """Every sequence that holds tokens of a row, at its position in each epoch; by epoch, then position.

    Which tasks can hold the row follows from the draws: only their shards are read. Only the segments of that row are
    listed.

    Raises:
        UsageError: the build has no such source, or the source no such row.
    """
    check_whole(epochs, "epochs", least=1, most=MOST_EPOCHS)
    numbers = np.array(holding(sequences, source_number(sequences.manifest, source, row), row), dtype=np.int64)
    files = RowFiles(sequences.folder, sequences.manifest)
    found = []
    for epoch in range(epochs):
        start, stop = order.epochs.part(epoch)
        here = numbers[(numbers >= start) & (numbers < stop)]
        positions = order.positions(epoch, here)
        for place in np.argsort(positions).tolist():
            traced = _traced(sequences, files, epoch, int(positions[place]), int(here[place]))
            own = tuple(segment for segment in traced.segments if (segment.source, segment.row) == (source, row))
            found.append(
                TracedSequence(
                    epoch=epoch,
                    position=traced.position,
                    sequence=traced.sequence,
                    shard=traced.shard,
                    shard_row=traced.shard_row,
                    segments=own,
                )
            )
    return found


def source_number(manifest: Manifest, source: str, row: int) -> int:
    """The number of a source that has a row.

    Raises:
        UsageError: the build has no such source, or the source no such row.
    """
    names = manifest.source_names
    if source not in names:
        raise UsageError(f"the build has no source {source!r}", where="--source", hint=f"it has {', '.join(names)}")
    available = manifest.sources[names.index(source)].num_rows
    if not 0 <= row < available:
        raise UsageError(
            f"{source} has no row {shown(row)}", where="--row", hint=f"its rows are 0 to {available - 1:,}"
        )
    return names.index(source)


def holding(sequences: SequenceSet, source: int, row: int) -> list[int]:
    """The numbers of the sequences with a segment of a row, rising; only shards that can hold it are read.

    Raises:
        IntegrityError: such a shard is missing, or differs from its manifest.
    """
    return sorted(set(_holding(sequences, source, row)))


def _holding(sequences: SequenceSet, source: int, row: int) -> Iterator[int]:
    manifest = sequences.manifest
    tasks: set[int] = set()
    for drawing in drawings(sequences.folder, manifest, source, row):
        tasks.update(range(*drawing.tasks))
    for number, shard in enumerate(manifest.shards):
        if shard.task not in tasks:
            continue
        first = sequences.locator.first_of(number)
        for columns in sequences.iter_columns(number):
            hits = np.flatnonzero((columns.segment_source == source) & (columns.segment_row == row))
            yield from (first + np.unique(np.searchsorted(columns.run_offsets, hits, side="right") - 1)).tolist()
            first += len(columns.input_ids)


def _traced(sequences: SequenceSet, files: RowFiles, epoch: int, position: int, number: int) -> TracedSequence:
    batch = sequences[number]
    names = sequences.manifest.source_names
    lengths = np.diff(batch.run_stops, prepend=0)
    place = sequences.locator.place(number)
    return TracedSequence(
        epoch=epoch,
        position=position,
        sequence=number,
        shard=sequences.manifest.shards[place.shard].path,
        shard_row=place.row,
        segments=tuple(
            TracedSegment(
                source=names[source],
                row=row,
                file=file,
                row_in_file=row_in_file,
                pass_number=int(batch.pass_number[run]),
                start=int(batch.start[run]),
                length=int(lengths[run]),
            )
            for run, source, row in zip(range(len(lengths)), batch.source.tolist(), batch.row.tolist())
            if source >= 0
            for file, row_in_file in [files.place(source, row)]
        ),
    )
