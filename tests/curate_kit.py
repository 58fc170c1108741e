"""Small worlds of rows for tests of curation, and the rules of format.md once more, row by row."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from mixer.curate.edges import Edges
from mixer.curate.preference import PreferenceKeys, RowOrder, order_rows

NAMES = ("d", "b", "c", "a")
SCOPES = ("all", "within", "across")


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Rows of some sources: name, bytes of text and value of `prefer_by` (None: no such column) of each."""

    sources: list[tuple[str, list[int], list[float | None] | None]]
    prefer: list[str]

    def keys(self) -> list[PreferenceKeys]:
        return [
            PreferenceKeys(
                name=name,
                text_bytes=np.array(sizes, dtype=np.int64),
                prefer_by=None if scores is None else np.array(scores, dtype=np.float64),
            )
            for name, sizes, scores in self.sources
        ]

    def order(self) -> RowOrder:
        return order_rows(self.keys(), self.prefer)

    def source_of_row(self) -> list[int]:
        return [number for number, (_, sizes, _) in enumerate(self.sources) for _ in sizes]

    def rows_in_order(self) -> list[int]:
        """The rule of preference, as a sort of tuples."""
        keys = {}
        for number, (name, sizes, scores) in enumerate(self.sources):
            position = (0, self.prefer.index(name), "") if name in self.prefer else (1, 0, name)
            for ordinal, size in enumerate(sizes):
                score = None if scores is None else scores[ordinal]
                by = (1, 0.0) if score is None or math.isnan(score) else (0, -score)
                keys[len(keys)] = (position, by, -size, name, number, ordinal)
        return sorted(keys, key=keys.__getitem__)


@st.composite
def worlds(draw: st.DrawFn, max_rows: int = 6) -> World:
    """One to four sources, some without rows, some without the column."""
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True))
    sources = []
    for name in names:
        sizes = draw(st.lists(st.integers(0, 3) | st.just(2**40), max_size=max_rows))
        score = st.none() | st.sampled_from([0.0, -0.0, 1.5, -2.0, math.inf, -math.inf, math.nan])
        column = st.lists(score, min_size=len(sizes), max_size=len(sizes))
        sources.append((name, sizes, draw(st.none() | column)))
    return World(sources=sources, prefer=draw(st.lists(st.sampled_from([*NAMES, "z"]), max_size=4, unique=True)))


def plain_order(*sizes: int) -> RowOrder:
    """The order of sources 0, 1, ... in which each row's place is its number."""
    keys = [PreferenceKeys(name=f"{number:03d}", text_bytes=np.ones(size)) for number, size in enumerate(sizes)]
    return order_rows(keys, [])


def edges(*rows: tuple[int, int, int]) -> Edges:
    """Edges from (later, earlier, agreement)."""
    in_order = np.array(sorted(rows), dtype=np.int64).reshape(-1, 3)
    return Edges(later=in_order[:, 0], earlier=in_order[:, 1], agreement=in_order[:, 2].astype(np.uint8))


def as_set(parts: Sequence[Edges]) -> set[tuple[int, int, int]]:
    """The edges of all parts; none may come twice, and the order must be as promised."""
    found = [
        edge
        for part in parts
        for edge in zip(part.later.tolist(), part.earlier.tolist(), part.agreement.tolist(), strict=True)
    ]
    assert found == sorted(found)
    assert len(found) == len({edge[:2] for edge in found})
    return set(found)


def may_be_duplicates(left: int, right: int, scope: str) -> bool:
    """Whether rows of these sources may be duplicates."""
    return scope == "all" or (left == right) == (scope == "within")


def elected_by_hand(
    found: set[tuple[int, int, int]], source_at: list[int], threshold: int, scope: str
) -> dict[int, int]:
    """Place of each dropped row -> place of its twin, one row after the other."""
    earlier = defaultdict(list)
    for later, target, agreement in found:
        if agreement >= threshold and may_be_duplicates(source_at[later], source_at[target], scope):
            earlier[later].append(target)
    twins: dict[int, int] = {}
    for place in range(len(source_at)):
        stayed = [target for target in earlier[place] if target not in twins]
        if stayed:
            twins[place] = min(stayed)
    return twins
