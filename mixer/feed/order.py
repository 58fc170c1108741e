"""The order of training: a keyed permutation of the sequences of an epoch, computed and never stored.

`Order.sequences(epoch, positions)` is a pure function, so a run can start at any position at no cost, and 700 million
sequences need no memory. The permutation is a Feistel network over the smallest power of two that holds the count,
walked until it falls inside (Black and Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002); format.md,
section 6, defines it with vectors.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mixer import rng
from mixer.feed.epochs import Epochs
from mixer.feed.integers import MOST, check_whole

ROUNDS = 6
_MULTIPLIERS = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


@dataclass(frozen=True, slots=True, kw_only=True)
class Permutation:
    """A keyed permutation of `range(count)`; `round_keys` are `ROUNDS` uint64 words."""

    count: int
    round_keys: tuple[int, ...]

    def forward(self, positions: np.ndarray) -> np.ndarray:
        """The image of each position: int64, the shape of `positions`; vectorised, O(1) memory besides."""
        return self._walk(positions, list(range(ROUNDS)), backward=False)

    def backward(self, values: np.ndarray) -> np.ndarray:
        """The position of each value: the inverse of `forward`."""
        return self._walk(values, list(range(ROUNDS))[::-1], backward=True)

    def _walk(self, values: np.ndarray, rounds: list[int], *, backward: bool) -> np.ndarray:
        walked = np.asarray(values).astype(np.uint64)
        if self.count <= 1:
            return walked.astype(np.int64)
        flat = walked.reshape(-1)
        outside = np.arange(len(flat))
        while len(outside):
            moved = self._feistel(flat[outside], rounds, backward=backward)
            flat[outside] = moved
            outside = outside[moved >= np.uint64(self.count)]
        return flat.reshape(walked.shape).astype(np.int64)

    def _feistel(self, values: np.ndarray, rounds: list[int], *, backward: bool) -> np.ndarray:
        """One pass of the network over `bits` bits: the halves are `low_bits` and the rest, and change places."""
        bits = (self.count - 1).bit_length()
        low_bits = bits // 2
        widths = [low_bits, bits - low_bits]
        if backward and ROUNDS % 2:
            widths.reverse()
        low_mask = np.uint64((1 << widths[0]) - 1)
        low, high = values & low_mask, values >> np.uint64(widths[0])
        for number in rounds:
            key = np.uint64(self.round_keys[number])
            if backward:
                # forward made (low, high) = (high ^ f(low), low) in its own widths
                low, high = high, low ^ (_mix(high + key) & np.uint64((1 << widths[0]) - 1))
                widths.reverse()
            else:
                low, high = high ^ (_mix(low + key) & np.uint64((1 << widths[1]) - 1)), low
                widths.reverse()
        return (high << np.uint64(widths[0])) | low


def _mix(values: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser (Steele, Lea and Flood, OOPSLA 2014), on uint64 with wrap-around."""
    values = (values ^ (values >> np.uint64(30))) * _MULTIPLIERS[0]
    values = (values ^ (values >> np.uint64(27))) * _MULTIPLIERS[1]
    return values ^ (values >> np.uint64(31))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Groups:
    """An epoch's shards in their order, cut off where its part begins and ends.

    `starts`, `sizes` int64[shards]: first sequence and number of sequences of each; `stops` int64[groups]: the position
    behind each group of `shuffle_shards` shards.
    """

    starts: np.ndarray
    sizes: np.ndarray
    stops: np.ndarray


class Order:
    """The order in which each epoch takes the sequences of some shards.

    Args:
        shard_sequences: sequences of each shard; int64[shards].
        seed: the key of the order.
        shuffle_shards: how many shards are read from at a time; None: all of them. With a number, shards are permuted
            and taken in groups of so many, and sequences are permuted inside each group: fewer open files, a coarser
            shuffle.
        num_parts: how many epochs share the sequences, each reading its own part of them; see `Epochs`.

    Raises:
        UsageError: `shuffle_shards` is not a positive number, or the seed not a number.
    """

    def __init__(
        self, shard_sequences: np.ndarray, seed: int, shuffle_shards: int | None = None, *, num_parts: int = 1
    ) -> None:
        if shuffle_shards is not None:
            shuffle_shards = check_whole(shuffle_shards, "shuffle_shards", least=1)
        self.seed = check_whole(seed, "seed", least=-MOST)
        self._stops = np.cumsum(shard_sequences, dtype=np.int64)
        if shuffle_shards is not None and shuffle_shards >= len(shard_sequences):
            shuffle_shards = None  # one group of all
        self.shuffle_shards = shuffle_shards
        self.num_sequences = int(self._stops[-1]) if len(self._stops) else 0
        self.epochs = Epochs(num_sequences=self.num_sequences, num_parts=num_parts)
        self._groups = lru_cache(maxsize=2)(self._groups_of)

    def sequences(self, epoch: int, positions: np.ndarray) -> np.ndarray:
        """The sequence at each position of an epoch: int64, numbers in the order of the manifest.

        Args:
            epoch: from 0.
            positions: int64, each in [0, sequences of the epoch).
        """
        start, stop = self.epochs.part(epoch)
        if self.shuffle_shards is None:
            return self._permutation(epoch, 0, stop - start).forward(positions) + start
        groups = self._groups(epoch)
        group = np.searchsorted(groups.stops, positions, side="right")
        found = np.empty(len(positions), dtype=np.int64)
        for number in np.unique(group).tolist():
            here = group == number
            members = slice(number * self.shuffle_shards, (number + 1) * self.shuffle_shards)
            stops = np.cumsum(groups.sizes[members])
            inside = positions[here] - (groups.stops[number] - stops[-1])
            places = self._permutation(epoch, number + 1, int(stops[-1])).forward(inside)
            shard = np.searchsorted(stops, places, side="right")
            found[here] = places - (stops - groups.sizes[members])[shard] + groups.starts[members][shard]
        return found

    def positions(self, epoch: int, sequences: np.ndarray) -> np.ndarray:
        """The position at which an epoch takes each sequence of its part: the inverse of `sequences`."""
        start, stop = self.epochs.part(epoch)
        if self.shuffle_shards is None:
            return self._permutation(epoch, 0, stop - start).backward(np.asarray(sequences) - start)
        groups = self._groups(epoch)
        by_start = np.argsort(groups.starts)
        # The place of each sequence's shard in the permuted order.
        rank = by_start[np.searchsorted(groups.starts[by_start], sequences, side="right") - 1]
        group = rank // self.shuffle_shards
        found = np.empty(len(sequences), dtype=np.int64)
        for number in np.unique(group).tolist():
            here = group == number
            members = slice(number * self.shuffle_shards, (number + 1) * self.shuffle_shards)
            stops = np.cumsum(groups.sizes[members])
            member = rank[here] - members.start
            places = sequences[here] - groups.starts[members][member] + (stops - groups.sizes[members])[member]
            permutation = self._permutation(epoch, number + 1, int(stops[-1]))
            found[here] = permutation.backward(places) + groups.stops[number] - stops[-1]
        return found

    def _groups_of(self, epoch: int) -> _Groups:
        assert self.shuffle_shards is not None
        start, stop = self.epochs.part(epoch)
        stops = np.clip(self._stops, start, stop)
        starts = np.concatenate([[start], stops[:-1]])
        (there,) = np.nonzero(stops > starts)
        shards = there[rng.permutation(len(there), self.seed, "order of shards", epoch)]
        sizes = (stops - starts)[shards]
        step = self.shuffle_shards
        last = np.minimum(np.arange(step, len(shards) + step, step), len(shards)) - 1
        return _Groups(starts=starts[shards], sizes=sizes, stops=np.cumsum(sizes)[last])

    def _permutation(self, epoch: int, group: int, count: int) -> Permutation:
        words = rng.words(rng.key(self.seed, "order", epoch, group), ROUNDS)
        return Permutation(count=count, round_keys=tuple(words.tolist()))
