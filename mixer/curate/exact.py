"""Digests by which exact duplicates are found: 128 bits a row, of bytes, of words, or of a column's values.

A digest is xxh3-128 as two uint64, the high half first, as its hex digits are written. (0, 0) marks a row without one,
a null, which is never a duplicate. For two rows that differ, the chance of equal digests is 2^-128: among 10^10
different rows, 1.5 x 10^-19 for any pair at all. Digests of words stand on hashes of 64 bits a word: two texts that
differ in k words, as many in each, have the same digest with a chance of 2^-64k.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from xxhash import xxh3_64_intdigest, xxh3_128_digest

from mixer.curate.words import Words
from mixer.errors import DataError
from mixer.sources.text import text_offsets

_INTEGER, _FLOAT, _LIST, _STRUCT = (xxh3_64_intdigest(name) for name in (b"integer", b"float", b"list", b"struct"))
"""Seeds of xxh3-128 by kind of value, so that values of two kinds differ; text and binary have seed 0."""


def text_digests(text: pa.LargeStringArray) -> np.ndarray:
    """The digest of each document's bytes of UTF-8: uint64[documents, 2]; (0, 0) for a null.

    Cost: a call of about 0.3 microseconds a document, and the bytes at the speed of memory.
    """
    return _without_nulls(_digests((text.buffers()[2] if len(text) else None) or b"", text_offsets(text)), text)


def normalised_digests(text: pa.LargeStringArray, words: Words) -> np.ndarray:
    """The digest of each document's words: equal for texts that differ in case, punctuation or white space only.

    It is that of the hashes of the words, as little-endian bytes, in order. A document without words has that of its
    bytes.

    Args:
        text: documents.
        words: their words.

    Returns:
        uint64[documents, 2]; (0, 0) for a null.
    """
    digests = _digests(words.hashes.astype("<u8", copy=False), words.offsets * 8)
    wordless = np.flatnonzero(np.diff(words.offsets) == 0)
    if len(wordless):
        digests[wordless] = text_digests(text.take(pa.array(wordless)))
    return digests


def value_digests(values: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """The digest of each value of a column of any type: uint64[rows, 2]; (0, 0) for a null and for NaN.

    What is digested, little-endian, so that a type's width and layout make no difference:
    text and binary, also in dictionaries: the bytes;
    integers and booleans: 16 bytes, two's complement;
    floats: the 8 bytes of a float64, -0 as 0;
    lists and maps: the digests of their items, in the order of hex digits; structs: those of their fields;
    other types of fixed width (dates, times, decimals): the bytes of the value.
    The seed of xxh3-128 is 0 for text and binary, else xxh3-64 of "integer", "float", "list", "struct", or the type's
    name in Arrow.

    Raises:
        DataError: values of the type cannot be compared, such as unions.
    """
    if isinstance(values, pa.ChunkedArray):
        parts = [value_digests(chunk) for chunk in values.chunks]
        return np.concatenate([np.empty((0, 2), dtype=np.uint64), *parts])
    return _without_nulls(_of_any_type(values), values)


def _of_any_type(values: pa.Array) -> np.ndarray:
    """The digests of values; anything where a value is null."""
    type_, is_ = values.type, pa.types
    if isinstance(type_, pa.BaseExtensionType):
        return value_digests(values.storage)
    if is_.is_null(type_):
        return np.zeros((len(values), 2), dtype=np.uint64)
    if is_.is_dictionary(type_):
        return _taken_values(values)
    if is_.is_run_end_encoded(type_):
        return value_digests(pc.run_end_decode(values))
    if any(check(type_) for check in _BYTES):
        return text_digests(pc.cast(values, pa.large_binary()))
    if is_.is_boolean(type_):
        return _of_integers(_fixed_width(pc.cast(values, pa.uint8())))
    if is_.is_integer(type_):
        return _of_integers(_fixed_width(values))
    if is_.is_floating(type_):
        return _of_floats(_fixed_width(values))
    if is_.is_struct(type_):
        fields = [value_digests(field) for field in values.flatten()]
        side_by_side = np.hstack([np.empty((len(values), 0), dtype=np.uint64), *fields])
        return _of_digests(side_by_side, np.arange(len(values) + 1) * len(fields), _STRUCT)
    if is_.is_map(type_):
        return value_digests(values.cast(pa.list_(pa.struct([type_.key_field, type_.item_field]))))
    if any(check(type_) for check in _LISTS):
        counts = pc.fill_null(pc.list_value_length(values), 0).to_numpy()
        return _of_digests(value_digests(values.flatten()), np.concatenate([[0], np.cumsum(counts)]), _LIST)
    try:
        width = type_.byte_width
    except ValueError as err:
        raise DataError(
            f"values of type '{type_}' cannot be compared", hint="choose a column of another type, or the text"
        ) from err
    data = np.frombuffer(values.buffers()[1] or b"", dtype=np.uint8)[values.offset * width :]
    return _digests(data, np.arange(len(values) + 1) * width, xxh3_64_intdigest(str(type_).encode()))


def _taken_values(values: pa.DictionaryArray) -> np.ndarray:
    digests = np.zeros((len(values), 2), dtype=np.uint64)
    valid = pc.is_valid(values).to_numpy(zero_copy_only=False)
    digests[valid] = value_digests(values.dictionary)[values.indices.drop_null().to_numpy()]
    return digests


def _of_integers(values: np.ndarray) -> np.ndarray:
    wide = np.empty((len(values), 2), dtype="<i8")
    wide[:, 0] = values.astype(np.int64)  # uint64 keeps its bits
    wide[:, 1] = values < 0
    wide[:, 1] *= -1
    return _digests(wide, np.arange(len(values) + 1) * 16, _INTEGER)


def _of_floats(values: np.ndarray) -> np.ndarray:
    wide = values.astype("<f8") + 0.0
    digests = _digests(wide, np.arange(len(values) + 1) * 8, _FLOAT)
    digests[np.isnan(wide)] = 0
    return digests


def _of_digests(items: np.ndarray, offsets: np.ndarray, seed: int) -> np.ndarray:
    """The digests of runs of digests, which begin and end at these offsets."""
    return _digests(items.astype(">u8"), offsets * 16, seed)


def _fixed_width(values: pa.Array) -> np.ndarray:
    """The values of a numeric array without a copy; anything where a value is null."""
    data = np.frombuffer(values.buffers()[1] or b"", dtype=values.type.to_pandas_dtype())
    return data[values.offset : values.offset + len(values)]


def _digests(data: Any, bounds: np.ndarray, seed: int = 0) -> np.ndarray:
    """The digests of a buffer's bytes between consecutive bounds: uint64[rows, 2]."""
    view = memoryview(data)
    view = view.cast("B") if view.nbytes else memoryview(b"")  # one without items cannot be cast
    joined = b"".join([xxh3_128_digest(view[start:stop], seed) for start, stop in pairwise(bounds.tolist())])
    return np.frombuffer(joined, dtype=">u8").reshape(-1, 2).astype(np.uint64)


def _without_nulls(digests: np.ndarray, values: pa.Array) -> np.ndarray:
    """The digests with (0, 0) where a value is null."""
    if values.null_count:
        digests[pc.is_null(values).to_numpy(zero_copy_only=False)] = 0
    return digests


_BYTES = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_string_view,
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_binary_view,
)
_LISTS = (
    pa.types.is_list,
    pa.types.is_large_list,
    pa.types.is_list_view,
    pa.types.is_large_list_view,
    pa.types.is_fixed_size_list,
)
