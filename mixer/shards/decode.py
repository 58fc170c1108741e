"""JSON values <-> the frozen records of a build: values are checked against the types of the record's fields.

Unknown keys are ignored: they are covered by ids, and what a reader must know is in `features`.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, Literal, TypeVar

Record = TypeVar("Record")
_Check = Callable[[Any, str], Any]
_LARGEST = 2**63 - 1


class ShapeError(ValueError):
    """A value is not of the record's type; the message says where."""


def decode(kind: type[Record], value: Any) -> Record:
    """The record of a JSON value.

    Args:
        kind: a frozen dataclass of ints, strings, booleans, None, literals, tuples, dicts and other such records.
        value: what `json.loads` gave.

    Raises:
        ShapeError: a key is missing or has a value of another kind, an integer is negative or not below 2^63.
    """
    return typing.cast(Record, _checker(typing.cast(Any, kind))(value, ""))


def encode(record: Any) -> Any:
    """The JSON value of a record: objects for records, lists for tuples; `decode` is the inverse."""
    if is_dataclass(record) and not isinstance(record, type):
        return {field.name: encode(getattr(record, field.name)) for field in fields(record)}
    if isinstance(record, tuple):
        return [encode(item) for item in record]
    if isinstance(record, dict):
        return {key: encode(value) for key, value in record.items()}
    return record


@cache
def _checker(kind: Any) -> _Check:
    """The decoder of a type; made once for each type."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if is_dataclass(kind):
        return _record_checker(typing.cast(type, kind))
    if origin is typing.Annotated:
        return _pattern_checker(arguments[1])
    if origin is Literal:
        return _literal_checker(arguments)
    if origin in (types.UnionType, typing.Union):
        (inner,) = (argument for argument in arguments if argument is not type(None))
        check = _checker(inner)
        return lambda value, place: None if value is None else check(value, place)
    if origin is tuple:
        return _list_checker(arguments)
    if origin is dict:
        check = _checker(arguments[1])
        return lambda value, place: {
            key: check(item, f"{place}.{key}") for key, item in _instance(value, dict, "an object", place).items()
        }
    if kind is int:
        return _check_int
    if kind is str:
        return lambda value, place: _instance(value, str, "text", place)
    if kind is bool:
        return lambda value, place: _instance(value, bool, "true or false", place)
    if kind is Any:
        return lambda value, place: value
    raise TypeError(f"no JSON for {kind}")


def _record_checker(kind: type) -> _Check:
    hints = typing.get_type_hints(kind, include_extras=True)
    checks = [(field.name, _checker(hints[field.name]), field.default) for field in fields(kind)]

    def check(value: Any, place: str) -> Any:
        found = _instance(value, dict, "an object", place)
        made = {}
        for name, check_field, default in checks:
            inner = f"{place}.{name}" if place else name
            if name in found:
                made[name] = check_field(found[name], inner)
            elif default is not None:  # a key with another default is written all the same, and must be there
                raise ShapeError(f"{inner} is missing")
        return kind(**made)

    return check


def _list_checker(arguments: tuple[Any, ...]) -> _Check:
    check = _checker(arguments[0])
    length = None if arguments[1:] == (...,) else len(arguments)

    def check_list(value: Any, place: str) -> tuple[Any, ...]:
        items = _instance(value, list, "a list", place)
        if length is not None and len(items) != length:
            raise ShapeError(f"{place} has {len(items)} entries, not {length}")
        return tuple([check(item, f"{place}[{number}]") for number, item in enumerate(items)])

    return check_list


def _pattern_checker(pattern: str) -> _Check:
    matches = re.compile(pattern).fullmatch

    def check(value: Any, place: str) -> str:
        if not isinstance(value, str) or matches(value) is None:
            raise ShapeError(f"{place} is {_shown(value)}, not of the form {pattern}")
        return value

    return check


def _literal_checker(choices: tuple[Any, ...]) -> _Check:
    def check(value: Any, place: str) -> Any:
        if not isinstance(value, str) or value not in choices:
            raise ShapeError(f"{place} is {_shown(value)}, not one of {', '.join(choices)}")
        return value

    return check


def _check_int(value: Any, place: str) -> int:
    if type(value) is not int or not 0 <= value <= _LARGEST:
        raise ShapeError(f"{place} is {_shown(value)}, not an integer from 0 to 2^63 - 1")
    return value


def _instance(value: Any, kind: type, meaning: str, place: str) -> Any:
    if not isinstance(value, kind):
        raise ShapeError(f"{place or 'the value'} is {_shown(value)}, not {meaning}")
    return value


def _shown(value: Any) -> str:
    if isinstance(value, int) and value.bit_length() > 256:
        return "a huge integer"
    text = ascii(value) if not isinstance(value, dict | list) else "an object" if isinstance(value, dict) else "a list"
    return text if len(text) <= 80 else f"{text[:77]}..."
