"""The six sources as files, in the formats of the data sets; the same rows give the same bytes."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from mixer.sample.documents import Document, Repository
from mixer.sample.rows import dclm_row, dolma_row, finemath_row, fineweb_edu_row, stack_row, zyda_row
from mixer.sample.schemas import FINEMATH, FINEWEB_EDU, STACK, ZYDA
from mixer.system.disk import DiskFile, write_file

_GROUPS_OF_A_FILE = 4


def write_dclm(folder: Path, rows: Sequence[Document]) -> None:
    """Two `.jsonl.zst` files: the first of four zstd frames, the second of one."""
    lines = [_json_line(dclm_row(row)) for row in rows]
    half = (len(lines) + 1) // 2
    for number, (part, num_frames) in enumerate(((lines[:half], 4), (lines[half:], 1))):
        compress = zstandard.ZstdCompressor(level=3).compress
        frames = [compress(b"".join(frame)) for frame in _pieces(part, num_frames)]
        write_file(folder / f"shard_{number:08d}_processed.jsonl.zst", b"".join(frames))


def write_dolma(folder: Path, rows: Sequence[Document]) -> None:
    """Two `.json.gz` files of JSON lines with free-form metadata."""
    for number, part in enumerate(_pieces(rows, 2)):
        data = b"".join(_json_line(dolma_row(row)) for row in part)
        write_file(folder / f"cc_en_head-{number:04d}.json.gz", gzip.compress(data, compresslevel=6, mtime=0))


def write_fineweb_edu(folder: Path, rows: Sequence[Document]) -> None:
    """Two parquet files of four row groups each."""
    _write_parquet(folder, rows, FINEWEB_EDU, fineweb_edu_row, num_files=2, name="part.{}.parquet")


def write_zyda(folder: Path, rows: Sequence[Document]) -> None:
    """One parquet file of four row groups."""
    _write_parquet(folder, rows, ZYDA, zyda_row, num_files=1, name="part.{}.parquet")


def write_finemath(folder: Path, rows: Sequence[Document]) -> None:
    """One parquet file of four row groups."""
    _write_parquet(folder, rows, FINEMATH, finemath_row, num_files=1, name="train-{:05d}-of-{:05d}.parquet")


def write_stack_v2(folder: Path, rows: Sequence[Repository]) -> None:
    """Four parquet files of four row groups each."""
    _write_parquet(folder, rows, STACK, stack_row, num_files=4, name="train-{:05d}-of-{:05d}.parquet")


WRITERS: dict[str, Callable[[Path, Sequence[Any]], None]] = {
    "dclm": write_dclm,
    "fineweb-edu": write_fineweb_edu,
    "dolma": write_dolma,
    "zyda": write_zyda,
    "stack-v2": write_stack_v2,
    "finemath": write_finemath,
}


def _write_parquet(
    folder: Path,
    rows: Sequence[Any],
    schema: pa.Schema,
    row: Callable[[Any], dict[str, Any]],
    num_files: int,
    name: str,
) -> None:
    for number, part in enumerate(_pieces(rows, num_files)):
        with (
            DiskFile(folder / name.format(number, num_files), "w") as file,
            pq.ParquetWriter(file, schema, compression="snappy") as writer,
        ):
            for group in _pieces(part, _GROUPS_OF_A_FILE):
                writer.write_table(pa.Table.from_pylist([row(item) for item in group], schema=schema))


def _pieces(items: Sequence[Any], count: int) -> list[Sequence[Any]]:
    """`items` in `count` pieces of nearly equal length, empty ones left out (but at least one piece)."""
    borders = [len(items) * index // count for index in range(count + 1)]
    return [items[start:stop] for start, stop in pairwise(borders) if stop > start] or [items]


def _json_line(row: dict[str, Any]) -> bytes:
    return json.dumps(row, ensure_ascii=False).encode() + b"\n"
