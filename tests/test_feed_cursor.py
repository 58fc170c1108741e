"""The cursor: a run resumed anywhere, on any number of ranks, sees every remaining sequence once and in order."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mixer.feed
from mixer.errors import CursorError, UsageError
from mixer.feed.cursor import Cursor, rank_offsets, stream
from mixer.feed.epochs import Epochs
from mixer.feed.order import Order
from mixer.feed.steps import Steps
from mixer.shards.locate import Locator

pytestmark = pytest.mark.quick


def start(count: int, seed: int = 1, parts: int = 1) -> Cursor:
    """A cursor at the beginning of a build of so many sequences."""
    return Cursor(
        manifest="m", seed=seed, shuffle_shards=None, epochs=Epochs(num_sequences=count, num_parts=parts)
    ).advance(0)


@settings(deadline=None, max_examples=60)
@given(
    count=st.integers(1, 60),
    seed=st.integers(0, 99),
    parts=st.integers(1, 4),
    runs=st.lists(st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(0, 6)), min_size=1, max_size=5),
)
def test_any_series_of_runs_is_the_uninterrupted_one(
    count: int, seed: int, parts: int, runs: list[tuple[int, int, int]]
) -> None:
    """World sizes, batches and numbers of steps as they come: together the ranks read the one stream, in its order."""
    order = Order(np.array([count]), seed, num_parts=parts)
    cursor = start(count, seed, parts)
    seen: list[tuple[int, int]] = []
    for world, batch, steps in runs:
        cursor = start(count, seed, parts).resumed(json.loads(json.dumps(cursor.state_dict())))
        taken: dict[int, tuple[int, int]] = {}
        for rank in range(world):
            offsets = rank_offsets(np.arange(steps), rank=rank, world=world, batch=batch).reshape(-1)
            epochs, numbers = stream(order, cursor, offsets)
            for offset, epoch, number in zip(offsets.tolist(), epochs.tolist(), numbers.tolist(), strict=True):
                assert offset not in taken
                taken[offset] = (epoch, number)
        assert sorted(taken) == list(range(world * batch * steps))
        seen += [taken[offset] for offset in sorted(taken)]
        cursor = cursor.advance(world * batch * steps)
    # The uninterrupted run: epoch after epoch, as far as it goes.
    epoch, expected, begun = 0, [], 0
    while len(expected) <= len(seen):
        begun = len(expected)
        size = count * (epoch % parts + 1) // parts - count * (epoch % parts) // parts
        expected += [(epoch, number) for number in order.sequences(epoch, np.arange(size)).tolist()]
        epoch += 1
    assert seen == expected[: len(seen)]
    assert (cursor.epoch, cursor.consumed) == (epoch - 1, len(seen) - begun)


def test_skipping_ahead_is_a_sum() -> None:
    """Step 73,500 of 64 ranks with batches of 21 is known at once, without the steps before it."""
    cursor = start(700_000_000).advance(73_500 * 64 * 21)
    assert (cursor.epoch, cursor.consumed) == (0, 98_784_000)
    offsets = rank_offsets(np.array([73_500]), rank=63, world=64, batch=21)
    assert offsets[0, 0] == 73_500 * 64 * 21 + 63


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"manifest": "other"}, "another build: its manifest is 'other', here it is m"),
        ({"seed": 2}, "another order: its seed is 2, here it is 1"),
        ({"shuffle_shards": 8}, "another order: its shuffle_shards is 8, here it is None"),
        ({"version": 1}, "the cursor is of version 1; this mixer reads 2"),
        ({"version": 2.0}, "the cursor is of version 2.0; this mixer reads 2"),
        ({"order": "stream"}, "another order: its order is 'stream', here it is full"),
        ({"seed": True}, "another order: its seed is True, here it is 1"),
        ({"seed": 1.0}, "another order: its seed is 1.0, here it is 1"),
        ({"epoch": True}, "which is impossible"),
        ({"epoch": 3.0}, "which is impossible"),
        ({"consumed": False}, "which is impossible"),
        ({"epoch": 10**18}, "which no run reaches"),
        ({"epoch": 10**30}, "which no run reaches"),
        ({"consumed": 10**30}, "of epoch 0, which has 10"),
        ({"consumed": 10}, "10 sequences of epoch 0, which has 10"),
        ({"consumed": -1}, "which is impossible"),
        ({"epoch": -1}, "which is impossible"),
        ({"consumed": "3"}, "which is impossible"),
        ({"epoch": None}, "which is impossible"),
        ({"rank": 0}, "not a cursor of version 2"),
    ],
)
def test_a_cursor_of_something_else_is_refused_with_the_reason(change: dict, words: str) -> None:
    """Another build, another order, a newer version, or numbers that cannot be."""
    cursor = start(10).advance(3)
    with pytest.raises(CursorError, match=words):
        cursor.resumed({**cursor.state_dict(), **change})


def test_a_build_begins_with_the_recipes_seed(finished: Path) -> None:
    """Unless another is given; a build without sequences cannot begin."""
    sequences = mixer.feed.open(finished)
    assert Cursor.start(sequences).seed == sequences.manifest.seed
    assert Cursor.start(sequences, seed=9, shuffle_shards=2).state_dict() == {
        "version": 2,
        "order": "full",
        "manifest": sequences.manifest.id,
        "seed": 9,
        "shuffle_shards": 2,
        "epoch": 0,
        "consumed": 0,
    }
    for wrong in (True, 1.5, "1", 10**30):
        with pytest.raises(UsageError, match="seed is "):
            Cursor.start(sequences, seed=wrong)  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="shuffle_shards is "):
            Cursor.start(sequences, shuffle_shards=wrong)  # type: ignore[arg-type]
    sequences.locator = Locator([], 1)
    with pytest.raises(UsageError, match="no sequences"):
        Cursor.start(sequences)


@pytest.mark.parametrize("state", [None, [], "epoch", 3, {}])
def test_what_is_no_cursor_is_refused(state: object) -> None:
    """Whatever a checkpoint gives in its place."""
    with pytest.raises(CursorError, match=r"not a cursor: it is|the cursor is of version None"):
        start(10).resumed(state)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [True, np.True_, 1.5, np.float64(2), "2", None, 10**20, -(10**20)])
@pytest.mark.parametrize("name", ["batch_size", "rank", "world", "epochs"])
def test_a_number_of_steps_is_a_whole_number(name: str, value: object) -> None:
    """No bool, no fraction, none that does not fit."""
    if (name, value) == ("epochs", None):
        return  # a run without end
    with pytest.raises(UsageError, match=rf"{name} is |rank .* of .* with batches of"):
        Steps(**{"batch_size": 1, name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(("rank", "world", "batch"), [(2, 2, 1), (-1, 2, 1), (0, 0, 1), (0, 1, 0)])
def test_a_rank_outside_its_world_is_refused(rank: int, world: int, batch: int) -> None:
    """Before a sequence is read."""
    with pytest.raises(UsageError, match=f"rank {rank} of {world} with batches of {batch}"):
        rank_offsets(np.arange(1), rank=rank, world=world, batch=batch)
