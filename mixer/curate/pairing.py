"""Which rows of a group are compared: few pairs for each row, however large the group (format.md, "Edges"). Pure.

A group is the rows with one key, in the order of preference: p0, p1, p2, ... All pairs of a group of a million rows are
5 x 10^11, so a row is paired with

- the first row of its group, and the row just before it (scope `all`);
- the first row of its group that has its source, and the row just before it of its source (scope `within`);
- the first row of its group, and the last row of each source that comes before its own, but not with rows of its own
  source (scope `across`).

Rows after a row make no difference to its pairs, so a source that comes last changes nothing for the others.

    places 0 1 | 5 6 | 9 of sources a, b, c:   all     1-0, 5-1 5-0, 6-5 6-0, 9-6 9-0
                                               within  1-0, 6-5
                                               across  5-0 5-1, 6-0 6-1, 9-0 9-1 9-6
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from mixer.curate.preference import RowOrder

Scope = Literal["all", "within", "across"]
"""Which two rows may be duplicates: any, those of one source, or those of two."""


def first_pairs(keys: np.ndarray, places: np.ndarray, order: RowOrder, scope: Scope) -> np.ndarray:
    """Each row of a group with the first one: enough where all rows of a group are equal.

    Args:
        keys: uint64[columns, rows]; rows with equal keys are a group.
        places: int64[rows], the place of each row, in any order.
        order: the order of preference.
        scope: which pairs count.

    Returns:
        int64[pairs, 2]: the later place and the earlier one, in no order.
    """
    grouped = _grouped(keys, places, order, scope)
    return grouped.pairs(grouped.after_first(), grouped.first)


def linear_pairs(keys: np.ndarray, places: np.ndarray, order: RowOrder, scope: Scope) -> np.ndarray:
    """Each row of a group with the first one and with near ones: where some rows of a group may be similar.

    Arguments and result: those of `first_pairs`. At most two pairs a row, or one and one for each source (`across`).
    """
    grouped = _grouped(keys, places, order, scope)
    pairs = [grouped.pairs(grouped.after_first(), grouped.first)]
    if scope != "across":
        later = np.flatnonzero(np.arange(len(grouped.places)) > grouped.first + 1)
        pairs.append(np.stack([grouped.places[later], grouped.places[later - 1]], axis=1))
    else:
        run_start = grouped.run_start
        later = grouped.after_first()
        while len(later):
            # The last row of the source before, then of the one before that, until the group's first row.
            last = run_start - 1
            later = later[last[later] > grouped.first[later]]
            pairs.append(grouped.pairs(later, last))
            run_start = np.where(last >= 0, grouped.run_start[last], 0)
            later = later[run_start[later] > grouped.first[later]]
    return np.concatenate(pairs)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Grouped:
    """Rows of groups of two and more, group by group, in each by place."""

    # int64[rows]
    places: np.ndarray
    # int64[rows]: where the group of each row starts in this array.
    first: np.ndarray
    # int64[rows]: where the rows of its source start in its group; in scopes other than `across` each row is its own.
    run_start: np.ndarray

    def after_first(self) -> np.ndarray:
        """The rows that have a pair with the first of their group: int64, rising."""
        return np.flatnonzero(self.run_start > self.first)

    def pairs(self, later: np.ndarray, earlier_of: np.ndarray) -> np.ndarray:
        """Pairs of rows with those that an array names for each: int64[pairs, 2]."""
        return np.stack([self.places[later], self.places[earlier_of[later]]], axis=1)


def _grouped(keys: np.ndarray, places: np.ndarray, order: RowOrder, scope: Scope) -> _Grouped:
    # Most rows are alone: they go before the slow sort. The first column alone may leave some, which have no pairs.
    by_key = np.argsort(keys[0])
    key = keys[0][by_key]
    equal = np.flatnonzero(key[1:] == key[:-1])
    is_shared = np.zeros(len(key), dtype=bool)
    is_shared[equal] = is_shared[equal + 1] = True
    shared = by_key[is_shared]
    keys, places = keys[:, shared], places[shared]
    if np.any(_differs(keys) & ~_differs(keys[:1])):
        by_key = np.lexsort(keys[::-1])  # rows that differ in later columns alone, which digests never do
        keys, places = keys[:, by_key], places[by_key]
    # One number says group and place: sorting those is many times as fast as sorting by two columns.
    num_places = max(1, order.num_rows)
    group, places = np.divmod(np.sort((np.cumsum(_differs(keys)) - 1) * num_places + places), num_places)
    is_new = _differs(group[None])
    row = np.arange(len(places))
    run_start = row
    if scope != "all":
        source = order.source_of_places(places)
        is_run = is_new.copy()
        is_run[1:] |= source[1:] != source[:-1]
        if scope == "within":
            is_new = is_run
        else:
            run_start = _starts(is_run, row)
    return _Grouped(places=places, first=_starts(is_new, row), run_start=run_start)


def _differs(keys: np.ndarray) -> np.ndarray:
    """Whether each row has other keys than the row before it: bool[rows]."""
    differs = np.ones(keys.shape[1], dtype=bool)
    differs[1:] = np.any(keys[:, 1:] != keys[:, :-1], axis=0)
    return differs


def _starts(is_new: np.ndarray, row: np.ndarray) -> np.ndarray:
    """The last row, up to each, at which something new starts."""
    return np.maximum.accumulate(np.where(is_new, row, 0))
