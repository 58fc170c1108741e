"""Laws of the draws: exact at every prefix, monotone, and the same however they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import islice, pairwise

import numpy as np
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixer import rng
from mixer.mixing.blocks import BlockOrder
from mixer.mixing.draws import DrawSchedule, row_weights
from mixer.mixing.tasks import document_slots

pytestmark = pytest.mark.quick

NUM_DRAWS = 3000
SAMPLE = [40, 44, 3, 2, 10, 1]
integers = st.lists(st.integers(1, 1000), min_size=1, max_size=12)
decimals = st.lists(st.integers(1, 9999).map(lambda n: n / 10_000), min_size=1, max_size=12)


def check_quota(weights: Sequence[int | float]) -> None:
    """Every prefix is within one row of every share, and every view of the draws tells the same."""
    schedule = DrawSchedule(weights)
    draws = schedule.sources(0, NUM_DRAWS)
    exact = [Fraction(str(weight)) for weight in weights]
    total = sum(exact)
    hits = draws[:, None] == np.arange(len(weights))
    counts = np.concatenate([np.zeros((1, len(weights)), np.int64), np.cumsum(hits, axis=0)])
    for source, weight in enumerate(exact):
        share = weight / total
        # |count - share * n| < 1 in whole numbers, without a rounding.
        off = counts[:, source] * share.denominator - share.numerator * np.arange(NUM_DRAWS + 1)
        assert np.abs(off).max() < share.denominator
        for count in {1, 2, int(counts[-1, source]) // 2, int(counts[-1, source])} - {0}:
            if count <= counts[-1, source]:
                assert schedule.draws_until(source, count) == int(np.argmax(counts[:, source] == count))
    for num_draws in (0, 1, 2, 99, 100, 101, 2999, 3000):
        assert schedule.counts(num_draws).tolist() == counts[num_draws].tolist()


@settings(deadline=None, max_examples=40)
@given(integers)
def test_integer_weights_are_met_at_every_prefix(weights: list[int]) -> None:
    """Within less than one row, for every source, after any number of draws."""
    check_quota(weights)


@settings(deadline=None, max_examples=30)
@given(decimals)
def test_decimal_weights_are_met_at_every_prefix(weights: list[float]) -> None:
    """0.4038 means 4038 of 10000."""
    check_quota(weights)


@pytest.mark.parametrize("weights", [SAMPLE, [0.4038, 0.5061, 0.0585, 0.0316], [1], [1, 1], [999, 1], [1] * 12])
def test_the_mixtures_people_use_are_met_at_every_prefix(weights: list[int | float]) -> None:
    """The sample's weights and the published ones."""
    check_quota(weights)


@settings(deadline=None, max_examples=15)
@given(st.one_of(st.just(SAMPLE), st.lists(st.integers(1, 60), min_size=1, max_size=6)), st.integers(0, 500))
def test_draws_equal_the_naive_schedule(weights: list[int], start: int) -> None:
    """Earliest deadline of those that are not too early, ties to the first source."""
    naive = list(islice(oracle.draws(list(weights)), start + 400))
    assert DrawSchedule(weights).sources(start, start + 400).tolist() == naive[start:]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(0.01, 1000), min_size=2, max_size=6), st.data())
def test_weights_in_tokens_keep_their_ratio(weights: list[float], data: st.DataObject) -> None:
    """Row weights times tokens a row are the token weights, within the grid's step."""
    means = data.draw(st.lists(st.floats(1, 20_000), min_size=len(weights), max_size=len(weights)))
    rows = row_weights(weights, means)
    wanted = np.array([weight / mean for weight, mean in zip(weights, means, strict=True)])
    assert np.abs(np.array(rows) / 2**18 - wanted / wanted.sum()).max() <= 1.01 / 2**18
    assert min(rows) >= 1


PASSES = st.integers(1, 7).flatmap(
    lambda blocks: st.lists(
        st.lists(st.integers(0, 6), min_size=blocks, max_size=blocks).filter(sum), min_size=1, max_size=4
    )
)
"""Rows of each block on each pass of a cycle."""


def drawn_one_by_one(passes: list[list[int]], num_draws: int) -> list[tuple[int, int, int]]:
    """The pass, block and row in the block of each draw, slowly: pass after pass, block after block, row after row."""
    drawn: list[tuple[int, int, int]] = []
    pass_number = 0
    while len(drawn) < num_draws:
        kept = passes[pass_number % len(passes)]
        for block in rng.permutation(len(kept), 1, "blocks", "s", pass_number).tolist():
            drawn += [(pass_number, block, row) for row in range(kept[block])]
        pass_number += 1
    return drawn[:num_draws]


@settings(deadline=None, max_examples=80)
@given(PASSES, st.lists(st.integers(1, 9), max_size=8), st.integers(0, 12))
def test_rows_do_not_depend_on_how_draws_are_cut(passes: list[list[int]], cuts: list[int], more: int) -> None:
    """Passes may differ in length; any cutting of the draws gives the rows of reading pass after pass."""
    num_draws = 2 * sum(map(sum, passes)) + more
    whole = BlockOrder(1, "s", [np.array(kept) for kept in passes])
    borders = sorted({0, num_draws, *(cut for cut in np.cumsum(cuts).tolist() if cut < num_draws)})

    def flat(order: BlockOrder, start: int, stop: int) -> list[tuple[int, int, int]]:
        return [(r.pass_number, r.block, row) for r in order.ranges(start, stop) for row in range(r.start, r.stop)]

    expected = drawn_one_by_one(passes, num_draws)
    assert flat(whole, 0, num_draws) == expected
    backwards = [flat(whole, start, stop) for start, stop in reversed(list(pairwise(borders)))]
    assert [row for part in reversed(backwards) for row in part] == expected
    assert len(set(expected)) == len(expected)


@settings(deadline=None, max_examples=40)
@given(PASSES, st.data())
def test_draws_passes_and_rows_are_found_from_one_another(passes: list[list[int]], data: st.DataObject) -> None:
    """`locate`, `first_draw`, `block_draws` and `rows` say what the slow reading does, also in far cycles."""
    order = BlockOrder(1, "s", [np.array(kept) for kept in passes])
    assert order.num_cycle_rows == sum(map(sum, passes))
    num_draws = 3 * order.num_cycle_rows
    expected = drawn_one_by_one(passes, num_draws)
    for draw, (pass_number, block, row) in enumerate(expected):
        first = next(number for number, one in enumerate(expected) if one[0] == pass_number)
        assert order.locate(draw) == (pass_number, draw - first)
        assert order.first_draw(pass_number) == first
        assert order.block_draws(block, pass_number)[0] == draw - row
        assert order.block_draws(block, pass_number)[1] == draw - row + passes[pass_number % len(passes)][block]
    start = data.draw(st.integers(0, num_draws - 1))
    stop = data.draw(st.integers(start + 1, num_draws))
    first_row = np.cumsum([0, *(max(kept) for kept in zip(*passes))])[:-1]
    rows, numbers = order.rows(start, stop, first_row)
    assert numbers.tolist() == [pass_number for pass_number, _, _ in expected[start:stop]]
    assert rows.tolist() == [int(first_row[block]) + row for _, block, row in expected[start:stop]]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.integers(0, 2**63 - 1), st.integers(0, 10**6))
def test_documents_are_permuted_within_their_source(slots: list[int], seed: int, task: int) -> None:
    """A permutation of the slots that leaves each slot with its source."""
    drawn = np.array(slots, dtype=np.int16)
    placed = document_slots(drawn, ["a", "b", "c", "d"], seed, task)
    assert sorted(placed.tolist()) == list(range(len(slots)))
    assert drawn[placed].tolist() == sorted(slots)
