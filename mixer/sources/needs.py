"""What is read of a row: the columns behind a document's text and behind `where`, and their checks."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from mixer.errors import DataError, RecipeError
from mixer.sources.where import Predicate, parse_where

if TYPE_CHECKING:
    from mixer.recipe import Source, TextSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What is read of each row of a source. Paths are dotted; list levels do not show in them."""

    text: TextSpec
    predicate: Predicate | None

    @property
    def text_path(self) -> str:
        """The path of the strings: `text`, `a.b`, or `files.text` for the field of a list's structs."""
        if self.text.column is not None:
            return self.text.column
        return f"{self.text.list}.{self.text.field}" if self.text.field else str(self.text.list)

    @property
    def order_path(self) -> str | None:
        """The path of the field that the items of a list are sorted by, if any."""
        return None if self.text.list is None or self.text.order == "stored" else f"{self.text.list}.{self.text.order}"

    @property
    def paths(self) -> tuple[str, ...]:
        """Every path that is read, each once, the text first."""
        order = [self.order_path] if self.order_path else []
        where = sorted(self.predicate.columns) if self.predicate else []
        return tuple(dict.fromkeys([self.text_path, *order, *where]))

    @property
    def top_columns(self) -> tuple[str, ...]:
        """The top-level columns that hold the paths, each once."""
        return tuple(dict.fromkeys(path.split(".")[0] for path in self.paths))


def needs_of(source: Source) -> Needs:
    """What a source of a recipe reads.

    Raises:
        RecipeError: `where` is not in its language.
    """
    return Needs(text=source.text, predicate=parse_where(source.where) if source.where is not None else None)


def check_schema(schema: pa.Schema, needs: Needs, where: str) -> None:
    """Check that every path is in an Arrow schema and that the text is text.

    Raises:
        RecipeError: a column is not there; the message lists those that are.
        DataError: the text is not of a string type, or is no list where one is named.
    """
    in_list = needs.text.list is not None
    for path in needs.paths:
        found = _resolve(schema, path)
        if found is None:
            raise missing_column(path, schema.names, where)
        kind, lists = found
        if path == needs.text_path and not _is_text(kind):
            raise DataError(
                f"column '{path}' is {kind}; expected string, large_string, string_view or a dictionary of strings",
                where=where,
                hint="name the column that holds the text",
            )
        inside = path in (needs.text_path, needs.order_path) and in_list
        if lists != int(inside):
            shape = "inside a list" if lists else "not inside a list"
            raise DataError(
                f"column '{path}' is {shape}",
                where=where,
                hint="text: {list: .., field: ..} joins the items of a list; text: COLUMN takes a plain column",
            )


def missing_column(path: str, columns: Sequence[str], where: str) -> RecipeError:
    """The error for a path that no row has."""
    shown = ", ".join(f"'{name}'" for name in columns[:40]) + (", ..." if len(columns) > 40 else "")
    near = difflib.get_close_matches(path, columns, 1) or [name for name in columns if name in ("text", "content")]
    hint = f"did you mean '{near[0]}'?" if near else "name one of these columns; a.b is field b of struct a"
    return RecipeError(f"column '{path}' is not in the source; columns are {shown}", where=where, hint=hint)


def _resolve(schema: pa.Schema, path: str) -> tuple[pa.DataType, int] | None:
    """The type at a path and the number of list levels above it (a list of plain strings counts as one)."""
    first, *rest = path.split(".")
    if schema.get_field_index(first) < 0:
        return None
    kind, lists = _item(schema.field(first).type)
    for name in rest:
        if not pa.types.is_struct(kind) or kind.get_field_index(name) < 0:
            return None
        kind, deeper = _item(kind.field(name).type)
        lists += deeper
    return kind, lists


def _item(kind: pa.DataType) -> tuple[pa.DataType, int]:
    if is_list(kind):
        inner, deeper = _item(kind.value_type)
        return inner, deeper + 1
    return kind, 0


def is_list(kind: pa.DataType) -> bool:
    """Whether a type is a list of one of the layouts that are read."""
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
