"""A user's own function as a filter: an Arrow batch in, columns out."""

from __future__ import annotations

import difflib
import inspect
import math
import sys
from collections.abc import Callable, Mapping
from functools import partial
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mixer.curate.filters.parameters import as_json, refuse_unknown
from mixer.curate.filters.verdicts import PASSED, Filter, Verdicts
from mixer.errors import RecipeError
from mixer.rng import key, words

KEEP_COLUMN, REASON_COLUMN = "keep", "reason"
_CHECKED_ROWS, _CHECKED_BATCHES = 16, 4
_Columns = dict[str, pa.Array]


def function_filter(name: str, given: Mapping[str, Any], place: str) -> Filter:
    """A filter by a function: `function(batch, **parameters)`.

    The batch has the column `text` (LargeString, without nulls). The function gives a record batch, a table or a
    mapping of arrays with as many rows: `keep` (bool: which rows pass; all of them without it), `reason` (strings: why
    the others do not; the function's name without it), and any others, which become columns.

    Args:
        name: `module:function`; the module is found as Python finds it.
        given: the parameters.
        place: of the filter in the recipe.

    Raises:
        RecipeError: there is no such function, it takes no such parameters, or its source is not there.
    """
    module_name, _, function_name = name.partition(":")
    function = _function(module_name, function_name, place)
    try:
        _, *own = inspect.signature(function).parameters.values()
    except (TypeError, ValueError) as error:
        raise RecipeError(f"{name} does not take a batch", where=place, hint="def f(batch, **parameters)") from error
    named = [one.name for one in own if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
    if not any(one.kind is one.VAR_KEYWORD for one in own):
        refuse_unknown(given, named, function_name, place)
    required = [one.name for one in own if one.name in named and one.default is one.empty]
    if missing := [one for one in required if one not in given]:
        raise RecipeError(f"{name} needs {', '.join(missing)}", where=f"{place}.parameters")
    identity = {"filter": name, "source": _source_digest(function, name, place), "parameters": as_json(given)}
    return Filter(name=name, identity=identity, judge=partial(_judge, function, dict(given), name, place))


def _function(module_name: str, function_name: str, place: str) -> Callable[..., Any]:
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise _import_failed(module_name, error, place) from error
        hint = f"run mixer with PYTHONPATH set to the folder of {error.name.partition('.')[0]}.py"
        raise RecipeError(f"there is no module '{error.name}'", where=place, hint=hint) from None
    except Exception as error:
        raise _import_failed(module_name, error, place) from error
    function = getattr(module, function_name, None)
    if not callable(function):
        known = [key for key, one in vars(module).items() if inspect.isfunction(one)]
        near = difflib.get_close_matches(function_name, known, 1)
        message = f"'{module_name}' has no function '{function_name}'" + (
            f"; did you mean '{near[0]}'?" if near else ""
        )
        raise RecipeError(message, where=place)
    return function


def _import_failed(module_name: str, error: Exception, place: str) -> RecipeError:
    return RecipeError(f"'{module_name}' cannot be imported: {type(error).__name__}: {error}", where=place)


def _source_digest(function: Callable[..., Any], name: str, place: str) -> str:
    """The sha256 of the file with the function; helpers in other files do not count."""
    owner = function if hasattr(function, "__code__") else type(function)
    module = sys.modules[owner.__module__]
    path = inspect.getsourcefile(module) if getattr(module, "__file__", None) else None
    if path is None or not Path(path).is_file():
        hint = "give a function that is written in a Python file"
        raise RecipeError(f"{name} has no source that would identify it", where=place, hint=hint)
    return f"sha256:{sha256(Path(path).read_bytes()).hexdigest()}"


def _judge(
    function: Callable[..., Any], parameters: dict[str, Any], name: str, place: str, text: pa.LargeStringArray
) -> Verdicts:
    columns = _called(function, parameters, name, place, text)
    _check_repeatable(columns, partial(_called, function, parameters, name, place), text, name, place)
    keep = columns.pop(KEEP_COLUMN, None)
    reasons = columns.pop(REASON_COLUMN, None)
    if keep is None:
        return Verdicts(reason=np.zeros(len(text), dtype=np.uint8), reasons=(PASSED,), columns=columns)
    dropped = np.flatnonzero(~keep.to_numpy(zero_copy_only=False))
    default = name.partition(":")[2]
    why = pa.array([default] * len(dropped), pa.string()) if reasons is None else reasons.take(pa.array(dropped))
    encoded = pc.fill_null(why, default).dictionary_encode()
    if len(encoded.dictionary) > 255:
        raise RecipeError(f"{name} gives {len(encoded.dictionary):,} reasons; the most is 255", where=place)
    reason = np.zeros(len(text), dtype=np.uint8)
    reason[dropped] = encoded.indices.to_numpy() + 1
    return Verdicts(reason=reason, reasons=(PASSED, *encoded.dictionary.to_pylist()), columns=columns)


def _called(
    function: Callable[..., Any], parameters: dict[str, Any], name: str, place: str, text: pa.LargeStringArray
) -> _Columns:
    """What the function gives for some texts, checked."""
    try:
        given = function(pa.record_batch({"text": text}), **parameters)
    except Exception as error:
        message = f"{name} raised {type(error).__name__}: {error}"
        raise RecipeError(message, where=place, hint=f"{name} was given {len(text):,} texts") from error
    columns = _as_columns(given, name, place)
    for column, values in columns.items():
        if len(values) != len(text):
            found = f"{len(values):,} values of '{column}' for {len(text):,} texts"
            raise RecipeError(f"{name} gives {found}", where=place, hint="one value a row, in order")
    if KEEP_COLUMN in columns and not len(text):
        columns[KEEP_COLUMN] = pa.array([], pa.bool_())  # an empty list has no type
    keep = columns.get(KEEP_COLUMN)
    if keep is not None and (keep.type != pa.bool_() or keep.null_count):
        raise RecipeError(f"{name} gives '{KEEP_COLUMN}' of type {keep.type}; expected bool without nulls", where=place)
    if REASON_COLUMN in columns:
        columns[REASON_COLUMN] = _as_strings(columns[REASON_COLUMN], name, place)
    return columns


def _as_columns(given: Any, name: str, place: str) -> _Columns:
    if isinstance(given, pa.RecordBatch | pa.Table):
        given = dict(zip(given.schema.names, given.columns))
    if not isinstance(given, Mapping) or not given:
        found = f"{type(given).__name__}{' without columns' if isinstance(given, Mapping) else ''}"
        hint = "give a record batch, or a mapping of arrays"
        raise RecipeError(f"{name} gives {found}; expected columns", where=place, hint=hint)
    try:
        return {str(column): _as_array(values) for column, values in given.items()}
    except (pa.ArrowException, TypeError) as error:
        raise RecipeError(f"{name} gives what is no array: {error}", where=place) from error


def _as_array(values: Any) -> pa.Array:
    if isinstance(values, pa.ChunkedArray):
        return values.combine_chunks()
    return values if isinstance(values, pa.Array) else pa.array(values)


def _as_strings(values: pa.Array, name: str, place: str) -> pa.Array:
    try:
        return pc.cast(values, pa.string())
    except pa.ArrowException as error:
        raise RecipeError(
            f"{name} gives '{REASON_COLUMN}' of type {values.type}; expected strings", where=place
        ) from error


def _check_repeatable(
    columns: _Columns,
    called: Callable[[pa.LargeStringArray], _Columns],
    text: pa.LargeStringArray,
    name: str,
    place: str,
) -> None:
    """Ask for some rows again, chosen by key, a few at a time.

    Raises:
        RecipeError: the function gives something else for them.
    """
    if not len(text):
        return
    drawn = words(key(0, "rows that a filter judges twice", name, len(text)), _CHECKED_ROWS) % np.uint64(len(text))
    rows_twice = np.unique(drawn.astype(np.int64))
    for rows in np.array_split(rows_twice, min(_CHECKED_BATCHES, len(rows_twice))):
        again = called(text.take(pa.array(rows)))
        if again.keys() != columns.keys():
            raise RecipeError(f"{name} gives other columns for other rows", where=place)
        for column, values in columns.items():
            first = values.take(pa.array(rows)).to_pylist()
            for row, before, after in zip(rows.tolist(), first, again[column].to_pylist()):
                if not _is_same(before, after):
                    raise RecipeError(
                        f"{name} gives {column} {before!r} and then {after!r} for row {row:,} of {len(text):,}",
                        where=place,
                        hint="what it gives for a row may depend on nothing but that row's text and the parameters",
                    )


def _is_same(before: Any, after: Any) -> bool:
    """Floats may differ in their last digits, as a model's do that multiplies other matrices for other batches."""
    if isinstance(before, float) and isinstance(after, float):
        return math.isclose(before, after, rel_tol=1e-3, abs_tol=1e-6) or (math.isnan(before) and math.isnan(after))
    return bool(before == after)
