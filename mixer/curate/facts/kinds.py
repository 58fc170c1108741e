"""The kinds of facts: what each computes from the rows of a source, and what it depends on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mixer.curate.contamination import find_items
from mixer.curate.exact import normalised_digests, text_digests, value_digests
from mixer.curate.facts.hits import hits_as_columns
from mixer.curate.filters.verdicts import Filter
from mixer.curate.item_index import ItemIndex
from mixer.curate.signatures import signatures_of
from mixer.curate.words import Words, words_of
from mixer.digest import canonical_json
from mixer.errors import RecipeError
from mixer.sources.row_filter import Predicate, column_at
from mixer.sources.text import text_offsets


class FactRows:
    """Some rows of a source: their text, and the other columns that the facts read."""

    def __init__(self, text: pa.LargeStringArray, batch: pa.RecordBatch, bad: np.ndarray) -> None:
        # LargeString[rows]: null for a row without text; bool[rows]: rows that could not be read.
        self.text, self.batch, self.bad = text, batch, bad

    def __len__(self) -> int:
        return len(self.text)

    @cached_property
    def words(self) -> Words:
        """The words of the text, found once for all facts that want them."""
        return words_of(self.text)


class FactKind(Protocol):
    """One kind of facts about the rows of a source."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """Everything that the values depend on beside the rows: JSON without floats."""

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns of the source that are read beside the text, dotted."""

    def columns(self, rows: FactRows) -> dict[str, pa.Array]:
        """The facts of some rows: arrays of one value a row."""


def fixed_binary(values: np.ndarray) -> pa.FixedSizeBinaryArray:
    """uint8[rows, n], or uint64[rows, n], as a column of bytes, without a copy."""
    whole = np.ascontiguousarray(values)
    width = whole.shape[1] * whole.itemsize
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(whole), [None, pa.py_buffer(whole)])


class _Kind:
    """Kinds are equal if their identities are: facts that two steps want are computed once."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """Name, version and parameters."""
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Kind) and self.identity == other.identity

    def __hash__(self) -> int:
        return hash(canonical_json(dict(self.identity)))


class _OfText(_Kind):
    """Facts of the text alone."""

    reads: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class TextFacts(_OfText):
    """Of each text its bytes, its words, its digest, and the digest of its words."""

    @property
    def identity(self) -> dict[str, Any]:
        """Name, version and parameters."""
        return {"kind": "text", "version": 1}

    def columns(self, rows: FactRows) -> dict[str, pa.Array]:
        """The facts of some rows."""
        return {
            "num_bytes": pa.array(np.diff(text_offsets(rows.text)), pa.int64()),
            "num_words": pa.array(np.diff(rows.words.offsets).astype(np.uint32), pa.uint32()),
            "text": fixed_binary(text_digests(rows.text)),
            "normalised": fixed_binary(normalised_digests(rows.text, rows.words)),
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class SignatureFacts(_OfText):
    """Of each text its MinHash signature."""

    ngrams: int
    bands: int
    rows: int

    @property
    def identity(self) -> dict[str, Any]:
        """Name, version and parameters."""
        return {"kind": "signature", "version": 1, "ngrams": self.ngrams, "bands": self.bands, "rows": self.rows}

    def columns(self, rows: FactRows) -> dict[str, pa.Array]:
        """The facts of some rows."""
        found = signatures_of(rows.words, ngrams=self.ngrams, bands=self.bands, rows=self.rows)
        return {"slots": fixed_binary(found.slots), "signed": pa.array(found.signed)}


@dataclass(frozen=True, kw_only=True, eq=False)
class FilterFacts(_OfText):
    """Of each text a filter's verdict: the reason for which it is refused, or null."""

    name: str
    parameters: Mapping[str, Any]
    place: str

    @cached_property
    def filter(self) -> Filter:
        """The filter; loaded where it is used, since not every filter travels between processes."""
        from mixer.curate.filters.load import load_filter

        found: Filter = load_filter(self.name, self.parameters, place=self.place)
        return found

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "filter"}

    @property
    def identity(self) -> dict[str, Any]:
        """Name, version and parameters."""
        return {"kind": "filter", "version": 1, "filter": dict(self.filter.identity)}

    def columns(self, rows: FactRows) -> dict[str, pa.Array]:
        """The facts of some rows."""
        verdicts = self.filter.evaluate(rows.text)
        codes = pa.array(verdicts.reason, mask=verdicts.reason == 0)
        reasons = pa.DictionaryArray.from_arrays(codes, pa.array(verdicts.reasons)).cast(pa.string())
        return {"reason": reasons, **{f"value.{name}": column for name, column in verdicts.columns.items()}}


@dataclass(frozen=True, kw_only=True, eq=False)
class ItemFacts(_OfText):
    """Of each text the evaluation items in it."""

    index: ItemIndex

    @property
    def identity(self) -> dict[str, Any]:
        """Name, version and parameters."""
        return {"kind": "items", "version": 1, "index": self.index.id}

    def columns(self, rows: FactRows) -> dict[str, pa.Array]:
        """The facts of some rows."""
        return hits_as_columns(find_items(self.index, rows.text))


@dataclass(frozen=True, kw_only=True, eq=False)
class ColumnDigestFacts(_Kind):
    """The digest of each value of a column, such as a url."""

    column: str

    @property
    def identity(self) -> dict[str, Any]:
        """Name, version and parameters."""
        return {"kind": "column digest", "version": 1, "column": self.column}

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns."""
        return (self.column,)

    def columns(self, rows: FactRows) -> dict[str, pa.Array]:
        """The facts of some rows."""
        return {"digest": fixed_binary(value_digests(column_at(rows.batch, self.column)))}


@dataclass(frozen=True, kw_only=True, eq=False)
class NumberFacts(_Kind):
    """The numbers of a column, such as a score."""

    column: str
    place: str

    @property
    def identity(self) -> dict[str, Any]:
        """Name, version and parameters."""
        return {"kind": "number", "version": 1, "column": self.column}

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns."""
        return (self.column,)

    def columns(self, rows: FactRows) -> dict[str, pa.Array]:
        """The facts of some rows."""
        values = column_at(rows.batch, self.column)
        if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type) or pa.types.is_null(values.type)):
            raise RecipeError(f"column '{self.column}' is of type {values.type}; expected numbers", where=self.place)
        return {"number": pc.cast(values, pa.float64())}


@dataclass(frozen=True, kw_only=True, eq=False)
class WhereFacts(_Kind):
    """Whether `where` keeps each row; one that cannot be read is kept."""

    predicate: Predicate

    @property
    def identity(self) -> dict[str, Any]:
        """Name, version and parameters."""
        return {"kind": "where", "version": 1, "where": self.predicate.text}

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns."""
        return tuple(sorted(self.predicate.columns))

    def columns(self, rows: FactRows) -> dict[str, pa.Array]:
        """The facts of some rows."""
        kept = self.predicate.mask(rows.batch).to_numpy(zero_copy_only=False) | rows.bad
        return {"kept": pa.array(kept)}


def reads_text_of(kind: FactKind) -> bool:
    """Whether a kind of facts reads the text."""
    return isinstance(kind, _OfText)
