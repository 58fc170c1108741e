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
    """The sequence (numbered as opened) of each piece: int64[pieces]."""
    bins = np.empty(len(piece_lengths), dtype=np.int64)
    by_length = np.argsort(-piece_lengths, kind="stable")
    sizes, firsts = np.unique(-piece_lengths[by_length], return_index=True)
    stops = np.append(firsts, len(by_length))[1:].tolist()
    with_room: dict[int, list[int]] = {}
    rooms: list[int] = []
    num_bins = 0
    for size, first, stop in zip((-sizes).tolist(), firsts.tolist(), stops, strict=True):
        pieces = by_length[first:stop]
        taken = 0
        while taken < len(pieces):
            place = bisect_left(rooms, size)
            if place < len(rooms):
                room = rooms[place]
            else:
                room = capacity
                fitting = capacity // size
                opened = -(-(len(pieces) - taken) // fitting)
                # Listed backwards: the last of the list is taken first.
                with_room[room] = list(range(num_bins + opened - 1, num_bins - 1, -1))
                insort(rooms, room)
                num_bins += opened
            waiting = with_room[room]
            fitting = room // size
            full, rest = divmod(len(pieces) - taken, fitting)
            used = waiting[-min(full, len(waiting)) :][::-1] if full else []
            if used:
                del waiting[-len(used) :]
                count = len(used) * fitting
                bins[pieces[taken : taken + count]] = np.repeat(used, fitting)
                taken += count
                _give_room(with_room, rooms, room - fitting * size, used)
            if waiting and len(used) == full and rest:
                last = waiting.pop()
                bins[pieces[taken : taken + rest]] = last
                taken += rest
                _give_room(with_room, rooms, room - rest * size, [last])
            if not waiting:
                del with_room[room]
                rooms.remove(room)
    return bins


def _give_room(with_room: dict[int, list[int]], rooms: list[int], room: int, bins: list[int]) -> None:
    """Note that these sequences, in the order in which they came to it, now have this much room."""
    if room == 0:
        return
    if room not in with_room:
        with_room[room] = []
        insort(rooms, room)
    with_room[room].extend(bins)
