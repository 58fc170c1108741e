"""The result of a packing: the place of each document's tokens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Segments in the order in which they stand: sequence by sequence, left to right.

    Four int64 arrays of one entry per segment: `document` (index into the packed documents), `start` (the segment's
    first token, counted in its document), `length` (tokens, > 0) and `sequence` (from 0, never falling). The
    segments of a sequence fill at most `sequence_length` tokens; the rest is padding at its end.
    """

    document: np.ndarray
    start: np.ndarray
    length: np.ndarray
    sequence: np.ndarray
    num_sequences: int
    sequence_length: int

    def num_pad(self) -> np.ndarray:
        """Padding of each sequence: int64[sequences]."""
        filled = np.bincount(self.sequence, weights=self.length, minlength=self.num_sequences)
        return self.sequence_length - filled.astype(np.int64)

    def first(self, num_sequences: int) -> Layout:
        """The layout of the first sequences alone."""
        stop = int(np.searchsorted(self.sequence, num_sequences, side="left"))
        return Layout(
            document=self.document[:stop],
            start=self.start[:stop],
            length=self.length[:stop],
            sequence=self.sequence[:stop],
            num_sequences=min(num_sequences, self.num_sequences),
            sequence_length=self.sequence_length,
        )


def lay_end_to_end(lengths: np.ndarray, sequence_length: int) -> Layout:
    """Packing `concat`: documents end to end, cut every `sequence_length` tokens; the last sequence is padded.

    Args:
        lengths: tokens of each document, in the order in which they are laid; int64[documents], >= 0.
        sequence_length: tokens of a sequence.

    Example: lengths [3, 2], sequences of 4: segments (document 0, start 0, 3 tokens), (1, 0, 1) | (1, 1, 1).
    """
    stops = np.cumsum(lengths, dtype=np.int64)
    total = int(stops[-1]) if len(stops) else 0
    starts = stops - lengths
    borders = np.union1d(starts[lengths > 0], np.arange(0, total, sequence_length, dtype=np.int64))
    document = np.searchsorted(stops, borders, side="right")
    return Layout(
        document=document,
        start=borders - starts[document],
        length=np.diff(borders, append=total),
        sequence=borders // sequence_length,
        num_sequences=-(-total // sequence_length),
        sequence_length=sequence_length,
    )
