"""JSON lines: a block is a file, a row is a line that is not blank.

Lines go to Arrow's parser with a schema of the needed columns alone: other keys may come, go and change their type.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.json as pj

from mixer.errors import DataError, RecipeError
from mixer.sources.formats.lines import Lines, iter_lines
from mixer.sources.formats.piece import PIECE_BYTES, Piece
from mixer.sources.opening import OpenedFile, opened, reading
from mixer.sources.scan import ScanSpec, inside_a_list, missing_column, wrong_level

# Numbers are read as float64: another line may hold 3.5 where this one holds 3.
_TYPES = {bool: pa.bool_(), int: pa.float64(), float: pa.float64(), dict: pa.struct([])}


def count_blocks(file: OpenedFile, scan: ScanSpec) -> tuple[list[int], list[int]]:
    """Rows and kept rows of the file, its only block; a line that cannot be parsed counts as kept."""
    if scan.predicate is None:
        rows = sum(len(lines) for lines in iter_lines(file))
        return [rows], [rows]
    rows = kept = 0
    for piece in read_block(file, 0, scan, 0):
        mask = scan.predicate.mask(piece.batch).to_numpy(zero_copy_only=False)
        rows += len(mask)
        kept += int(mask.sum()) + sum(not mask[row] for row in piece.bad)
    return [rows], [kept]


def read_block(file: OpenedFile, block: int, scan: ScanSpec, skip_rows: int) -> Iterator[Piece]:
    """The file's rows from row `skip_rows` on, in order; lines before are counted and not parsed."""
    schema, first_row = None, 0
    for lines in iter_lines(file):
        if schema is None and len(lines):
            schema = _schema(lines, scan)
        skipped = max(0, skip_rows - first_row)
        if skipped < len(lines):
            pieces = [_parse(lines.part(skipped, len(lines)), schema, first_row + skipped)]
            first_row += len(lines)
            if lines.buffer.size > PIECE_BYTES:  # the parser's own buffers are as large as a long line
                pa.default_memory_pool().release_unused()
            del lines  # neither the lines nor the piece are held while others work on the text
            yield pieces.pop()
        else:
            first_row += len(lines)


def check_columns(paths: Iterable[Path], scan: ScanSpec, at: Callable[[Path], str] | None = None) -> None:
    """Check the needed keys on the first lines (8 MB) of the first file that has records.

    Args:
        paths: the files, in order; files after the first with records are not opened.
        needs: what is read of each row.
        at: how messages name a file; None: by its path.

    Raises:
        RecipeError: a key is in none of these lines (the message lists the keys that are), or in none of them as
            the recipe expects it: text, a list, or of the type that `where` compares with.
        DataError: no file has a record.
    """
    at = at or scan.at
    damaged = None
    for path in paths:
        missing, names, wrong = set(scan.paths), dict[str, None](), dict[str, RecipeError]()
        with reading(at(path)), opened(path, at(path)) as file:
            first = next((lines for lines in iter_lines(file) if len(lines)), ())
        for record in _records(first):
            damaged = damaged or path
            if record is None:
                continue
            names |= dict.fromkeys(record)
            for column in tuple(missing):
                values = _values(record, column)
                if values and (misfit := _misfit(record, column, values, scan, at(path))):
                    wrong.setdefault(column, misfit)
                elif values:
                    missing.remove(column)
            if not missing:
                return
        if misfits := [wrong[column] for column in scan.paths if column in missing and column in wrong]:
            raise misfits[0]
        if names:
            raise missing_column(sorted(missing)[0], list(names), at(path))
    if damaged:
        raise DataError(
            "none of the first lines is a JSON object",
            where=at(damaged),
            hint="JSON lines have one object per line",
        )


def _misfit(record: dict[str, Any], column: str, values: list[Any], scan: ScanSpec, where: str) -> RecipeError | None:
    """What is wrong with the values of a column on one line, if they are not what the recipe says; null fits all."""
    found = next((value for value in values if value is not None), None)
    if found is None:
        return None
    lists, num_lists = _list_level(record, column), int(scan.text.list is not None)
    if column in scan.text_paths and not any(value is None or isinstance(value, str) for value in values):
        message = f"column '{column}' is of type {type(found).__name__} in the first lines; expected text"
        return RecipeError(message, where=where, hint="name the column that holds the text")
    if column in (*scan.text_paths, scan.order_path) and lists != num_lists:
        return wrong_level(column, lists, num_lists, where)
    if scan.predicate is None or column not in scan.predicate.columns:
        return None
    if lists:
        return inside_a_list(column, scan.predicate)
    use = scan.predicate.literal_types.get(column)
    if use is None or type(found) is use or (use is float and type(found) is int):
        return None
    message = f"'{scan.predicate.text}' does not fit column '{column}', which is of type {type(found).__name__}"
    hint = "compare a column with a value of its own type"
    return RecipeError(f"{message} in the first lines", where=scan.predicate.place, hint=hint)


def _list_level(node: Any, path: str) -> int:
    """The number of lists on the way to the first value at a path, its own list included."""
    lists = 0
    for name in [*path.split("."), None]:
        while isinstance(node, list):
            node = next((item for item in node if item is not None), None)
            lists += 1
        if name is None or not isinstance(node, dict):
            break
        node = node.get(name)
    return lists


def _schema(lines: Lines, scan: ScanSpec) -> pa.Schema:
    """The schema of the needed columns: text by its use, a column of `where` by what it is compared with.

    What is compared with nothing (a field to sort by, a column tested for null) has the type of its first value.
    """
    uses = scan.predicate.literal_types if scan.predicate else {}
    tree: dict[str, Any] = {}
    for path in scan.paths:
        if path in scan.text_paths or uses.get(path) is str:
            kind = pa.large_string()
        else:
            kind = _TYPES[uses[path]] if path in uses else _first_type(lines, path)
        *above, last = path.split(".")
        node = tree
        for name in above:
            node = node.setdefault(name, {})
            if not isinstance(node, dict):
                raise RecipeError(f"'{name}' is used both as a value and as a struct", where=scan.place)
        node.setdefault(last, {} if pa.types.is_struct(kind) else kind)
    return pa.schema(_fields(tree, scan.text.list))


def _fields(tree: dict[str, Any], list_path: str | None, above: str = "") -> list[pa.Field]:
    fields = []
    for name, node in tree.items():
        path = f"{above}{name}"
        kind = pa.struct(_fields(node, list_path, f"{path}.")) if isinstance(node, dict) else node
        fields.append(pa.field(name, pa.list_(kind) if path == list_path else kind))
    return fields


def _first_type(lines: Lines, path: str) -> pa.DataType:
    values = (value for record in _records(lines) for value in _values(record, path))
    return _TYPES.get(type(next((value for value in values if value is not None), "")), pa.large_string())


def _records(lines: Iterable[bytes]) -> Iterator[dict[str, Any] | None]:
    """The object on each line; None for a line without one."""
    for line in lines:
        try:
            record = json.loads(line, parse_int=_number)
        except (ValueError, RecursionError):
            record = None
        yield record if isinstance(record, dict) else None


def _number(digits: str) -> int | float:
    """A whole number of any length: Python refuses to read one of more than 4,300 digits."""
    return int(digits) if len(digits) < 20 else float(digits)


def _values(record: dict[str, Any] | None, path: str) -> list[Any]:
    """The values at a path, through lists; [None] if a parent is null; [] where a key is absent."""
    nodes: list[Any] = [record]
    for name in path.split("."):
        found = [node[name] for node in nodes if isinstance(node, dict) and name in node]
        nodes = [item for value in found for item in (value if isinstance(value, list) else [value])]
        if found and all(node is None for node in nodes):
            return [None]
    return nodes


def _parse(lines: Lines, schema: pa.Schema, first_row: int) -> Piece:
    bad: dict[int, str] = {}
    table = pa.Table.from_batches(_parse_parts(lines, schema, 0, bad)).combine_chunks()
    return Piece(batch=table.to_batches()[0], first_row=first_row, bad=bad, lines=lines.number)


def _parse_parts(lines: Lines, schema: pa.Schema, row: int, bad: dict[int, str]) -> Iterator[pa.RecordBatch]:
    """Parse lines; where that fails, halve them until the bad ones are found, and put nulls in their place."""
    try:
        yield from _parse_all(lines, schema)
    except ValueError as err:
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
        ValueError: a line is not one JSON object that fits the schema.
    """
    content = np.frombuffer(lines.buffer, np.uint8)
    plain = (content[lines.start] == ord("{")) & (content[lines.stop - 1] == ord("}"))
    for row in np.flatnonzero(~plain):
        line = lines[int(row)].strip()
        if not (line.startswith(b"{") and line.endswith(b"}")):
            raise ValueError("not a JSON object")
    buffer = lines.buffer.slice(int(lines.start[0]), int(lines.stop[-1] - lines.start[0]))
    table = pj.read_json(
        pa.BufferReader(buffer),
        pj.ReadOptions(use_threads=False, block_size=buffer.size),
        pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
    )
    # Lines begin with { and end with }, so none ends inside of an object: as many rows as lines means one in each.
    if len(table) != len(lines):
        raise ValueError("more than one JSON object on the line")
    return table.combine_chunks().to_batches()
