"""The columns of row attributes: their kinds, and the digests of what is in them. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mixer.errors import FormatError

KINDS: dict[str, pa.DataType] = {
    "bool": pa.bool_(),
    "uint8": pa.uint8(),
    "uint16": pa.uint16(),
    "uint32": pa.uint32(),
    "int64": pa.int64(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "label": pa.uint16(),
}
"""Kind -> Arrow type of its file. A label is the number of one of the column's `labels`."""
MAX_LABELS = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributeColumn:
    """One column of a set: its name, its kind, and the words behind the numbers of labels."""

    name: str
    kind: str
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise FormatError(f"column {self.name!r} has the kind {self.kind!r}; known are {', '.join(KINDS)}")

    @property
    def field(self) -> pa.Field:
        """The column in a file."""
        return pa.field(self.name, KINDS[self.kind])

    def values(self, stored: pa.Array) -> pa.Array:
        """What a predicate sees of the stored values: labels as words, everything else as it is."""
        if self.kind != "label":
            return stored
        return pa.DictionaryArray.from_arrays(stored, pa.array(self.labels, pa.string())).cast(pa.string())


class ColumnDigest:
    """The digest of a column, value by value, whatever the batches that bring them.

    The content of a column is its values in the order of the rows, little-endian, a bool in one byte, a null as 0. Of a
    column with nulls there is a second one: one byte a row, 1 where there is a value.
    """

    def __init__(self) -> None:
        self._values = hashlib.sha256()
        self._valid = hashlib.sha256()
        self._num_nulls = 0

    def update(self, array: pa.Array) -> None:
        """Add the values of some rows."""
        self._num_nulls += array.null_count
        valid = np.ones(len(array), dtype=np.uint8)
        if array.null_count:
            valid = array.is_valid().to_numpy(zero_copy_only=False).astype(np.uint8)
            array = pc.fill_null(array, pa.scalar(0, array.type) if array.type != pa.bool_() else False)
        values = array.to_numpy(zero_copy_only=False)
        self._values.update(np.ascontiguousarray(values).data)
        self._valid.update(valid.data)

    def as_json(self) -> dict[str, Any]:
        """The sha256 (hex) of the values, and of the validity where there are nulls."""
        valid = {"valid_sha256": self._valid.hexdigest()} if self._num_nulls else {}
        return {"nulls": self._num_nulls, "sha256": self._values.hexdigest(), **valid}
