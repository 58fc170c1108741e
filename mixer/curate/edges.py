"""Edges: pairs of rows that are equal or look similar, from facts of rows alone (format.md, "Edges").

An edge joins two places in the order of preference and says in how many slots of their signatures the rows agree. Edges
depend on the rows that enter, the order and the scope, not on a threshold: an election is made again from them in
seconds. They are found group by group: rows with one key go into one of `num_partitions` files, whatever their number,
and pairs into files by the place of the later row, so that memory holds one of these files at a time.

Memory and disk for n rows that enter and p partitions: `near_edges` keeps 16 n bytes of one band and up to 48 bytes a
pair on disk, a p-th of both in memory, and the rows of one key. It reads the signatures once a band.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import ceil
from pathlib import Path

import numpy as np

from mixer.curate.pairing import Scope, first_pairs, linear_pairs
from mixer.curate.preference import RowOrder
from mixer.curate.scratch import Buckets
from mixer.curate.words import mixed
from mixer.digest import decimal_text

EQUAL = 255
"""The agreement of rows that are equal: more than that of any two signatures."""
_BAND_SLOTS = 8
"""Slots of a band: one byte each, so their bytes are its key."""
_CHUNK_ROWS = 1 << 20
_ESTIMATE_ROWS = 1 << 14
_LEAST_PAIRS = 1 << 16
"""Pairs of a bucket that are not looked through for those that come twice."""


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


def least_agreement(similarity: float, num_slots: int = 112) -> int:
    """The least number of slots whose share is at least a similarity: 79 of 112 for 0.7."""
    return ceil(Decimal(decimal_text(similarity)) * num_slots)


def exact_edges(
    digests: Sequence[np.ndarray | None],
    enters: Sequence[np.ndarray],
    order: RowOrder,
    *,
    scope: Scope,
    exempt: Collection[int] = (),
    scratch: Path | None = None,
    num_partitions: int = 1,
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
        scratch: a folder for files, for rows that do not fit into memory.
        num_partitions: parts of the keys, and of the result.

    Returns:
        Edges with agreement EQUAL, by the place of the later row: no row has edges in two of them.

    Raises:
        TaskError: the disk is full or failing.
    """
    pairs = _Pairs(order, num_partitions, scratch)
    records = Buckets(num_partitions, 3, scratch and scratch / "digests")
    for places, values in _entering(digests, enters, order, exempt):
        _spread(records, values[:, 0] % np.uint64(num_partitions), (values[:, 0], values[:, 1]), places)
    for partition in range(num_partitions):
        keys, places = _taken(records, partition)
        pairs.add(first_pairs(keys, places, order, scope))
    for part in pairs.parts():
        later, earlier = _distinct(part)
        yield Edges(later=later, earlier=earlier, agreement=np.full(len(later), EQUAL, dtype=np.uint8))


def near_edges(
    signatures: Sequence[np.ndarray | None],
    enters: Sequence[np.ndarray],
    order: RowOrder,
    *,
    scope: Scope,
    floor: int,
    exempt: Collection[int] = (),
    scratch: Path | None = None,
    num_partitions: int = 1,
) -> Iterator[Edges]:
    """Edges of rows whose signatures agree in all slots of a band, and in at least `floor` slots.

    Args:
        signatures: of each source uint8[rows, slots], up to 248 slots in bands of 8, or None: it takes no part.
        enters: of each source bool[rows]: left by the steps before, and has a signature.
        order: the order of preference.
        scope: which pairs count.
        floor: the least agreement of an edge; an election's threshold may be any from there on.
        exempt: numbers of sources that take no part.
        scratch: a folder for files, for rows that do not fit into memory.
        num_partitions: parts of the keys of a band, and of the result.

    Returns:
        Edges by the place of the later row: no row has edges in two of them.

    Raises:
        TaskError: the disk is full or failing.
    """
    pairs = _Pairs(order, num_partitions, scratch)
    num_slots = max((array.shape[1] for array in signatures if array is not None), default=0)
    for band in range(num_slots // _BAND_SLOTS):
        for found in band_pairs(
            signatures, enters, order, band, scope=scope, exempt=exempt, scratch=scratch, num_partitions=num_partitions
        ):
            pairs.add(found)
    for part in pairs.parts():
        yield estimated_edges(part, signatures, order, floor)


def band_pairs(
    signatures: Sequence[np.ndarray | None],
    enters: Sequence[np.ndarray],
    order: RowOrder,
    band: int,
    *,
    scope: Scope,
    exempt: Collection[int] = (),
    scratch: Path | None = None,
    num_partitions: int = 1,
) -> Iterator[np.ndarray]:
    """The pairs of one band, as arrays of (later place, earlier place): int64[pairs, 2]. A job of its own, if need be.

    Arguments: those of `near_edges`, and the band's number.
    """
    columns = slice(band * _BAND_SLOTS, (band + 1) * _BAND_SLOTS)
    bands = [None if array is None else array[:, columns] for array in signatures]
    records = Buckets(num_partitions, 2, scratch and scratch / f"band-{band}")
    for places, values in _entering(bands, enters, order, exempt):
        keys = np.ascontiguousarray(values).view(np.uint64)[:, 0]
        _spread(records, mixed(keys.copy()) % np.uint64(num_partitions), (keys,), places)
    for partition in range(num_partitions):
        keys, places = _taken(records, partition)
        yield linear_pairs(keys, places, order, scope)


def estimated_edges(pairs: np.ndarray, signatures: Sequence[np.ndarray | None], order: RowOrder, floor: int) -> Edges:
    """Each pair once, with its agreement, if that is at least `floor`.

    Args:
        pairs: int64[pairs, 2], the later place and the earlier one; in any order, and any number of times.
        signatures: of each source uint8[rows, slots].
        order: the order of preference.
        floor: the least agreement.
    """
    later, earlier = _distinct(pairs)
    agreement = np.empty(len(later), dtype=np.uint8)
    for start in range(0, len(later), _ESTIMATE_ROWS):
        piece = slice(start, start + _ESTIMATE_ROWS)
        agreement[piece] = _agreement(
            _signatures_at(later[piece], signatures, order), _signatures_at(earlier[piece], signatures, order)
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


class _Pairs:
    """Pairs on their way to the order of their later rows.

    Copies are found in up to all bands: whenever a bucket has doubled, each of its pairs is kept once. So a bucket has
    at most three times its pairs, whatever the number of bands.
    """

    def __init__(self, order: RowOrder, num_parts: int, scratch: Path | None) -> None:
        self._num_places = max(1, order.num_rows)
        self._buckets = Buckets(num_parts, 2, scratch and scratch / "pairs")
        self._limits = [_LEAST_PAIRS] * num_parts

    def add(self, pairs: np.ndarray) -> None:
        self._buckets.spread(pairs[:, 0] * self._buckets.num_buckets // self._num_places, pairs)
        for number, limit in enumerate(self._limits):
            if self._buckets.count(number) > limit:
                once = np.stack(_distinct(self._buckets.take(number)), axis=1)
                self._buckets.spread(np.full(len(once), number), once)
                self._limits[number] = max(_LEAST_PAIRS, 2 * len(once))

    def parts(self) -> Iterator[np.ndarray]:
        return (self._buckets.take(number) for number in range(self._buckets.num_buckets))


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
            places = order.places[int(order.first_row[number]) :][piece][taking_part]
            yield places, array[piece][taking_part]


def _spread(records: Buckets, partition: np.ndarray, keys: Sequence[np.ndarray], places: np.ndarray) -> None:
    columns = [*(key.view(np.int64) for key in keys), places]
    records.spread(partition, np.stack(columns, axis=1))


def _taken(records: Buckets, partition: int) -> tuple[np.ndarray, np.ndarray]:
    """Keys, uint64[columns, rows], and places of the rows in a partition."""
    columns = np.ascontiguousarray(records.take(partition).T)
    return columns[:-1].view(np.uint64), columns[-1]


def _distinct(pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each pair once, by the later place, then the earlier one."""
    in_order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    later, earlier = pairs[in_order, 0], pairs[in_order, 1]
    is_new = _is_new(later, earlier)
    return later[is_new], earlier[is_new]


def _is_new(later: np.ndarray, earlier: np.ndarray) -> np.ndarray:
    """Whether each pair of a sorted list is another one than the pair before: bool[pairs]."""
    is_new = np.ones(len(later), dtype=bool)
    is_new[1:] = (later[1:] != later[:-1]) | (earlier[1:] != earlier[:-1])
    return is_new


def _signatures_at(places: np.ndarray, signatures: Sequence[np.ndarray | None], order: RowOrder) -> np.ndarray:
    """The signatures of the rows at some places: uint8[places, slots]."""
    rows = order.rows[places]
    source = order.source_of_rows(rows)
    ordinal = rows - order.first_row[source]
    num_slots = max((array.shape[1] for array in signatures if array is not None), default=0)
    found = np.empty((len(places), num_slots), dtype=np.uint8)
    for number in np.unique(source).tolist():
        of_source = source == number
        array = signatures[number]
        assert array is not None
        found[of_source] = array[ordinal[of_source]]
    return found


def _agreement(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """In how many slots two signatures agree: uint8[rows]."""
    # Eight slots are added at a time: a byte of a word holds the count of one slot of each band, then of all.
    words: np.ndarray = (left == right).view(np.uint64).sum(axis=1, dtype=np.uint64)
    return (words * np.uint64(0x0101010101010101) >> np.uint64(56)).astype(np.uint8)
