"""JSON lines, plain or compressed: a block is a file, a row is a line that is not blank.

Text is decompressed in chunks, cut at line ends, and handed to Arrow's parser with a schema of the needed columns
only: keys that nobody asked for may come, go and change their type.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.json as pj

from mixer.errors import DataError, RecipeError
from mixer.sources.files import open_lines
from mixer.sources.needs import Needs, missing_column
from mixer.sources.piece import PIECE_BYTES, Piece
from mixer.sources.where import literals

_BLANK = np.isin(np.arange(256), [9, 10, 13, 32])
_BOM = b"\xef\xbb\xbf"
_ARROW_TYPES = {str: pa.large_string(), bool: pa.bool_(), float: pa.float64(), int: pa.float64(), dict: pa.struct([])}


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """Whole lines, one after the other in a buffer; blank ones are left out of the arrays."""

    buffer: pa.Buffer
    # int64[rows]: where each line starts, and where it stops (before its newline).
    start: np.ndarray
    stop: np.ndarray
    # int64[rows]: the line's number in the file, from 1, blank lines counted.
    number: np.ndarray

    def __len__(self) -> int:
        return len(self.start)

    def part(self, start: int, stop: int) -> Lines:
        """The lines [start, stop)."""
        return Lines(
            buffer=self.buffer, start=self.start[start:stop], stop=self.stop[start:stop], number=self.number[start:stop]
        )

    def line(self, row: int) -> bytes:
        """The bytes of one line."""
        return self.buffer.slice(self.start[row], self.stop[row] - self.start[row]).to_pybytes()


def count_blocks(path: Path, needs: Needs) -> tuple[list[int], list[int]]:
    """Rows and kept rows of the file, which is its only block; a bad row counts as kept."""
    if needs.predicate is None:
        rows = sum(len(lines) for lines in iter_lines(path))
        return [rows], [rows]
    rows = kept = 0
    for piece in read_block(path, 0, needs, 0):
        mask = needs.predicate.mask(piece.batch).to_numpy(zero_copy_only=False)
        mask[list(piece.bad)] = True
        rows, kept = rows + len(mask), kept + int(mask.sum())
    return [rows], [kept]


def read_block(path: Path, block: int, needs: Needs, skip_rows: int) -> Iterator[Piece]:
    """The file's rows from row `skip_rows` on, in order; the lines before are counted, not parsed."""
    schema, first_row = None, 0
    for lines in iter_lines(path):
        if schema is None and len(lines):
            schema = infer_schema(lines, needs)
        skipped = min(max(skip_rows - first_row, 0), len(lines))
        if skipped < len(lines):
            yield _parse(lines.part(skipped, len(lines)), schema, first_row + skipped)
        first_row += len(lines)


def iter_lines(path: Path) -> Iterator[Lines]:
    """The lines of a file in runs of about 8 MB; a longer line is a run by itself. Cost: linear in the bytes."""
    number, carried = 1, []
    with open_lines(path) as file:
        while chunk := file.read(PIECE_BYTES):
            cut = chunk.rfind(b"\n") + 1
            carried.append(memoryview(chunk)[:cut] if cut else chunk)
            if cut:
                lines, num_lines = _split(b"".join(carried), number)
                number += num_lines
                carried = [memoryview(chunk)[cut:]]
                yield lines
    if rest := b"".join(carried):
        yield _split(rest, number)[0]


def check_columns(path: Path, needs: Needs) -> bool:
    """Check that the needed keys are in the first lines of a file; False if it has no rows.

    Raises:
        RecipeError: a key is in no line of the first run; the message lists the keys that are.
        DataError: the text is of another type in all of these lines.
    """
    for lines in iter_lines(path):
        wanted, names, wrong = set(needs.paths), {}, None
        for row in range(len(lines)):
            record = _load(lines.line(row))
            names |= dict.fromkeys(record)
            for path_ in list(wanted):
                values = list(_values(record, path_.split(".")))
                if path_ == needs.text_path and values and not any(v is None or isinstance(v, str) for v in values):
                    wrong = type(values[0]).__name__
                elif values:
                    wanted.remove(path_)
            if not wanted:
                return True
        if wrong is not None:
            raise DataError(
                f"column '{needs.text_path}' holds {wrong} in the first {len(lines)} rows; expected text",
                where=str(path),
                hint="name the column that holds the text",
            )
        if names:
            raise missing_column(sorted(wanted)[0], list(names), str(path))
        if len(lines):
            return True  # No line can be read: reading the rows says which and why.
    return False


def infer_schema(lines: Lines, needs: Needs) -> pa.Schema:
    """The schema of the needed columns: text by its use, a column of `where` by what it is compared with.

    What is used in no comparison (the field to sort by, a column tested for null) is of the type of its first value.
    """
    kinds = {needs.text_path: pa.large_string()}
    compared = literals(needs.predicate) if needs.predicate else {}
    for path in needs.paths[1:]:
        kinds[path] = _ARROW_TYPES[compared[path]] if path in compared else _first_type(lines, path)
    tree: dict[str, Any] = {}
    for path, kind in kinds.items():
        *above, last = path.split(".")
        node = tree
        for name in above:
            node = node.setdefault(name, {})
            if not isinstance(node, dict):
                raise RecipeError(f"column '{name}' is used as a value and as a struct", where="where")
        node.setdefault(last, {} if kind == pa.struct([]) else kind)
    return pa.schema(_fields(tree, needs.text.list, ""))


def _fields(tree: dict[str, Any], list_path: str | None, above: str) -> list[pa.Field]:
    fields = []
    for name, node in tree.items():
        path = f"{above}{name}"
        kind = pa.struct(_fields(node, list_path, f"{path}.")) if isinstance(node, dict) else node
        fields.append(pa.field(name, pa.list_(kind) if path == list_path else kind))
    return fields


def _first_type(lines: Lines, path: str) -> pa.DataType:
    for row in range(len(lines)):
        for value in _values(_load(lines.line(row)), path.split(".")):
            if value is not None:
                return _type_of(value)
    return pa.large_string()


def _type_of(value: Any) -> pa.DataType:
    if isinstance(value, list):
        return pa.list_(_type_of(value[0]) if value else pa.large_string())
    return _ARROW_TYPES.get(type(value), pa.large_string())


def _load(line: bytes) -> dict[str, Any]:
    """The object on a line; an empty one where there is none."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _values(value: Any, path: list[str]) -> Iterator[Any]:
    """The values at a path, through lists; None where a value above is null or an empty list; nothing if absent."""
    if isinstance(value, list) and path and value:
        for item in value:
            yield from _values(item, path)
    elif value is None or value == [] or not path:
        yield from value if isinstance(value, list) else [value]
        if value == []:
            yield None
    elif isinstance(value, dict) and path[0] in value:
        yield from _values(value[path[0]], path[1:])


def _split(block: bytes, number: int) -> tuple[Lines, int]:
    """The lines of a block that begins with line `number` of its file, and how many there are with blank ones."""
    content = np.frombuffer(block, np.uint8)
    stop = np.flatnonzero(content == 10)
    if content[-1] != 10:
        stop = np.append(stop, len(content))
    start = np.concatenate(([0], stop[:-1] + 1))
    num_lines = len(start)
    if number == 1 and block.startswith(_BOM):
        start[0] += len(_BOM)
    stop = stop - ((stop > start) & (content[stop - 1] == 13))  # \r\n ends a line, too.
    filled = stop > start
    for row in np.flatnonzero(filled & _BLANK[content[np.minimum(start, len(content) - 1)]]):
        filled[row] = bool(block[start[row] : stop[row]].strip(b" \t\r\n"))
    numbers = np.flatnonzero(filled) + number
    return Lines(buffer=pa.py_buffer(block), start=start[filled], stop=stop[filled], number=numbers), num_lines


def _parse(lines: Lines, schema: pa.Schema, first_row: int) -> Piece:
    bad: dict[int, str] = {}
    table = pa.Table.from_batches(_parse_parts(lines, schema, 0, bad)).combine_chunks()
    return Piece(batch=table.to_batches()[0], first_row=first_row, bad=bad, lines=lines.number)


def _parse_parts(lines: Lines, schema: pa.Schema, row: int, bad: dict[int, str]) -> Iterator[pa.RecordBatch]:
    """Parse lines; where that fails, halve them until the bad ones are found, and put nulls in their place."""
    try:
        yield from _parse_all(lines, schema)
    except (ValueError, OverflowError) as err:
        if len(lines) > 1:
            half = len(lines) // 2
            yield from _parse_parts(lines.part(0, half), schema, row, bad)
            yield from _parse_parts(lines.part(half, len(lines)), schema, row + half, bad)
        else:
            bad[row] = str(err).removeprefix("JSON parse error: ").removesuffix(" in row 0")
            yield pa.RecordBatch.from_arrays([pa.nulls(1, field.type) for field in schema], schema=schema)


def _parse_all(lines: Lines, schema: pa.Schema) -> list[pa.RecordBatch]:
    """One row for each line.

    Raises:
        ValueError: not each of the lines is one JSON object that fits the schema.
    """
    content = np.frombuffer(lines.buffer, np.uint8)
    whole = (content[lines.start] == ord("{")) & (content[lines.stop - 1] == ord("}"))
    for row in np.flatnonzero(~whole):
        if not (lines.line(row).lstrip(b" \t").startswith(b"{") and lines.line(row).rstrip(b" \t\r").endswith(b"}")):
            raise ValueError("not a JSON object")
    buffer = lines.buffer.slice(lines.start[0], lines.stop[-1] - lines.start[0])
    table = pj.read_json(
        pa.BufferReader(buffer),
        pj.ReadOptions(use_threads=False, block_size=buffer.size),
        pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
    )
    # Every line begins with { and ends with }, so a line end is never inside an object: equal counts mean one each.
    if len(table) != len(lines):
        raise ValueError("more than one JSON object on the line")
    return table.combine_chunks().to_batches()
