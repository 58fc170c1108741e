"""Facts on disk: a folder a source, text rule and kind of facts; in it a file a chunk, and its record.

A chunk is finished if its record holds and the file is as long as it says: the record is written after the file is
durable. What is lost is computed again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from mixer.curate.facts.chunks import FactChunk, fact_chunks
from mixer.curate.facts.kinds import FactKind
from mixer.digest import canonical_json, identity
from mixer.errors import IntegrityError
from mixer.sources.snapshot import Snapshot
from mixer.system.publish import publish_bytes, publishing

if TYPE_CHECKING:
    from mixer.recipe import Source

FACTS = "facts"
"""The folder of a cache that holds them."""
_VERSION = 1
"""Raised when facts come to be computed otherwise, or files to be laid out otherwise."""


def facts_folder(cache_dir: Path, snapshot: Snapshot, source: Source, kind: FactKind) -> Path:
    """The folder of some facts of a source."""
    key = [_VERSION, snapshot.identity, source.text.model_dump(mode="json"), dict(kind.identity)]
    return cache_dir / FACTS / identity(key)


@dataclass(frozen=True, slots=True, kw_only=True)
class FactFiles:
    """The facts of one kind of one source."""

    folder: Path

    def is_finished(self, chunk: FactChunk) -> bool:
        """Whether a chunk was computed."""
        try:
            record = json.loads(self._record(chunk).read_bytes())
            return bool(record["bytes"] == self._path(chunk).stat().st_size and record["rows"] == list(chunk.rows))
        except (OSError, ValueError, TypeError, KeyError):
            return False

    def write(self, chunk: FactChunk, batches: Sequence[pa.RecordBatch], made_by: Any) -> None:
        """Keep the facts of a chunk.

        Args:
            chunk: the chunk.
            batches: all its rows, in order.
            made_by: what the facts depend on; for people who look at the folder.

        Raises:
            OSError: the disk is full or failing.
        """
        about = self.folder / "about.json"
        if not about.is_file():
            publish_bytes(about, canonical_json(made_by))
        with publishing(self._path(chunk)) as file, pa.ipc.new_file(file, batches[0].schema) as writer:
            for batch in batches:
                writer.write_batch(batch)
        record = {"rows": list(chunk.rows), "bytes": self._path(chunk).stat().st_size}
        publish_bytes(self._record(chunk), canonical_json(record))

    def column(self, snapshot: Snapshot, name: str) -> pa.Array:
        """One column over all rows of the source, mapped from its files where one file has it in one piece.

        Raises:
            IntegrityError: a chunk is not there, or damaged.
        """
        parts: list[pa.Array] = []
        for chunk in fact_chunks(snapshot):
            path = self._path(chunk)
            try:
                reader = pa.ipc.open_file(pa.memory_map(str(path)))
                batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
                parts += [batch.column(name) for batch in batches]
            except (OSError, KeyError, pa.ArrowException) as error:
                hint = "delete this folder of facts, then run the same command again"
                raise IntegrityError(f"facts cannot be read: {error}", where=str(path), hint=hint) from error
        parts = [part for part in parts if len(part)] or parts[:1]
        if not parts:
            raise IntegrityError("the source has no facts", where=str(self.folder))
        return parts[0] if len(parts) == 1 else pa.concat_arrays(parts)

    def numbers(self, snapshot: Snapshot, name: str, dtype: Any = None) -> np.ndarray:
        """A column as an array; one of bytes as [rows, bytes / item] of the dtype. Nulls of floats are NaN."""
        column = self.column(snapshot, name)
        if not pa.types.is_fixed_size_binary(column.type):
            values: np.ndarray = column.to_numpy(zero_copy_only=False)
            return values
        width = column.type.byte_width
        data = np.frombuffer(column.buffers()[1], dtype=np.uint8)[column.offset * width :][: len(column) * width]
        return data.view(dtype or np.uint8).reshape(len(column), -1)

    def _path(self, chunk: FactChunk) -> Path:
        return self.folder / f"{chunk.number:05d}.arrow"

    def _record(self, chunk: FactChunk) -> Path:
        return self.folder / f"{chunk.number:05d}.json"
