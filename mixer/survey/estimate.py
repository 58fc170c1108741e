"""Estimated numbers, and arithmetic that carries their errors. Pure.

An error is carried as its parts, one for each independent cause, so that what comes from one cause twice is counted
once: more rows in a source mean fewer tokens in each where their sum is given, and the number of passes stays.
The parts are relative and of first order: the delta method on logarithms.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

_Z = 1.959964
"""The 97.5 % point of the normal distribution."""
_ROUNDING = 1e-12
"""What rounding leaves of errors that cancel, and no error."""
_UNBOUNDED = 30.0
"""An interval that goes from 1/10^13 of the value to 10^13 times it says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One independent cause of error: its name, and the degrees of freedom of its size."""

    name: str
    degrees_of_freedom: float = math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A positive number and the causes of its error.

    `errors` holds, for each cause, what one standard error of it does to the logarithm of the value.
    """

    value: float
    errors: Mapping[Cause, float] = field(default_factory=dict)

    def __mul__(self, other: Estimate | float) -> Estimate:
        """The product."""
        if isinstance(other, Estimate):
            return Estimate(value=self.value * other.value, errors=_combined(self.errors, 1.0, other.errors, 1.0))
        return Estimate(value=self.value * other, errors=self.errors)

    def __truediv__(self, other: Estimate | float) -> Estimate:
        """The quotient."""
        if isinstance(other, Estimate):
            return Estimate(value=self.value / other.value, errors=_combined(self.errors, 1.0, other.errors, -1.0))
        return Estimate(value=self.value / other, errors=self.errors)

    @property
    def relative_error(self) -> float:
        """The standard error as a share of the value."""
        return math.sqrt(sum(error * error for error in self.errors.values()))

    @property
    def reach(self) -> float:
        """Half the 95 % interval of the logarithm: Student's, degrees of freedom after Satterthwaite (1946)."""
        squares = {cause: error * error for cause, error in self.errors.items() if abs(error) > _ROUNDING}
        if not squares:
            return 0.0
        variance = sum(squares.values())
        inverse = sum((part / variance) ** 2 / cause.degrees_of_freedom for cause, part in squares.items())
        return student_point(1 / inverse if inverse else math.inf) * math.sqrt(variance)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval: a factor each way, as suits sums of long-tailed rows."""
        if self.reach > _UNBOUNDED:
            return 0.0, math.inf
        return self.value / math.exp(self.reach), self.value * math.exp(self.reach)

    @property
    def share_interval(self) -> tuple[float, float]:
        """The same for a share of 1, within 0 and 1: a factor each way on its odds."""
        if self.value >= 1.0 or not self.reach:
            return self.value, self.value
        reach = self.reach / (1.0 - self.value)
        if reach > _UNBOUNDED:
            return 0.0, 1.0
        odds = self.value / (1.0 - self.value)
        low, high = odds / math.exp(reach), odds * math.exp(reach)
        return low / (1.0 + low), high / (1.0 + high)


def total(parts: Iterable[Estimate]) -> Estimate:
    """The sum; each part counts with its share of the value."""
    parts = list(parts)
    value = math.fsum(part.value for part in parts)
    errors: dict[Cause, float] = {}
    for part in parts:
        errors = _combined(errors, 1.0, part.errors, part.value / value)
    return Estimate(value=value, errors=errors)


def uncertain(value: float, *, standard_error: float, cause: Cause) -> Estimate:
    """A number with a standard error of its own; one that is infinite, or larger than a factor e, counts as that."""
    return Estimate(value=value, errors={cause: min(standard_error / value, _UNBOUNDED)})


def within(value: float, *, share: float, cause: Cause) -> Estimate:
    """A number whose 95 % interval is a share of itself each way."""
    return Estimate(value=value, errors={cause: math.log1p(share) / _Z})


def student_point(degrees_of_freedom: float) -> float:
    """The 97.5 % point of Student's t, to three digits, for one or more degrees of freedom.

    The expansion of Abramowitz and Stegun, "Handbook of Mathematical Functions" (1964), 26.7.5; exact for 1 and 2.
    """
    if degrees_of_freedom < 2.0:
        # Between 1 and 2 the wider one: an interval may be too wide, never too narrow.
        return math.tan(math.pi * 0.475)
    if degrees_of_freedom < 3.0:
        return 0.95 * math.sqrt(2 / (1 - 0.95**2))
    z = _Z
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / degrees_of_freedom**power for power, term in enumerate(terms, start=1))


def _combined(
    one: Mapping[Cause, float], factor: float, other: Mapping[Cause, float], other_factor: float
) -> dict[Cause, float]:
    causes = dict.fromkeys([*one, *other])
    errors = {cause: factor * one.get(cause, 0.0) + other_factor * other.get(cause, 0.0) for cause in causes}
    return {cause: error for cause, error in errors.items() if abs(error) > _ROUNDING}
