"""A set of row attributes on disk: `DIGEST.json` says what it is, `DIGEST.arrow` has its columns, a batch a block.

The digest is that of the JSON, which has the digests of the columns: a set is the same wherever it is made, whatever
compressed it. A block is read without the others.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa

from mixer.attributes.columns import AttributeColumn, ColumnDigest
from mixer.digest import canonical_json, identity
from mixer.errors import FormatError, IntegrityError
from mixer.system.publish import publish_bytes, publish_written, publishing
from mixer.system.regular_files import parse_json, read_regular

ATTRIBUTES = "attributes"
"""The folder of a build that holds its sets."""
_FORMAT, _VERSION = "mixer-attributes", 2
_HINT = "make it again: it was edited or damaged"
_COPIED_BYTES = 8 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributeHeader:
    """What a set is: of which snapshot, with which columns, made by what."""

    # The identity of the snapshot whose rows these are, and its rows.
    snapshot: str
    num_rows: int
    columns: tuple[AttributeColumn, ...]
    # What made it: names, parameters and identities, without floats.
    made_by: Mapping[str, Any]
    # The digests of the columns' contents, by name.
    digests: Mapping[str, Mapping[str, Any]]

    def as_json(self) -> dict[str, Any]:
        """The content of `DIGEST.json`."""
        columns = [
            {"name": one.name, "kind": one.kind, **({"labels": list(one.labels)} if one.kind == "label" else {})}
            | dict(self.digests[one.name])
            for one in self.columns
        ]
        head = {"format": _FORMAT, "format_version": _VERSION, "snapshot": self.snapshot, "rows": self.num_rows}
        return head | {"columns": columns, "made_by": dict(self.made_by)}

    @property
    def digest(self) -> str:
        """The identity of the set."""
        return identity(self.as_json())

    @classmethod
    def from_json(cls, value: Any, where: str) -> AttributeHeader:
        """The header of a JSON value.

        Raises:
            FormatError: it is none, or of another version.
        """
        try:
            if value["format"] != _FORMAT:
                raise ValueError(f"format {value['format']!r:.40}")
            if value["format_version"] != _VERSION:
                raise FormatError(
                    f"row attributes of version {value['format_version']!r:.20}; this mixer reads {_VERSION}",
                    where=where,
                    hint="use the mixer that wrote it, or make it again",
                )
            entries = value["columns"]
            columns = tuple(
                AttributeColumn(name=str(one["name"]), kind=str(one["kind"]), labels=tuple(one.get("labels", ())))
                for one in entries
            )
            keys = ("nulls", "sha256", "valid_sha256")
            digests = {one["name"]: {key: one[key] for key in keys if key in one} for one in entries}
            return cls(
                snapshot=str(value["snapshot"]),
                num_rows=int(value["rows"]),
                columns=columns,
                made_by=dict(value["made_by"]),
                digests=digests,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise FormatError(f"not a set of row attributes: {error!r:.200}", where=where) from error


class AttributeSet:
    """A set that is read block by block. It travels between processes as its path."""

    def __init__(self, folder: Path, digest: str) -> None:
        """Open a set by its digest; its header is checked, its columns when they are verified.

        Raises:
            IntegrityError: a file is missing or damaged.
            FormatError: it is no set of row attributes.
        """
        self.folder, self.digest = folder, digest
        where = str(folder / f"{digest}.json")
        try:
            data = read_regular(folder / f"{digest}.json")
        except OSError as error:
            raise IntegrityError(f"cannot be read: {error.strerror}", where=where, hint=_HINT) from error
        if hashlib.sha256(data).hexdigest() != digest:
            raise IntegrityError("its sha256 differs from its name", where=where, hint=_HINT)
        self.header = AttributeHeader.from_json(parse_json(data), where)
        self._reader: pa.ipc.RecordBatchFileReader | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return AttributeSet, (self.folder, self.digest)

    @property
    def path(self) -> Path:
        """The file with the columns."""
        return self.folder / f"{self.digest}.arrow"

    @property
    def num_blocks(self) -> int:
        """Blocks of the snapshot."""
        return int(self._opened().num_record_batches)

    def block(self, number: int) -> pa.RecordBatch:
        """The stored columns of a block: one row for each row of the block.

        Raises:
            IntegrityError: the file is missing or damaged.
        """
        reader = self._opened()
        try:
            return reader.get_batch(number)
        except (OSError, pa.ArrowException, IndexError) as error:
            raise IntegrityError(f"block {number} cannot be read: {error}", where=str(self.path), hint=_HINT) from error

    def values(self, number: int) -> pa.StructArray:
        """The columns of a block as a predicate sees them."""
        batch = self.block(number)
        arrays = [one.values(batch.column(one.name)) for one in self.header.columns]
        return pa.StructArray.from_arrays(arrays, names=[one.name for one in self.header.columns])

    def copy_to(self, folder: Path) -> None:
        """Have the set in another folder too; what is there already stays.

        Raises:
            IntegrityError: a file is missing.
            OSError: it cannot be written.
        """
        for path in (self.path, self.folder / f"{self.digest}.json"):  # the header last: it stands for both
            target = folder / path.name
            if target.is_file() and target.stat().st_size == path.stat().st_size:
                continue
            with path.open("rb") as read, publishing(target) as written:
                shutil.copyfileobj(read, written, _COPIED_BYTES)

    def damage(self, block_rows: Sequence[int] | np.ndarray) -> str | None:
        """The first problem of the columns, for a snapshot with these rows a block; None if there is none."""
        digests = {one.name: ColumnDigest() for one in self.header.columns}
        try:
            reader = self._opened()
            if reader.schema.names != list(digests):
                return f"its columns are {', '.join(reader.schema.names)}, its header says {', '.join(digests)}"
            if reader.num_record_batches != len(block_rows):
                return f"it has {reader.num_record_batches} blocks, the snapshot {len(block_rows)}"
            for number, num_rows in enumerate(block_rows):
                batch = self.block(number)
                if len(batch) != num_rows:
                    return f"block {number} has {len(batch)} rows, the snapshot's {num_rows}"
                for one in self.header.columns:
                    if batch.column(one.name).type != one.field.type:
                        return f"column {one.name} is of type {batch.column(one.name).type}"
                    digests[one.name].update(batch.column(one.name))
        except IntegrityError as error:
            return error.message
        found = {name: digest.as_json() for name, digest in digests.items()}
        differing = [name for name, digest in found.items() if digest != dict(self.header.digests[name])]
        return f"column {differing[0]} differs from its digest" if differing else None

    def _opened(self) -> pa.ipc.RecordBatchFileReader:
        if self._reader is None:
            try:
                self._reader = pa.ipc.open_file(pa.memory_map(str(self.path)))
            except (OSError, pa.ArrowException) as error:
                raise IntegrityError(f"cannot be read: {error}", where=str(self.path), hint=_HINT) from error
        return self._reader


class AttributeWriter:
    """Writes a set, block after block; a context manager that leaves nothing behind where it is not finished.

    Args:
        folder: where the set goes.
        snapshot: the identity of the snapshot whose rows these are.
        columns: the columns.
        made_by: what makes it; canonical JSON.
    """

    def __init__(
        self, folder: Path, snapshot: str, columns: Sequence[AttributeColumn], made_by: Mapping[str, Any]
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._snapshot, self._columns, self._made_by = folder, snapshot, tuple(columns), made_by
        self._digests = {one.name: ColumnDigest() for one in columns}
        self._schema = pa.schema([one.field for one in columns])
        self._num_rows = 0
        self._unnamed = folder / f"unnamed-{identity([snapshot, dict(made_by)])[:16]}.arrow"
        self._publishing = publishing(self._unnamed)

    def __enter__(self) -> AttributeWriter:
        file = self._publishing.__enter__()
        options = pa.ipc.IpcWriteOptions(compression=pa.Codec("zstd", compression_level=3))
        self._writer = pa.ipc.new_file(file, self._schema, options=options)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._writer.close()
        self._publishing.__exit__(kind, error, trace)

    def write(self, block: Mapping[str, pa.Array]) -> None:
        """Add the next block: one array a column, one value a row."""
        arrays = [block[one.name] for one in self._columns]
        batch = pa.RecordBatch.from_arrays(arrays, schema=self._schema)
        for one in self._columns:
            self._digests[one.name].update(batch.column(one.name))
        self._num_rows += len(batch)
        self._writer.write_batch(batch)

    def finish(self) -> AttributeSet:
        """Give the written set its name; after the `with` block."""
        header = AttributeHeader(
            snapshot=self._snapshot,
            num_rows=self._num_rows,
            columns=self._columns,
            made_by=self._made_by,
            digests={name: digest.as_json() for name, digest in self._digests.items()},
        )
        publish_written(self._unnamed, self._folder / f"{header.digest}.arrow")
        publish_bytes(self._folder / f"{header.digest}.json", canonical_json(header.as_json()))
        return AttributeSet(self._folder, header.digest)
