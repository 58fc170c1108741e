"""The rows that a source's row attributes and its `where` over them keep: one bit a row, made once and kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from mixer.attributes.columns import AttributeColumn
from mixer.attributes.kept_rows import KEEP, KeptRows
from mixer.attributes.set_file import ATTRIBUTES, AttributeSet, AttributeWriter
from mixer.digest import identity, xxh3_file
from mixer.errors import DataError, IntegrityError, RecipeError, UsageError
from mixer.sources.reader import SourceReader
from mixer.sources.row_filter import parse_where
from mixer.sources.scan import CURATE, EXCLUDE, missing_column, needs_of
from mixer.sources.snapshot import Snapshot
from mixer.survey.join import exclude_rows
from mixer.system.publish import publish_bytes

if TYPE_CHECKING:
    from mixer.recipe import Source


def open_attributes(name: str, source: Source, snapshot: Snapshot, root: Path, folder: Path) -> dict[str, AttributeSet]:
    """The row attributes that a source's recipe names, and those of the rows that it leaves out.

    Raises:
        RecipeError: a path is not that of a set.
        DataError: a set is of another snapshot.
        IntegrityError, FormatError: it is damaged, or of another version.
    """
    found = {}
    for key, value in source.attributes.items():
        path, place = root / Path(value).expanduser(), f"sources.{name}.attributes.{key}"
        if path.suffix != ".json" or not path.is_file():
            raise RecipeError(
                f"{value!r} is not the DIGEST.json of a set of row attributes",
                where=place,
                hint="make one from a table with mixer attach",
            )
        found[key] = AttributeSet(path.parent, path.stem)
        check_snapshot(found[key], snapshot, place)
    if source.exclude is not None:
        found[EXCLUDE] = _excluded(name, source, snapshot, root / Path(source.exclude.path).expanduser(), folder)
    return found


def _excluded(name: str, source: Source, snapshot: Snapshot, path: Path, folder: Path) -> AttributeSet:
    """The rows that are left out, found once for a file as it is."""
    assert source.exclude is not None
    place, key = f"sources.{name}.exclude", source.exclude.key
    if not path.is_file():
        raise RecipeError(f"there is no file {path}", where=place)
    known = folder / ATTRIBUTES / f"exclude-{identity([snapshot.identity, xxh3_file(path), key])}"
    rows = _recall(known)
    if rows is None:
        try:
            rows = exclude_rows(name, source, snapshot, path, key, known.parent)
        except UsageError as error:
            raise RecipeError(error.message, where=place, hint=error.hint) from error
        publish_bytes(known, rows.digest.encode())
    return rows


def _check_columns(name: str, source: Source, attributes: Mapping[str, AttributeSet]) -> None:
    """Raise where `where` uses a column that a set does not have."""
    predicate = parse_where(source.where, f"sources.{name}.where") if source.where else None
    for path in sorted(predicate.columns) if predicate else ():
        key, _, column = path.partition(".")
        if key not in attributes:
            if key in (CURATE, *source.attributes):
                raise RecipeError(f"'{path}' needs `curate` in the recipe", where=f"sources.{name}.where")
            continue
        known = [one.name for one in attributes[key].header.columns]
        if column not in known:
            raise missing_column(path, [f"{key}.{one}" for one in known], f"sources.{name}.where")


def check_snapshot(attributes: AttributeSet, snapshot: Snapshot, place: str) -> None:
    """Raise where a set is of another snapshot.

    Raises:
        DataError: it is; the source's files changed, or it belongs to another source.
    """
    if attributes.header.snapshot != snapshot.identity:
        raise DataError(
            f"the row attributes {attributes.path.name} are of another snapshot ({attributes.header.num_rows:,} rows), "
            f"not of the source as it is now ({snapshot.num_rows:,} rows)",
            where=place,
            hint="make them again for the files as they are, or restore the files",
        )


def select_rows(
    name: str, source: Source, snapshot: Snapshot, attributes: Mapping[str, AttributeSet], folder: Path
) -> Snapshot:
    """The snapshot with the rows that are kept.

    A row is kept if `where` holds for it, and no set that has a column `keep` says no. A row that cannot be read is
    kept: a build skips or refuses it.

    Args:
        name: the source's name.
        source: its part of the recipe.
        snapshot: its files, pinned.
        attributes: the row attributes by name; none: the snapshot stays as it is.
        folder: where the selection is kept, to be used again.

    Raises:
        RecipeError: `where` does not fit the columns.
        DataError: the source cannot be read.
    """
    _check_columns(name, source, attributes)
    if not attributes:
        return snapshot
    made_by = {
        "selection": source.where,
        "text": source.text.model_dump(mode="json"),
        "attributes": {key: one.digest for key, one in attributes.items()},
    }
    known = folder / ATTRIBUTES / f"selection-{identity([snapshot.identity, made_by])}"
    rows = _recall(known)
    if rows is None:
        columns = [AttributeColumn(name=KEEP, kind="bool")]
        with AttributeWriter(known.parent, snapshot.identity, columns, made_by) as writer:
            for mask in _masks(name, source, snapshot, attributes):
                writer.write({KEEP: pa.array(mask)})
        rows = writer.finish()
        publish_bytes(known, rows.digest.encode())
    kept = KeptRows(rows=rows, attributes=attributes)
    counts = [int(kept.mask(block).sum()) for block in range(snapshot.num_blocks)]
    return replace(snapshot, block_kept=np.array(counts, dtype=np.int64), kept_rows=kept)


def _recall(known: Path) -> AttributeSet | None:
    """The selection that was made before; None if it is gone or damaged."""
    try:
        return AttributeSet(known.parent, known.read_text())
    except (OSError, UnicodeDecodeError, IntegrityError):
        return None


def _masks(
    name: str, source: Source, snapshot: Snapshot, attributes: Mapping[str, AttributeSet]
) -> Iterator[np.ndarray]:
    """bool[rows] of each block: which rows are kept."""
    scan = needs_of(name, source)
    # A curation has taken a predicate over the source alone into account.
    predicate = scan.late or (None if CURATE in attributes else scan.predicate)
    reader = None
    if predicate is not None and predicate.columns:
        reader = SourceReader(name, source, replace(snapshot, kept_rows=None), scan=replace(scan, predicate=predicate))
    for block, num_rows in enumerate(snapshot.block_rows.tolist()):
        mask = np.ones(num_rows, dtype=bool)
        for one in attributes.values():
            if any(column.name == KEEP for column in one.header.columns):
                mask &= one.block(block).column(KEEP).to_numpy(zero_copy_only=False)
        values = {key: one.values(block) for key, one in attributes.items()}
        if reader is not None and predicate is not None:
            with reader.pieces(block, 0) as (_, pieces):
                for piece in pieces:
                    start, stop = piece.first_row, piece.first_row + len(piece.batch)
                    beside = {key: array[start:stop] for key, array in values.items()}
                    fits = predicate.mask(_beside(piece.batch, beside)).to_numpy(zero_copy_only=False).copy()
                    fits[list(piece.bad)] = True
                    mask[start:stop] &= fits
        elif predicate is not None:
            mask &= predicate.mask(_beside(None, values)).to_numpy(zero_copy_only=False)
        yield mask


def _beside(batch: pa.RecordBatch | None, values: Mapping[str, pa.StructArray]) -> pa.RecordBatch:
    """The columns of a source with those of its attributes, each set as a struct."""
    columns = {} if batch is None else dict(zip(batch.schema.names, batch.columns))
    return pa.RecordBatch.from_pydict({**columns, **values})
