"""The columns that are read for a document's text and for `where`, and their checks."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from mixer.errors import RecipeError
from mixer.recipe.template import parse_template
from mixer.sources.row_filter import Predicate, parse_where

if TYPE_CHECKING:
    from mixer.recipe import Source, TextSpec

CURATE, EXCLUDE = "curate", "exclude"
"""The names of the row attributes that the recipe's `curate` makes, and a source's `exclude`."""
_MAX_COLUMNS_SHOWN = 40
_LIST_HINT = "text: {list: .., field: ..} joins the items of a list, text: COLUMN takes a plain column"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanSpec:
    """The columns that are read from each row of a source. Paths are dotted, without list levels."""

    # The source's place in the recipe, for messages: sources.wiki
    place: str
    text: TextSpec
    predicate: Predicate | None
    # A `where` over row attributes, in place of `predicate`; it is applied once, when rows are selected. Its columns
    # are those of the source that it reads too.
    late: Predicate | None = None
    # Columns that are read beside those of the text and of `predicate`, and whether the text is read.
    extra_paths: tuple[str, ...] = ()
    reads_text: bool = True
    # The address of the file that is read, where its path is that of a copy of parts of it.
    address: str | None = None

    @property
    def name(self) -> str:
        """The source's name."""
        return self.place.removeprefix("sources.")

    @property
    def text_paths(self) -> tuple[str, ...]:
        """The paths of the strings: `text`, `a.b`, or `files.text` for a field of a list's structs; each once."""
        if self.text.list is None:
            return (str(self.text.column),)
        if self.text.template is not None:
            return tuple(
                dict.fromkeys(f"{self.text.list}.{name}" for name in parse_template(self.text.template).fields)
            )
        return (f"{self.text.list}.{self.text.field}" if self.text.field else self.text.list,)

    @property
    def order_path(self) -> str | None:
        """The path of the field that the items of a list are sorted by, if any."""
        return None if self.text.list is None or self.text.order == "stored" else f"{self.text.list}.{self.text.order}"

    @property
    def paths(self) -> tuple[str, ...]:
        """Every path that is read, each once, the text first."""
        order = [self.order_path] if self.order_path else []
        where = sorted(self.predicate.columns) if self.predicate else []
        text = [*self.text_paths, *order] if self.reads_text else []
        return tuple(dict.fromkeys([*text, *where, *self.extra_paths]))

    def at(self, path: Path) -> str:
        """The name of a file of the source in messages."""
        return f"{self.place}: {self.address or path}"


def needs_of(name: str, source: Source) -> ScanSpec:
    """The columns that a source of a recipe needs.

    Raises:
        RecipeError: `where` is not in its language.
    """
    place = f"sources.{name}"
    predicate = None if source.where is None else parse_where(source.where, f"{place}.where")
    late = None
    names = {*source.attributes, CURATE}
    if predicate is not None and attributes_in(predicate, names):
        own = [path for path in predicate.columns if path.partition(".")[0] not in names]
        late, predicate = replace(predicate, columns=frozenset(own)), None
    return ScanSpec(place=place, text=source.text, predicate=predicate, late=late)


def attributes_in(predicate: Predicate, names: Iterable[str]) -> set[str]:
    """The row attributes that a predicate uses, of those with these names."""
    return {path.partition(".")[0] for path in predicate.columns} & {*names}


def check_schema(schema: pa.Schema, scan: ScanSpec, file: Path) -> None:
    """Check that every needed column is in an Arrow schema, and that the text is text.

    Raises:
        RecipeError: a column is missing (the message lists the others); the text is not of a string type, or
            is in a list where the recipe has none, or the other way round.
    """
    num_lists = int(scan.text.list is not None)
    for path in scan.paths:
        found = _resolve(schema, path)
        if found is None:
            leaves = [name for field in schema for name, _ in leaf_paths(field)]
            raise missing_column(path, leaves, scan.at(file))
        kind, lists_above = found
        item, lists_below = _item(kind)
        lists = lists_above + lists_below
        if path in scan.text_paths and not _is_text(item):
            raise RecipeError(
                f"column '{path}' is of type {kind}; expected string, large_string, string_view or a dictionary",
                where=scan.at(file),
                hint="name the column that holds the text",
            )
        if path in (*scan.text_paths, scan.order_path) and lists != num_lists:
            raise wrong_level(path, lists, num_lists, scan.at(file))
        if scan.predicate and path in scan.predicate.columns and lists_above:
            raise inside_a_list(path, scan.predicate)


def wrong_level(path: str, lists: int, expected: int, where: str) -> RecipeError:
    """The error for a text or an order that is in more or fewer lists than the recipe says."""
    return RecipeError(f"column '{path}' is at list level {lists}; expected {expected}", where=where, hint=_LIST_HINT)


def inside_a_list(path: str, predicate: Predicate) -> RecipeError:
    """The error for a column of `where` with many values per row."""
    return RecipeError(
        f"column '{path}' is inside a list, so a row has many values of it",
        where=predicate.place,
        hint="use columns with one value per row",
    )


def missing_column(path: str, columns: Sequence[str], where: str) -> RecipeError:
    """The error for a path that no row has."""
    shown = ", ".join(f"'{name}'" for name in columns[:_MAX_COLUMNS_SHOWN])
    more = len(columns) - _MAX_COLUMNS_SHOWN
    near = difflib.get_close_matches(path, columns, 1)
    return RecipeError(
        f"column '{path}' is not in the source; columns are {shown}" + (f" and {more} more" if more > 0 else ""),
        where=where,
        hint=f"did you mean '{near[0]}'?" if near else "name one of these columns",
    )


def leaf_paths(field: pa.Field, above: str = "") -> Iterator[tuple[str, pa.DataType]]:
    """The dotted path and type of each leaf of a field, list levels left out: Parquet's columns, in their order."""
    path = f"{above}{field.name}"
    kind, _ = _item(field.type)
    if pa.types.is_map(kind):
        yield from leaf_paths(kind.key_field, f"{path}.")
        yield from leaf_paths(kind.item_field, f"{path}.")
    elif pa.types.is_struct(kind):
        for child in kind.fields:
            yield from leaf_paths(child, f"{path}.")
    else:
        yield path, kind


def _resolve(schema: pa.Schema, path: str) -> tuple[pa.DataType, int] | None:
    """The type at a path and the number of list levels above it; None if the path is missing."""
    first, *rest = path.split(".")
    if schema.get_field_index(first) < 0:
        return None
    kind, lists_above = schema.field(first).type, 0
    for name in rest:
        kind, lists = _item(kind)
        lists_above += lists
        if not pa.types.is_struct(kind) or kind.get_field_index(name) < 0:
            return None
        kind = kind.field(name).type
    return kind, lists_above


def _item(kind: pa.DataType) -> tuple[pa.DataType, int]:
    """The type inside of all list levels, and their number."""
    lists = 0
    while pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        kind, lists = kind.value_type, lists + 1
    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind, lists


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
