"""The wanted files of a repository, by the facts in their rows. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mixer.digest import decimal_text

TOO_MANY_TOKENS = "too_many_tokens"
"""Why a file is left out that has fewer bytes a token than asked for: known only when it is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The conditions on a file; a bound of None is no condition."""

    # Names as the column `language` has them; none: any.
    languages: tuple[str, ...] = ()
    # Of `license_type`, as in permissive or no_license; none: any.
    license_types: tuple[str, ...] = ()
    # Whether files with `is_vendor` and with `is_generated` are wanted.
    vendored: bool = True
    generated: bool = True
    # Of `length_bytes`, both included.
    min_bytes: int | None = None
    max_bytes: int | None = None
    # Of UTF-8 text to each token: text that the tokenizer finds no words in, such as hex dumps, has less than 2.
    min_bytes_per_token: float | None = None

    def as_json(self) -> dict[str, Any]:
        """The selection as JSON values; names in order, since theirs means nothing."""
        least = self.min_bytes_per_token
        return asdict(self) | {
            "languages": sorted(self.languages),
            "license_types": sorted(self.license_types),
            "min_bytes_per_token": None if least is None else decimal_text(least),
        }

    @property
    def columns(self) -> frozenset[str]:
        """The fields of a file that the selection reads."""
        asked = {
            "language": bool(self.languages),
            "license_type": bool(self.license_types),
            "is_vendor": not self.vendored,
            "is_generated": not self.generated,
            "length_bytes": self.min_bytes is not None or self.max_bytes is not None,
        }
        return frozenset(name for name, is_asked in asked.items() if is_asked)


def select(files: pa.StructArray, selection: Selection) -> tuple[np.ndarray, dict[str, int]]:
    """The wanted files, and the number of others by the first reason against each.

    A file of unknown (null) language or licence is not of those that were asked for; of unknown size it is neither too
    small nor too large.

    Args:
        files: file metadata, with the columns of the selection.

    Returns:
        bool[files]; and counts whose sum is the number of files that are not wanted.
    """
    wanted = np.ones(len(files), bool)
    left_out = {}
    for reason, against in _objections(files, selection):
        hit = wanted & pc.fill_null(against, False).to_numpy(zero_copy_only=False)
        left_out[reason] = int(hit.sum())
        wanted &= ~hit
    return wanted, left_out


def _objections(files: pa.StructArray, selection: Selection) -> Iterator[tuple[str, pa.BooleanArray]]:
    """Each condition's reason, and the files that it excludes: bool[files]."""
    if selection.languages:
        yield "language", _not_in(files.field("language"), selection.languages)
    if selection.license_types:
        yield "license_type", _not_in(files.field("license_type"), selection.license_types)
    if not selection.vendored:
        yield "vendored", files.field("is_vendor")
    if not selection.generated:
        yield "generated", files.field("is_generated")
    if selection.min_bytes is not None:
        yield "too_small", pc.less(files.field("length_bytes"), selection.min_bytes)
    if selection.max_bytes is not None:
        yield "too_large", pc.greater(files.field("length_bytes"), selection.max_bytes)


def _not_in(values: pa.Array, names: tuple[str, ...]) -> pa.BooleanArray:
    return pc.invert(pc.is_in(values, value_set=pa.array(names, values.type)))
