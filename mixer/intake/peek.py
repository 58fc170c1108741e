"""The first rows of a file of any format, and its columns, without reading more than its beginning (and its footer)."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mixer.errors import DataError
from mixer.sources.formats.csv_rows import row_ends
from mixer.sources.formats.footer import ARROW_MAGIC
from mixer.sources.formats.lines import check_utf_16
from mixer.sources.opening import COMPRESSIONS, reading

HEAD_BYTES = 4 << 20
"""What is read of a text file at first; one row may be longer."""
_MAX_HEAD_BYTES = 256 << 20
_BUFFER_BYTES = 1 << 20
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_MAX_NAME = 200
"""Characters of a column's name; longer ones are texts."""
_SEPARATORS = {"csv": ",", "tsv": "\t"}


@dataclass(frozen=True, slots=True, kw_only=True)
class InputFile:
    """A file that may be read."""

    # As messages name it: a path or an address.
    name: str
    num_bytes: int
    # Opens it for reading anywhere in it.
    open: Callable[[], io.RawIOBase]


@dataclass(frozen=True, slots=True, kw_only=True)
class Peek:
    """The beginning of a file."""

    # Path -> type, as the file's schema or the rows tell it.
    columns: Mapping[str, str]
    # The first rows, as JSON has them.
    rows: list[dict[str, Any]]
    # All rows of the file, where its footer tells.
    num_rows: int | None = None
    # Bytes of the file that these rows take, about.
    row_bytes: int = 0


def peek(file: InputFile, format: str, max_rows: int) -> Peek:
    """The first rows of a file.

    Args:
        file: the file.
        format: as a recipe names it.
        max_rows: how many rows at most.

    Raises:
        DataError: it cannot be read, or has another format.
    """
    with reading(file.name), file.open() as opened:
        if format == "parquet":
            return _peek_parquet(opened, file, max_rows)
        if format == "arrow":
            return _peek_arrow(opened, file, max_rows)
        codec = next((codec for suffix, codec in COMPRESSIONS.items() if file.name.lower().endswith(suffix)), None)
        stream = pa.CompressedInputStream(pa.PythonFile(opened, "r"), codec) if codec else opened
        counting = opened.tell
        if format in _SEPARATORS:
            found = _peek_separated(stream, file, _SEPARATORS[format], max_rows)
        elif format == "jsonl":
            found = _peek_lines(stream, file, max_rows)
        else:
            found = _peek_text(stream, file, format, max_rows)
        share = counting() / max(1, found.row_bytes) if codec else 1.0
        return Peek(
            columns=found.columns,
            rows=found.rows,
            num_rows=1 if format == "text" else None,
            row_bytes=min(file.num_bytes, round(found.row_bytes * min(1.0, share))),
        )


def _peek_parquet(opened: io.RawIOBase, file: InputFile, max_rows: int) -> Peek:
    with pq.ParquetFile(pa.PythonFile(opened, "r"), buffer_size=_BUFFER_BYTES, pre_buffer=False) as parquet:
        num_rows = parquet.metadata.num_rows
        rows: list[dict[str, Any]] = []
        for batch in parquet.iter_batches(max_rows, use_threads=False):
            rows += batch.slice(0, max_rows - len(rows)).to_pylist()
            if len(rows) >= max_rows:
                break
        share = len(rows) / num_rows if num_rows else 0
        return Peek(
            columns=_schema_columns(parquet.schema_arrow),
            rows=rows,
            num_rows=num_rows,
            row_bytes=round(file.num_bytes * share),
        )


def _peek_arrow(opened: io.RawIOBase, file: InputFile, max_rows: int) -> Peek:
    source = pa.PythonFile(opened, "r")
    is_file = opened.read(len(ARROW_MAGIC)) == ARROW_MAGIC
    opened.seek(0)
    reader = pa.ipc.open_file(source) if is_file else pa.ipc.open_stream(source)
    batches = (reader.get_batch(n) for n in range(reader.num_record_batches)) if is_file else iter(reader)
    rows: list[dict[str, Any]] = []
    num_bytes = 0
    for batch in batches:
        head = batch.slice(0, max_rows - len(rows))
        rows += head.to_pylist()
        num_bytes += head.get_total_buffer_size() * len(head) // max(1, len(batch))
        if len(rows) >= max_rows:
            break
    return Peek(columns=_schema_columns(reader.schema), rows=rows, row_bytes=num_bytes)


def _peek_lines(stream: Any, file: InputFile, max_rows: int) -> Peek:
    head, at_end = _head(stream, lambda content: b"\n" in content)
    lines = head.split(b"\n")
    rows: list[dict[str, Any]] = []
    num_bytes = 0
    for line in lines if at_end else lines[:-1]:
        if len(rows) >= max_rows:
            break
        num_bytes += len(line) + 1
        if not line.strip():
            continue
        try:
            row = json.loads(line.removeprefix(b"\xef\xbb\xbf"))
        except (ValueError, RecursionError):
            row = None
        if isinstance(row, dict):
            rows.append(row)
        elif not rows and head.lstrip()[:1] == b"[":
            raise DataError(
                "it is a JSON array, not JSON lines; jq -c '.[]' converts it",
                where=file.name,
                hint=f"jq -c '.[]' {file.name} > {file.name}l",
            )
        elif not rows:
            raise DataError(
                "its first line is not a JSON object", where=file.name, hint="JSON lines have one object per line"
            )
    return Peek(columns=_row_columns(rows), rows=rows, row_bytes=num_bytes)


def _peek_separated(stream: Any, file: InputFile, separator: str, max_rows: int) -> Peek:
    def ends(content: bytes) -> np.ndarray:
        array = np.frombuffer(content, np.uint8)
        return row_ends(array, np.flatnonzero(array == ord("\n")), ord(separator))[0]

    head, at_end = _head(stream, lambda content: len(ends(content)) > 1)
    check_utf_16(head, file.name)
    places = ends(head)[: max_rows + 1]
    stop = len(head) if at_end and len(places) <= max_rows else int(places[-1]) + 1 if len(places) else 0
    limit = csv.field_size_limit(_MAX_HEAD_BYTES)
    try:
        text = io.StringIO(head[:stop].decode("utf-8-sig", errors="replace"), newline="")
        header, *fields = [row for row in csv.reader(text, delimiter=separator) if row] or [[]]
    except csv.Error as error:
        raise DataError(f"cannot be read: {error}", where=file.name, hint="it may be of another format") from error
    finally:
        csv.field_size_limit(limit)
    _check_header(header, file)
    rows: list[dict[str, Any]] = [
        dict(zip(header, (field or None for field in row))) for row in fields[:max_rows] if len(row) == len(header)
    ]
    columns = {name: "number" if _are_numbers(row[name] for row in rows) else "text" for name in header}
    for name in (name for name, kind in columns.items() if kind == "number"):
        for row in rows:
            row[name] = None if row[name] is None else float(row[name])
    return Peek(columns=columns, rows=rows, row_bytes=stop)


def _check_header(header: list[str], file: InputFile) -> None:
    """Refuse a first row that names no columns: mixer would take a row for a header, or a row for a text.

    Raises:
        DataError: the only name holds another separator, or every name looks like data.
    """
    others = [one for one in ";|\t" if len(header) == 1 and one in header[0]]
    if others:
        raise DataError(
            f"its only column is {header[0]!r:.80}: the fields look separated by {others[0]!r}",
            where=file.name,
            hint="write it again with commas, or with tabs as .tsv",
        )
    if header and all(_NUMBER.fullmatch(name) or name.count(" ") > 1 or len(name) > _MAX_NAME for name in header):
        raise DataError(
            f"its first row looks like data, not like the names of columns: {', '.join(header)!r:.80}",
            where=file.name,
            hint="put a row with the names of the columns first",
        )


def _are_numbers(values: Iterable[str | None]) -> bool:
    """Whether there are values, all of them numbers."""
    there = [value for value in values if value is not None]
    return bool(there) and all(_NUMBER.fullmatch(value) for value in there)


def _peek_text(stream: Any, file: InputFile, format: str, max_rows: int) -> Peek:
    head, at_end = _head(stream, lambda content: True)
    check_utf_16(head, file.name)
    text = head.removeprefix(b"\xef\xbb\xbf").decode(errors="replace" if at_end else "ignore")
    lines = text.replace("\r\n", "\n").split("\n")
    texts, held = [], ""
    for line in lines if format == "text-paragraphs" else ():
        if line.strip(" \t\r"):
            held += "\n" * bool(held) + line
        elif held:
            texts.append(held)
            held = ""
    if format == "text-paragraphs":
        texts += [held] * bool(held)
    elif format == "text-lines":
        texts = [line for line in lines if line.strip(" \t\r")]
    else:
        texts = [text]
    texts = texts[:max_rows]
    num_bytes = len(head) if format == "text" else sum(len(one.encode()) + 1 for one in texts)
    return Peek(columns={"text": "text"}, rows=[{"text": one} for one in texts], row_bytes=num_bytes)


def _head(stream: Any, is_enough: Callable[[bytes], bool]) -> tuple[bytes, bool]:
    """The first bytes, 4 MB or more if needed; and whether they are the whole file."""
    content, wanted = bytearray(), HEAD_BYTES
    while True:
        while len(content) < wanted:
            piece = stream.read(min(_BUFFER_BYTES, wanted - len(content)))
            if not piece:
                return bytes(content), True
            content += piece
        if is_enough(bytes(content)) or wanted >= _MAX_HEAD_BYTES:
            return bytes(content), False
        wanted *= 4


def _schema_columns(schema: pa.Schema) -> dict[str, str]:
    found: dict[str, str] = {}
    for field in schema:
        _add_leaves(found, field.name, field.type)
    return found


def _add_leaves(found: dict[str, str], path: str, kind: pa.DataType) -> None:
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    if pa.types.is_struct(kind):
        for field in kind:
            _add_leaves(found, f"{path}.{field.name}", field.type)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        _add_leaves(found, f"{path}[]", kind.value_type)
    else:
        found[path] = str(kind)


def _row_columns(rows: list[dict[str, Any]]) -> dict[str, str]:
    """The columns of JSON rows, with the type of the first value that is not null."""
    found: dict[str, str] = {}
    for row in rows:
        for name, value in row.items():
            _add_values(found, name, value)
    return {path: kind for path, kind in found.items() if kind or not _has_leaves(found, path)}


def _has_leaves(found: dict[str, str], path: str) -> bool:
    return any(other.startswith((f"{path}.", f"{path}[]")) for other in found)


def _add_values(found: dict[str, str], path: str, value: Any) -> None:
    if isinstance(value, dict):
        for name, below in value.items():
            _add_values(found, f"{path}.{name}", below)
    elif isinstance(value, list):
        for item in value[:20] or [None]:
            _add_values(found, f"{path}[]", item)
    else:
        names = {str: "text", bool: "true or false", int: "number", float: "number"}
        found[path] = found.get(path) or names.get(type(value), "")
