"""datatrove's filters by their classes: its own code, a document at a time. Only imported where datatrove is there."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np
import pyarrow as pa
from datatrove.data import Document
from datatrove.pipeline import filters as classes
from datatrove.pipeline.filters.base_filter import BaseFilter, get_filter_result

from mixer.curate.filters.characters import UNICODE_VERSION
from mixer.curate.filters.parameters import as_json, parsed_words, refuse_unknown
from mixer.curate.filters.splitters import load_splitter, package_missing_in_datatrove, splitter_identity
from mixer.curate.filters.verdicts import NOTHING_TO_COUNT, PASSED, Filter, Verdicts
from mixer.errors import DataError, RecipeError
from mixer.recipe.problems import Unknown

_NOT_PARAMETERS = {"self", "exclusion_writer", "batch_size"}
_ELSEWHERE = {
    "LambdaFilter": "give your function as module:function",
    "SamplerFilter": "it draws at random, row after row; `sample` of a source draws by key",
    "URLFilter": "it reads urls, not texts; drop rows by `where` or `exclude` of the source",
}
"""Class -> what does in mixer what it does."""
_RANDOM = {"keep_fraction", "seed"}
"""Parameters of C4BadWordsFilter that let documents pass at random."""


def class_filter(name: str, class_name: str, given: Mapping[str, Any], place: str) -> Filter:
    """A filter by one of datatrove's classes.

    Args:
        name: of the filter, as the recipe has it.
        class_name: of datatrove.pipeline.filters.
        given: the parameters of the class by name; of a class that counts words also `splitter` and `language`.
        place: of the filter in the recipe.

    Raises:
        RecipeError: the class or a parameter is unknown, or the class refuses a value.
        MissingPackages: a package that the class needs is not installed.
    """
    kind = _class(class_name, place)
    signature = inspect.signature(kind.__init__).parameters
    own = {key: one for key, one in signature.items() if key not in _NOT_PARAMETERS | {"language"} | _RANDOM}
    counts_words = "language" in signature
    refuse_unknown(given, (*own, *(("splitter", "language") if counts_words else ())), class_name, place)
    arguments = {key: _frozen(value) for key, value in given.items() if key in own}
    filled = {key: one.default for key, one in own.items() if one.default is not one.empty} | arguments
    if missing := sorted(own.keys() - filled.keys()):
        raise RecipeError(f"{class_name} needs {', '.join(missing)}", where=f"{place}.parameters")
    identity = {
        "filter": name,
        "code": f"datatrove {version('datatrove')}",
        "parameters": as_json(filled),
        "unicode": UNICODE_VERSION,
    }
    if counts_words:
        words = parsed_words(given, class_name, place)
        arguments["language"] = load_splitter(words.splitter, words.language, place)
        identity |= splitter_identity(words.splitter, words.language)
    judge = partial(_judge, _made(kind, arguments, place), place)
    return Filter(name=name, identity=identity, judge=judge)


def _class(name: str, place: str) -> type[BaseFilter]:
    known = {
        key: one
        for key, one in vars(classes).items()
        if isinstance(one, type) and issubclass(one, BaseFilter) and one is not BaseFilter
    }
    if name in _ELSEWHERE:
        raise RecipeError(f"datatrove's {name} is not for recipes", where=f"{place}.name", hint=_ELSEWHERE[name])
    if name not in known:
        near = Unknown(name=name, known=tuple(sorted(known.keys() - _ELSEWHERE)))
        raise RecipeError(f"{name!r} is not a filter of datatrove {version('datatrove')}{near}", where=f"{place}.name")
    return known[name]


def _made(kind: type[BaseFilter], arguments: Mapping[str, Any], place: str) -> BaseFilter:
    try:
        return kind(**arguments)
    except ImportError as error:
        raise package_missing_in_datatrove(error, f"datatrove's {kind.__name__}") from error
    except Exception as error:
        message = f"datatrove's {kind.__name__} refuses its parameters: {type(error).__name__}: {error}"
        raise RecipeError(message, where=f"{place}.parameters") from error


def _judge(one: BaseFilter, place: str, text: pa.LargeStringArray) -> Verdicts:
    """The verdicts of an object of datatrove's. Cost: a Python object a document, and what its code makes of it."""
    codes = {PASSED: 0}
    reason = np.zeros(len(text), dtype=np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy's, of means of nothing
        for row, document in enumerate(text):
            reason[row] = codes.setdefault(_reason(one, document.as_py(), row, place), len(codes))
    return Verdicts(reason=reason, reasons=tuple(codes))


def _reason(one: BaseFilter, text: str, row: int, place: str) -> str:
    kind = type(one).__name__
    try:
        passed, reason = get_filter_result(one.filter(Document(text=text, id=str(row))))
    except ZeroDivisionError:
        return NOTHING_TO_COUNT  # nothing to count: its code divides by the number of words or lines
    except Exception as error:
        message = f"datatrove's {kind} failed on the text {text[:60]!r}...: {type(error).__name__}: {error}"
        raise DataError(message, where=place, hint="leave rows like this out by `where`, or the filter") from error
    return PASSED if passed else reason or kind


def _frozen(value: Any) -> Any:
    """A value of a recipe as datatrove wants it: tuples in place of lists, as `str.endswith` does."""
    return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value
