"""The problems of a recipe, in the user's words, all in one error."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pydantic import BaseModel, ValidationError

from mixer.errors import RecipeError
from mixer.recipe.curation import STEPS, CurateSpec, DecontaminateSpec, ExactSpec, FilterSpec, NearSpec
from mixer.recipe.model import (
    ONE_NAME,
    RULES,
    CacheSpec,
    ContentsSpec,
    EpochsSpec,
    ExcludeSpec,
    HoldoutSpec,
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
SCHEMA_HINT = "`mixer schema` prints every key and what it takes"
"""For keys that are unknown or missing, and for values of another type than their key takes."""
_MAX_SHOWN = 50
_MAX_NAMES_SHOWN = 20
_MAX_LETTERS = 80
_PARTS: dict[str, type[BaseModel]] = {
    "tokenizer": TokenizerSpec,
    "sequence": SequenceSpec,
    "target": Target,
    "epochs": EpochsSpec,
    "cache": CacheSpec,
    "curate": CurateSpec,
    "holdout": HoldoutSpec,
}
_STEP_SPECS: dict[str, type[BaseModel]] = dict(
    zip(STEPS, (FilterSpec, DecontaminateSpec, ExactSpec, NearSpec), strict=True)
)
_EXPECTED = {
    "bool_type": "must be true or false",
    "dict_type": "must be a mapping",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "invalid_key": "must have text as its keys",
    "model_type": "must be a mapping",
    "string_pattern_mismatch": "must be of letters, digits, '.', '_' and '-', the first a letter or digit",
    "string_type": "must be text",
    "string_unicode": "must be Unicode text",
    "tuple_type": "must be text or a list of text",
}
_SHORTER = {
    "Input should be": "must be",
    "greater than or equal to": "at least",
    "less than or equal to": "at most",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """A name that is not one of the known names.

    The nearest one is looked for only when the problem is shown: among 10,000 names that takes a tenth of a second.
    """

    name: Any
    known: Collection[Any]

    def __str__(self) -> str:
        """`; did you mean 'weight'?` for the nearest known name, else the names there are."""
        known = tuple(map(shortened, self.known))
        if near := _nearest(shortened(self.name), known):
            return f"; did you mean {near!r}?"
        more = len(known) - _MAX_NAMES_SHOWN
        shown = ", ".join(known[:_MAX_NAMES_SHOWN]) + (f" and {more:,} more" if more > 0 else "")
        return f"; there are {shown}" if known else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One problem of a key, whichever layer wrote it."""

    key: Key
    message: str
    hint: str | None = None
    unknown: Unknown | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One problem, with its place."""

    place: str
    """File and dotted key, such as `recipes/base.yaml: sources.wiki.weight`."""
    message: str
    hint: str | None = None
    unknown: Unknown | None = None

    def __str__(self) -> str:
        """The whole problem as text."""
        return self.message + ("" if self.unknown is None else str(self.unknown))


def recipe_error(problems: Sequence[Problem], where: str) -> RecipeError:
    """One error for all `problems` (at least one) of the recipe at `where`; the first 50 are shown."""
    hints = dict.fromkeys(problem.hint for problem in problems if problem.hint)
    hint = next(iter(hints), None) if len(hints) == 1 else SCHEMA_HINT if SCHEMA_HINT in hints else None
    if len(problems) == 1:
        return RecipeError(printable(str(problems[0])), where=printable(problems[0].place), hint=hint)
    lines = "".join(f"\n  {problem.place}: {problem}" for problem in problems[:_MAX_SHOWN])
    more = f"\n  and {len(problems) - _MAX_SHOWN:,} more" if len(problems) > _MAX_SHOWN else ""
    return RecipeError(printable(f"{len(problems)} problems{lines}{more}"), where=printable(where), hint=hint)


def place(layer: str, key: Key) -> str:
    """The place of a key of a layer: `base.yaml: sources.wiki.path[0]`, or `--set sources.wiki.weight`."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{shortened(part)}" for part in key)
    dotted = "".join(parts).removeprefix(".")
    return f"{layer} {dotted}" if layer == COMMAND_LINE else f"{layer}: {dotted}"


def schema_problems(error: ValidationError, tree: dict[str, Any]) -> Iterator[Finding]:
    """Each problem that pydantic found with `tree`."""
    details = [each | {"loc": _without_way(each["loc"])} for each in error.errors(include_url=False)]
    unknown = [each["loc"] for each in details if each["type"] == "extra_forbidden"]
    # A misspelt key is one problem, not an unknown key and a missing one.
    misspelt = {(*key[:-1], _nearest(shortened(key[-1]), _keys_of(key[:-1]))) for key in unknown}
    for each in details:
        key, kind = each["loc"], each["type"]
        if kind == "extra_forbidden":
            near = Unknown(name=key[-1], known=_keys_of(key[:-1]))
            yield Finding(key=key, message="is not a key", hint=SCHEMA_HINT, unknown=near)
        elif kind != "missing":
            hint = SCHEMA_HINT if kind in _EXPECTED or kind == "literal_error" else None
            yield Finding(key=_as_written(key, tree), message=plain_message(each), hint=hint)
        elif key not in misspelt:
            yield Finding(key=key, message="is missing", hint=SCHEMA_HINT)


def _without_way(key: Key) -> Key:
    """A key without pydantic's mark of the way in which the tokenizer is written."""
    return (key[0], *key[2:]) if key[:1] == ("tokenizer",) and key[1:2] in ((ONE_NAME,), (RULES,)) else key


def plain_message(detail: Mapping[str, Any]) -> str:
    """The message for one of the errors that pydantic lists."""
    kind, message, found, context = detail["type"], detail["msg"], detail["input"], detail.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind == "too_short":
        return "must not be empty"
    if kind == "too_long":
        return f"has too many entries; the most is {context['max_length']}"
    if kind == "string_too_long":
        return f"must be at most {context['max_length']} characters long, not {len(found):,}"
    expected = _EXPECTED.get(kind, message)
    for wordy, shortened in _SHORTER.items():
        expected = expected.replace(wordy, shortened)
    if kind == "literal_error":
        choices = context["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        if near := _nearest(_shown(found), tuple(choices)):
            return f"{expected}, not {_shown(found)}; did you mean {near!r}?"
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
    if isinstance(value, int) and value.bit_length() > 128:
        return f"a number of about {value.bit_length() * 3 // 10:,} digits"
    return str(value)[:_MAX_LETTERS]


def shortened(name: Any) -> str:
    """A name, short enough for a message."""
    text = str(name)
    return text if len(text) <= _MAX_LETTERS else f"{text[: _MAX_LETTERS - 3]}..."


def printable(text: str) -> str:
    """A message that can be encoded: a lone surrogate, as in a file name that is not UTF-8, becomes its escape."""
    return text.encode(errors="backslashreplace").decode()


@lru_cache(maxsize=4096)
def _nearest(name: str, known: tuple[str, ...]) -> str | None:
    return next(iter(difflib.get_close_matches(name, known, n=1)), None)


def _keys_of(key: Key) -> tuple[str, ...]:
    """The keys that the part of a recipe at `key` knows."""
    match key:
        case ():
            return ("extends", *Recipe.model_fields)
        case ("sources", _):
            return (*Source.model_fields,)
        case ("sources", _, "text"):
            return (*TextSpec.model_fields,)
        case ("sources", _, "contents"):
            return (*ContentsSpec.model_fields,)
        case ("sources", _, "exclude"):
            return (*ExcludeSpec.model_fields,)
        case ("curate", "steps", _):
            return STEPS
        case ("curate", "steps", _, kind) if kind in STEPS:
            return (*_STEP_SPECS[kind].model_fields,)
        case (part,) if part in _PARTS:
            return (*_PARTS[part].model_fields,)
    return ()


def _as_written(key: Key, tree: Any) -> Key:
    """`key` as far as the recipe goes: a shorthand has no parts, and pydantic marks a bad name by a part of its own."""
    for depth, part in enumerate(key):
        if part == "[key]" or not isinstance(tree, dict | list):
            return key[:depth]
        tree = tree.get(part) if isinstance(tree, dict) else tree[part]
    return key
