"""The types of a recipe's fields: what each accepts as written, and the value it becomes.

A validator here raises a `ValueError` for a wrong value; `problems.py` adds the place.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, PlainValidator

from mixer.digest import decimal_text
from mixer.errors import UsageError
from mixer.recipe.sizes import BYTES_PATTERN, COUNT_PATTERN, parse_bytes, parse_count
from mixer.recipe.template import parse_template

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
MAX_NAME = 128
"""Letters of a name: it becomes the name of a file, and file systems take 255 bytes with what is added to it."""
MAX_COUNT = 2**63 - 1
"""Draws, rows and seeds are numbered in 64 bits."""
MAX_TOKEN_ID = 2**31 - 1
"""A shard keeps ids in an int32."""
MAX_SOURCES = 2**15 - 1
"""A shard names a source by an int16."""
_LEAST_WEIGHT, _MOST_WEIGHT = 1e-150, 10**150
"""The sum of 32,767 weights between these, and the quotient of a weight and it, are finite floats above 0."""
_SCHEMES = ("hf", "s3", "gs", "https", "http")


def expand_text(value: Any) -> Any:
    """The mapping that a shorthand stands for: `text` is a column, `files[].text` a joined list.

    Raises:
        ValueError: it is neither text nor a mapping, or has brackets outside LIST[] or LIST[].FIELD.
    """
    if isinstance(value, dict):
        return value
    if not isinstance(value, str):
        raise ValueError("must be a column, LIST[].FIELD, or a mapping")
    if "[]" not in value:
        return {"column": value}
    match = re.fullmatch(r"([^\[\]]+)\[\](?:\.([^\[\]]+))?", value)
    if match is None:
        raise ValueError(f"must be a column, LIST[] or LIST[].FIELD, such as files[].text, not {value!r}")
    return {"list": match[1], "field": match[2]}


def expand_exclude(value: Any) -> Any:
    """A path as the mapping that it stands for."""
    return {"path": value} if isinstance(value, str) else value


def expand_contents(value: Any) -> Any:
    """The mapping that a data set's name stands for."""
    return {"data_set": value} if isinstance(value, str) else value


def _read_special(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
        raise ValueError(f"must be the name or the id of a special token, not {value!r:.60}")
    if isinstance(value, int) and not 0 <= value <= MAX_TOKEN_ID:
        raise ValueError(f"must be an id from 0 to {MAX_TOKEN_ID}, not {value}")
    return value


def _whole(value: float) -> int | float:
    """The integer that a whole float such as 4e10 stands for; any other number as it is."""
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        return int(Fraction(str(value)))  # what is written counts: int(1e23) is 99999999999999991611392
    return value


def _read_count(value: Any) -> Any:
    if isinstance(value, float):
        return _whole(value)
    if not isinstance(value, str):
        return value
    try:
        return parse_count(value)
    except UsageError as err:
        raise ValueError(err.message) from err


def _read_bytes(value: Any) -> Any:
    if not isinstance(value, str):
        return _whole(value)
    try:
        return parse_bytes(value)
    except UsageError as err:
        raise ValueError(err.message) from err


def _read_weight(value: Any) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("must be a number without quotes or unit, such as 40 or 0.5")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"must be finite, not {value}")
    if value <= 0:
        raise ValueError(f"must be above 0, not {value:.6g}; to leave a source out, remove it")
    whole = _whole(value)
    if not _LEAST_WEIGHT <= whole <= _MOST_WEIGHT:
        raise ValueError("must be between 1e-150 and 1e150: weights are relative, so scale them")
    return whole


def _read_ratio(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= _MOST_WEIGHT:
        raise ValueError(f"must be a number above 0, such as 2.5, not {value!r:.40}")
    return float(value)


def _read_share(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise ValueError(f"must be a number above 0 and at most 1, such as 0.5, not {value!r:.40}")
    return float(value)


def _read_paths(value: Any) -> Any:
    if value in ([], ()):  # pydantic's own check of the length also counts out what is wrong for another reason
        raise ValueError("must not be empty")
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


def _read_names(value: Any) -> Any:
    """Names, sorted and each once: their order has no meaning."""
    if isinstance(value, list | tuple) and all(isinstance(name, str) for name in value):
        return tuple(sorted(set(value)))
    raise ValueError(f"must be a list of names, not {value!r:.60}")


def _check_path(path: str) -> str:
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", path)
    if scheme and scheme[1] not in _SCHEMES:
        raise ValueError(f"has the unknown scheme {scheme[1]!r}; known are {', '.join(_SCHEMES)} and plain paths")
    return path


def _check_hub(repo: str) -> str:
    if re.fullmatch(r"[\w.-]+/[\w.-]+(@\S+)?", repo, re.ASCII) is None:
        raise ValueError(f"must be ORG/NAME or ORG/NAME@REVISION, not {repo[:40]!a}")
    return repo


def _check_template(text: str) -> str:
    parse_template(text)
    return text


def _check_filled(text: str) -> str:
    if not text.strip():  # but it is not stripped: the name of a directory of Zyda-2 ends in a space
        raise ValueError("must not be empty")
    return text


def _check_unicode(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as err:
        raise ValueError(f"must be Unicode text, but has a lone surrogate at {err.start}") from err
    return text


def _human(least: int, most: int) -> BeforeValidator:
    written = Annotated[int, Field(ge=least, le=most)] | Annotated[str, Field(pattern=COUNT_PATTERN)]
    return BeforeValidator(_read_count, json_schema_input_type=written)


Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=MAX_NAME)]
AttributeName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=MAX_NAME)]
TokenId = Annotated[int, Field(ge=0, le=MAX_TOKEN_ID)]
Special = Annotated[int | str, PlainValidator(_read_special, json_schema_input_type=TokenId | Annotated[str, Field()])]
VocabSize = Annotated[int, Field(ge=257, le=MAX_TOKEN_ID + 1)]
Seed = Annotated[int, Field(ge=0, le=MAX_COUNT)]
Positive = Annotated[int, Field(ge=1, le=MAX_COUNT)]
Count = Annotated[int, Field(ge=1, le=MAX_COUNT), _human(1, MAX_COUNT)]
TaskTokens = Annotated[int, Field(ge=2**10, le=2**26), _human(2**10, 2**26)]
Bytes = Annotated[
    int,
    Field(ge=1, le=MAX_COUNT),
    BeforeValidator(_read_bytes, json_schema_input_type=int | Annotated[str, Field(pattern=BYTES_PATTERN)]),
]
Text = Annotated[str, AfterValidator(_check_unicode)]
ItemTemplate = Annotated[Text, AfterValidator(_check_template)]
Filled = Annotated[Text, AfterValidator(_check_filled), Field(json_schema_extra={"minLength": 1})]
Condition = Annotated[Filled, AfterValidator(str.strip)]
Hub = Annotated[Filled, AfterValidator(_check_hub)]
Path = Annotated[Filled, AfterValidator(_check_path)]
Paths = Annotated[
    tuple[Path, ...],
    BeforeValidator(_read_paths, json_schema_input_type=Path | Annotated[list[Path], Field(min_length=1)]),
]
Names = Annotated[
    tuple[Filled, ...], BeforeValidator(_read_names, json_schema_input_type=Annotated[list[Filled], Field()])
]
_AS_TEXT = PlainSerializer(decimal_text, when_used="json")
Share = Annotated[
    float, BeforeValidator(_read_share, json_schema_input_type=Annotated[float, Field(gt=0, le=1)]), _AS_TEXT
]
Ratio = Annotated[float, BeforeValidator(_read_ratio, json_schema_input_type=Annotated[float, Field(gt=0)]), _AS_TEXT]
Weight = Annotated[
    int | float, PlainValidator(_read_weight, json_schema_input_type=Annotated[float, Field(gt=0)]), _AS_TEXT
]
