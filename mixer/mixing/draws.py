"""Weights -> the infinite sequence of draws, exact at every prefix.

After any number n of draws the count c of each source obeys `|c - share * n| < 1` and never falls. Drawing is
scheduling: the k-th draw of a source with share w may not come before draw `floor((k-1)/w)` (or it would be one
too many) nor after draw `ceil(k/w) - 1` (or one too few). Taking, among the sources that may be drawn, the one
whose deadline is nearest meets all deadlines whenever that is possible at all (unit jobs on one machine), and
R. Tijdeman, "The chairman assignment problem", Discrete Mathematics 32 (1980) proves that it always is.

With integer weights of sum D the sequence repeats after D draws, so one period is all that is ever computed and
the counts at any draw cost O(D), however far into the build it lies.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache

import numpy as np

MAX_PERIOD_DRAWS = 1 << 22


class DrawSchedule:
    """The draws of a mixture: `integer_weights[s]` of every `period_draws` draws are of source s.

    Args:
        weights: one positive weight per source; ints, Fractions, or floats (taken as the decimal they print as).

    Raises:
        ValueError: no weight, one that is not positive, or a period over `MAX_PERIOD_DRAWS`.
    """

    def __init__(self, weights: Sequence[int | float | Fraction]) -> None:
        fractions = [Fraction(str(weight)) if isinstance(weight, float) else Fraction(weight) for weight in weights]
        if not fractions or min(fractions) <= 0:
            raise ValueError("weights must be positive, and there must be at least one")
        denominator = math.lcm(*(fraction.denominator for fraction in fractions))
        numerators = [int(fraction * denominator) for fraction in fractions]
        divisor = math.gcd(*numerators)
        integers = [numerator // divisor for numerator in numerators]
        self.period_draws = sum(integers)
        if self.period_draws > MAX_PERIOD_DRAWS:
            raise ValueError(
                f"the weights repeat only every {_in_words(self.period_draws)} draws, over the limit of "
                f"{MAX_PERIOD_DRAWS:,}"
            )
        self.integer_weights = np.array(integers, dtype=np.int64)
        self._period = _one_period(tuple(integers))

    @property
    def num_sources(self) -> int:
        """The number of sources."""
        return len(self.integer_weights)

    def sources(self, start: int, stop: int) -> np.ndarray:
        """The source of each draw in [start, stop): int16, indices into the weights."""
        first = start % self.period_draws
        repeats = -(-(first + stop - start) // self.period_draws)
        return np.tile(self._period, repeats)[first : first + stop - start]

    def counts(self, num_draws: int) -> np.ndarray:
        """Draws of each source among the first `num_draws`: int64, monotone in `num_draws`."""
        periods, rest = divmod(num_draws, self.period_draws)
        return periods * self.integer_weights + np.bincount(self._period[:rest], minlength=self.num_sources)

    def draws_until(self, source: int, count: int) -> int:
        """The smallest number of draws that holds `count` >= 1 draws of a source."""
        weight = int(self.integer_weights[source])
        periods, nth = divmod(count - 1, weight)
        position = int(np.flatnonzero(self._period == source)[nth])
        return periods * self.period_draws + position + 1


@lru_cache(maxsize=8)  # a period of 2**18 draws takes 0.3 s, and planning asks for the same one several times
def _one_period(weights: tuple[int, ...]) -> np.ndarray:
    """Earliest deadline first over one period: int16[period], not to be written to."""
    period = sum(weights)
    waiting = [(0, -(-period // weight) - 1, source) for source, weight in enumerate(weights)]
    heapq.heapify(waiting)
    ready: list[tuple[int, int]] = []
    drawn = [0] * len(weights)
    order = np.empty(period, dtype=np.int16)
    for draw in range(period):
        while waiting and waiting[0][0] <= draw:
            _, deadline, source = heapq.heappop(waiting)
            heapq.heappush(ready, (deadline, source))
        _, source = heapq.heappop(ready)
        order[draw] = source
        drawn[source] += 1
        done, weight = drawn[source], weights[source]
        heapq.heappush(waiting, (done * period // weight, -(-(done + 1) * period // weight) - 1, source))
    order.flags.writeable = False
    return order


def _in_words(count: int) -> str:
    return f"{count:,}" if count < 10**15 else f"10^{len(str(count)) - 1}"


def row_weights(token_weights: Sequence[int | float], tokens_per_row: Sequence[float]) -> list[int]:
    """Weights in tokens -> integer weights in rows, of sum about 2**18.

    The grid keeps the period short; a source of share p is off by less than 2**-18 / p of itself, far less than
    the error of a measured mean.
    """
    rows = [Fraction(str(weight)) / Fraction(mean) for weight, mean in zip(token_weights, tokens_per_row, strict=True)]
    total = sum(rows)
    return [max(1, round(row * (1 << 18) / total)) for row in rows]
