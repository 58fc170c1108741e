"""Tables as text with a header row, separated by commas (CSV) or tabs (TSV): a block is a file.

The rows of a run go to Arrow's parser, with the needed columns alone. An empty field is null, `""` is an empty text.
A column that `where` compares is read as a number, a truth value or a text, as it is compared; it does not depend on
what other rows hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.csv as pc

from mixer.errors import DataError, RecipeError
from mixer.sources.formats.csv_rows import RowRun, iter_rows
from mixer.sources.formats.lines import Lines
from mixer.sources.formats.piece import PIECE_BYTES, Piece
from mixer.sources.opening import OpenedFile
from mixer.sources.scan import ScanSpec, missing_column, wrong_level

_TYPES = {bool: pa.bool_(), int: pa.float64(), float: pa.float64(), str: pa.large_string()}
_TYPE_NAMES = {"double": "a number", "bool": "true or false"}
_LONE_RETURN = "it has a carriage return (CR) that is not quoted"
_OPEN_QUOTE = "a quote is never closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Separated:
    """Reads rows of fields with a separator between them."""

    separator: str

    def count_blocks(self, file: OpenedFile, scan: ScanSpec) -> tuple[list[int], list[int]]:
        """Rows and kept rows of the file, its only block; a row that cannot be parsed counts as kept."""
        rows = kept = 0
        if scan.predicate is None:
            rows = sum(len(run.rows) for run, _ in self._runs(file, scan))
            return [rows], [rows]
        for piece in self.read_block(file, 0, scan, 0):
            mask = scan.predicate.mask(piece.batch).to_numpy(zero_copy_only=False)
            rows += len(mask)
            kept += int(mask.sum()) + sum(not mask[row] for row in piece.bad)
        return [rows], [kept]

    def read_block(self, file: OpenedFile, block: int, scan: ScanSpec, skip_rows: int) -> Iterator[Piece]:
        """The file's rows from row `skip_rows` on, in order; rows before are counted and not parsed."""
        first_row = 0
        for run, parser in self._runs(file, scan):
            num_rows, skipped = len(run.rows), max(0, skip_rows - first_row)
            if skipped < num_rows:
                rows, bad = run.rows.part(skipped, num_rows), dict[int, str]()
                table = pa.Table.from_batches(parser.parse(rows, 0, bad)).combine_chunks()
                if run.is_open:
                    bad[len(rows) - 1] = _OPEN_QUOTE
                piece = [Piece(batch=table.to_batches()[0], first_row=first_row + skipped, bad=bad, lines=rows.number)]
                if rows.buffer.size > PIECE_BYTES:  # the parser's own buffers are as large as a long row
                    pa.default_memory_pool().release_unused()
                del run, rows, table  # neither the rows nor the piece are held while others work on the text
                yield piece.pop()
            first_row += num_rows

    def header(self, file: OpenedFile, place: str) -> list[str]:
        """The names of the columns; none where the file is empty.

        Raises:
            DataError: the first row is not a header.
        """
        for run in iter_rows(file, ord(self.separator)):
            if len(run.rows):
                return self._names(run, place)
        return []

    def _runs(self, file: OpenedFile, scan: ScanSpec) -> Iterator[tuple[RowRun, _Parser]]:
        """The rows below the header, with their parser."""
        parser = None
        for run in iter_rows(file, ord(self.separator)):
            if parser is None and len(run.rows):
                names = self._names(run, scan.at(file.path))
                _check_columns(names, scan, scan.at(file.path))
                parser = _Parser(separator=self.separator, names=names, scan=scan)
                run = RowRun(rows=run.rows.part(1, len(run.rows)), is_open=run.is_open)
            if parser is not None and len(run.rows):
                yield run, parser
            del run

    def _names(self, run: RowRun, place: str) -> list[str]:
        try:
            header = run.rows[0]
            if run.is_open and len(run.rows) == 1:
                raise ValueError(_OPEN_QUOTE)
            if not header.isascii():
                header.decode()
            table = pc.read_csv(
                pa.BufferReader(header + b"\n"),
                pc.ReadOptions(use_threads=False, block_size=len(header) + 1),
                pc.ParseOptions(delimiter=self.separator, newlines_in_values=True),
            )
            if len(table):
                raise ValueError(_LONE_RETURN)
        except ValueError as err:
            reason = "it is not UTF-8" if isinstance(err, UnicodeDecodeError) else str(err)
            raise DataError(
                f"the first row, which names the columns, cannot be read: {reason}",
                where=f"{place}: line {run.rows.number[0]}",
                hint="the file has to be UTF-8, with lines that end in LF or CR LF: convert it",
            ) from err
        return [str(name) for name in table.column_names]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parser:
    """Parses the rows of one file."""

    separator: str
    # The columns of the file, as its header names them.
    names: list[str]
    scan: ScanSpec

    def parse(self, rows: Lines, row: int, bad: dict[int, str]) -> Iterator[pa.RecordBatch]:
        """Parse rows; where that fails, halve them until the bad ones are found, and put nulls in their place."""
        try:
            yield from self._parse_all(rows)
        except ValueError as err:
            if len(rows) > 1:
                half = len(rows) // 2
                yield from self.parse(rows.part(0, half), row, bad)
                yield from self.parse(rows.part(half, len(rows)), row + half, bad)
            else:
                bad[row] = self._reason(str(err), rows[0])
                nulls = {
                    path: pa.nulls(1, pa.large_string() if kind == pa.large_binary() else kind)
                    for path, kind in self._types().items()
                }
                yield _nested(nulls)

    def _types(self) -> dict[str, pa.DataType]:
        """The type of each needed column; bytes where the reader of the text checks UTF-8."""
        uses = self.scan.predicate.literal_types if self.scan.predicate else {}
        return {path: _TYPES[uses[path]] if path in uses else pa.large_binary() for path in self.scan.paths}

    def _parse_all(self, rows: Lines) -> list[pa.RecordBatch]:
        """One row for each.

        Raises:
            ValueError: a row does not have as many fields as the header, or a field does not have the compared type.
        """
        types, numbers = self._types(), {path: str(self.names.index(path)) for path in self.scan.paths}
        buffer = rows.buffer.slice(int(rows.start[0]), int(rows.stop[-1] - rows.start[0]))
        table = pc.read_csv(
            pa.BufferReader(buffer),
            # Names may be there twice: numbers are not.
            pc.ReadOptions(
                use_threads=False, block_size=buffer.size, column_names=[str(n) for n in range(len(self.names))]
            ),
            pc.ParseOptions(delimiter=self.separator, newlines_in_values=True),
            pc.ConvertOptions(
                column_types={numbers[path]: kind for path, kind in types.items()},
                include_columns=list(numbers.values()),
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        ).combine_chunks()
        if len(table) != len(rows):
            raise ValueError(_LONE_RETURN)
        columns = {path: table[number].chunk(0) for path, number in numbers.items()}
        return [_nested({path: _as_text(column) for path, column in columns.items()})]

    def _reason(self, message: str, row: bytes) -> str:
        """The error of Arrow's parser for a row, in terms of the file."""
        if re.search(rb"\r(?!\n)", row) and "conversion error" not in message:
            return _LONE_RETURN
        if match := re.search(r"Expected (\d+) columns, got (\d+)", message):
            return f"number of fields {match[2]}, of the header {match[1]}"
        if match := re.search(r"column #(\d+): .*conversion error to (\w+): invalid value (.*)", message, re.S):
            name, kind = self.names[int(match[1])], _TYPE_NAMES.get(match[2], match[2])
            return f"column '{name}' is {match[3][:60]}, not {kind}"
        return message.removeprefix("CSV parse error: ")[:200]


def _check_columns(names: list[str], scan: ScanSpec, place: str) -> None:
    """Check that every needed column exists exactly once.

    Raises:
        RecipeError: a column does not; or the recipe puts the text in a list.
    """
    if scan.text.list is not None:
        raise wrong_level(scan.text_paths[0], 0, 1, place)
    for path in scan.paths:
        if path not in names:
            raise missing_column(path, names, place)
        if names.count(path) > 1:
            raise RecipeError(f"the header has column '{path}' twice", where=place, hint="rename one of them")


def _as_text(column: pa.Array) -> pa.Array:
    return column.view(pa.large_string()) if column.type == pa.large_binary() else column


def _nested(columns: dict[str, pa.Array]) -> pa.RecordBatch:
    """Columns by their dotted names, as other formats have them: `meta.lang` is the field of a struct."""
    fields: dict[str, Any] = {}
    for path, column in columns.items():
        first, dot, below = path.partition(".")
        if dot:
            fields.setdefault(first, {})[below] = column
        else:
            fields[first] = column
    arrays = [pa.array(_nested(one).to_struct_array()) if isinstance(one, dict) else one for one in fields.values()]
    return pa.RecordBatch.from_arrays(arrays, names=list(fields))
