"""What every store offers, and the one way to open each."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from mixer.extras import missing_package
from mixer.sources.remote.address import Address

CONNECT_SECONDS = 10.0
STALL_SECONDS = 30.0
"""A connection that brings no byte for so long is given up, and the transfer goes on with another one."""
MAX_CONNECTIONS = 32
"""Connections of one process to one store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """One version of one file: other bytes would have another digest or etag."""

    # Below the store, as its address has it.
    path: str
    num_bytes: int
    # sha256 (hex) of the bytes, where the store tells it; else what the store calls this version.
    sha256: str | None = None
    etag: str | None = None

    @property
    def version(self) -> str:
        """What tells this version of the file from others."""
        return self.sha256 or self.etag or ""


_lock = threading.Lock()
_stores: dict[tuple[str, str | None], Store] = {}


class Store(Protocol):
    """A bucket, a repository at one commit, or a web server. Safe to use from several threads.

    Every method makes one attempt: what may pass by itself is raised as `TransferFailed`, the rest as `MixerError`.
    """

    def list_page(self, prefix: str, page: str | None) -> tuple[list[RemoteFile], str | None]:
        """Files whose path begins with this text: the first of them, or those of a page; and the page after them."""

    def stream(self, file: RemoteFile, start: int, stop: int) -> Iterator[bytes]:
        """The bytes [start, stop) of a file, in pieces; fewer where the connection ends early."""

    def disconnect(self) -> None:
        """Close the connections; new ones are made when they are needed."""


def open_store(address: Address) -> Store:
    """The store of an address; the same one, with its connections, each time.

    Raises:
        MissingPackages: its client is not installed.
    """
    with _lock:
        key = address.store, address.revision
        if key not in _stores:
            _stores[key] = _made(address)
        return _stores[key]


def _made(address: Address) -> Store:
    scheme, _, name = address.store.partition("://")
    try:
        if scheme == "hf":
            from mixer.sources.remote.hub import HubStore

            assert address.revision is not None
            return HubStore(name.removeprefix("datasets/"), address.revision)
        if scheme == "s3":
            from mixer.sources.remote.s3 import S3Store

            return S3Store(name)
        if scheme == "gs":
            from mixer.sources.remote.gs import GoogleStore

            return GoogleStore(name)
        from mixer.sources.remote.web import WebStore

        return WebStore(address.store)
    except ImportError as error:
        raise missing_package(error, "remote", f"reading {scheme}://") from error


def _disconnect_all() -> None:
    for store in _stores.values():
        store.disconnect()


# A connection that two processes share mixes up their answers; a client without one may be inherited.
os.register_at_fork(before=_disconnect_all)
