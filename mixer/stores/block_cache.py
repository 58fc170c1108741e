"""Blocks of remote files on this disk: a folder of bounded size that any number of processes share.

An entry is a file as long as the remote one, with the needed ranges at their own places and holes elsewhere, so that
the readers of local files read it as it is. It appears whole or not at all, is checked against its digest whenever it
is opened, and is not removed while a process reads it. The least recently used one is removed first.

    blocks/CACHEDIR.TAG           marks the folder as mixer's, and as one that backups may leave out
    blocks/ab/KEY.parquet         an entry; flock: shared by its readers, exclusive to remove it
    blocks/ab/.entry-RANDOM.tmp   an entry that is being written; locked by its writer
    blocks/ab/KEY.parquet.json    its ranges and the xxh3-128 of their bytes
    blocks/locks/0 .. 1023        flock: of a key, by its number: its holder fetches, others wait for the entry
    blocks/used                   bytes of all entries; its flock is that of adding and removing

Only proven entries are removed: by their name, and with a file of facts beside them. If the folder cannot
be written to, blocks go through temporary files of the system instead, and are fetched again when they are read again.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from mixer.digest import canonical_json
from mixer.errors import BuildStateError, TaskError
from mixer.stores import traffic
from mixer.system import disk
from mixer.system.disk import write_file
from mixer.system.locks import locked_file, share_lock, try_lock
from mixer.system.publish import publish_bytes, publish_written

Ranges = list[tuple[int, int]]
"""Half-open ranges of bytes, rising, apart from each other."""

_LOCKS = 1024
_SLACK = 16
"""What is removed at a time: down to a sixteenth below the bound, so that not every new entry looks at all others."""
_TAG = "CACHEDIR.TAG"
_TAG_TEXT = b"""Signature: 8a477f597d28d172789f06886806bc55
# Blocks of remote files, kept by mixer, which removes those that were used longest ago.
"""
_ENTRY = re.compile(r"[0-9a-f]{30,62}\.[a-z]+")
_TEMPORARY = re.compile(r"\.entry-\w+\.tmp")
_FOLDER = "[0-9a-f]" * 2
_REMOVED_AT_ONCE = 64
"""Entries that are removed under one lock: who adds an entry waits so long."""
_RETRY_SECONDS = 60.0
"""After a failure to write to the folder it is left alone for so long: else every block would be fetched twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheEntry:
    """An open entry: it is not removed until it is closed."""

    path: Path
    descriptor: int
    # Whether it is not in the cache, and is gone when it is closed.
    is_temporary: bool = False

    def close(self) -> None:
        """Allow the entry to be removed."""
        os.close(self.descriptor)
        if self.is_temporary:
            self.path.unlink(missing_ok=True)


class _Folders:
    """The cache folders known to this process: those that are mixer's, and those that cannot be written to."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ours: set[Path] = set()
        self._failed: dict[Path, float] = {}

    def fail(self, folder: Path) -> None:
        """Stop using a folder for a while."""
        with self._lock:
            self._failed[folder] = time.monotonic()

    def has_failed(self, folder: Path) -> bool:
        """Whether a folder is not to be used now."""
        with self._lock:
            return time.monotonic() - self._failed.get(folder, -_RETRY_SECONDS) < _RETRY_SECONDS

    def claim(self, folder: Path) -> None:
        """Check once per process that a folder is mixer's; mark a new or empty one.

        Raises:
            BuildStateError: it holds other things.
            OSError: it cannot be read or written.
        """
        with self._lock:
            if folder in self._ours and (folder / _TAG).exists():
                return
            _mark(folder)
            for path in folder.glob(f"{_FOLDER}/.entry-*.tmp"):
                _remove_left(path)
            self._ours.add(folder)


_folders = _Folders()


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockCache:
    """The cache in a folder.

    Entries that are open or being written are not removed: a cache that is smaller than what the workers read at one
    time grows over its bound for as long.
    """

    folder: Path
    # On the disk, holes not counted.
    max_bytes: int

    def find(self, key: str, suffix: str) -> CacheEntry | None:
        """The entry of a key, if it exists and is undamaged. The caller closes it."""
        entry = _open_whole(self._path(key, suffix))
        if entry is not None:
            traffic.count(cache_hits=1)
        return entry

    def make(self, key: str, suffix: str, fill: Callable[[int], Ranges]) -> CacheEntry:
        """A new entry, or one that another process made while this one waited. The caller closes it.

        Args:
            key: hexadecimal digits that stand for the bytes.
            suffix: the end of the entry's name, which shows readers its compression.
            fill: writes the bytes into a new file, given its descriptor, and returns where; it may raise.

        Raises:
            BuildStateError: the cache's folder holds other things.
            TaskError: neither the cache nor a temporary file can be written.
            Exception: an error of `fill`.
        """
        blocks = self.folder / "blocks"
        if not _folders.has_failed(blocks):
            try:
                _folders.claim(blocks)
                with locked_file(blocks / "locks" / str(int(key[:8], 16) % _LOCKS)):
                    entry = self.find(key, suffix)
                    if entry is None:
                        path = self._path(key, suffix)
                        traffic.count(cache_misses=1, cache_damaged=int(path.exists()))
                        entry = self._publish(path, fill)
                        with suppress(OSError):  # the entry is there: only its count is not
                            self._admit(entry)
                    return entry
            except OSError as error:
                _folders.fail(blocks)
                return self._set_aside(suffix, fill, error)
        return self._set_aside(suffix, fill, None)

    def _path(self, key: str, suffix: str) -> Path:
        return self.folder / "blocks" / key[:2] / (key[2:] + suffix)

    def _set_aside(self, suffix: str, fill: Callable[[int], Ranges], cause: OSError | None) -> CacheEntry:
        """An entry outside the cache, in a temporary file of the system."""
        traffic.count(cache_bypassed=1)
        temporary = ""
        try:
            descriptor, temporary = tempfile.mkstemp(prefix="mixer-", suffix=suffix)
            fill(descriptor)
        except BaseException as error:
            if temporary:
                os.close(descriptor)
                Path(temporary).unlink(missing_ok=True)
            if not isinstance(error, OSError):
                raise
            reasons = " and ".join(dict.fromkeys(str(one.strerror or one) for one in (cause, error) if one is not None))
            raise TaskError(
                f"cannot write to the cache, nor to {tempfile.gettempdir()}: {reasons}",
                where=str(self.folder),
                hint="make room, or set cache: {dir, size} in the recipe, then run the same command again to resume",
            ) from error
        return CacheEntry(path=Path(temporary), descriptor=descriptor, is_temporary=True)

    def _publish(self, path: Path, fill: Callable[[int], Ranges]) -> CacheEntry:
        descriptor, temporary = _locked_temporary(path.parent)
        try:
            ranges = fill(descriptor)
            facts = {"ranges": [list(one) for one in ranges], "xxh3": _digest(temporary, ranges)}
            write_file(_facts_path(path), canonical_json(facts))  # nobody looks for them before the entry is there
            publish_written(temporary, path)
        except BaseException:
            os.close(descriptor)
            temporary.unlink(missing_ok=True)
            if not path.exists():
                _facts_path(path).unlink(missing_ok=True)
            raise
        return CacheEntry(path=path, descriptor=descriptor)

    def _admit(self, entry: CacheEntry) -> None:
        """Count a new entry, and make room if there are too many."""
        used_path = self.folder / "blocks" / "used"
        with locked_file(used_path) as lock:
            text = os.pread(lock, 32, 0).strip()
            used = int(text) + _disk_bytes(os.fstat(entry.descriptor)) if text.isdigit() else None
            if used is None or used > self.max_bytes:
                used = self._make_room()
            disk.write_at(lock, f"{used:<31}\n".encode(), 0)

    def _make_room(self) -> int:
        """Remove the least recently used entries until the rest fits; returns the bytes of the rest."""
        found = []
        for path in (self.folder / "blocks").glob(f"{_FOLDER}/*"):
            _remove_left(path)
            if _ENTRY.fullmatch(path.name):
                with suppress(FileNotFoundError):
                    state = path.stat()
                    found.append((state.st_mtime_ns, _disk_bytes(state), path))
        used = sum(num_bytes for _, num_bytes, _ in found)
        if used > self.max_bytes:
            for _, num_bytes, path in sorted(found):
                if used <= self.max_bytes - self.max_bytes // _SLACK:
                    break
                if _remove_unused(path):
                    used -= num_bytes
                    traffic.count(cache_evicted=1)
        return used


def remove_blocks(folder: Path, paths: Sequence[Path]) -> set[Path]:
    """Remove entries of a cache while other processes use it.

    Args:
        folder: the cache's; one that is missing or not marked as mixer's is left alone.
        paths: the entries. What is open, or not provably an entry, stays.

    Returns:
        Those that were removed.

    Raises:
        OSError: the folder cannot be written to.
    """
    blocks = folder / "blocks"
    if not is_ours(blocks):
        return set()
    removed: set[Path] = set()
    for start in range(0, len(paths), _REMOVED_AT_ONCE):
        with locked_file(blocks / "used") as lock:
            for path in paths[start : start + _REMOVED_AT_ONCE]:
                with suppress(FileNotFoundError):
                    num_bytes = _disk_bytes(path.stat())
                    if _remove_unused(path):
                        removed.add(path)
                        text = os.pread(lock, 32, 0).strip()
                        if text.isdigit():
                            disk.write_at(lock, f"{max(0, int(text) - num_bytes):<31}\n".encode(), 0)
    return removed


def is_ours(blocks: Path) -> bool:
    """Whether a folder of blocks is marked as one of mixer."""
    try:
        return (blocks / _TAG).read_bytes() == _TAG_TEXT
    except OSError:
        return False


def is_entry(name: str) -> bool:
    """Whether a path relative to the folder of blocks is that of an entry."""
    return re.fullmatch(rf"[0-9a-f]{{2}}/{_ENTRY.pattern}", name) is not None


def _locked_temporary(folder: Path) -> tuple[int, Path]:
    """A new file, locked to distinguish it from one that a killed process left."""
    folder.mkdir(parents=True, exist_ok=True)
    while True:
        descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=".entry-", suffix=".tmp")
        share_lock(descriptor)
        if os.fstat(descriptor).st_nlink:
            return descriptor, Path(temporary)
        os.close(descriptor)  # cleaned away by another process before it was locked


def _open_whole(path: Path) -> CacheEntry | None:
    """The entry, if it exists and its bytes match their digest."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None  # not there, or not to be read: then it is fetched
    try:
        share_lock(descriptor)
        if os.fstat(descriptor).st_nlink and _is_whole(path):
            with suppress(OSError):  # a cache that can only be read
                os.utime(descriptor)
            entry, descriptor = CacheEntry(path=path, descriptor=descriptor), -1
            return entry
    finally:
        if descriptor >= 0:
            os.close(descriptor)
    return None


def _is_whole(path: Path) -> bool:
    try:
        facts = json.loads(_facts_path(path).read_bytes())
        return bool(_digest(path, facts["ranges"]) == facts["xxh3"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _digest(path: Path, ranges: Sequence[Sequence[int]]) -> str:
    """The xxh3-128 (hex) of the bytes in some ranges of a file, one after the other."""
    import xxhash

    state = xxhash.xxh3_128()
    if any(stop > start for start, stop in ranges):
        with pa.memory_map(str(path)) as file:
            for start, stop in ranges:
                state.update(file.read_at(stop - start, start) if stop <= file.size() else b"")
    return state.hexdigest()


def _mark(folder: Path) -> None:
    """Create a folder and mark it as mixer's if it is empty; other processes may do so at the same time."""
    folder.mkdir(parents=True, exist_ok=True)
    tag = folder / _TAG
    if not tag.exists():
        others = [path.name for path in folder.iterdir() if not path.name.startswith(f".{_TAG}.")]
        if others and not tag.exists():
            raise BuildStateError(
                f"the folder has no {_TAG} of mixer, so its files are not mixer's: '{min(others)}'",
                where=str(folder),
                hint="give another cache (--cache, or cache: {dir} in the recipe), or remove the folder if it is one "
                "that an earlier mixer made",
            )
        publish_bytes(tag, _TAG_TEXT)
    elif tag.read_bytes() != _TAG_TEXT:
        raise BuildStateError(
            f"the folder's {_TAG} is not mixer's: it is another program's cache",
            where=str(folder),
            hint="give another cache (--cache, or cache: {dir} in the recipe)",
        )


def _remove_left(path: Path) -> None:
    """Remove unfinished entries of killed processes; those of running processes are locked."""
    if _TEMPORARY.fullmatch(path.name):
        _remove_unlocked(path)


def _remove_unused(path: Path) -> bool:
    """Remove a proven entry unless a process reads it; returns whether it was removed."""
    if not _has_facts(path) or not _remove_unlocked(path):
        return False
    if not path.exists():
        _facts_path(path).unlink(missing_ok=True)
    return True


def _has_facts(path: Path) -> bool:
    """Whether the file beside an entry is a file of facts."""
    try:
        facts = json.loads(_facts_path(path).read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(facts, dict) and facts.keys() == {"ranges", "xxh3"}


def _remove_unlocked(path: Path) -> bool:
    """Remove a file unless a process holds its lock; returns whether it was removed."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        if not try_lock(descriptor):
            return False
        if path.stat().st_ino != os.fstat(descriptor).st_ino:
            return False  # removed and made again meanwhile
        path.unlink(missing_ok=True)
    except FileNotFoundError:
        return False
    finally:
        os.close(descriptor)
    return True


def _facts_path(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def _disk_bytes(state: os.stat_result) -> int:
    return state.st_blocks * 512
