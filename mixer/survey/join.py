"""Row attributes from a table made elsewhere: joined to a source by a column, or by file and row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mixer.attributes.columns import MAX_LABELS, AttributeColumn
from mixer.attributes.kept_rows import KEEP
from mixer.attributes.set_file import AttributeSet, AttributeWriter
from mixer.digest import xxh3_file
from mixer.errors import DataError, UsageError, shown_names
from mixer.sources.reader import SourceReader
from mixer.sources.row_filter import column_at
from mixer.sources.scan import needs_of
from mixer.sources.snapshot import Snapshot

if TYPE_CHECKING:
    from mixer.recipe import Source

OnMissing = Literal["null", "drop", "error"]
FILE, ROW = "file", "row"
"""The columns of a table that names rows by file (its path in the source, or the end of it) and row in that file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinedSet:
    """A joined set, and how the table met the source."""

    attributes: AttributeSet
    # Rows of the source with an entry of the table, and without; entries of the table without a row.
    num_matched: int
    num_missing: int
    num_unused: int


def read_table(path: Path) -> pa.Table:
    """A table of row attributes: a Parquet file.

    Raises:
        UsageError: it is no Parquet file, or cannot be read.
    """
    try:
        return pq.ParquetFile(path).read()
    except FileNotFoundError as error:
        raise UsageError("there is no such file", where=str(path)) from error
    except (OSError, pa.ArrowException) as error:
        raise UsageError(f"cannot be read as Parquet: {error}", where=str(path)) from error


def join_table(
    name: str,
    source: Source,
    snapshot: Snapshot,
    table: pa.Table,
    *,
    path: Path,
    key: str | None,
    on_missing: OnMissing,
    folder: Path,
) -> JoinedSet:
    """The columns of a table as row attributes of a source.

    Args:
        name: the source's name.
        source: its part of the recipe.
        snapshot: its files, pinned.
        table: the table; its columns but the key become attributes.
        path: where it is from, for messages.
        key: a column that both have; None: the table has `file` and `row`.
        on_missing: what a row without an entry gets: nulls, nulls and `keep` false, or an error.
        folder: where the set goes.

    Raises:
        DataError: a key is in the table twice or null, or a row of the source has no entry and that is an error.
        UsageError: a column is missing, or of a type that no attribute has.
    """
    entries = _places_by_key if key is not None else _places_by_row
    names = [one for one in table.column_names if one not in ((key,) if key is not None else (FILE, ROW))]
    columns = [_column(table, one, path) for one in names]
    if on_missing == "drop" and KEEP not in names:
        columns.append(AttributeColumn(name=KEEP, kind="bool"))
    if not columns:
        raise UsageError("the table has no column beside its key", where=str(path))
    stored = {column.name: _stored(table, column) for column in columns if column.name in names}
    used = np.zeros(len(table), dtype=bool)
    num_missing = 0
    made_by = {"table": xxh3_file(path), "key": key, "on_missing": on_missing}
    with AttributeWriter(folder, snapshot.identity, columns, made_by) as writer:
        for places in entries(name, source, snapshot, table, path, key or ""):
            missing = places < 0
            num_missing += int(missing.sum())
            used[places[~missing]] = True
            taken = pa.array(places, mask=missing)
            block = {column: values.take(taken) for column, values in stored.items()}
            if on_missing == "drop":
                keep = block.get(KEEP, pa.array(np.ones(len(places), dtype=bool)))
                block[KEEP] = pc.and_(pc.fill_null(keep, False), pa.array(~missing))
            writer.write(block)
        if num_missing and (on_missing == "error" or (KEEP in names and on_missing == "null")):
            raise DataError(
                f"{num_missing:,} of {snapshot.num_rows:,} rows have no entry in {path.name}",
                where=f"sources.{name}",
                hint="choose what such a row gets: nulls (null), or to be left out (drop)",
            )
    return JoinedSet(
        attributes=writer.finish(),
        num_matched=snapshot.num_rows - num_missing,
        num_missing=num_missing,
        num_unused=int((~used).sum()),
    )


def exclude_rows(
    name: str, source: Source, snapshot: Snapshot, path: Path, key: str | None, folder: Path
) -> AttributeSet:
    """A set whose `keep` is false for the rows that a table names.

    Raises:
        DataError: the table names a row that the source does not have by file and row, or a key is null.
        UsageError: the table cannot be read, or lacks a column.
    """
    table = read_table(path)
    entries = _places_by_key if key is not None else _places_by_row
    table = table.select([key] if key is not None else _row_columns(table, path))
    if key is not None:
        table = table.group_by(key).aggregate([])  # listed twice is excluded once
    made_by = {"excluded": xxh3_file(path), "key": key}
    columns = [AttributeColumn(name=KEEP, kind="bool")]
    with AttributeWriter(folder, snapshot.identity, columns, made_by) as writer:
        for places in entries(name, source, snapshot, table, path, key or ""):
            writer.write({KEEP: pa.array(places < 0)})
    return writer.finish()


def _places_by_key(
    name: str, source: Source, snapshot: Snapshot, table: pa.Table, path: Path, key: str
) -> Iterator[np.ndarray]:
    """Of each block the entry of each row: int64[rows], -1 for none."""
    if key not in table.column_names:
        raise UsageError(f"there is no column {key!r}; columns are {shown_names(table.column_names)}", where=str(path))
    keys = table[key].combine_chunks()
    if keys.null_count:
        raise DataError(f"{keys.null_count:,} keys are null", where=f"{path}: {key}")
    distinct = pc.count_distinct(keys).as_py()
    if distinct < len(keys):
        raise DataError(f"{len(keys) - distinct:,} keys are there more than once", where=f"{path}: {key}")
    scan = replace(needs_of(name, source), predicate=None, extra_paths=(key,), reads_text=False)
    reader = SourceReader(name, source, replace(snapshot, kept_rows=None), "skip", scan=scan)
    for block, num_rows in enumerate(snapshot.block_rows.tolist()):
        places = np.full(num_rows, -1, dtype=np.int64)
        with reader.pieces(block, 0) as (_, pieces):
            for piece in pieces:
                values = column_at(piece.batch, key)
                try:
                    found = pc.index_in(values.cast(keys.type), value_set=keys)
                except pa.ArrowException as error:
                    raise UsageError(
                        f"the key is of type {keys.type}, and of type {values.type} in the source",
                        where=f"{path}: {key}",
                    ) from error
                places[piece.first_row : piece.first_row + len(piece.batch)] = pc.fill_null(found, -1).to_numpy()
        yield places


def _places_by_row(
    name: str, source: Source, snapshot: Snapshot, table: pa.Table, path: Path, key: str
) -> Iterator[np.ndarray]:
    """Of each block the entry of each row, for entries by file and row: int64[rows], -1 for none."""
    _row_columns(table, path)
    ordinals = _ordinals(name, snapshot, table, path)
    distinct, first = np.unique(ordinals, return_index=True)
    if len(distinct) < len(ordinals) and len(table.column_names) > 2:
        raise DataError(f"{len(ordinals) - len(distinct):,} rows are there more than once", where=str(path))
    for start, num_rows in zip(snapshot.block_first_row.tolist(), snapshot.block_rows.tolist(), strict=True):
        places = np.full(num_rows, -1, dtype=np.int64)
        here = slice(*np.searchsorted(distinct, (start, start + num_rows)))
        places[distinct[here] - start] = first[here]
        yield places


def _row_columns(table: pa.Table, path: Path) -> list[str]:
    missing = [one for one in (FILE, ROW) if one not in table.column_names]
    if missing:
        raise UsageError(
            f"there is no column {missing[0]!r}; columns are {shown_names(table.column_names)}",
            where=str(path),
            hint="name the column that the source has too with --key, or give file and row",
        )
    return [FILE, ROW]


def _ordinals(name: str, snapshot: Snapshot, table: pa.Table, path: Path) -> np.ndarray:
    """The ordinal of each entry in the snapshot: int64[entries].

    Raises:
        DataError: a file or a row is not there.
    """
    first_blocks = np.searchsorted(snapshot.block_file, np.arange(len(snapshot.files)))
    first_rows = np.append(snapshot.block_first_row, snapshot.num_rows)[first_blocks]
    sizes = np.bincount(snapshot.block_file, snapshot.block_rows, minlength=len(snapshot.files)).astype(np.int64)
    files = table[FILE].combine_chunks().dictionary_encode()
    numbers = np.array(
        [_file_number(name, one, snapshot, path) for one in files.dictionary.to_pylist()], dtype=np.int64
    )
    of_entry = numbers[files.indices.to_numpy(zero_copy_only=False)] if len(numbers) else numbers
    rows = table[ROW].combine_chunks().cast(pa.int64()).to_numpy(zero_copy_only=False)
    outside = np.flatnonzero((rows < 0) | (rows >= sizes[of_entry]))
    if len(outside):
        entry = int(outside[0])
        file = snapshot.files[of_entry[entry]].path
        raise DataError(f"{file} has {sizes[of_entry[entry]]:,} rows, and no row {rows[entry]:,}", where=str(path))
    ordinals: np.ndarray = first_rows[of_entry] + rows
    return ordinals


def _file_number(name: str, wanted: str | None, snapshot: Snapshot, path: Path) -> int:
    matching = [
        number
        for number, file in enumerate(snapshot.files)
        if wanted is not None and f"/{snapshot.base}/{file.path}".endswith(f"/{wanted.lstrip('/')}")
    ]
    if len(matching) != 1:
        found = "no file" if not matching else f"{len(matching)} files"
        raise DataError(f"{found} of sources.{name} is {wanted!r}", where=str(path))
    return matching[0]


def _column(table: pa.Table, name: str, path: Path) -> AttributeColumn:
    kind = table.schema.field(name).type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_boolean(kind):
        return AttributeColumn(name=name, kind="bool")
    if pa.types.is_unsigned_integer(kind) and kind.bit_width < 64:
        return AttributeColumn(name=name, kind=str(kind))
    if pa.types.is_integer(kind):
        return AttributeColumn(name=name, kind="int64")
    if pa.types.is_floating(kind):
        return AttributeColumn(name=name, kind="float32" if kind.bit_width <= 32 else "float64")
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        labels = pc.unique(table[name]).drop_null().cast(pa.string()).to_pylist()
        if len(labels) >= MAX_LABELS:
            raise UsageError(f"column {name!r} has {len(labels):,} different words; labels have fewer", where=str(path))
        return AttributeColumn(name=name, kind="label", labels=tuple(sorted(labels)))
    raise UsageError(
        f"column {name!r} is of type {kind}; attributes are booleans, integers, floats or words", where=str(path)
    )


def _stored(table: pa.Table, column: AttributeColumn) -> pa.Array:
    values = table[column.name].combine_chunks()
    if column.kind != "label":
        return values.cast(column.field.type)
    return pc.index_in(values.cast(pa.string()), value_set=pa.array(column.labels, pa.string())).cast(pa.uint16())
