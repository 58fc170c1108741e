"""Sources for tests: the part of a recipe that `mixer.sources` sees, and writers of small files in every format."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from mixer.sources.pin import pin
from mixer.sources.pin_cache import PinCache
from mixer.sources.reader import SourceReader

ITEM = pa.struct([("body", pa.string()), ("path", pa.string())])
SCHEMA = pa.schema(
    [
        ("text", pa.string()),
        ("n", pa.int64()),
        ("meta", pa.struct([("lang", pa.string())])),
        ("files", pa.list_(ITEM)),
        ("tags", pa.list_(pa.string())),
    ]
)


@dataclass(frozen=True)
class TextSpec:
    column: str | None = None
    list: str | None = None
    field: str | None = None
    template: str | None = None
    separator: str = ""
    prefix: str = ""
    order: str = "stored"


@dataclass(frozen=True)
class Source:
    path: str | tuple[str, ...] | None
    format: str = "auto"
    text: TextSpec = TextSpec(column="text")
    where: str | None = None
    hub: str | None = None
    config: str | None = None
    attributes: dict[str, str] = field(default_factory=dict)
    exclude: None = None


def json_lines(rows: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def write_parquet(path: Path, rows: list[dict[str, Any]], block_rows: int) -> None:
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), path, row_group_size=block_rows)


def write_arrow_file(path: Path, rows: list[dict[str, Any]], block_rows: int) -> None:
    with pa.ipc.new_file(str(path), SCHEMA) as writer:
        writer.write_table(pa.Table.from_pylist(rows, SCHEMA), max_chunksize=block_rows)


def write_arrow_stream(path: Path, rows: list[dict[str, Any]], block_rows: int) -> None:
    with pa.ipc.new_stream(str(path), SCHEMA) as writer:
        writer.write_table(pa.Table.from_pylist(rows, SCHEMA), max_chunksize=block_rows)


def write_json_lines(path: Path, rows: list[dict[str, Any]], block_rows: int) -> None:
    path.write_bytes(json_lines(rows))


def write_gzip_lines(path: Path, rows: list[dict[str, Any]], block_rows: int) -> None:
    """Several members, cut anywhere, and no newline at the end."""
    content, cut = json_lines(rows)[:-1], 11 * block_rows
    path.write_bytes(gzip.compress(content[:cut]) + gzip.compress(content[cut:]))


def write_zstd_lines(path: Path, rows: list[dict[str, Any]], block_rows: int) -> None:
    """Several frames, blank lines between the rows, lines that end in CR LF."""
    content, cut = json_lines(rows).replace(b"\n", b" \r\n  \n\n"), 7 * block_rows
    path.write_bytes(zstandard.compress(content[:cut]) + zstandard.compress(content[cut:]))


WRITERS: dict[str, Callable[[Path, list[dict[str, Any]], int], None]] = {
    "a.parquet": write_parquet,
    "file.arrow": write_arrow_file,
    "stream.arrow": write_arrow_stream,
    "a.jsonl": write_json_lines,
    "a.json.gz": write_gzip_lines,
    "a.jsonl.zst": write_zstd_lines,
}


def open_source(root: Path, source: Source, on_bad_row: str = "error", cache: PinCache | None = None) -> SourceReader:
    """Pin a source named `wiki` and open it."""
    return SourceReader("wiki", source, pin("wiki", source, root, cache), on_bad_row)


def read_all(root: Path, source: Source, on_bad_row: str = "error") -> list[tuple[int, str | None, bool]]:
    """Ordinal, text and badness of every kept row."""
    snapshot = pin("wiki", source, root)
    reader = SourceReader("wiki", source, snapshot, on_bad_row)
    return [
        row
        for block in range(snapshot.num_blocks)
        for texts in reader.read(block, 0, int(snapshot.block_kept[block]))
        for row in zip(texts.rows.tolist(), texts.text.to_pylist(), texts.bad.tolist())
    ]


def read_texts(root: Path, source: Source) -> list[str | None]:
    """The text of every kept row."""
    return [text for _, text, _ in read_all(root, source)]
