"""Weights to draws, draws to rows, rows to tasks, and how far a target reaches."""

from __future__ import annotations

import numpy as np
import pytest

from mixer import rng
from mixer.errors import RecipeError
from mixer.mixing.blocks import BlockOrder, RowRange
from mixer.mixing.draws import DrawSchedule, row_weights
from mixer.mixing.target import Extent, Supply, extent
from mixer.mixing.tasks import document_slots

pytestmark = pytest.mark.quick


def test_draws_of_two_to_one() -> None:
    """Weights 2 and 1: a, a, b, and again from the start."""
    schedule = DrawSchedule([2, 1])
    assert schedule.sources(0, 7).tolist() == [0, 0, 1, 0, 0, 1, 0]
    assert schedule.sources(4, 7).tolist() == [0, 1, 0]
    assert schedule.sources(3, 3).tolist() == []
    assert schedule.counts(5).tolist() == [4, 1]
    assert schedule.counts(0).tolist() == [0, 0]
    assert [schedule.draws_until(1, count) for count in (1, 2, 3)] == [3, 6, 9]


def test_weights_are_taken_as_the_decimals_that_were_written() -> None:
    """0.1 : 0.2 is 1 : 2, and 4038 : 5061 has no smaller form."""
    assert DrawSchedule([0.1, 0.2]).integer_weights.tolist() == [1, 2]
    assert DrawSchedule([0.4038, 0.5061]).integer_weights.tolist() == [1346, 1687]
    assert DrawSchedule([40, 44, 3, 2, 10, 1]).period_draws == 100


def test_a_very_small_weight_gets_its_rows() -> None:
    """A share of 0.0001 has exactly one row in every ten thousand."""
    schedule = DrawSchedule([0.9999, 0.0001])
    assert np.bincount(schedule.sources(0, 50_000)).tolist() == [49_995, 5]


@pytest.mark.parametrize("weights", [[], [1, 0], [1, -1]])
def test_weights_that_are_not_positive_are_refused(weights: list[int]) -> None:
    """No schedule is made from them."""
    with pytest.raises(ValueError, match="positive"):
        DrawSchedule(weights)


def test_a_period_too_long_to_compute_is_refused() -> None:
    """The limit is named."""
    with pytest.raises(ValueError, match="4,194,304"):
        DrawSchedule([4_194_304, 1])


def test_weights_in_tokens_become_weights_in_rows() -> None:
    """Equal tokens, rows ten times as long: a tenth of the rows."""
    long, short = row_weights([1, 1], [1000.0, 100.0])
    assert abs(short / long - 10) < 1e-3


def test_rows_of_a_pass_are_the_blocks_in_a_keyed_order() -> None:
    """Three blocks of 2, 0 and 3 rows, over two passes and a bit."""
    order = BlockOrder(5, "wiki", [np.array([2, 0, 3])])
    expected = []
    for pass_number in range(3):
        for block in rng.permutation(3, 5, "blocks", "wiki", pass_number).tolist():
            expected += [(pass_number, block, row) for row in range([2, 0, 3][block])]
    found = [(r.pass_number, r.block, row) for r in order.ranges(0, 12) for row in range(r.start, r.stop)]
    assert found == expected[:12]
    pieces = [(r.pass_number, r.block, row) for d in range(12) for r in order.ranges(d, d + 1) for row in [r.start]]
    assert pieces == expected[:12]


def test_ranges_are_cut_at_the_borders_of_blocks() -> None:
    """One range for consecutive rows of one block."""
    order = BlockOrder(0, "a", [np.array([4])])
    assert list(order.ranges(1, 6)) == [
        RowRange(pass_number=0, block=0, start=1, stop=4),
        RowRange(pass_number=1, block=0, start=0, stop=2),
    ]


def test_documents_stay_in_the_slots_of_their_source() -> None:
    """A permutation of all slots; those of a source go to that source's documents."""
    slots = np.array([0, 1, 0, 0, 1], dtype=np.int16)
    placed = document_slots(slots, ["a", "b"], 3, 9)
    assert sorted(placed.tolist()) == [0, 1, 2, 3, 4]
    assert slots[placed].tolist() == [0, 0, 0, 1, 1]


SCHEDULE = DrawSchedule([3, 1])


def supplies(most: int | None = None) -> list[Supply]:
    return [Supply(name="web", num_rows=300, max_passes=most), Supply(name="maths", num_rows=10, max_passes=most)]


def reach(
    target: tuple | None, when_exhausted: str, most: int | None = None, tokens_per_draw: float = 100.0, times: int = 1
) -> Extent:
    return extent(
        SCHEDULE,
        supplies(most),
        target=target,
        when_exhausted=when_exhausted,  # type: ignore[arg-type]
        tokens_per_draw=tokens_per_draw,
        sequence_length=64,
        times=times,
    )


@pytest.mark.parametrize("kind", ["rows", "passes", "tokens", "sequences"])
def test_a_target_for_each_of_three_epochs_is_three_times_as_much(kind: str) -> None:
    """Whatever it counts; and where that is too much, the message says for how many epochs it was."""
    source = "maths" if kind == "passes" else None
    assert reach((kind, 5, source), "repeat", times=3) == reach((kind, 15, source), "repeat")
    with pytest.raises(RecipeError, match=r"5,000 .*in each of 3 redrawn epochs needs"):
        reach((kind, 5000, source), "error", times=3)


def test_a_target_in_rows_is_met_by_repeating() -> None:
    """As many draws as rows, however often a source has to be read."""
    assert reach(("rows", 4000, None), "repeat").max_draws == 4000


def test_a_target_in_passes_ends_with_the_last_row_of_the_last_pass() -> None:
    """Three passes over the 10 rows of maths: its 30th draw."""
    found = reach(("passes", 3, "maths"), "repeat").max_draws
    assert found == next(n for n in range(1000) if SCHEDULE.counts(n)[1] == 30)


def test_stop_ends_before_the_first_draw_that_has_no_row() -> None:
    """Maths has 10 rows: the build ends before the draw that would be its 11th."""
    limit = next(n for n in range(1000) if SCHEDULE.counts(n + 1)[1] == 11)
    assert reach(None, "stop").max_draws == limit
    assert reach(("rows", 4000, None), "stop").max_draws == limit
    assert reach(("rows", 5, None), "stop").max_draws == 5
    found = reach(("tokens", 10**6, None), "stop")
    assert (found.max_draws, found.end_tokens) == (limit, 10**6)


def test_max_passes_caps_the_repetition() -> None:
    """Two passes over maths allow 20 of its rows, not 21."""
    limit = next(n for n in range(1000) if SCHEDULE.counts(n + 1)[1] == 21)
    assert reach(("rows", limit, None), "repeat", most=2).max_draws == limit
    with pytest.raises(RecipeError, match="the mix cannot be met"):
        reach(("rows", limit + 1, None), "repeat", most=2)


def test_a_mix_that_cannot_be_met_says_all_of_it() -> None:
    """The target, the best reachable, the limiting source, the arithmetic, and two ways out."""
    with pytest.raises(RecipeError) as caught:
        reach(("rows", 4000, None), "error")
    assert str(caught.value) == (
        "target: the mix cannot be met: target 4,000 rows needs 4,000 draws, but the best reachable is 43 draws; "
        "maths runs out first: 25.0000% of 4,000 draws is 1,000 rows, 100.00 passes over its 10 rows, and 1 pass is "
        "allowed\n"
        "  hint: lower the target to what 43 draws give, or allow maths 100 passes (`when_exhausted: repeat` and "
        "`max_passes`) or a smaller weight"
    )


def test_no_target_and_no_end_is_refused() -> None:
    """Nothing would ever stop the build."""
    with pytest.raises(RecipeError, match="no source ever runs out"):
        reach(None, "repeat")
