"""The formats by name. Each offers two functions:

count_blocks(file, scan) -> rows of each block, kept rows of each block
read_block(file, block, scan, skip_rows) -> Iterator[Piece]

`file` is an `OpenedFile`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from mixer.sources.formats import arrow, jsonl, parquet, text, text_lines, text_paragraphs
from mixer.sources.formats.csv import Separated
from mixer.sources.formats.piece import Piece
from mixer.sources.opening import OpenedFile
from mixer.sources.scan import ScanSpec


class Format(Protocol):
    """The reader of one file format: a module, or an object with that format's settings."""

    def count_blocks(self, file: OpenedFile, scan: ScanSpec) -> tuple[list[int], list[int]]:
        """Rows, and kept rows, of each block."""

    def read_block(self, file: OpenedFile, block: int, scan: ScanSpec, skip_rows: int) -> Iterator[Piece]:
        """The rows of a block from row `skip_rows` on, in order."""


FORMATS: dict[str, Format] = {
    "parquet": parquet,
    "arrow": arrow,
    "jsonl": jsonl,
    "csv": Separated(separator=","),
    "tsv": Separated(separator="\t"),
    "text": text,
    "text-lines": text_lines,
    "text-paragraphs": text_paragraphs,
}
