"""Pairs of places, found in any order and several times, each once in the order of the later place."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mixer.curate.scratch import Buckets, Partitions

_LEAST_PAIRS = 1 << 16
"""Pairs of a bucket that are not looked through for those that come twice."""


class PairBuckets:
    """Pairs on their way to the order of their later rows.

    A pair is one number, (later - first place of its bucket) x places + earlier: it is sorted fast. Copies are found in
    up to all bands: whenever a bucket has doubled, each of its pairs is kept once. So a bucket has at most three times
    its pairs, whatever the number of bands.
    """

    def __init__(self, num_places: int, partitions: Partitions) -> None:
        self._num_places = max(1, num_places)
        num_parts = max(partitions.number, self._num_places**2 // 2**62 + 1)  # so that the number fits into 63 bits
        self._width = -(-self._num_places // num_parts)
        self._buckets = Buckets(num_parts, 1, partitions.path("pairs"))
        self._limits = [_LEAST_PAIRS] * num_parts

    def add(self, pairs: np.ndarray) -> None:
        """Put pairs, int64[pairs, 2], into their buckets.

        Raises:
            TaskError: the disk is full or failing.
        """
        bucket, place = np.divmod(pairs[:, 0], self._width)
        self._buckets.spread(bucket, (place * self._num_places + pairs[:, 1])[:, None])
        for number, limit in enumerate(self._limits):
            if self._buckets.count(number) > limit:
                once = self._distinct(number)
                self._buckets.spread(np.full(len(once), number), once[:, None])
                self._limits[number] = max(_LEAST_PAIRS, 2 * len(once))

    def parts(self) -> Iterator[np.ndarray]:
        """Each pair once, by the later place, then the earlier one: int64[pairs, 2]."""
        for number in range(self._buckets.num_buckets):
            place, earlier = np.divmod(self._distinct(number), self._num_places)
            yield np.stack([place + number * self._width, earlier], axis=1)

    def _distinct(self, number: int) -> np.ndarray:
        numbers = np.sort(self._buckets.take(number)[:, 0])
        is_new = np.ones(len(numbers), dtype=bool)
        is_new[1:] = numbers[1:] != numbers[:-1]
        return numbers[is_new]
