"""The election: the walk in the order of preference, row by row, and what must hold of any result."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from curate_kit import (
    SCOPES,
    World,
    edges,
    elected_by_hand,
    may_be_duplicates,
    plain_order,
    worlds,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from mixer.curate.agreement import least_agreement
from mixer.curate.edges import EQUAL, Edges, exact_edges, near_edges
from mixer.curate.election import Election, chained, dropped_for, elect, election_columns, walk
from mixer.curate.pairing import Scope
from mixer.curate.scratch import Partitions

pytestmark = pytest.mark.quick


def some_edges(data: st.DataObject, num_rows: int) -> set[tuple[int, int, int]]:
    """Any set of edges: at most one of each pair of places."""
    pairs = [(later, earlier) for later in range(num_rows) for earlier in range(later)]
    drawn = data.draw(st.lists(st.sampled_from(pairs), max_size=40, unique=True)) if pairs else []
    return {(*pair, data.draw(st.integers(60, 112))) for pair in drawn}


def in_parts(data: st.DataObject, found: set[tuple[int, int, int]]) -> list[Edges]:
    """The edges cut into parts, some empty, no row's in two."""
    cuts = sorted(data.draw(st.sets(st.integers(0, 30), max_size=5)))
    bounds = list(zip([0, *cuts], [*cuts, 1000], strict=True))
    return [edges(*(edge for edge in found if start <= edge[0] < stop)) for start, stop in bounds]


def twins_of(election: Election) -> dict[int, int]:
    return dict(zip(election.dropped.tolist(), election.twin.tolist(), strict=True))


def assert_sound(election: Election, num_rows: int, source_of_row: list[int], scope: str) -> None:
    """What holds of any election."""
    twins = twins_of(election)
    assert election.dropped.tolist() == sorted(twins)
    assert election.kept.tolist() == sorted(set(twins.values()))
    assert not set(twins) & set(twins.values())  # a twin stays
    assert all(may_be_duplicates(source_of_row[row], source_of_row[twin], scope) for row, twin in twins.items())
    members: dict[int, list[int]] = {kept: [kept] for kept in twins.values()}
    for row, twin in twins.items():
        members[twin].append(row)
    assert election.copies.tolist() == [len(members[kept]) for kept in election.kept.tolist()]
    assert election.num_sources.tolist() == [
        len({source_of_row[row] for row in members[kept]}) for kept in election.kept.tolist()
    ]
    columns = election_columns(election, 0, num_rows)
    assert np.flatnonzero(columns.dropped).tolist() == sorted(twins)
    assert columns.twin.tolist() == [twins.get(row, -1) for row in range(num_rows)]
    clusters = [members.get(twins.get(row, row), [row]) for row in range(num_rows)]
    assert columns.copies.tolist() == [len(cluster) for cluster in clusters]
    assert columns.num_sources.tolist() == [len({source_of_row[row] for row in cluster}) for cluster in clusters]
    # Each row of the source stays or is dropped, and copies of rows that stay are all rows.
    assert columns.copies[~columns.dropped].sum() == num_rows


@settings(deadline=None, max_examples=300)
@given(
    world=worlds(),
    scope=st.sampled_from(SCOPES),
    threshold=st.sampled_from([0, 79, 100]),
    data=st.data(),
)
def test_an_election_is_that_of_the_walk_by_hand(
    world: World, scope: Scope, threshold: int, data: st.DataObject
) -> None:
    """Any edges, in any parts; rows are in any order of preference."""
    order, sources, rows = world.order(), world.source_of_row(), world.rows_in_order()
    found = some_edges(data, len(rows))
    expected = elected_by_hand(found, [sources[row] for row in rows], threshold, scope)
    election = elect(in_parts(data, found), order, threshold=threshold, scope=scope)
    assert twins_of(election) == {rows[place]: rows[twin] for place, twin in expected.items()}
    agreements = {edge[:2]: edge[2] for edge in found}
    assert election.agreement.tolist() == [
        agreements[order.places[row], order.places[twin]] for row, twin in twins_of(election).items()
    ]
    assert_sound(election, len(rows), sources, scope)


@settings(deadline=None)
@given(num_rows=st.integers(0, 24), data=st.data())
def test_what_happens_to_a_row_depends_on_rows_before_it_alone(num_rows: int, data: st.DataObject) -> None:
    """So another source at the end of `prefer` takes nothing from those before it."""
    found = some_edges(data, num_rows)
    start = data.draw(st.integers(0, num_rows))
    election = elect([edges(*found)], plain_order(num_rows), threshold=79, scope="all")
    before = {edge for edge in found if edge[0] < start}
    fewer = elect([edges(*before)], plain_order(start), threshold=79, scope="all")
    assert {row: twin for row, twin in twins_of(election).items() if row < start} == twins_of(fewer)


@settings(deadline=None)
@given(num_rows=st.integers(1, 24), data=st.data())
def test_an_edge_to_a_row_that_was_dropped_makes_no_difference(num_rows: int, data: st.DataObject) -> None:
    """Nor does one that is below the threshold."""
    found = some_edges(data, num_rows)
    twins = elected_by_hand(found, [0] * num_rows, 79, "all")
    needed = {edge for edge in found if edge[1] not in twins and edge[2] >= 79}
    assert twins_of(elect([edges(*needed)], plain_order(num_rows), threshold=79, scope="all")) == twins


@settings(deadline=None)
@given(
    values=st.lists(st.integers(0, 3), max_size=20),
    more=st.lists(st.integers(0, 3), max_size=5),
    scope=st.sampled_from(SCOPES),
)
def test_more_rows_bring_no_equal_row_back(values: list[int], more: list[int], scope: Scope) -> None:
    """Of equal rows: a row that is dropped is dropped, too, when other rows enter, first or last."""

    def dropped(rows: list[int], enters: list[bool]) -> set[int]:
        third = len(rows) // 3
        order = plain_order(third, len(rows) - third)
        digests = np.array([[row, row] for row in rows], dtype=np.uint64).reshape(-1, 2)
        masks = np.split(np.array(enters, dtype=bool), [third])
        found = exact_edges(np.split(digests, [third]), masks, order, scope=scope)
        return set(elect(found, order, threshold=0, scope=scope).dropped.tolist())

    rows = more + values
    fewer = dropped(rows, [False] * len(more) + [True] * len(values))
    assert fewer <= dropped(rows, [True] * len(rows))


def test_a_chain_is_not_a_cluster() -> None:
    """a ~ b ~ c ~ d: b is dropped for a and d for c; components would drop c for a."""
    chain = edges((1, 0, 90), (2, 1, 90), (3, 2, 90))
    election = elect([chain], plain_order(4), threshold=79, scope="all")
    assert twins_of(election) == {1: 0, 3: 2}
    assert election.copies.tolist() == [2, 2]
    # A greater threshold may drop other rows, and no fewer: the walk is not monotone in it, whatever edges there are.
    chain = edges((1, 0, 80), (2, 1, 90))
    assert twins_of(elect([chain], plain_order(3), threshold=79, scope="all")) == {1: 0}
    assert twins_of(elect([chain], plain_order(3), threshold=85, scope="all")) == {2: 1}


def test_the_twin_is_the_earliest_row_that_stayed() -> None:
    """Not the most similar one, and not one that was dropped."""
    found = edges((1, 0, 90), (4, 1, 112), (4, 2, 80), (4, 3, 111))
    assert twins_of(elect([found], plain_order(5), threshold=79, scope="all")) == {1: 0, 4: 2}
    assert elect([found], plain_order(5), threshold=79, scope="all").agreement.tolist() == [90, 80]


def test_copies_inside_a_source_stay_in_scope_across() -> None:
    """As in Zyda-2: a copy goes only if another source has it."""
    order = plain_order(2, 2)
    enters = [np.ones(2, dtype=bool)] * 2
    same, other = [7, 7], [8, 8]
    election = elect(
        exact_edges([np.array([same, same], dtype=np.uint64)] * 2, enters, order, scope="across"),
        order,
        threshold=EQUAL,
        scope="across",
    )
    assert twins_of(election) == {2: 0, 3: 0}
    assert (election.kept.tolist(), election.copies.tolist(), election.num_sources.tolist()) == ([0], [3], [2])
    digests = [np.array([same, same], dtype=np.uint64), np.array([other, other], dtype=np.uint64)]
    within = elect(exact_edges(digests, enters, order, scope="within"), order, threshold=1, scope="within")
    across = elect(exact_edges(digests, enters, order, scope="across"), order, threshold=1, scope="across")
    assert (twins_of(within), twins_of(across)) == ({1: 0, 3: 2}, {})


def test_exempt_sources_neither_drop_nor_are_dropped() -> None:
    """Of three sources with one text the second is exempt."""
    order = plain_order(1, 1, 1)
    digests = [np.ones((1, 2), dtype=np.uint64)] * 3
    found = exact_edges(digests, [np.ones(1, dtype=bool)] * 3, order, scope="all", exempt={1})
    assert twins_of(elect(found, order, threshold=1, scope="all")) == {2: 0}


def test_a_later_election_replaces_twins_that_it_drops() -> None:
    """5 and 6 are copies of 4, then 4 of 1, then 1 of 0: all are copies of 0."""
    order = plain_order(3, 4)
    exact = elect([edges((5, 4, EQUAL), (6, 4, EQUAL))], order, threshold=0, scope="all")
    near = elect([edges((4, 1, 90), (3, 2, 100))], order, threshold=79, scope="all")
    last = elect([edges((1, 0, 80))], order, threshold=79, scope="all")
    together = chained([exact, near, last], order)
    assert twins_of(together) == {1: 0, 3: 2, 4: 0, 5: 0, 6: 0}
    assert together.agreement.tolist() == [80, 100, 90, EQUAL, EQUAL]
    assert (together.kept.tolist(), together.copies.tolist()) == ([0, 2], [5, 2])
    assert together.num_sources.tolist() == [2, 2]
    assert_sound(together, 7, [0, 0, 0, 1, 1, 1, 1], "all")
    assert dropped_for(together, order).tolist() == [[1, 0], [4, 0]]
    assert twins_of(chained([], order)) == {}


@settings(deadline=None)
@given(num_rows=st.integers(1, 16), data=st.data())
def test_chained_elections_hold_each_row_once(num_rows: int, data: st.DataObject) -> None:
    """Each election is among the rows that are left."""
    order, left, elections = plain_order(num_rows // 2, num_rows - num_rows // 2), set(range(num_rows)), []
    for _ in range(3):
        found = {edge for edge in some_edges(data, num_rows) if {edge[0], edge[1]} <= left}
        elections.append(elect([edges(*found)], order, threshold=79, scope="all"))
        left -= set(elections[-1].dropped.tolist())
    together = chained(elections, order)
    assert set(range(num_rows)) - set(together.dropped.tolist()) == left
    assert_sound(together, num_rows, order.source_of_rows(np.arange(num_rows)).tolist(), "all")


def test_columns_of_some_rows_are_those_of_all() -> None:
    """A source's columns are made without those of others."""
    election = elect([edges((1, 0, 90), (5, 0, 90), (4, 2, 90))], plain_order(6), threshold=79, scope="all")
    whole, part = election_columns(election, 0, 6), election_columns(election, 2, 5)
    for name, dtype in (("dropped", bool), ("twin", np.int64), ("copies", np.uint32), ("num_sources", np.uint16)):
        assert getattr(part, name).tolist() == getattr(whole, name)[2:5].tolist()
        assert getattr(part, name).dtype == dtype
    assert part.copies.tolist() == [2, 1, 2]


@pytest.mark.parametrize(
    "parts",
    [
        [edges((3, 1, 90)), edges((2, 0, 90))],
        [edges((3, 1, 90)), edges((3, 2, 90))],
        [Edges(later=np.array([3, 2]), earlier=np.array([0, 0]), agreement=np.array([90, 90], dtype=np.uint8))],
        [Edges(later=np.array([3, 3]), earlier=np.array([1, 0]), agreement=np.array([90, 90], dtype=np.uint8))],
        [Edges(later=np.array([3, 3]), earlier=np.array([1, 1]), agreement=np.array([90, 90], dtype=np.uint8))],
    ],
)
def test_edges_out_of_order_are_refused(parts: list[Edges]) -> None:
    """A walk over them would give another result without a word."""
    with pytest.raises(ValueError, match="not in order"):
        list(walk(parts, plain_order(4), threshold=0, scope="all"))


def signatures_of(documents: list[np.ndarray], seed: int = 3) -> np.ndarray:
    """112 one-byte slots of sets of numbers (their shingles): real signatures, slowly."""
    random = np.random.default_rng(seed)
    factors = random.integers(0, 2**63, 112, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    terms = random.integers(0, 2**63, 112, dtype=np.uint64)
    slots = [(document[:, None] * factors + terms >> np.uint64(32)).min(axis=0) for document in documents]
    return np.array([slot & np.uint64(255) for slot in slots], dtype=np.uint8).reshape(-1, 112)


def shingles(random: np.random.Generator, count: int) -> np.ndarray:
    return random.integers(0, 2**63, count, dtype=np.uint64)


def near_election(documents: list[np.ndarray], *sizes: int, scope: Scope = "all") -> tuple[Election, Any]:
    order, threshold = plain_order(*sizes), least_agreement(0.7)
    signatures = np.split(signatures_of(documents), np.cumsum(sizes)[:-1])
    enters = [np.ones(size, dtype=bool) for size in sizes]
    found = list(
        near_edges(signatures, enters, order, scope=scope, floor=0, band_slots=8, partitions=Partitions(number=3))
    )
    return elect(found, order, threshold=threshold, scope=scope), found


def components_left(found: list[Edges], num_rows: int) -> int:
    """Rows that stay if one of each connected component of candidate pairs does."""
    parent = list(range(num_rows))

    def root(row: int) -> int:
        while parent[row] != row:
            row = parent[row]
        return row

    for part in found:
        for later, earlier in zip(part.later.tolist(), part.earlier.tolist(), strict=True):
            parent[root(later)] = root(earlier)
    return sum(parent[row] == row for row in range(num_rows))


def test_a_source_with_a_template_is_not_wiped_out() -> None:
    """Documents share 80 % of their shingles, a similarity of 0.67: half stay. Components leave one in thirty."""
    random = np.random.default_rng(5)
    template = shingles(random, 400)
    documents = [np.concatenate([template, shingles(random, 100)]) for _ in range(600)]
    # And 60 true copies, with a few shingles changed.
    documents += [np.concatenate([document[:-4], shingles(random, 4)]) for document in documents[:60]]
    election, found = near_election(documents, 660)
    assert components_left(found, 660) < 40
    dropped = set(election.dropped.tolist())
    # One of a document and its copy goes: where the document went for another one, its copy may stay.
    assert all({row, 600 + row} & dropped for row in range(60))
    assert len(dropped & set(range(600))) < 0.55 * 600


def test_documents_that_drift_are_not_one_cluster() -> None:
    """Each document shares 90 % with the one before it: what stays is similar to nothing that stays before it."""
    random = np.random.default_rng(6)
    text = shingles(random, 300)
    documents = []
    for _ in range(200):
        documents.append(text)
        text = np.concatenate([text[15:], shingles(random, 15)])
    election, found = near_election(documents, 200)
    assert components_left(found, 200) == 1
    kept = sorted(set(range(200)) - set(election.dropped.tolist()))
    assert 25 < len(kept) < 110

    def similarity(left: int, right: int) -> float:
        common = len(np.intersect1d(documents[left], documents[right]))
        return common / (600 - common)

    assert all(similarity(row, twin) > 0.55 for row, twin in twins_of(election).items())


def test_copies_across_sources_are_found_among_all_pairs() -> None:
    """Each document of the second source is a copy of one of the first, with a similarity of 0.9 or so."""
    random = np.random.default_rng(8)
    documents = [shingles(random, 200) for _ in range(300)]
    copies = [np.concatenate([document[10:], shingles(random, 10)]) for document in documents]
    for scope, num_dropped in (("across", 300), ("all", 300), ("within", 0)):
        election, _ = near_election(documents + copies, 300, 300, scope=scope)  # type: ignore[arg-type]
        assert len(election.dropped) == num_dropped
        assert all(row - twin == 300 for row, twin in twins_of(election).items())


@pytest.mark.slow
@pytest.mark.parametrize("scope", SCOPES)
def test_a_million_equal_rows_stay_linear(scope: Scope) -> None:
    """A cluster has two edges a row at most, and one row of it stays in each source that the scope spares."""
    sizes = (600_000, 0, 400_000)
    order, enters = plain_order(*sizes), [np.ones(size, dtype=bool) for size in sizes]
    signatures = [np.zeros((size, 112), dtype=np.uint8) for size in sizes]
    digests = [np.zeros((size, 2), dtype=np.uint64) for size in sizes]
    near = list(
        near_edges(signatures, enters, order, scope=scope, floor=79, band_slots=8, partitions=Partitions(number=4))
    )
    assert sum(len(part) for part in near) <= 2_000_000
    kept = {"all": 1, "within": 2, "across": 600_000}[scope]
    for found in (near, exact_edges(digests, enters, order, scope=scope, partitions=Partitions(number=4))):
        election = elect(found, order, threshold=79, scope=scope)
        assert len(election.dropped) == 1_000_000 - kept
        counts = Counter(election.twin.tolist())
        assert set(counts) == ({0, 600_000} if scope == "within" else {0})
