"""Edges: the pairs that the rules name, group by group, whatever the partitions."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from curate_kit import SCOPES, World, as_set, edges, elected_by_hand, may_be_duplicates, plain_order, worlds
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mixer.curate import edges as edges_module
from mixer.curate import pair_buckets
from mixer.curate.agreement import agreement_of, least_agreement
from mixer.curate.edges import EQUAL, band_pairs, estimated_edges, exact_edges, merged_edges, near_edges
from mixer.curate.pairing import Scope, linear_pairs
from mixer.curate.scratch import Buckets, Partitions
from mixer.errors import RecipeError, TaskError
from mixer.system import disk

pytestmark = pytest.mark.quick


def pairs_by_hand(group: list[int], source_at: list[int], scope: str) -> set[tuple[int, int]]:
    """The pairs of a group, as format.md has them, row by row."""
    found = set()
    group = sorted(group)
    for number, place in enumerate(group):
        before = group[:number]
        if scope == "within":
            before = [one for one in before if source_at[one] == source_at[place]]
        if not before:
            continue
        if scope == "across":
            others = {source_at[one] for one in before} - {source_at[place]}
            targets = {max(one for one in before if source_at[one] == other) for other in others}
            targets |= {before[0]} if source_at[before[0]] != source_at[place] else set()
        else:
            targets = {before[0], before[-1]}
        found |= {(place, target) for target in targets}
    return found


def near_by_hand(
    rows: list[list[int] | None], source_at: list[int], scope: str, floor: int, band_slots: int
) -> set[tuple[int, ...]]:
    """Edges of signatures of two bands by place; None takes no part."""
    pairs = set()
    for start in (0, band_slots):
        groups = defaultdict(list)
        for place, row in enumerate(rows):
            if row is not None:
                groups[tuple(row[start : start + band_slots])].append(place)
        for group in groups.values():
            pairs |= pairs_by_hand(group, source_at, scope)
    agreements = {
        pair: sum(left == right for left, right in zip(rows[pair[0]] or [], rows[pair[1]] or [], strict=True))
        for pair in pairs
    }
    return {(*pair, agreement) for pair, agreement in agreements.items() if agreement >= floor}


def facts(world: World, data: st.DataObject, num_columns: int, num_values: int) -> dict[str, Any]:
    """A value of some columns for each row, and which rows enter, by source and by place; sources that are exempt."""
    values = st.lists(st.integers(0, num_values - 1), min_size=num_columns, max_size=num_columns)
    by_source, enters = [], []
    for _, sizes, _ in world.sources:
        by_source.append([data.draw(values) for _ in sizes])
        enters.append([data.draw(st.sampled_from([True, True, True, False])) for _ in sizes])
    exempt = data.draw(st.sets(st.integers(0, len(world.sources) - 1), max_size=2))
    rows = [
        row if enter and number not in exempt else None
        for number, (some, entering) in enumerate(zip(by_source, enters, strict=True))
        for row, enter in zip(some, entering, strict=True)
    ]
    sources, in_order = world.source_of_row(), world.rows_in_order()
    return {
        "by_source": by_source,
        "enters": [np.array(one, dtype=bool) for one in enters],
        "exempt": exempt,
        "by_place": [rows[row] for row in in_order],
        "source_at": [sources[row] for row in in_order],
    }


@settings(deadline=None)
@given(world=worlds(), scope=st.sampled_from(SCOPES), data=st.data(), num_partitions=st.sampled_from([1, 2, 7]))
def test_exact_edges_lead_to_what_all_pairs_would_elect(
    world: World, scope: Scope, data: st.DataObject, num_partitions: int
) -> None:
    """An edge a row instead of all pairs; exempt sources and rows that do not enter have none."""
    drawn = facts(world, data, 2, 2)
    digests = [np.array(one, dtype=np.uint64).reshape(-1, 2) for one in drawn["by_source"]]
    found = as_set(
        list(
            exact_edges(
                digests,
                drawn["enters"],
                world.order(),
                scope=scope,
                exempt=drawn["exempt"],
                partitions=Partitions(number=num_partitions),
            )
        )
    )
    rows, source_at = drawn["by_place"], drawn["source_at"]
    every = {
        (later, earlier, EQUAL)
        for later in range(len(rows))
        for earlier in range(later)
        if rows[later] is not None and rows[later] == rows[earlier]
    }
    assert {edge for edge in found if not may_be_duplicates(source_at[edge[0]], source_at[edge[1]], scope)} == set()
    assert found <= every
    assert elected_by_hand(found, source_at, 1, scope) == elected_by_hand(every, source_at, 1, scope)
    assert len(found) == len({edge[0] for edge in found})


@settings(deadline=None, max_examples=200)
@given(
    world=worlds(max_rows=9),
    scope=st.sampled_from(SCOPES),
    data=st.data(),
    num_partitions=st.sampled_from([1, 2, 7]),
    floor=st.sampled_from([0, 9, 16]),
    band_slots=st.sampled_from([8, 1, 3, 5]),
)
def test_near_edges_are_those_of_the_rules(
    world: World, scope: Scope, data: st.DataObject, num_partitions: int, floor: int, band_slots: int
) -> None:
    """Two bands of few values, so that groups are large and meet; a band's last slot may alone differ."""
    drawn = facts(world, data, 4, 2)
    counts = [band_slots - 1, 1] * 2
    slots = [[list(np.repeat(row, counts)) for row in one] for one in drawn["by_source"]]
    rows = [None if row is None else list(np.repeat(row, counts)) for row in drawn["by_place"]]
    found = as_set(
        list(
            near_edges(
                [np.array(one, dtype=np.uint8).reshape(-1, 2 * band_slots) for one in slots],
                drawn["enters"],
                world.order(),
                scope=scope,
                floor=floor,
                band_slots=band_slots,
                exempt=drawn["exempt"],
                partitions=Partitions(number=num_partitions),
            )
        )
    )
    assert found == near_by_hand(rows, drawn["source_at"], scope, floor, band_slots)


def similar_signatures(*sizes: int) -> list[np.ndarray]:
    """112 slots a row: rows are of one of a few texts, with some slots changed."""
    random = np.random.default_rng(7)
    texts = random.integers(0, 256, (12, 112), dtype=np.uint8)
    found = []
    for size in sizes:
        rows = texts[random.integers(0, len(texts), size)]
        changed = random.random((size, 112)) < random.random((size, 1)) / 3
        found.append(np.where(changed, random.integers(0, 256, (size, 112), dtype=np.uint8), rows))
    return found


@pytest.mark.parametrize("scope", SCOPES)
def test_files_partitions_and_pieces_make_no_difference(
    scope: Scope, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor the order in which bands and partitions are worked on, nor pairs that come again. Files do not stay."""
    signatures, order = similar_signatures(300, 0, 200), plain_order(300, 0, 200)
    enters = [np.ones(len(one), dtype=bool) for one in signatures]
    digests = [one[:, :16].copy().view(np.uint64) // np.uint64(1 << 60) for one in signatures]
    near = as_set(list(near_edges(signatures, enters, order, scope=scope, floor=60, band_slots=8)))
    exact = as_set(list(exact_edges(digests, enters, order, scope=scope)))
    assert len(near) > 200
    assert len(exact) > 100
    bands = [
        list(band_pairs([array[:, start : start + 8] for array in signatures], enters, order, scope=scope))
        for start in range(104, -1, -8)
    ]
    shuffled = np.random.default_rng(1).permutation(np.concatenate([pair for band in bands for pair in band]))
    assert as_set([estimated_edges(np.concatenate([shuffled, shuffled[:9]]), signatures, order, 60)]) == near
    monkeypatch.setattr(edges_module, "_CHUNK_ROWS", 7)
    monkeypatch.setattr(edges_module, "_ESTIMATE_ROWS", 5)
    monkeypatch.setattr(pair_buckets, "_LEAST_PAIRS", 3)
    for num_partitions in (1, 3, 64):
        for folder in (None, tmp_path / "new"):
            options: dict[str, Any] = {"scope": scope, "partitions": Partitions(number=num_partitions, folder=folder)}
            assert as_set(list(near_edges(signatures, enters, order, floor=60, band_slots=8, **options))) == near
            assert as_set(list(exact_edges(digests, enters, order, **options))) == exact
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_pairs_that_bands_share_are_kept_once_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """1,000 equal rows have 1,997 pairs, each in 14 bands; few of those are kept at a time."""
    monkeypatch.setattr(pair_buckets, "_LEAST_PAIRS", 10)
    counts = []
    spread = Buckets.spread

    def noted(self: Buckets, bucket: np.ndarray, records: np.ndarray) -> None:
        spread(self, bucket, records)
        counts.append(self.count(0))

    monkeypatch.setattr(Buckets, "spread", noted)
    signatures, enters = [np.zeros((1000, 112), dtype=np.uint8)], [np.ones(1000, dtype=bool)]
    found = as_set(list(near_edges(signatures, enters, plain_order(1000), scope="all", floor=0, band_slots=8)))
    assert len(found) == 1997
    assert max(counts) <= 3 * 1997


def test_edges_of_a_higher_floor_are_those_of_a_lower_one() -> None:
    """So a threshold can be chosen after edges are made."""
    signatures, order = similar_signatures(200), plain_order(200)
    enters = [np.ones(200, dtype=bool)]
    low = as_set(list(near_edges(signatures, enters, order, scope="all", floor=56, band_slots=8)))
    high = as_set(list(near_edges(signatures, enters, order, scope="all", floor=90, band_slots=8)))
    assert high == {edge for edge in low if edge[2] >= 90} != low


def test_the_example_of_the_module() -> None:
    """Places 0 1 | 5 6 | 9 of three sources."""
    order = plain_order(5, 4, 1)
    places = np.array([9, 0, 6, 5, 1])
    keys = np.zeros((1, 5), dtype=np.uint64)
    expected = {
        "all": [(1, 0), (5, 0), (5, 1), (6, 0), (6, 5), (9, 0), (9, 6)],
        "within": [(1, 0), (6, 5)],
        "across": [(5, 0), (5, 1), (6, 0), (6, 1), (9, 0), (9, 1), (9, 6)],
    }
    for scope, pairs in expected.items():
        assert sorted(map(tuple, linear_pairs(keys, places, order, scope).tolist())) == pairs  # type: ignore[arg-type]


@settings(deadline=None)
@example(sizes=[1, 3], scope="across")
@example(sizes=[2, 0, 1, 2], scope="across")
@given(sizes=st.lists(st.integers(0, 12), min_size=1, max_size=5), scope=st.sampled_from(SCOPES))
def test_pairs_of_a_group_are_linear(sizes: list[int], scope: Scope) -> None:
    """Two a row, or one and one for each other source; each once."""
    order = plain_order(*sizes)
    pairs = linear_pairs(np.zeros((1, sum(sizes)), dtype=np.uint64), np.arange(sum(sizes)), order, scope)
    assert len(pairs) <= (max(2, len(sizes)) * sum(sizes))
    assert len(np.unique(pairs, axis=0)) == len(pairs)


def test_a_source_that_comes_last_changes_nothing_for_others() -> None:
    """Its rows have edges, and all other edges are as before."""
    signatures = similar_signatures(200, 100)
    enters = [np.ones(len(one), dtype=bool) for one in signatures]
    for scope in SCOPES:
        options: dict[str, Any] = {"scope": scope, "floor": 56, "band_slots": 8}
        without = as_set(list(near_edges(signatures[:1], enters[:1], plain_order(200), **options)))
        found = as_set(list(near_edges(signatures, enters, plain_order(200, 100), **options)))
        assert {edge for edge in found if edge[0] < 200} == without


def test_sources_without_facts_take_no_part() -> None:
    """None stands for their signatures or digests."""
    order = plain_order(2, 2)
    same = np.zeros((2, 112), dtype=np.uint8)
    enters = [np.ones(2, dtype=bool)] * 2
    assert as_set(list(near_edges([None, same], enters, order, scope="all", floor=1, band_slots=8))) == {(3, 2, 112)}
    assert as_set(list(near_edges([None, None], enters, order, scope="all", floor=1, band_slots=8))) == set()
    digests = [np.zeros((2, 2), dtype=np.uint64), None]
    assert as_set(list(exact_edges(digests, enters, order, scope="all"))) == {(1, 0, EQUAL)}


def test_digests_differ_if_a_half_differs() -> None:
    """Groups are of all 128 bits."""
    digests = [np.array([[1, 2], [1, 3], [1, 2], [3, 2]], dtype=np.uint64)]
    found = exact_edges(digests, [np.ones(4, dtype=bool)], plain_order(4), scope="all", partitions=Partitions(number=3))
    assert as_set(list(found)) == {(2, 0, EQUAL)}


def test_merged_edges_are_sorted_and_each_pair_comes_once() -> None:
    """With its greatest agreement."""
    merged = merged_edges([edges((3, 1, 80), (5, 0, 90)), edges((2, 0, 70), (5, 0, 91)), edges()])
    assert as_set([merged]) == {(2, 0, 70), (3, 1, 80), (5, 0, 91)}
    assert len(merged_edges([])) == 0


def test_the_least_agreement_is_a_share_without_rounding_errors() -> None:
    """0.7 of 112 is 78.4; 0.75 is 84."""
    assert [least_agreement(one) for one in (0.0, 0.7, 0.75, 0.8, 1.0)] == [0, 79, 84, 90, 112]
    assert least_agreement(0.07, 100) == 7  # 0.07 * 100 is 7.000000000000001


def test_agreements_fit_into_a_byte() -> None:
    """More slots are refused: their counts would start at zero again."""
    same = np.zeros((2, 255), dtype=np.uint8)
    assert agreement_of(same[:, :254], same[:, :254]).tolist() == [254, 254]
    with pytest.raises(RecipeError, match="255 slots, at most 254"):
        list(near_edges([same], [np.ones(2, dtype=bool)], plain_order(2), scope="all", floor=1, band_slots=5))


def test_a_full_disk_is_an_error_with_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And so is a file that another program cut."""
    buckets = Buckets(2, 1, tmp_path)
    buckets.spread(np.array([0, 1]), np.array([[1], [2]]))
    (tmp_path / "00001").write_bytes(b"")
    with pytest.raises(TaskError, match="has 0 bytes, expected 8"):
        buckets.take(1)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(disk, "write", full)
    with pytest.raises(TaskError, match="No space left") as caught:
        buckets.spread(np.array([0]), np.array([[1]]))
    assert caught.value.where == str(tmp_path / "00000")


def test_files_of_an_earlier_run_are_overwritten(tmp_path: Path) -> None:
    """A run that was killed leaves its files."""
    (tmp_path / "00000").write_bytes(b"left over")
    buckets = Buckets(2, 1, tmp_path)
    buckets.spread(np.array([0, 0]), np.array([[1], [2]]))
    buckets.spread(np.array([0]), np.array([[3]]))
    assert buckets.take(0).tolist() == [[1], [2], [3]]
    assert buckets.take(0).tolist() == []
