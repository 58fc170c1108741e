"""Digests of whole Parquet and Arrow IPC files, taken while a build reads them: evidence beside ids, in none of them.

Such a file is identified by its footer, so planning does not read terabytes. A build reads the files anyway,
and what it has just read is in the page cache: there the digest of all bytes costs little. Who has it can tell later
whether a page changed under the same footer (`check_evidence`).
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from mixer.errors import DataError, MixerError
from mixer.sources.file_digest import WholeDigest
from mixer.sources.file_state import change_of
from mixer.sources.opening import opened, reading
from mixer.sources.pin_cache import PinCache
from mixer.sources.snapshot import Snapshot

EVIDENCE = "evidence.json"
"""Its place in the folder of a build."""
Evidence = dict[str, dict[str, str]]
"""Source -> path of a file in its snapshot -> xxh3-128 (hex) of all its bytes."""


class EvidenceCollector:
    """Digests files in its own thread, which starts with the first file and ends with `close`.

    The thread must not be there when a worker is forked: expect files only once the workers run. What goes wrong with a
    file costs its evidence and nothing else: whoever reads its rows says so.

    Args:
        snapshots: the sources by name; files of remote ones, and those whose identity is a digest of all their bytes,
            need no evidence.
        cache: where digests are kept, and found where a file is still in the same state; None: nowhere.
    """

    def __init__(self, snapshots: Mapping[str, Snapshot], cache: PinCache | None = None) -> None:
        self._snapshots = dict(snapshots)
        self._cache = cache
        self._asked: set[tuple[str, int]] = set()
        self._files: queue.SimpleQueue[tuple[str, int] | None] = queue.SimpleQueue()
        self._found: Evidence = {}
        self._stop_at: float | None = None
        self._thread: threading.Thread | None = None

    def expect(self, source: str, blocks: Iterable[int]) -> None:
        """Digest the files of these blocks of a source, each once, after the files already expected."""
        snapshot = self._snapshots[source]
        if not isinstance(snapshot.base, Path):
            return
        for index in dict.fromkeys(snapshot.block_file[list(blocks)].tolist()):
            if (source, index) in self._asked or snapshot.files[index].footer_sha256 is None:
                continue
            self._asked.add((source, index))
            self._files.put((source, index))
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="evidence", daemon=True)
                self._thread.start()

    def close(self, seconds: float = 0.0) -> Evidence:
        """The digests so far; ends the thread.

        Args:
            seconds: how long the thread may go on with what it has not done yet. A file that is not finished by then is
                given up within milliseconds.
        """
        if self._thread is not None:
            self._files.put(None)
            self._stop_at = time.monotonic() + seconds
            self._thread.join()
            self._thread = None
        return {source: dict(sorted(files.items())) for source, files in sorted(self._found.items())}

    def _work(self) -> None:
        while (file := self._files.get()) is not None and not self._is_late():
            source, index = file
            digest = self._digest(self._snapshots[source], index)
            if digest is not None:
                self._found.setdefault(source, {})[self._snapshots[source].files[index].path] = digest

    def _digest(self, snapshot: Snapshot, index: int) -> str | None:
        """The digest of a file; None where it cannot be read, changed since it was pinned, or is given up."""
        path = _path(snapshot, index)
        try:
            with reading(str(path)), opened(path) as file:
                state = file.state()
                if snapshot.states is not None and change_of(snapshot.states[index], state) is not None:
                    return None
                known = self._cache.recall(state) if self._cache else {}
                if isinstance(known.get("xxh3"), str):
                    return str(known["xxh3"])
                whole = WholeDigest()
                while whole.read_on(file):
                    if self._is_late():
                        return None
                if change_of(state, file.state()) is not None:
                    return None
                digest = whole.finish(file)
                if self._cache:
                    self._cache.remember(state, known | {"xxh3": digest})
                return digest
        except MixerError:
            return None

    def _is_late(self) -> bool:
        return self._stop_at is not None and time.monotonic() >= self._stop_at


def check_evidence(
    name: str,
    snapshot: Snapshot,
    evidence: Mapping[str, str],
    on_read: Callable[[int], None] = lambda num_bytes: None,
) -> int:
    """Compare whole files with their known digests; returns the number of compared files. Reads all their bytes.

    Args:
        name: the source's name, for messages.
        snapshot: the source as it is now.
        evidence: the xxh3-128 (hex) of files by their paths in the snapshot; those of other files are left alone.
        on_read: called with how many more bytes were read.

    Raises:
        DataError: a file differs, or cannot be read.
    """
    compared = 0
    for index, file in enumerate(snapshot.files):
        if file.path not in evidence or not isinstance(snapshot.base, Path):
            continue
        path = _path(snapshot, index)
        place = f"sources.{name}: {path}"
        with reading(place), opened(path, place) as source_file:
            digest = WholeDigest(on_read).finish(source_file)
        if digest != evidence[file.path]:
            raise DataError(
                f"the file's digest is {digest}, and was {evidence[file.path]} when the build read it",
                where=place,
                hint="its footer is unchanged, but other bytes differ: restore the file that the build was made from",
            )
        compared += 1
    return compared


def _path(snapshot: Snapshot, index: int) -> Path:
    assert isinstance(snapshot.base, Path)
    return snapshot.base / snapshot.files[index].path
