"""Edges on disk: made once for some rows, facts and order, and used again whatever the threshold."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mixer.curate.edges import Edges
from mixer.curate.preference import RowOrder
from mixer.digest import identity
from mixer.system.publish import publishing

EDGES = "edges"
"""The folder of a cache that holds them."""
_VERSION = 1
_SCHEMA = pa.schema([("later", pa.int64()), ("earlier", pa.int64()), ("agreement", pa.uint8())])


def kept_edges(
    folder: Path, key: Any, enters: Sequence[np.ndarray], order: RowOrder, make: Callable[[], Iterable[Edges]]
) -> Iterator[Edges]:
    """The edges among some rows: those of an earlier run, or new ones, which are kept.

    Args:
        folder: a cache.
        key: what the edges depend on beside the rows that enter and their order; JSON.
        enters: of each source bool[rows].
        order: the order of preference.
        make: makes them.

    Raises:
        OSError: the disk is full or failing.
    """
    digest = hashlib.sha256()
    for mask in enters:
        digest.update(np.packbits(mask).data)
    digest.update(np.ascontiguousarray(order.rows).data)
    path = folder / EDGES / f"{identity([_VERSION, key, digest.hexdigest()])}.arrow"
    if not _is_whole(path):
        with publishing(path) as file, pa.ipc.new_file(file, _SCHEMA) as writer:
            for part in make():
                arrays = [pa.array(part.later), pa.array(part.earlier), pa.array(part.agreement)]
                writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=_SCHEMA))
    reader = pa.ipc.open_file(pa.memory_map(str(path)))
    for number in range(reader.num_record_batches):
        later, earlier, agreement = (column.to_numpy() for column in reader.get_batch(number).columns)
        yield Edges(later=later, earlier=earlier, agreement=agreement)


def _is_whole(path: Path) -> bool:
    try:
        return bool(pa.ipc.open_file(pa.memory_map(str(path))).schema == _SCHEMA)
    except (OSError, pa.ArrowException):
        return False
