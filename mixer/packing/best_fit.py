"""Packing `best-fit`: fewer documents cut, none dropped.

Documents longer than a sequence are first cut into whole sequences and a rest. Then best-fit decreasing: from the
longest piece to the shortest, each goes into the fullest sequence that still has room for it, or opens a new one
(Ding et al., "Fewer Truncations Improve Language Modeling", ICML 2024).

All pieces of one length and all sequences with one room are handled together, so that a task costs as many steps as
there are different lengths, not pieces; the result is the same as one by one.
"""

from __future__ import annotations

from bisect import bisect_left, insort

import numpy as np

from mixer.packing.layout import Layout


def lay_best_fit(lengths: np.ndarray, sequence_length: int) -> Layout:
    """Packing `best-fit`.

    Ties are fixed: pieces of one length go in document order, and among sequences with equal room the one that came
    to have it last is taken. Sequences are then numbered by their first document, and the segments of a sequence
    stand in document order.

    Args:
        lengths: tokens of each document; int64[documents], >= 0.
        sequence_length: tokens of a sequence.

    Example: lengths [3, 2, 2, 1], sequences of 4: sequences (document 0, document 3) and (1, 2).
    """
    document, start, length = _cut(lengths, sequence_length)
    bins = _assign(length, sequence_length)
    # Sequences in the order of their first piece, so that a prefix of them is no selection of long documents.
    num_bins = int(bins.max()) + 1 if len(bins) else 0
    first_piece = np.full(num_bins, len(bins), dtype=np.int64)
    np.minimum.at(first_piece, bins, np.arange(len(bins)))
    rank = np.empty(num_bins, dtype=np.int64)
    rank[np.argsort(first_piece, kind="stable")] = np.arange(num_bins)
    sequence = rank[bins]
    order = np.argsort(sequence, kind="stable")
    return Layout(
        document=document[order],
        start=start[order],
        length=length[order],
        sequence=sequence[order],
        num_sequences=num_bins,
        sequence_length=sequence_length,
    )


def _cut(lengths: np.ndarray, limit: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pieces of at most `limit` tokens: their document, start in it, and length."""
    num_pieces = -(-lengths // limit)
    document = np.repeat(np.arange(len(lengths), dtype=np.int64), num_pieces)
    nth = np.arange(len(document), dtype=np.int64) - np.repeat(np.cumsum(num_pieces) - num_pieces, num_pieces)
    start = nth * limit
    return document, start, np.minimum(lengths[document] - start, limit)


def _assign(piece_lengths: np.ndarray, capacity: int) -> np.ndarray:
    """The sequence (numbered as opened) of each piece: int64[pieces].

    Example: lengths [3, 2, 2, 1], capacity 4: 3 opens sequence 0 and leaves room for 1; 2 and 2 open sequence 1 and
    fill it; 1 goes where it fits best, into sequence 0: [0, 1, 1, 0].
    """
    sequence = np.empty(len(piece_lengths), dtype=np.int64)
    by_length = np.argsort(-piece_lengths, kind="stable")
    sizes, firsts = np.unique(-piece_lengths[by_length], return_index=True)
    stops = np.append(firsts, len(by_length))[1:].tolist()
    sequences = _OpenSequences(capacity)
    for size, first, stop in zip((-sizes).tolist(), firsts.tolist(), stops, strict=True):
        pieces = by_length[first:stop]
        taken = 0
        while taken < len(pieces):
            for number, count in sequences.take(size, len(pieces) - taken):
                sequence[pieces[taken : taken + len(number) * count]] = np.repeat(number, count)
                taken += len(number) * count
    return sequence


class _OpenSequences:
    """The sequences with room, by the size of their room."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._num_opened = 0
        # Rooms that sequences have, rising; and, by room, the sequences in the order in which they came to have it.
        self._rooms: list[int] = []
        self._with_room: dict[int, list[int]] = {}

    def take(self, size: int, num_pieces: int) -> list[tuple[list[int], int]]:
        """Put pieces of one size into the sequences of the smallest room that holds one, or into new ones.

        Returns:
            Which sequences, in the order in which they are filled, and how many pieces each takes; at least one piece
            is put, and maybe not all of them.
        """
        room = self._best_room(size, num_pieces)
        waiting = self._with_room[room]
        fitting = room // size
        full, rest = divmod(num_pieces, fitting)
        filled = waiting[-min(full, len(waiting)) :][::-1] if full else []
        put = []
        if filled:
            del waiting[-len(filled) :]
            put.append((filled, fitting))
            self._give(room - fitting * size, filled)
        if waiting and len(filled) == full and rest:
            last = [waiting.pop()]
            put.append((last, rest))
            self._give(room - rest * size, last)
        if not waiting:
            del self._with_room[room]
            self._rooms.remove(room)
        return put

    def _best_room(self, size: int, num_pieces: int) -> int:
        """The smallest room that holds a piece; if there is none, new sequences are opened, and it is theirs."""
        place = bisect_left(self._rooms, size)
        if place < len(self._rooms):
            return self._rooms[place]
        opened = -(-num_pieces // (self._capacity // size))
        # Listed backwards: the last of the list is taken first.
        self._with_room[self._capacity] = list(range(self._num_opened + opened - 1, self._num_opened - 1, -1))
        insort(self._rooms, self._capacity)
        self._num_opened += opened
        return self._capacity

    def _give(self, room: int, sequences: list[int]) -> None:
        """Note that these sequences, in the order in which they came to it, now have this much room."""
        if room == 0:
            return
        if room not in self._with_room:
            self._with_room[room] = []
            insort(self._rooms, room)
        self._with_room[room].extend(sequences)
