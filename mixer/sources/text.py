"""The documents of a record batch: a column of text, or the strings of a list joined. Compiled kernels only."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mixer.sources.needs import Needs, is_list
from mixer.sources.where import column

_TEXT = pa.large_string()


def documents(batch: pa.RecordBatch, needs: Needs) -> pa.LargeStringArray:
    """The text of each row: LargeString[rows], null where there is none. UTF-8 is not checked here.

    With `text.list` the items are joined: `prefix` before every item, `separator` between items, null items left
    out; a list without items has no text. Two files with prefix '\\n\\n' become '\\n\\nfirst\\n\\nsecond'.
    """
    spec = needs.text
    if spec.list is None:
        return as_text(column(batch, spec.column))
    values, order, parents = _items(
        column(batch, spec.list), spec.field, None if spec.order == "stored" else spec.order
    )
    if order is not None:
        table = pa.table({"parent": parents, "order": order})
        by = pc.sort_indices(table, sort_keys=[("parent", "ascending"), ("order", "ascending")])
        values, parents = values.take(by), parents.take(by)
    if values.null_count:
        there = values.is_valid()
        values, parents = values.filter(there), parents.filter(there)
    counts = np.bincount(parents.to_numpy(), minlength=len(batch))
    offsets = np.concatenate(([0], np.cumsum(counts)))
    lists = pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), as_text(values), mask=pa.array(counts == 0))
    joined = pc.binary_join(lists, pa.scalar(spec.separator + spec.prefix, _TEXT))
    if not spec.prefix:
        return joined
    return pc.binary_join_element_wise(pa.scalar(spec.prefix, _TEXT), joined, pa.scalar("", _TEXT))


def as_text(array: pa.Array) -> pa.LargeStringArray:
    """A string array of any layout as LargeString; plain strings keep their bytes where they are."""
    return array if array.type == _TEXT else pc.cast(array, _TEXT)


def text_bytes(text: pa.LargeStringArray) -> np.ndarray:
    """int64[rows + 1]: where each document starts and ends in the array's buffer, in bytes."""
    offsets = np.frombuffer(text.buffers()[1], np.int64) if len(text) else np.zeros(1, np.int64)
    return offsets[text.offset : text.offset + len(text) + 1]


def invalid_rows(text: pa.LargeStringArray) -> list[int]:
    """The rows whose bytes are not UTF-8, rising. One fast pass when there are none."""
    try:
        text.validate(full=True)
    except pa.ArrowInvalid:
        if len(text) == 1:
            return [0]
        half = len(text) // 2
        return invalid_rows(text[:half]) + [half + row for row in invalid_rows(text[half:])]
    return []


def _items(array: pa.Array, field: str | None, order: str | None) -> tuple[pa.Array, pa.Array | None, pa.Array]:
    """The items of all lists end to end: their strings, the values to sort by, the row of each (int64)."""
    if pa.types.is_struct(array.type):  # A struct of lists, as `datasets` stores a Sequence of dicts.
        values = pc.struct_field(array, [field])
        keys = None if order is None else pc.struct_field(array, [order]).flatten()
        return values.flatten(), keys, pc.list_parent_indices(values)
    if pa.types.is_fixed_size_list(array.type):
        array = array.cast(pa.large_list(array.type.value_field))
    values, parents = array.flatten(), pc.list_parent_indices(array)
    if field is None:
        return values, None, parents
    assert not is_list(values.type)
    keys = None if order is None else pc.struct_field(values, [order])
    return pc.struct_field(values, [field]), keys, parents
