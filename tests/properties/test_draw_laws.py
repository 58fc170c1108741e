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

from mixer.mixing.blocks import BlockOrder
from mixer.mixing.draws import DrawSchedule, row_weights
from mixer.mixing.tasks import document_slots

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


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=8).filter(sum), st.lists(st.integers(1, 9), max_size=8))
def test_rows_do_not_depend_on_how_draws_are_cut(block_rows: list[int], cuts: list[int]) -> None:
    """Any cutting of the draws gives the same rows, and every pass has each row once."""
    rows = np.array(block_rows)
    num_draws = 2 * int(rows.sum())
    whole = BlockOrder(1, "s", rows)
    borders = sorted({0, num_draws, *(cut for cut in np.cumsum(cuts).tolist() if cut < num_draws)})

    def flat(order: BlockOrder, start: int, stop: int) -> list[tuple[int, int, int]]:
        return [(r.pass_number, r.block, row) for r in order.ranges(start, stop) for row in range(r.start, r.stop)]

    expected = flat(whole, 0, num_draws)
    backwards = [flat(whole, start, stop) for start, stop in reversed(list(pairwise(borders)))]
    assert [row for part in reversed(backwards) for row in part] == expected
    assert len(set(expected)) == len(expected) == num_draws


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.integers(0, 2**63 - 1), st.integers(0, 10**6))
def test_documents_are_permuted_within_their_source(slots: list[int], seed: int, task: int) -> None:
    """A permutation of the slots that leaves each slot with its source."""
    drawn = np.array(slots, dtype=np.int16)
    placed = document_slots(drawn, ["a", "b", "c", "d"], seed, task)
    assert sorted(placed.tolist()) == list(range(len(slots)))
    assert drawn[placed].tolist() == sorted(slots)
