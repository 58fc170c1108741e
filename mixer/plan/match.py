"""Row weights that give a recipe's weights as shares of tokens. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

_SUM, _DIGITS = 100, 3
"""The weights are per cents with three decimals, so that the draws repeat after about 100,000: a tenth of a second."""


def matching_row_weights(weights: Mapping[str, float], tokens_per_row: Sequence[float]) -> dict[str, float]:
    """Row weights, of sum about 100, under which each source gets its weight's share of the tokens.

    Args:
        weights: the shares of tokens that are wanted, relative to one another, by source.
        tokens_per_row: the mean of each source, in the same order.

    Example: equal shares of sources with 1 and 3 tokens a row need weights 75 and 25.
    """
    rows = [weight / tokens for weight, tokens in zip(weights.values(), tokens_per_row, strict=True)]
    whole = math.fsum(rows)
    return {name: max(round(_SUM * row / whole, _DIGITS), 10.0**-_DIGITS) for name, row in zip(weights, rows)}
