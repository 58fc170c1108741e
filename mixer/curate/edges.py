"""Edges: pairs of rows that are equal or look similar, from facts of rows alone (format.md, "Edges").

An edge joins two places in the order of preference and says in how many slots of their signatures the rows agree. Edges
depend on the rows that enter, the order and the scope, not on a threshold: an election is made again from them in
seconds. They are found group by group: rows with one key go into one of the partitions, which may be files, and pairs
into others by the place of the later row, so that memory holds one of them at a time.

Memory and disk for n rows that enter and p partitions: `near_edges` keeps 16 n bytes of one band and up to 24 bytes a
pair on disk, a p-th of both in memory, and the rows of one key. It reads the signatures once a band.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mixer.curate.agreement import MAX_AGREEMENT, agreement_of, signatures_at
from mixer.curate.pair_buckets import PairBuckets
from mixer.curate.pairing import Scope, first_pairs, linear_pairs
from mixer.curate.preference import RowOrder
from mixer.curate.scratch import Buckets, Partitions
from mixer.curate.signatures import band_keys
from mixer.curate.words import mixed
from mixer.errors import RecipeError

EQUAL = MAX_AGREEMENT + 1
"""The agreement of rows that are equal: more than that of any two signatures."""
_IN_MEMORY = Partitions()
_CHUNK_ROWS = 1 << 20
_ESTIMATE_ROWS = 1 << 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Edges:
    """Pairs of rows, by the place of the later row, then of the earlier one; each pair once."""

    # int64[edges]: the place in the order of the row that may be dropped.
    later: np.ndarray
    # int64[edges]: the place of the row that it may be dropped for, smaller than `later`.
    earlier: np.ndarray
    # uint8[edges]: slots in which the signatures agree, or EQUAL.
    agreement: np.ndarray

    def __len__(self) -> int:
        return len(self.later)


def exact_edges(
    digests: Sequence[np.ndarray | None],
    enters: Sequence[np.ndarray],
    order: RowOrder,
    *,
    scope: Scope,
    exempt: Collection[int] = (),
    partitions: Partitions = _IN_MEMORY,
) -> Iterator[Edges]:
    """Edges of rows with equal digests: of each row to the first, or as the scope says.

    With the edges of all pairs an election would give the same: in the order of preference the rows of the first source
    come first, so the first row of a group stays, and every row that has an edge at all has one to it.

    Args:
        digests: of each source uint64[rows, 2] or None: it takes no part. An array or a map of a file.
        enters: of each source bool[rows]: left by the steps before, and has a digest.
        order: the order of preference.
        scope: which pairs count.
        exempt: numbers of sources that take no part.
        partitions: of the keys, and of the result.

    Returns:
        Edges with agreement EQUAL, by the place of the later row: no row has edges in two of them.

    Raises:
        TaskError: the disk is full or failing.
    """
    pairs = PairBuckets(order.num_rows, partitions)
    records = Buckets(partitions.number, 3, partitions.path("digests"))
    for places, values in _entering(digests, enters, order, exempt):
        _spread(records, values[:, 0] % np.uint64(partitions.number), (values[:, 0], values[:, 1]), places)
    for partition in range(partitions.number):
        keys, places = _taken(records, partition)
        pairs.add(first_pairs(keys, places, order, scope))
    for part in pairs.parts():
        yield Edges(later=part[:, 0], earlier=part[:, 1], agreement=np.full(len(part), EQUAL, dtype=np.uint8))


def near_edges(
    signatures: Sequence[np.ndarray | None],
    enters: Sequence[np.ndarray],
    order: RowOrder,
    *,
    scope: Scope,
    floor: int,
    band_slots: int,
    exempt: Collection[int] = (),
    partitions: Partitions = _IN_MEMORY,
) -> Iterator[Edges]:
    """Edges of rows whose signatures agree in all slots of a band, and in at least `floor` slots.

    Args:
        signatures: of each source uint8[rows, slots], band by band, or None: it takes no part.
        enters: of each source bool[rows]: left by the steps before, and has a signature.
        order: the order of preference.
        scope: which pairs count.
        floor: the least agreement of an edge; an election's threshold may be any from there on.
        band_slots: slots of a band.
        exempt: numbers of sources that take no part.
        partitions: of the keys of a band, and of the result.

    Returns:
        Edges by the place of the later row: no row has edges in two of them.

    Raises:
        RecipeError: there are more slots than an agreement can say.
        TaskError: the disk is full or failing.
    """
    pairs = PairBuckets(order.num_rows, partitions)
    num_slots = max((array.shape[1] for array in signatures if array is not None), default=0)
    if num_slots > MAX_AGREEMENT:
        raise RecipeError(
            f"{num_slots} slots, at most {MAX_AGREEMENT} are possible",
            where="curate: near",
            hint="choose fewer bands or rows: their product is the number of slots",
        )
    for band in range(num_slots // band_slots):
        columns = slice(band * band_slots, (band + 1) * band_slots)
        slots = [None if array is None else array[:, columns] for array in signatures]
        for found in band_pairs(slots, enters, order, scope=scope, exempt=exempt, partitions=partitions):
            pairs.add(found)
    for part in pairs.parts():
        yield estimated_edges(part, signatures, order, floor)


def band_pairs(
    slots: Sequence[np.ndarray | None],
    enters: Sequence[np.ndarray],
    order: RowOrder,
    *,
    scope: Scope,
    exempt: Collection[int] = (),
    partitions: Partitions = _IN_MEMORY,
) -> Iterator[np.ndarray]:
    """The pairs of one band, as arrays of (later place, earlier place): int64[pairs, 2].

    Arguments: those of `near_edges`, but of the signatures the slots of the band alone. Bands need nothing of each
    other, so each can be a job.
    """
    records = Buckets(partitions.number, 2, partitions.path("band"))
    for places, values in _entering(slots, enters, order, exempt):
        keys = band_keys(values, values.shape[1])[:, 0]
        _spread(records, mixed(keys.copy()) % np.uint64(partitions.number), (keys,), places)
    for partition in range(partitions.number):
        yield linear_pairs(*_taken(records, partition), order, scope)


def estimated_edges(pairs: np.ndarray, signatures: Sequence[np.ndarray | None], order: RowOrder, floor: int) -> Edges:
    """Each pair once, with its agreement, if that is at least `floor`.

    Args:
        pairs: int64[pairs, 2], the later place and the earlier one; in any order, and any number of times.
        signatures: of each source uint8[rows, slots].
        order: the order of preference.
        floor: the least agreement.
    """
    later, earlier = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))].T
    is_new = _is_new(later, earlier)
    later, earlier = later[is_new], earlier[is_new]
    agreement = np.empty(len(later), dtype=np.uint8)
    for start in range(0, len(later), _ESTIMATE_ROWS):
        piece = slice(start, start + _ESTIMATE_ROWS)
        agreement[piece] = agreement_of(
            signatures_at(later[piece], signatures, order), signatures_at(earlier[piece], signatures, order)
        )
    kept = agreement >= floor
    return Edges(later=later[kept], earlier=earlier[kept], agreement=agreement[kept])


def merged_edges(parts: Sequence[Edges]) -> Edges:
    """Edges from several places as one part, in order, each pair once with its greatest agreement."""
    later, earlier, agreement = (
        np.concatenate([np.empty(0, dtype=dtype), *(getattr(part, name) for part in parts)])
        for name, dtype in (("later", np.int64), ("earlier", np.int64), ("agreement", np.uint8))
    )
    in_order = np.lexsort((255 - agreement, earlier, later))
    later, earlier, agreement = later[in_order], earlier[in_order], agreement[in_order]
    is_new = _is_new(later, earlier)
    return Edges(later=later[is_new], earlier=earlier[is_new], agreement=agreement[is_new])


def _entering(
    values: Sequence[np.ndarray | None], enters: Sequence[np.ndarray], order: RowOrder, exempt: Collection[int]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Places and values of the rows that take part, in pieces."""
    for number, array in enumerate(values):
        if array is None or number in exempt:
            continue
        for start in range(0, len(array), _CHUNK_ROWS):
            piece = slice(start, start + _CHUNK_ROWS)
            taking_part = np.flatnonzero(enters[number][piece])
            if len(taking_part):
                places = order.places[int(order.first_row[number]) :][piece][taking_part]
                yield places, array[piece][taking_part]


def _spread(records: Buckets, partition: np.ndarray, keys: Sequence[np.ndarray], places: np.ndarray) -> None:
    columns = [*(key.view(np.int64) for key in keys), places]
    records.spread(partition, np.stack(columns, axis=1))


def _taken(records: Buckets, partition: int) -> tuple[np.ndarray, np.ndarray]:
    """Keys, uint64[columns, rows], and places of the rows in a partition."""
    columns = np.ascontiguousarray(records.take(partition).T)
    return columns[:-1].view(np.uint64), columns[-1]


def _is_new(later: np.ndarray, earlier: np.ndarray) -> np.ndarray:
    """Whether each pair of a sorted list is another one than the pair before: bool[pairs]."""
    is_new = np.ones(len(later), dtype=bool)
    is_new[1:] = (later[1:] != later[:-1]) | (earlier[1:] != earlier[:-1])
    return is_new
