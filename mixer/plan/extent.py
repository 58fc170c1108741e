"""The draws of a recipe and how far they reach, from the mean row of each source. Pure.

Nothing here needs a snapshot, so it works before any source is read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from mixer.errors import RecipeError
from mixer.mixing.draws import DrawSchedule, row_weights
from mixer.mixing.target import Extent, Supply, TargetKind, extent
from mixer.recipe import Recipe


def draw_schedule(recipe: Recipe, tokens_per_row: Sequence[float]) -> DrawSchedule:
    """The draws of a recipe.

    Args:
        recipe: the recipe.
        tokens_per_row: the mean of each source, in the recipe's order; weights in tokens are made rows with it.

    Raises:
        RecipeError: the weights have too many digits.
    """
    weights = [source.weight for source in recipe.sources.values()]
    if recipe.weights == "tokens":
        return DrawSchedule(row_weights(weights, tokens_per_row))
    try:
        return DrawSchedule(weights)
    except ValueError as error:
        raise RecipeError(
            str(error), where="sources", hint="give the weights with fewer digits, at most 6 in all"
        ) from error


def mean_tokens(weights: Sequence[int], tokens_per_row: Sequence[float]) -> float:
    """The mean of tokens per row over the draws; exactly rounded, so that every machine makes tasks of one size."""
    return math.fsum(weight * tokens for weight, tokens in zip(weights, tokens_per_row, strict=True)) / sum(weights)


def reach(recipe: Recipe, schedule: DrawSchedule, num_rows: Sequence[int], *, tokens_per_draw: float) -> Extent:
    """How far a recipe's target goes.

    Args:
        recipe: the recipe.
        schedule: its draws.
        num_rows: rows that can be drawn of each source, in the recipe's order.
        tokens_per_draw: the mean, for estimates only.

    Raises:
        RecipeError: the target cannot be met.
    """
    return extent(
        schedule,
        [
            Supply(name=name, num_rows=rows, max_passes=source.max_passes or recipe.max_passes)
            for (name, source), rows in zip(recipe.sources.items(), num_rows, strict=True)
        ],
        target=_target(recipe),
        times=recipe.epochs.count if recipe.epochs.mode == "redraw" else 1,
        when_exhausted=recipe.when_exhausted,
        tokens_per_draw=tokens_per_draw,
        sequence_length=recipe.sequence.length,
    )


def _target(recipe: Recipe) -> tuple[TargetKind, int, str | None] | None:
    target = recipe.target
    if target is None:
        return None
    if target.passes is not None:
        ((source, passes),) = target.passes.items()
        return "passes", passes, source
    if target.rows is not None:
        return "rows", target.rows, None
    if target.sequences is not None:
        return "sequences", target.sequences, None
    assert target.tokens is not None
    return "tokens", target.tokens, None
