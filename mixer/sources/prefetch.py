"""The blocks of a remote snapshot as local files, fetched ahead of reading or on demand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mixer.errors import DataError
from mixer.sources.remote_copies import RemoteBase, block_entry
from mixer.sources.scan import ScanSpec
from mixer.stores.block_cache import CacheEntry
from mixer.stores.store import RemoteFile

if TYPE_CHECKING:
    from mixer.sources.snapshot import Snapshot

MAX_BLOCKS_AHEAD = 8
"""Blocks that are fetched, or being fetched, and not yet read. They wait on the disk, not in memory."""
_THREADS = 4


class RemoteBlocks:
    """Gives each block of a remote snapshot as the path of a copy that holds it.

    Args:
        snapshot: the source pinned; its base is an address.
        needs: what is read of each row.
    """

    def __init__(self, snapshot: Snapshot, scan: ScanSpec) -> None:
        assert not isinstance(snapshot.base, Path)
        self._snapshot = snapshot
        self._base: RemoteBase = snapshot.base
        self._needs = scan
        self._ahead: FetchAhead | None = None

    def needs_of(self, block: int) -> ScanSpec:
        """The columns to read, with the address of the block's file for messages."""
        return replace(self._needs, address=self._base.place(self._file(block)))

    def use(self, ahead: FetchAhead) -> None:
        """Take blocks from `ahead` from now on."""
        self._ahead = ahead

    @contextmanager
    def opened(self, block: int) -> Iterator[Path]:
        """The path of a copy of the block's file; it exists until the context ends.

        Raises:
            DataError: the file cannot be read, has another version, or is damaged.
            TaskError: the cache cannot be written to.
        """
        entry = self._ahead.take(self, block) if self._ahead else self.fetch(block)
        try:
            yield entry.path
        finally:
            entry.close()

    def fetch(self, block: int) -> CacheEntry:
        """The block's entry of the cache, fetched if it is missing; the caller closes it."""
        number = int(self._snapshot.block_in_file[block])
        with naming(self._needs.place):
            return block_entry(self._base, self._file(block), self._snapshot.format, number, self.needs_of(block))

    def _file(self, block: int) -> RemoteFile:
        file = self._snapshot.files[self._snapshot.block_file[block]]
        folder = self._base.address.path
        return RemoteFile(
            path=f"{folder}/{file.path}" if folder else file.path,
            num_bytes=file.num_bytes,
            sha256=file.sha256,
            etag=file.etag,
        )


class FetchAhead:
    """Fetches the next blocks of several sources while others are read.

    Threads start with the first block and end with `close`; they belong to this process and must not be forked.
    """

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._started: dict[tuple[RemoteBlocks, int], Future[CacheEntry]] = {}
        self._queue: list[tuple[RemoteBlocks, int]] = []

    def expect(self, blocks: Iterable[tuple[RemoteBlocks, int]]) -> None:
        """Fetch these blocks next, in this order, in place of those expected before.

        A failure is raised where its block is taken, and nowhere if it is not.
        """
        wanted = dict.fromkeys(blocks)
        for key in [key for key in self._started if key not in wanted]:
            _drop(self._started.pop(key))
        self._queue = [key for key in wanted if key not in self._started]
        self._start_some()

    def take(self, source: RemoteBlocks, block: int) -> CacheEntry:
        """A block's entry of the cache; the caller closes it.

        Raises:
            MixerError: it cannot be fetched.
        """
        key = (source, block)
        if key in self._queue:
            self._queue.remove(key)
        future = self._started.pop(key, None)
        self._start_some()
        return source.fetch(block) if future is None else future.result()

    def close(self) -> None:
        """Stop and end all threads."""
        self.expect(())
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def _start_some(self) -> None:
        while self._queue and len(self._started) < MAX_BLOCKS_AHEAD:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(_THREADS, "fetch")
            source, block = self._queue.pop(0)
            self._started[source, block] = self._pool.submit(source.fetch, block)


@contextmanager
def naming(place: str) -> Iterator[None]:
    """Put a source's place in the recipe before the address that an error names."""
    try:
        yield
    except DataError as error:
        if error.where is None or error.where.startswith(place):
            raise
        raise DataError(error.message, where=f"{place}: {error.where}", hint=error.hint) from error


def _drop(future: Future[CacheEntry]) -> None:
    """Release a block that will not be taken, now or when it arrives."""
    if not future.cancel():
        future.add_done_callback(lambda done: None if done.exception() else done.result().close())
