"""Recipes: a user's YAML, checked and frozen."""

from mixer.recipe.load import load_recipe, parse_recipe, recipe_of
from mixer.recipe.model import ContentsSpec, EpochsSpec, Recipe, SequenceSpec, Source, Target, TextSpec, TokenizerSpec
from mixer.recipe.schema import recipe_schema
from mixer.recipe.sizes import parse_bytes, parse_count

__all__ = [
    "ContentsSpec",
    "EpochsSpec",
    "Recipe",
    "SequenceSpec",
    "Source",
    "Target",
    "TextSpec",
    "TokenizerSpec",
    "load_recipe",
    "parse_bytes",
    "parse_count",
    "parse_recipe",
    "recipe_of",
    "recipe_schema",
]
