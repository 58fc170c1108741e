"""The rows whose text is fetched: Parquet files of `bigcode/the-stack-v2-train-smol-ids`.

The one place that opens them, here or in a store. A row is a repository, `files` a list of structs, one a file.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mixer.errors import DataError
from mixer.sources.find import find_files
from mixer.sources.formats import parquet
from mixer.sources.formats.footer import footer_digest, read_footer
from mixer.sources.opening import OpenedFile, open_file, opened, reading
from mixer.sources.snapshot import Snapshot
from mixer.stack.remote_ids import (
    RemotePath,
    copy_row_groups,
    find_remote_ids,
    footer_of,
    pinned_remote_ids,
)
from mixer.stack.wanted_files import Selection
from mixer.stores.address import Address
from mixer.stores.block_cache import BlockCache
from mixer.system.threads import map_in_threads

FILES, TEXT = "files", "text"
_BATCH_ROWS = 64
"""Repositories decoded at a time: about 1000 files."""
_CONNECTIONS = 16
"""Footers that are on their way at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IdsFile:
    """A parquet file of rows without text."""

    path: Path | RemotePath
    # Relative to what all files have in common, parts separated by '/'.
    name: str
    num_bytes: int
    num_rows: int
    # sha256 (hex) of its footer, which has the size and place of every column chunk.
    footer_sha256: str
    schema: pa.Schema

    def as_json(self) -> dict[str, Any]:
        """The identity of the file, without a local path."""
        version = self.path.version() if isinstance(self.path, RemotePath) else {}
        return {
            "name": self.name,
            "bytes": self.num_bytes,
            "rows": self.num_rows,
            "footer_sha256": self.footer_sha256,
            **version,
        }


def find_ids(pattern: str, selection: Selection) -> list[IdsFile]:
    """The files of a local path, folder or glob, by name.

    Raises:
        RecipeError: it matches nothing.
        DataError: a file cannot be read, lacks a column of the selection, or there are no rows.
    """
    folder = Path(pattern).expanduser()
    found = find_files([f"{pattern.rstrip('/')}/**/*.parquet" if folder.is_dir() else pattern], Path(), "SRC")
    return _with_rows([_described(found.base / name, name, selection) for name in found.paths], pattern)


def find_ids_elsewhere(asked: Address, commit: str | None, selection: Selection, cache: BlockCache) -> list[IdsFile]:
    """The files of an address, by name, all at one commit if the store has commits.

    Args:
        asked: the address, which may have a glob.
        commit: the one to find them at; None: that of the address's revision now.
        selection: which files of theirs are wanted.
        cache: what they are read through.

    Raises:
        RecipeError: it matches nothing.
        DataError: the store cannot be read, a file lacks a column of the selection, or there are no rows.
    """
    paths = find_remote_ids(asked, commit, cache)
    return _with_rows(_all_described_elsewhere(paths, selection), str(asked))


def pinned_ids(snapshot: Snapshot, selection: Selection) -> list[IdsFile]:
    """The files of a source that was pinned, by name.

    Raises:
        DataError: a file cannot be read, lacks a column of the selection, or there are no rows.
    """
    if isinstance(snapshot.base, Path):
        base = snapshot.base
        return _with_rows([_described(base / file.path, file.path, selection) for file in snapshot.files], str(base))
    paths = pinned_remote_ids(snapshot.base, snapshot.files)
    return _with_rows(_all_described_elsewhere(paths, selection), str(snapshot.base))


def read_id_rows(file: IdsFile, start: int, stop: int) -> Iterator[pa.RecordBatch]:
    """The rows [start, stop) of a file, in order, in small batches.

    Raises:
        DataError: the file cannot be read, or changed since it was found.
        TaskError: the cache cannot be written to.
    """
    place = str(file.path)
    with (
        _copy(file, start, stop) as path,
        reading(place),
        opened(path, place) as copy,
        open_file(copy) as mapped,
        pq.ParquetFile(mapped, pre_buffer=False) as parquet_file,
    ):
        if footer_digest(_footer(copy, place)) != file.footer_sha256:
            raise DataError("the file has changed", where=place, hint="do not write to SRC while it is read")
        groups = _row_groups(parquet_file.metadata, start, stop)
        first = sum(parquet_file.metadata.row_group(group).num_rows for group in range(groups.start))
        for batch in parquet_file.iter_batches(_BATCH_ROWS, row_groups=list(groups), use_threads=False):
            part = batch.slice(max(0, start - first), max(0, min(stop, first + len(batch)) - max(start, first)))
            first += len(batch)
            if len(part):
                yield part
            if first >= stop:
                return


@contextmanager
def _copy(file: IdsFile, start: int, stop: int) -> Iterator[Path]:
    """A local path to read the rows [start, stop) of a file from."""
    if isinstance(file.path, Path):
        yield file.path
        return
    entry = copy_row_groups(file.path, partial(_row_groups, start=start, stop=stop))
    try:
        yield entry.path
    finally:
        entry.close()


def _row_groups(metadata: pq.FileMetaData, start: int, stop: int) -> range:
    """The row groups that have the rows [start, stop)."""
    groups: list[int] = []
    row = 0
    for group in range(metadata.num_row_groups):
        num_rows = metadata.row_group(group).num_rows
        if row < stop and start < row + num_rows:
            groups.append(group)
        row += num_rows
    return range(groups[0], groups[-1] + 1) if groups else range(0)


def _with_rows(files: list[IdsFile], where: str) -> list[IdsFile]:
    if not any(file.num_rows for file in files):
        raise DataError(
            "the files of SRC have no rows", where=where, hint="give the files of the-stack-v2-train-smol-ids"
        )
    return files


def _described(path: Path, name: str, selection: Selection) -> IdsFile:
    with reading(str(path)), opened(path) as file:
        footer = _footer(file, str(path))
        metadata, schema = parquet.parse_footer(footer)
        _check_schema(schema, selection, str(path))
        return IdsFile(
            path=path,
            name=name,
            num_bytes=file.state().num_bytes,
            num_rows=metadata.num_rows,
            footer_sha256=footer_digest(footer),
            schema=schema,
        )


def _all_described_elsewhere(paths: list[RemotePath], selection: Selection) -> list[IdsFile]:
    describe = partial(_described_elsewhere, selection=selection)
    return map_in_threads(describe, paths, num_threads=_CONNECTIONS)


def _described_elsewhere(path: RemotePath, selection: Selection) -> IdsFile:
    footer = footer_of(path)
    with reading(str(path)):
        metadata, schema = parquet.parse_footer(footer)
        _check_schema(schema, selection, str(path))
        return IdsFile(
            path=path,
            name=path.name,
            num_bytes=path.file.num_bytes,
            num_rows=metadata.num_rows,
            footer_sha256=footer_digest(footer),
            schema=schema,
        )


def _footer(file: OpenedFile, place: str) -> bytes:
    footer = read_footer(file, "parquet", place)
    assert footer is not None
    return footer


def _check_schema(schema: pa.Schema, selection: Selection, place: str) -> None:
    index = schema.get_field_index(FILES)
    kind = schema.field(index).type if index >= 0 else pa.null()
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    if not is_list or not pa.types.is_struct(kind.value_type):
        raise DataError(
            f"there is no column '{FILES}' that is a list of structs; columns are {', '.join(schema.names)}",
            where=place,
            hint="these are not rows of the-stack-v2-train-smol-ids",
        )
    fields = {field.name: field.type for field in kind.value_type.fields}
    if TEXT in fields:
        raise DataError(
            f"the files already have a column '{TEXT}'", where=place, hint="use the files as a source directly"
        )
    missing = ({"blob_id", "src_encoding"} | selection.columns) - fields.keys()
    if missing:
        raise DataError(
            f"the files have no {', '.join(sorted(missing))}; they have {', '.join(fields)}",
            where=place,
            hint="leave out the option that needs it, or download the rows again",
        )
