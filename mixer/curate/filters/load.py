"""Filters by the names that recipes give them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from mixer.curate.filters.c4 import C4_REASONS, C4Quality, judge_c4
from mixer.curate.filters.characters import UNICODE_VERSION
from mixer.curate.filters.chunk import TextChunk, judged_by_chunks
from mixer.curate.filters.fineweb_quality import FINEWEB_REASONS, FineWebQuality, judge_fineweb_quality
from mixer.curate.filters.gopher_quality import GOPHER_REASONS, GopherQuality, judge_gopher_quality
from mixer.curate.filters.gopher_repetition import GopherRepetition, judge_gopher_repetition, repetition_reasons
from mixer.curate.filters.language import language_filter
from mixer.curate.filters.own_function import function_filter
from mixer.curate.filters.parameters import WordParameters, as_json, parsed
from mixer.curate.filters.verdicts import Filter, Verdicts
from mixer.errors import RecipeError
from mixer.extras import missing_package
from mixer.recipe.problems import Unknown

_DATATROVE = "datatrove"
_RULES_VERSION = 1
"""Of the rules in columns: raised when a verdict changes, as when datatrove's code changes and they follow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _RuleSet:
    """A class of datatrove's whose rules are here in columns."""

    datatrove_class: str
    parameters: type[WordParameters]
    judge: Callable[[TextChunk, Any], np.ndarray]
    reasons: Callable[[Any], tuple[str, ...]]
    # Whether letters or digits, which follow Unicode, make a difference.
    is_of_unicode: bool


RULE_SETS: Mapping[str, _RuleSet] = {
    "gopher-quality": _RuleSet(
        datatrove_class="GopherQualityFilter",
        parameters=GopherQuality,
        judge=judge_gopher_quality,
        reasons=lambda _: GOPHER_REASONS,
        is_of_unicode=True,
    ),
    "gopher-repetition": _RuleSet(
        datatrove_class="GopherRepetitionFilter",
        parameters=GopherRepetition,
        judge=judge_gopher_repetition,
        reasons=repetition_reasons,
        is_of_unicode=False,
    ),
    "c4": _RuleSet(
        datatrove_class="C4QualityFilter",
        parameters=C4Quality,
        judge=judge_c4,
        reasons=lambda _: C4_REASONS,
        is_of_unicode=True,
    ),
    "fineweb-quality": _RuleSet(
        datatrove_class="FineWebQualityFilter",
        parameters=FineWebQuality,
        judge=judge_fineweb_quality,
        reasons=lambda _: FINEWEB_REASONS,
        is_of_unicode=False,
    ),
}
"""Name -> rules."""


def load_filter(name: str, parameters: Mapping[str, Any], *, place: str) -> Filter:
    """A filter, checked without reading text.

    Args:
        name: one of RULE_SETS, language, `datatrove:CLASS`, or the user's `module:function`.
        parameters: by name; what is left out has the filter's default.
        place: of the filter in the recipe, for messages.

    Raises:
        RecipeError: the name, a parameter or a value is unknown.
        MissingPackages: a package of the extra `curate` is not installed.
    """
    module, _, member = name.partition(":")
    if name in RULE_SETS:
        return _rule_set(name, parameters, place)
    if name == "language":
        return language_filter(parameters, place)
    if module == _DATATROVE and member:
        return _of_datatrove(name, member, parameters, place)
    if module and member:
        return function_filter(name, parameters, place)
    near = Unknown(name=name, known=(*RULE_SETS, "language"))
    hint = f"others are {_DATATROVE}:CLASS for a filter of datatrove's, and module:function for one of yours"
    raise RecipeError(f"{name!r} is not a filter{near}", where=f"{place}.name", hint=hint)


def _rule_set(name: str, given: Mapping[str, Any], place: str) -> Filter:
    rules = RULE_SETS[name]
    parameters = parsed(rules.parameters, given, name, place)
    if not parameters.is_columnar:
        own = parameters.model_dump(exclude={} if parameters.splitter == "spacy" else {"language"})
        return _of_datatrove(name, rules.datatrove_class, own, place)
    identity = {
        "filter": name,
        "rules": _RULES_VERSION,
        "splitter": parameters.splitter,
        "parameters": as_json(parameters.model_dump(exclude={"splitter", "language"})),
    }
    if rules.is_of_unicode:
        identity["unicode"] = UNICODE_VERSION
    return Filter(name=name, identity=identity, judge=partial(_judge, name, parameters))


def _judge(name: str, parameters: WordParameters, text: Any) -> Verdicts:
    rules = RULE_SETS[name]
    return judged_by_chunks(text, partial(_judged_chunk, name, parameters), rules.reasons(parameters))


def _judged_chunk(name: str, parameters: WordParameters, chunk: TextChunk) -> np.ndarray:
    return RULE_SETS[name].judge(chunk, parameters)


def _of_datatrove(name: str, class_name: str, given: Mapping[str, Any], place: str) -> Filter:
    try:
        from mixer.curate.filters.datatrove_filters import class_filter
    except ImportError as error:
        raise missing_package(error, "curate", f"filter {name}") from error
    return class_filter(name, class_name, given, place)
