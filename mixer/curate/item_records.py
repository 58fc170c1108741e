"""The records of evaluation sets: objects of JSON lines, rows of Parquet and Arrow files, here or in a store."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from mixer.errors import DataError, RecipeError, shown_names
from mixer.sources.find import find_files, format_of
from mixer.sources.formats.footer import is_arrow_file
from mixer.sources.formats.lines import iter_lines
from mixer.sources.opening import OpenedFile, open_file, opened, reading
from mixer.stores.address import is_remote
from mixer.stores.block_cache import BlockCache

_NUMBERED_AS = {"jsonl": "line", "parquet": "row", "arrow": "row"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemRecord:
    """One record of an evaluation set."""

    # The set, the file, and the line (from 1) or row (from 0) in it.
    place: str
    values: dict[str, Any]


def iter_records(
    name: str, paths: Sequence[str], columns: Sequence[str], root: Path, blocks: BlockCache | None
) -> Iterator[ItemRecord]:
    """The records of files, in the order of files and lines. Python per record.

    Args:
        name: the set, for messages.
        paths: local files or globs, or addresses of one store.
        columns: what is needed of each record; JSON lines may lack them.
        root: the folder that relative paths start from.
        blocks: where files of stores are kept; needed for addresses alone.

    Raises:
        RecipeError: paths match nothing or are of another format, or a column is not in a Parquet or Arrow file.
        DataError: a file cannot be read, or a line is not a JSON object.
    """
    for path, shown in _files(name, paths, root, blocks):
        format = format_of(shown, name)
        if format not in _NUMBERED_AS:
            raise RecipeError(
                f"'{shown}' is {format}; evaluation sets are JSON lines, Parquet or Arrow files",
                where=name,
                hint="convert the file to JSON lines",
            )
        place = f"{name}: {shown}"
        with reading(place), opened(path, place) as file:
            rows = _json_rows(file, place) if format == "jsonl" else _table_rows(file, format, columns, place)
            for number, values in rows:
                yield ItemRecord(place=f"{place}, {_NUMBERED_AS[format]} {number}", values=values)


def _json_rows(file: OpenedFile, place: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of JSON lines with their line, from 1."""
    for lines in iter_lines(file):
        for line, number in zip(lines, lines.number.tolist()):
            try:
                values = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise DataError(f"line {number} is not JSON: {error}", where=place, hint="fix the line") from error
            if not isinstance(values, dict):
                raise DataError(
                    f"line {number} is not a JSON object", where=place, hint="JSON lines have one object per line"
                )
            yield number, values


def _table_rows(
    file: OpenedFile, format: str, columns: Sequence[str], place: str
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a Parquet or Arrow file with their number, from 0."""
    with _batches(file, format) as (schema, batches):
        missing = [column for column in columns if column not in schema.names]
        if missing:
            raise RecipeError(
                f"columns {shown_names(missing)} are not in the file; it has {shown_names(schema.names)}", where=place
            )
        number = 0
        for batch in batches:
            for values in batch.select(columns).to_pylist():
                yield number, values
                number += 1


@contextmanager
def _batches(file: OpenedFile, format: str) -> Iterator[tuple[pa.Schema, Iterable[pa.RecordBatch]]]:
    import pyarrow.parquet as pq

    with open_file(file) as mapped:
        if format == "parquet":
            parquet = pq.ParquetFile(mapped, page_checksum_verification=True)
            yield parquet.schema_arrow, parquet.iter_batches(use_threads=False)
        elif is_arrow_file(file):
            reader = pa.ipc.open_file(mapped)
            yield reader.schema, (reader.get_batch(number) for number in range(reader.num_record_batches))
        else:
            stream = pa.ipc.open_stream(mapped)
            yield stream.schema, stream


def _files(name: str, paths: Sequence[str], root: Path, blocks: BlockCache | None) -> Iterator[tuple[Path, str]]:
    """The files of a set, and how messages name them."""
    if not any(is_remote(path) for path in paths):
        found = find_files(paths, root, name)
        yield from ((found.base / path, path) for path in found.paths)
        return
    from mixer.sources.remote_copies import RemoteBase, whole_entry  # with the clients of stores: not for local files
    from mixer.stores.listing import at_commit, find_remote, parse_addresses

    assert blocks is not None
    addresses = parse_addresses(paths, name)
    pinned = at_commit(addresses[0])
    remote = find_remote([pinned.with_path(address.path) for address in addresses], name)
    base = RemoteBase(address=remote.base, cache=blocks)
    for file in remote.files:
        entry = whole_entry(base, file)
        try:
            yield entry.path, base.place(file)
        finally:
            entry.close()
