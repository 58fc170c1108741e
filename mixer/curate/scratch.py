"""Arrays on their way to another order: in memory, or in files of a scratch folder when they are larger than memory.

Nothing here is read again after a crash: files of an earlier run are overwritten. What is taken is the same with and
without files.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mixer.errors import TaskError, write_error
from mixer.system import disk


@dataclass(frozen=True, slots=True, kw_only=True)
class Partitions:
    """How work on rows is cut so that a part of it fits into memory. Results are the same for any."""

    # >= 1
    number: int = 1
    # Where parts wait; None: in memory. Nothing else writes there.
    folder: Path | None = None

    def path(self, name: str) -> Path | None:
        """A folder for one kind of parts."""
        return self.folder and self.folder / name


class ScratchColumn:
    """One int64 or uint64 array that is written in slices and read as an array."""

    def __init__(self, count: int, dtype: type[np.generic], path: Path | None) -> None:
        self._dtype = np.dtype(dtype)
        self._count = count
        self._path = path
        self._values = np.empty(count, dtype=dtype) if path is None else None
        if path is not None:
            _new_file(path)

    def write(self, start: int, values: np.ndarray) -> None:
        """Put values at their place, in any order of calls.

        Raises:
            TaskError: the disk is full or failing.
        """
        if self._path is None:
            assert self._values is not None
            self._values[start : start + len(values)] = values
            return
        # Not through a writable map: on a full disk that ends the process, a write raises.
        try:
            descriptor = os.open(self._path, os.O_WRONLY)
            try:
                data = np.ascontiguousarray(values, dtype=self._dtype)
                disk.write_at(descriptor, data, start * self._dtype.itemsize)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise write_error(error, str(self._path)) from error

    def array(self) -> np.ndarray:
        """What was written: an array, or a file's read-only map."""
        if self._path is None:
            assert self._values is not None
            return self._values
        if not self._count:
            return np.empty(0, dtype=self._dtype)
        _check_size(self._path, self._count * self._dtype.itemsize)
        return np.memmap(self._path, dtype=self._dtype, mode="r", shape=(self._count,))


class Buckets:
    """Records of a few 8-byte integers, put into numbered buckets and taken out bucket by bucket.

    Memory: with a folder, one call's records and one bucket; without, all of them. Disk: 8 bytes a column and record,
    until the bucket is taken.
    """

    def __init__(self, num_buckets: int, num_columns: int, folder: Path | None) -> None:
        self.num_buckets = num_buckets
        self._num_columns = num_columns
        self._folder = folder
        self._counts = [0] * num_buckets
        self._pieces: list[list[np.ndarray]] = [[] for _ in range(num_buckets)]

    def spread(self, bucket: np.ndarray, records: np.ndarray) -> None:
        """Put each record into its bucket, after those that are there.

        Args:
            bucket: integer[records], each from 0 and below `num_buckets`.
            records: int64[records, columns].

        Raises:
            TaskError: the disk is full or failing.
        """
        if self.num_buckets == 1:
            self._append(0, records)
            return
        narrow = bucket.astype(np.uint16) if self.num_buckets <= 1 << 16 else bucket  # sorted by radix
        order = np.argsort(narrow, kind="stable")
        records = records[order]
        stops = np.cumsum(np.bincount(narrow, minlength=self.num_buckets)).tolist()
        start = 0
        for number, stop in enumerate(stops):
            if stop > start:
                self._append(number, records[start:stop])
            start = stop

    def count(self, number: int) -> int:
        """The records in a bucket."""
        return self._counts[number]

    def take(self, number: int) -> np.ndarray:
        """The records of a bucket, which is then empty: int64[records, columns], in the order of the calls."""
        count, self._counts[number] = self._counts[number], 0
        if not count:
            return np.empty((0, self._num_columns), dtype=np.int64)
        if self._folder is None:
            pieces, self._pieces[number] = self._pieces[number], []
            return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
        path = self._path(number)
        _check_size(path, count * self._num_columns * 8)
        records = np.fromfile(path, dtype=np.int64).reshape(count, self._num_columns)
        path.unlink()
        return records

    def _append(self, number: int, records: np.ndarray) -> None:
        if self._folder is None:
            self._pieces[number].append(records)
        else:
            path = self._path(number)
            if not self._counts[number]:
                _new_file(path)
            try:
                descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
                try:
                    disk.write(descriptor, np.ascontiguousarray(records, dtype=np.int64))
                finally:
                    os.close(descriptor)
            except OSError as error:
                raise write_error(error, str(path)) from error
        self._counts[number] += len(records)

    def _path(self, number: int) -> Path:
        assert self._folder is not None
        return self._folder / f"{number:05d}"


def _new_file(path: Path) -> None:
    """An empty file in a folder that is made if it is not there."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644))
    except OSError as error:
        raise write_error(error, str(path)) from error


def _check_size(path: Path, num_bytes: int) -> None:
    found = path.stat().st_size if path.exists() else 0
    if found != num_bytes:
        raise TaskError(
            f"has {found} bytes, expected {num_bytes}",
            where=str(path),
            hint="give the step a scratch folder that nothing else writes to, then run the same command again",
        )
