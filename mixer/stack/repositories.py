"""Repositories in progress: the blobs that a batch of rows needs, and the same rows with their text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mixer.errors import DataError
from mixer.stack.counts import Counts
from mixer.stack.fetch_plan import Rules
from mixer.stack.ids import FILES, TEXT
from mixer.stack.wanted_files import TOO_MANY_TOKENS, Selection, select

if TYPE_CHECKING:
    from mixer.tokens.tokenizer import Tokenizer

_BLOB_ID = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """A batch of repositories, with all their files end to end."""

    batch: pa.RecordBatch
    # Struct[files], and int64[files]: the row of each in the batch, rising.
    files: pa.StructArray
    parents: np.ndarray
    # The number of the first row in its file, for messages.
    first_row: int


class Request(NamedTuple):
    """A file whose text is wanted."""

    rows: Rows
    # Its number in `rows.files`.
    file: int
    blob_id: str
    encoding: str | None
    # As its row says; 0 where it does not.
    num_bytes: int


def requests(
    batches: Iterable[pa.RecordBatch], selection: Selection, first_row: int, place: str, counts: Counts
) -> Iterator[Request]:
    """The wanted files, in the order of the rows; files read and left out are counted.

    Raises:
        DataError: a blob id is not valid.
    """
    for batch in batches:
        rows = _rows(batch, first_row)
        first_row += len(batch)
        wanted, left_out = select(rows.files, selection)
        with_file = len(np.unique(rows.parents[wanted]))
        counts.numbers.update(
            repositories_read=len(batch), files_read=len(rows.files), repositories_emptied=len(batch) - with_file
        )
        counts.left_out.update(left_out)
        numbers = np.flatnonzero(wanted)
        chosen = rows.files.take(pa.array(numbers))
        has_length = chosen.type.get_field_index("length_bytes") >= 0
        lengths = chosen.field("length_bytes").to_pylist() if has_length else [None] * len(chosen)
        ids, encodings = chosen.field("blob_id").to_pylist(), chosen.field("src_encoding").to_pylist()
        for number, blob_id, encoding, length in zip(numbers.tolist(), ids, encodings, lengths):
            if blob_id is None or not _BLOB_ID.fullmatch(blob_id):
                raise DataError(
                    f"a file has the blob_id {blob_id!r}; expected 40 hexadecimal digits",
                    where=f"{place}: row {rows.first_row + int(rows.parents[number])}",
                    hint="the rows are damaged: download them again",
                )
            yield Request(rows, number, blob_id, encoding, max(0, length or 0))


def _rows(batch: pa.RecordBatch, first_row: int) -> Rows:
    lists = batch.column(FILES)
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    return Rows(
        batch=batch, files=lists.flatten(), parents=np.repeat(np.arange(len(batch)), lengths), first_row=first_row
    )


class Assembler:
    """Puts texts into rows. Files come in the order of their rows; rows come out as record batches, whole.

    Texts are copied once, end to end, so that a large repository is in memory about once.

    Args:
        schema: of the rows that come out: `with_text`.
        rules: which files and repositories are left out, and the text of a row group: with so much, rows are given out.
        tokenizer: what counts tokens, if the selection asks for it.
        counts: where it is counted what becomes of the files.
    """

    def __init__(self, schema: pa.Schema, rules: Rules, tokenizer: Tokenizer | None, counts: Counts) -> None:
        self._schema = schema
        self._rules = rules
        self._tokenizer = tokenizer
        self._counts = counts
        self._rows: Rows | None = None
        self._row = -1
        self._dropped = False
        self._clear()

    def _clear(self) -> None:
        """Start again after the returned rows; a row may be dropped back to `_row_start` (files, bytes)."""
        self._numbers: list[int] = []
        self._stops = [0]
        self._text = bytearray()
        self._row_start = (0, 0)

    def add(self, request: Request, text: bytes | None, *, drop_repository: bool = False) -> Iterator[pa.RecordBatch]:
        """Take the next file, and return rows if there are enough.

        Args:
            request: the file.
            text: its text as UTF-8; None: it is left out.
            drop_repository: its whole repository is left out as well.
        """
        row = int(request.rows.parents[request.file])
        if request.rows is not self._rows or row != self._row:
            self._end_row()
            if self._rows is not None and (
                request.rows is not self._rows or len(self._text) >= self._rules.row_group_bytes
            ):
                yield from self._given_out()
            self._rows, self._row, self._dropped = request.rows, row, False
            self._row_start = (len(self._numbers), len(self._text))
        if self._dropped:
            self._counts.numbers.update(files_dropped=text is not None)
        elif drop_repository:
            self._drop_row("repositories_dropped")
        elif text is not None:
            self._numbers.append(request.file)
            self._text += text
            self._stops.append(len(self._text))
            if len(self._text) - self._row_start[1] > self._rules.max_repository_bytes:
                self._drop_row("repositories_too_large")

    def _drop_row(self, reason: str) -> None:
        """Leave the row out, with its files so far and those still to come."""
        num_files, num_bytes = self._row_start
        self._counts.numbers.update({reason: 1, "files_dropped": len(self._numbers) - num_files})
        del self._numbers[num_files:], self._stops[num_files + 1 :], self._text[num_bytes:]
        self._dropped = True

    def finish(self) -> Iterator[pa.RecordBatch]:
        """Return the remaining rows."""
        self._end_row()
        if self._rows is not None:
            yield from self._given_out()

    def _end_row(self) -> None:
        """Count a row whose files were all missing; those without a wanted file never came here."""
        if self._rows is not None and not self._dropped and len(self._numbers) == self._row_start[0]:
            self._counts.numbers.update(repositories_emptied=1)

    def _given_out(self) -> Iterator[pa.RecordBatch]:
        assert self._rows is not None
        rows, numbers, stops = self._rows, np.array(self._numbers, np.int64), np.array(self._stops, np.int64)
        data = pa.py_buffer(self._text)
        texts = pa.LargeStringArray.from_buffers(len(numbers), pa.py_buffer(stops), data)
        self._clear()
        if self._rules.selection.min_bytes_per_token is not None:
            dense = self._too_many_tokens(texts)
            before = len(np.unique(rows.parents[numbers]))
            self._counts.left_out.update({TOO_MANY_TOKENS: int(dense.sum())})
            texts, numbers = texts.filter(pa.array(~dense)), numbers[~dense]
            self._counts.numbers.update(repositories_emptied=before - len(np.unique(rows.parents[numbers])))
        if len(numbers) == 0:
            return
        in_row = np.bincount(rows.parents[numbers], minlength=len(rows.batch))
        kept = np.flatnonzero(in_row)
        batch = _with_files(rows, kept, numbers, in_row[kept], texts, self._schema)
        self._counts.numbers.update(
            repositories_written=len(kept),
            files_written=len(numbers),
            text_bytes=pc.sum(pc.binary_length(texts)).as_py(),
        )
        yield batch

    def _too_many_tokens(self, texts: pa.LargeStringArray) -> np.ndarray:
        """bool[files]: those with fewer bytes for each token than asked for."""
        least = self._rules.selection.min_bytes_per_token
        assert self._tokenizer is not None
        assert least is not None
        num_tokens = np.diff(self._tokenizer.encode(texts).offsets)
        return pc.binary_length(texts).to_numpy() < least * num_tokens


def with_text(schema: pa.Schema) -> pa.Schema:
    """The schema of rows with `text` in their files.

    Its metadata are left out: in data sets of the hub they tell the columns, without the new one.
    """
    place = schema.get_field_index(FILES)
    kind = schema.field(place).type
    item = pa.struct([*kind.value_type.fields, pa.field(TEXT, pa.large_string())])
    lists = pa.large_list(item) if pa.types.is_large_list(kind) else pa.list_(item)
    return schema.set(place, pa.field(FILES, lists)).remove_metadata()


def _with_files(
    rows: Rows, kept: np.ndarray, numbers: np.ndarray, num_files: np.ndarray, texts: pa.Array, schema: pa.Schema
) -> pa.RecordBatch:
    """Some rows of a batch with some of their files, and the text of each."""
    kind = schema.field(FILES).type
    files = rows.files.take(pa.array(numbers))
    items = pa.StructArray.from_arrays([*files.flatten(), texts], fields=kind.value_type.fields)
    offsets = np.concatenate(([0], np.cumsum(num_files)))
    is_large = pa.types.is_large_list(kind)
    array = pa.LargeListArray if is_large else pa.ListArray
    lists = array.from_arrays(pa.array(offsets, pa.int64() if is_large else pa.int32()), items, type=kind)
    batch = rows.batch.take(pa.array(kept))
    columns = [lists if name == FILES else column for name, column in zip(batch.schema.names, batch.columns)]
    return pa.RecordBatch.from_arrays(columns, schema=schema)
