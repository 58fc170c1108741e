"""The documents of a record batch: a column of text, or the strings of a list joined. Compiled kernels only."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mixer.recipe.template import Template, parse_template
from mixer.sources.row_filter import column_at

if TYPE_CHECKING:
    from mixer.recipe import TextSpec

_TEXT = pa.large_string()


def documents(batch: pa.RecordBatch, spec: TextSpec) -> pa.LargeStringArray:
    """The text of each row: LargeString[rows], null for a row without text. UTF-8 is not checked here.

    The items of a list are joined: `prefix` before every item, `separator` between items, null items left out; a
    list without items has no text. Two files with prefix '\\n\\n' become '\\n\\nfirst\\n\\nsecond'. With `order` the
    items of each list are sorted by another field of theirs, stably, nulls last. With `template` an item is made of
    several fields; it is null where one of them is.
    """
    if spec.list is None:
        return _as_text(column_at(batch, str(spec.column)))
    texts, keys, counts = _items(column_at(batch, spec.list), spec)
    parents = np.repeat(np.arange(len(batch)), counts)
    if keys is not None:
        table = pa.table({"parent": parents, "key": keys})
        order = pc.sort_indices(table, sort_keys=[("parent", "ascending"), ("key", "ascending")])
        texts = texts.take(order)
    if texts.null_count:
        counts = np.bincount(parents[texts.is_valid().to_numpy(zero_copy_only=False)], minlength=len(batch))
        texts = texts.drop_null()
    texts, empty = _as_text(texts), counts == 0
    if spec.prefix and not spec.separator:
        # An empty string before the first item: the join then puts the prefix before every item, in one copy.
        texts, counts = _empty_before_each_list(texts, counts), counts + 1
    offsets = pa.array(np.concatenate(([0], np.cumsum(counts))), pa.int64())
    lists = pa.LargeListArray.from_arrays(offsets, texts, mask=pa.array(empty))
    joined = pc.binary_join(lists, pa.scalar(spec.separator + spec.prefix, _TEXT))
    if not (spec.prefix and spec.separator):
        return joined
    return pc.binary_join_element_wise(pa.scalar(spec.prefix, _TEXT), joined, pa.scalar("", _TEXT))


def text_offsets(text: pa.LargeStringArray) -> np.ndarray:
    """int64[rows + 1], rising: where each document starts and ends in the array's data buffer, in bytes."""
    if len(text) == 0:
        return np.zeros(1, np.int64)
    return np.frombuffer(text.buffers()[1], np.int64)[text.offset : text.offset + len(text) + 1]


def invalid_rows(text: pa.LargeStringArray) -> list[int]:
    """The rows whose bytes are not UTF-8, rising. One pass at memory speed if all are."""
    try:
        text.validate(full=True)
    except pa.ArrowInvalid:
        if len(text) == 1:
            return [0]
        half = len(text) // 2
        return invalid_rows(text[:half]) + [half + row for row in invalid_rows(text[half:])]
    return []


def _as_text(array: pa.Array) -> pa.LargeStringArray:
    """A string array of any layout as LargeString; the bytes of plain strings are not copied."""
    return array if array.type == _TEXT else pc.cast(array, _TEXT)


def _empty_before_each_list(texts: pa.LargeStringArray, counts: np.ndarray) -> pa.LargeStringArray:
    """The items of all lists with an empty one before each list's first; no text is copied."""
    starts = np.cumsum(counts) - counts
    offsets = text_offsets(texts)
    longer = np.insert(offsets, starts, offsets[starts])
    data = texts.buffers()[2] if len(texts) else pa.py_buffer(b"")
    return pa.LargeStringArray.from_buffers(len(texts) + len(counts), pa.py_buffer(longer), data)


def _items(array: pa.Array, spec: TextSpec) -> tuple[pa.Array, pa.Array | None, np.ndarray]:
    """The items of all lists end to end, what to sort them by, and int64[rows]: how many each row has."""

    def flat(name: str | None) -> pa.Array:
        if name is None:
            return array.flatten()
        first, *below = name.split(".")
        if pa.types.is_struct(array.type):  # A struct of lists, as `datasets` stores a Sequence of dicts.
            values = pc.struct_field(array, [first]).flatten()
            return pc.struct_field(values, below) if below else values
        return pc.struct_field(array.flatten(), [first, *below])

    template = None if spec.template is None else parse_template(spec.template)
    first = spec.field if template is None else template.fields[0]
    lists = pc.struct_field(array, [str(first).split(".")[0]]) if pa.types.is_struct(array.type) else array
    counts = pc.fill_null(pc.list_value_length(lists), 0).to_numpy().astype(np.int64)
    texts = flat(spec.field) if template is None else _filled_in(template, flat)
    return texts, None if spec.order == "stored" else flat(spec.order), counts


def _filled_in(template: Template, values_of: Callable[[str], pa.Array]) -> pa.LargeStringArray:
    """The template with each item's fields in it; null where one of them is."""
    parts: list[pa.Array | pa.Scalar] = [pa.scalar(template.literals[0], _TEXT)]
    for name, literal in zip(template.fields, template.literals[1:]):
        parts += [_as_text(values_of(name)), pa.scalar(literal, _TEXT)]
    return pc.binary_join_element_wise(*parts, pa.scalar("", _TEXT))
