"""The order of training: permutation laws, the inverse, windows, and the vectors of the format page."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixer import rng
from mixer.errors import UsageError
from mixer.feed.epochs import Epochs
from mixer.feed.order import ROUNDS, Order, Permutation

pytestmark = pytest.mark.quick

MASK = (1 << 64) - 1


def mix(value: int) -> int:
    """SplitMix64's finaliser, in plain Python."""
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & MASK
    return value ^ (value >> 31)


def slow_permutation(count: int, keys: list[int]) -> list[int]:
    """Format.md, section 6, one number at a time."""
    bits = (count - 1).bit_length()
    found = []
    for position in range(count):
        value = position
        while True:
            low_width, high_width = bits // 2, bits - bits // 2
            low, high = value & ((1 << low_width) - 1), value >> low_width
            for key in keys:
                low, high = high ^ (mix((low + key) & MASK) & ((1 << high_width) - 1)), low
                low_width, high_width = high_width, low_width
            value = (high << low_width) | low
            if value < count:
                break
        found.append(value)
    return found


@settings(deadline=None, max_examples=60)
@given(count=st.integers(1, 600), seed=st.integers(0, 2**63 - 1))
def test_a_permutation_is_that_of_the_page_and_has_an_inverse(count: int, seed: int) -> None:
    """Every position once; equal to the plain version; backward undoes forward."""
    keys = rng.words(seed, ROUNDS).tolist()
    permutation = Permutation(count=count, round_keys=tuple(keys))
    found = permutation.forward(np.arange(count))
    assert found.tolist() == (slow_permutation(count, keys) if count > 1 else [0])
    assert sorted(found.tolist()) == list(range(count))
    assert permutation.backward(found).tolist() == list(range(count))


@settings(deadline=None, max_examples=60)
@given(
    shards=st.lists(st.integers(1, 40), min_size=1, max_size=12),
    shuffle_shards=st.none() | st.integers(1, 14),
    epoch=st.integers(0, 9),
    parts=st.integers(1, 5),
    seed=st.integers(0, 1000),
)
def test_an_epoch_takes_every_sequence_of_its_part_once(
    shards: list[int], shuffle_shards: int | None, epoch: int, parts: int, seed: int
) -> None:
    """With and without a shuffle_shards; any part of it is the same alone; positions undo sequences."""
    order = Order(np.array(shards), seed, shuffle_shards, num_parts=parts)
    borders = [sum(shards) * part // parts for part in range(parts + 1)]
    expected = range(borders[epoch % parts], borders[epoch % parts + 1])
    positions = np.arange(len(expected))
    whole = order.sequences(epoch, positions)
    assert sorted(whole.tolist()) == list(expected)
    assert order.sequences(epoch, positions[::-3]).tolist() == whole[::-3].tolist()
    assert order.positions(epoch, whole).tolist() == positions.tolist()


@settings(deadline=None, max_examples=100)
@given(count=st.integers(1, 40), parts=st.integers(1, 45), epoch=st.integers(0, 100))
def test_epochs_are_the_stream_cut_at_their_borders(count: int, parts: int, epoch: int) -> None:
    """Each place of the stream is in one epoch, counted one by one; parts that are empty are passed over."""
    epochs = Epochs(num_sequences=count, num_parts=parts)
    sizes = [count * (e % parts + 1) // parts - count * (e % parts) // parts for e in range(epoch + 1)]
    assert epochs.begin(epoch) == sum(sizes[:-1])
    counted = [(number, place) for number, size in enumerate(sizes) for place in range(size)]
    found = epochs.locate(np.arange(len(counted)))
    assert list(zip(found[0].tolist(), found[1].tolist(), strict=True)) == counted
    start, stop = epochs.part(epoch)
    assert stop - start == sizes[-1]


def test_a_window_bounds_the_shards_that_are_read_at_a_time() -> None:
    """The first sequences of an epoch come from `shuffle_shards` shards, and those are not the first ones."""
    order = Order(np.full(50, 20), 3, shuffle_shards=4)
    shards = order.sequences(0, np.arange(1000)) // 20
    groups = [set(shards[start : start + 80].tolist()) for start in range(0, 1000, 80)]
    assert all(len(group) <= 4 for group in groups)
    assert set().union(*groups) == set(range(50))
    assert groups[0] != {0, 1, 2, 3}


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    """And neighbours in one are spread in the other: no order is a shift of another."""
    shards = np.array([1000])
    orders = [Order(shards, seed).sequences(epoch, np.arange(1000)) for seed, epoch in ((1, 0), (1, 1), (2, 0))]
    for one in orders:
        for other in orders:
            same = int((one == other).sum())
            assert same == 1000 if one is other else same < 10
    assert abs(np.corrcoef(orders[0], np.arange(1000))[0, 1]) < 0.1


def test_every_place_is_as_likely_as_any_other() -> None:
    """Where the first of 16 goes, over 4,000 keys: chi-squared with 15 degrees, under its 1-in-10^6 quantile."""
    places = [
        int(Permutation(count=16, round_keys=tuple(rng.words(key, ROUNDS).tolist())).forward(np.array([0]))[0])
        for key in range(4000)
    ]
    counts = np.bincount(places, minlength=16)
    assert float(((counts - 250) ** 2 / 250).sum()) < 55


def test_seven_hundred_million_sequences_cost_nothing_to_open() -> None:
    """A million random positions within a second on an idle core, and little memory."""
    order = Order(np.full(7000, 100_000), 1)
    positions = np.random.default_rng(0).integers(0, order.num_sequences, 1_000_000)
    tracemalloc.start()
    started = time.perf_counter()
    found = order.sequences(5, positions)
    seconds = time.perf_counter() - started
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert order.positions(5, found[:1000]).tolist() == positions[:1000].tolist()
    assert peak_bytes < 200e6
    assert seconds < 10  # the record is in the benchmarks; here, only that it is not a loop


def test_a_window_of_no_shards_is_refused() -> None:
    """It is a number of shards."""
    with pytest.raises(UsageError, match="shuffle_shards is 0"):
        Order(np.array([3]), 1, shuffle_shards=0)
