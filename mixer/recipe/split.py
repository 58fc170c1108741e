"""The recipe of a split: training, or the validation build of what is held out. Pure."""

from __future__ import annotations

from fractions import Fraction
from math import ceil

from mixer.digest import decimal_text
from mixer.errors import RecipeError
from mixer.recipe.model import EpochsSpec, Recipe, Target


def recipe_of_split(recipe: Recipe) -> Recipe:
    """The recipe as it is built: that of a validation build has a target of its own and draws no row twice.

    Raises:
        RecipeError: it has no target from which that of the validation build follows.
    """
    if recipe.split == "train":
        return recipe
    assert recipe.holdout is not None  # a rule of recipes
    return recipe.model_copy(
        update={
            "target": Target(tokens=_tokens(recipe)),
            "holdout": recipe.holdout.model_copy(update={"tokens": _tokens(recipe)}),
            "when_exhausted": "stop",
            "max_passes": 1,
            "epochs": EpochsSpec(),
        }
    )


def _tokens(recipe: Recipe) -> int:
    assert recipe.holdout is not None
    if recipe.holdout.tokens is not None:
        return recipe.holdout.tokens
    if recipe.target is None or recipe.target.tokens is None:
        raise RecipeError(
            "the validation build needs a target in tokens",
            where="holdout.tokens",
            hint="say how many tokens it shall have, such as 10M",
        )
    return max(1, ceil(recipe.target.tokens * Fraction(decimal_text(recipe.holdout.fraction))))
