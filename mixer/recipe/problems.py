"""What is wrong with a recipe, in the user's words, and all of it in one error."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from mixer.errors import RecipeError
from mixer.recipe.model import (
    ONE_NAME,
    RULES,
    CacheSpec,
    ContentsSpec,
    EpochsSpec,
    Recipe,
    SequenceSpec,
    Source,
    Target,
    TextSpec,
    TokenizerSpec,
)

Key = tuple[Any, ...]
"""The way to a value of a recipe: names of keys, and numbers within a list."""

COMMAND_LINE = "--set"
"""The place of what the command line says, where others have a file."""
_HINT = "`mixer schema` prints every key and what it takes"
_PARTS: dict[str, type[BaseModel]] = {
    "tokenizer": TokenizerSpec,
    "sequence": SequenceSpec,
    "target": Target,
    "epochs": EpochsSpec,
    "cache": CacheSpec,
}
_EXPECTED = {
    "bool_type": "must be true or false",
    "dict_type": "must be a mapping",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "invalid_key": "must have text as its keys",
    "model_type": "must be a mapping",
    "string_pattern_mismatch": "must be of letters, digits, '.', '_' and '-', the first a letter or digit",
    "string_type": "must be text",
    "tuple_type": "must be text or a list of text",
}
_SHORTER = {
    "Input should be": "must be",
    "greater than or equal to": "at least",
    "less than or equal to": "at most",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong, where the user can find it."""

    place: str
    """File and dotted key, such as `recipes/base.yaml: sources.wiki.weight`."""
    message: str


def recipe_error(problems: Sequence[Problem], where: str) -> RecipeError:
    """One error for all `problems` (at least one) of the recipe at `where`."""
    if len(problems) == 1:
        return RecipeError(problems[0].message, where=problems[0].place, hint=_HINT)
    lines = "".join(f"\n  {problem.place}: {problem.message}" for problem in problems)
    return RecipeError(f"{len(problems)} problems{lines}", where=where, hint=_HINT)


def place(layer: str, key: Key) -> str:
    """Where a key of a layer is: `base.yaml: sources.wiki.path[0]`, or `--set sources.wiki.weight`."""
    dotted = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in key).removeprefix(".")
    return f"{layer} {dotted}" if layer == COMMAND_LINE else f"{layer}: {dotted}"


def suggestion(name: Any, known: Iterable[Any]) -> str:
    """`; did you mean 'weight'?` for the known name nearest to `name`, else the names there are."""
    known = [str(each) for each in known]
    if near := difflib.get_close_matches(str(name), known, n=1):
        return f"; did you mean {near[0]!r}?"
    return f"; there are {', '.join(known)}" if known else ""


def schema_problems(error: ValidationError, tree: dict[str, Any]) -> Iterator[tuple[Key, str]]:
    """Each problem that pydantic found with `tree`, as its key and what is wrong."""
    details = [each | {"loc": _without_way(each["loc"])} for each in error.errors(include_url=False)]
    unknown = [each["loc"] for each in details if each["type"] == "extra_forbidden"]
    # A misspelt key is one problem, not an unknown key and a missing one.
    misspelt = {(*key[:-1], *difflib.get_close_matches(str(key[-1]), _keys_of(key[:-1]), n=1)) for key in unknown}
    for each in details:
        key = each["loc"]
        if each["type"] == "extra_forbidden":
            yield key, f"is not a key{suggestion(key[-1], _keys_of(key[:-1]))}"
        elif each["type"] != "missing":
            yield _as_written(key, tree), _message(each["type"], each["msg"], each["input"], each.get("ctx", {}))
        elif key not in misspelt:
            yield key, "is missing"


def _without_way(key: Key) -> Key:
    """A key without pydantic's mark of the way in which the tokenizer is written."""
    return (key[0], *key[2:]) if key[:1] == ("tokenizer",) and key[1:2] in ((ONE_NAME,), (RULES,)) else key


def _message(kind: str, message: str, found: Any, context: dict[str, Any]) -> str:
    if kind == "value_error":
        return str(context["error"])
    if kind == "too_short":
        return "must not be empty"
    if kind == "too_long":
        return f"has too many entries; the most is {context['max_length']}"
    expected = _EXPECTED.get(kind, message)
    for wordy, short in _SHORTER.items():
        expected = expected.replace(wordy, short)
    if kind == "literal_error":
        choices = context["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        if near := difflib.get_close_matches(str(found), choices, n=1):
            return f"{expected}, not {_shown(found)}; did you mean {near[0]!r}?"
    return f"{expected}, not {_shown(found)}"


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return ascii(value if len(value) <= 40 else f"{value[:37]}...")
    return str(value)


def _keys_of(key: Key) -> list[str]:
    """The keys that the part of a recipe at `key` knows."""
    match key:
        case ():
            return ["extends", *Recipe.model_fields]
        case ("sources", _):
            return [*Source.model_fields]
        case ("sources", _, "text"):
            return [*TextSpec.model_fields]
        case ("sources", _, "contents"):
            return [*ContentsSpec.model_fields]
        case (part,) if part in _PARTS:
            return [*_PARTS[part].model_fields]
    return []


def _as_written(key: Key, tree: Any) -> Key:
    """`key` as far as the recipe goes: a shorthand has no parts, and pydantic marks a bad name by a part of its own."""
    for depth, part in enumerate(key):
        if part == "[key]" or not isinstance(tree, dict | list):
            return key[:depth]
        tree = tree.get(part) if isinstance(tree, dict) else tree[part]
    return key
