"""The election: which rows are dropped as duplicates, and for which row (format.md, "Election").

Rows are taken in the order of preference. A row is dropped if an edge with at least the threshold's agreement leads to
an earlier row that *stayed*, in scope `within` of its source, in scope `across` of another one. Its *twin* is the
earliest such row in the order.

    a ~ b ~ c, but not a ~ c:  a stays, b is dropped for a, and c stays, since b is no copy that one still has

A row is never dropped for one that was dropped itself. Components of a graph would drop c for a: in a source whose
documents share a template such chains reach everywhere, and one row of it would be left.

The twin is the earliest row and not the most similar one: estimates of similarity differ by chance (two rows at 0.8: by
0.04), the order of preference is what the user chose, and the first row of a group is the one that its other rows have
an edge to, so that a cluster has one twin. What happens to a row depends on rows before it alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mixer.curate.edges import Edges
from mixer.curate.pairing import Scope
from mixer.curate.preference import RowOrder


@dataclass(frozen=True, slots=True, kw_only=True)
class Drops:
    """Rows that are dropped, by their place in the order, rising."""

    # int64[drops]: the place of each row.
    place: np.ndarray
    # int64[drops]: the place of its twin.
    twin: np.ndarray
    # uint8[drops]: the agreement of the two.
    agreement: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class Election:
    """What an election decided, for the rows that have duplicates; all others stay and are alone."""

    # int64[dropped], rising: rows that are dropped.
    dropped: np.ndarray
    # int64[dropped]: the row that each is dropped for, which stays.
    twin: np.ndarray
    # uint8[dropped]: the agreement of the two.
    agreement: np.ndarray
    # int64[kept], rising: rows that stay and that others are dropped for.
    kept: np.ndarray
    # uint32[kept], >= 2: such a row and those dropped for it.
    copies: np.ndarray
    # uint16[kept], >= 1: the sources of these.
    num_sources: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class ElectionColumns:
    """What an election decided about each of some rows."""

    # bool[rows]
    dropped: np.ndarray
    # int64[rows]: -1 for a row that stays.
    twin: np.ndarray
    # uint32[rows], >= 1: rows of its cluster; for a dropped row of that of its twin.
    copies: np.ndarray
    # uint16[rows], >= 1: sources of its cluster.
    num_sources: np.ndarray


def elect(parts: Iterable[Edges], order: RowOrder, *, threshold: int, scope: Scope) -> Election:
    """The election among rows with these edges.

    Pure; a function of the set of edges. Memory: a bit a row, one part, and the rows that are dropped, 50 bytes each.

    Args:
        parts: edges as `walk` takes them.
        order: the order of preference.
        threshold: the least agreement that counts.
        scope: which edges count.
    """
    drops = list(walk(parts, order, threshold=threshold, scope=scope))
    empty = np.empty(0, dtype=np.int64)
    dropped = order.rows[np.concatenate([empty, *(one.place for one in drops)])]
    twin = order.rows[np.concatenate([empty, *(one.twin for one in drops)])]
    agreement = np.concatenate([empty.astype(np.uint8), *(one.agreement for one in drops)])
    return _election(dropped, twin, agreement, order)


def walk(parts: Iterable[Edges], order: RowOrder, *, threshold: int, scope: Scope) -> Iterator[Drops]:
    """The rows that are dropped, in the order of preference.

    Memory: a bit a row, and one part.

    Args:
        parts: edges by the place of the later row, then of the earlier one; no row is the later one in two parts.
        order: the order of preference.
        threshold: the least agreement that counts.
        scope: which edges count.

    Raises:
        ValueError: the parts are not in order.
    """
    is_dropped = _Bits(order.num_rows)
    reached = -1
    for part in parts:
        _check_order(part, reached)
        reached = int(part.later[-1]) if len(part) else reached
        counting = _counting(part, order, threshold, scope)
        later, earlier, agreement = part.later[counting], part.earlier[counting], part.agreement[counting]
        is_dropped.set(_dropped(later, earlier, is_dropped))
        # Now all rows up to the last of this part are decided, and edges go by their earlier row, the first first.
        leads_to_kept = ~is_dropped.get(earlier)
        later, earlier, agreement = later[leads_to_kept], earlier[leads_to_kept], agreement[leads_to_kept]
        earliest = np.ones(len(later), dtype=bool)
        earliest[1:] = later[1:] != later[:-1]
        yield Drops(place=later[earliest], twin=earlier[earliest], agreement=agreement[earliest])


def chained(elections: Sequence[Election], order: RowOrder) -> Election:
    """Several elections as one, each among the rows that those before it kept.

    A twin that a later election drops is replaced by its own twin, so that twins stay and clusters have all copies. The
    agreement is that of the election that dropped the row.
    """
    twins = []
    for number, election in enumerate(elections):
        twin = election.twin
        for after in elections[number + 1 :]:
            twin = _replaced(twin, after.dropped, after.twin)
        twins.append(twin)
    empty = np.empty(0, dtype=np.int64)
    return _election(
        np.concatenate([empty, *(one.dropped for one in elections)]),
        np.concatenate([empty, *twins]),
        np.concatenate([empty.astype(np.uint8), *(one.agreement for one in elections)]),
        order,
    )


def election_columns(election: Election, start: int, stop: int) -> ElectionColumns:
    """What was decided about the rows from `start` to `stop`, such as those of one source."""
    here = slice(*np.searchsorted(election.dropped, (start, stop)))
    rows, twins = election.dropped[here] - start, election.twin[here]
    dropped = np.zeros(stop - start, dtype=bool)
    dropped[rows] = True
    twin = np.full(stop - start, -1, dtype=np.int64)
    twin[rows] = twins
    copies = np.ones(stop - start, dtype=np.uint32)
    num_sources = np.ones(stop - start, dtype=np.uint16)
    kept = slice(*np.searchsorted(election.kept, (start, stop)))
    of_twin = np.searchsorted(election.kept, twins)
    for values, of_cluster in ((copies, election.copies), (num_sources, election.num_sources)):
        values[election.kept[kept] - start] = of_cluster[kept]
        values[rows] = of_cluster[of_twin]
    return ElectionColumns(dropped=dropped, twin=twin, copies=copies, num_sources=num_sources)


def dropped_for(election: Election, order: RowOrder) -> np.ndarray:
    """How many rows of each source were dropped for a row of each source: int64[sources, sources]."""
    of_pair = order.source_of_rows(election.dropped) * order.num_sources + order.source_of_rows(election.twin)
    counts = np.bincount(of_pair, minlength=order.num_sources**2)
    return counts.reshape(order.num_sources, order.num_sources)


class _Bits:
    """A bit for each place, zero at first."""

    def __init__(self, count: int) -> None:
        self._bytes = np.zeros((count + 7) // 8, dtype=np.uint8)

    def get(self, places: np.ndarray) -> np.ndarray:
        """The bits of some places: bool[places]."""
        bytes_at: np.ndarray = self._bytes[places >> 3]
        return (bytes_at >> (places & 7).astype(np.uint8) & 1).astype(bool)

    def set(self, places: np.ndarray) -> None:
        np.bitwise_or.at(self._bytes, places >> 3, np.uint8(1) << (places & 7).astype(np.uint8))


def _check_order(part: Edges, reached: int) -> None:
    steps = np.diff(part.later, prepend=reached)
    if len(part) and (steps[0] <= 0 or np.any(steps < 0) or np.any((steps[1:] == 0) & (np.diff(part.earlier) <= 0))):
        raise ValueError(f"edges after place {reached} are not in order, or one comes twice")


def _counting(edges: Edges, order: RowOrder, threshold: int, scope: Scope) -> np.ndarray:
    """Which edges count: bool[edges]."""
    counting = edges.agreement >= threshold
    if scope != "all":
        is_same = order.source_of_places(edges.later) == order.source_of_places(edges.earlier)
        counting &= is_same if scope == "within" else ~is_same
    return counting


def _dropped(later: np.ndarray, earlier: np.ndarray, is_dropped: _Bits) -> np.ndarray:
    """The later rows that are dropped: places, rising.

    Args:
        later: int64[edges], rising.
        earlier: int64[edges].
        is_dropped: what is known of rows before the first of `later`.
    """
    rows = later[np.flatnonzero(np.diff(later, prepend=-1))]
    row_of_later = np.searchsorted(rows, later)
    row_of_earlier = np.searchsorted(rows, earlier)
    is_open = rows[np.minimum(row_of_earlier, len(rows) - 1)] == earlier if len(rows) else np.empty(0, dtype=bool)
    dropped = np.zeros(len(rows), dtype=np.uint8)
    # Most edges lead to a row that has none itself.
    dropped[row_of_later[~is_open & ~is_dropped.get(earlier)]] = 1
    # What is left has to be decided one after the other, since each answer may depend on the one before: an edge to a
    # row that is not decided yet, from a row that is not dropped yet.
    rest = np.flatnonzero(is_open & (dropped[row_of_later] == 0))
    states = bytearray(dropped.tobytes())
    for row, target in zip(row_of_later[rest].tolist(), row_of_earlier[rest].tolist(), strict=True):
        if not states[target]:
            states[row] = 1
    dropped_rows: np.ndarray = rows[np.frombuffer(states, dtype=np.uint8) == 1]
    return dropped_rows


def _replaced(rows: np.ndarray, dropped: np.ndarray, twin: np.ndarray) -> np.ndarray:
    """Rows, with the twin in the place of each that was dropped."""
    if not len(dropped):
        return rows
    found = np.minimum(np.searchsorted(dropped, rows), len(dropped) - 1)
    return np.where(dropped[found] == rows, twin[found], rows)


def _election(dropped: np.ndarray, twin: np.ndarray, agreement: np.ndarray, order: RowOrder) -> Election:
    """The result by row, with its clusters."""
    by_row = np.argsort(dropped, kind="stable")
    dropped, twin, agreement = dropped[by_row], twin[by_row], agreement[by_row]
    kept, copies = np.unique(twin, return_counts=True)
    # The sources of a cluster: those of the rows dropped for a row, and its own.
    of_row = np.concatenate([twin, kept]) * order.num_sources
    of_row += order.source_of_rows(np.concatenate([dropped, kept]))
    return Election(
        dropped=dropped,
        twin=twin,
        agreement=agreement,
        kept=kept,
        copies=(copies + 1).astype(np.uint32),
        num_sources=np.unique(np.unique(of_row) // max(1, order.num_sources), return_counts=True)[1].astype(np.uint16),
    )
