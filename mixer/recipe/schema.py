"""The JSON schema of recipes, from which editors complete keys and mark mistakes."""

from __future__ import annotations

from typing import Any

from mixer.recipe.model import Recipe

_EXTENDS = {
    "type": "string",
    "minLength": 1,
    "description": "The recipe to lay this one over, relative to this file; null takes a key or source away.",
}
_PLACE = {"anyOf": [{"required": ["path"]}, {"required": ["hub"]}]}
# What a recipe must have if it does not extend one that has it.
_COMPLETE = {
    "required": ["sources"],
    "properties": {"sources": {"additionalProperties": {"type": "object", "required": ["weight"], **_PLACE}}},
    "anyOf": [
        {"required": ["target"]},
        {"required": ["when_exhausted"], "properties": {"when_exhausted": {"const": "stop"}}},
    ],
}


def recipe_schema() -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of a recipe as it may be written: shorthands, human sizes, `extends`."""
    schema = Recipe.model_json_schema()
    del schema["required"], schema["$defs"]["Source"]["required"]
    sources = schema["properties"]["sources"]
    ((names, source),) = sources.pop("patternProperties").items()
    sources |= {"patternProperties": {names: {"anyOf": [source, {"type": "null"}]}}, "additionalProperties": False}
    schema["properties"] = {"extends": _EXTENDS, **schema["properties"]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "if": {"not": {"required": ["extends"]}},
        "then": _COMPLETE,
    }
