"""Downloads of bytes of remote files, over several connections and with retries."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from mixer.stores.address import Address
from mixer.stores.block_cache import Ranges
from mixer.stores.connect import open_store
from mixer.stores.ranges import parts
from mixer.stores.retry import SHORT, RetryState, TransferFailed
from mixer.stores.store import RemoteFile
from mixer.system import disk
from mixer.system.threads import map_in_threads

CONNECTIONS_PER_COPY = 4


def read_bytes(address: Address, file: RemoteFile, start: int, stop: int) -> bytes:
    """The bytes [start, stop) of a file, in memory.

    Raises:
        DataError: they cannot be read.
    """
    buffer = bytearray(stop - start)

    def keep(data: bytes, offset: int) -> None:
        buffer[offset - start : offset - start + len(data)] = data

    _transfer(address, file, keep, (start, stop))
    return bytes(buffer)


def copy_ranges(address: Address, file: RemoteFile, ranges: Ranges, descriptor: int) -> None:
    """Write ranges of a file to their places in a copy, several at a time.

    Args:
        address: any address of the file's store and revision.
        file: the file.
        ranges: which bytes.
        descriptor: of the copy.

    Raises:
        DataError: they cannot be read, or have another version.
        OSError: the disk is full.
    """
    write = partial(disk.write_at, descriptor)
    map_in_threads(partial(_transfer, address, file, write), parts(ranges), num_threads=CONNECTIONS_PER_COPY)


def _transfer(address: Address, file: RemoteFile, write: Callable[[bytes, int], None], wanted: tuple[int, int]) -> None:
    """Pass on the bytes of a range as they arrive; after a failure, continue where it stopped."""
    store, retry_state = open_store(address), RetryState(str(address.with_path(file.path)))
    offset, stop = wanted
    while offset < stop:
        try:
            for piece in store.stream(file, offset, stop):
                write(piece, offset)
                offset += len(piece)
                retry_state.progressed()
            if offset < stop:
                raise TransferFailed(SHORT, "the body was shorter than its length")
        except TransferFailed as failure:
            retry_state.failed(failure)
