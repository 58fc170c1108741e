"""The interface of every store, and the limits that all of them keep."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

CONNECT_SECONDS = 10.0
STALL_SECONDS = 30.0
"""A connection that brings no byte for so long is given up, and the transfer continues with another one."""
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
        """The digest or etag that identifies this version of the file."""
        return self.sha256 or self.etag or ""


class Store(Protocol):
    """A bucket, a repository at one commit, or a web server. Safe to use from several threads.

    Every method makes one attempt: what may pass by itself is raised as `TransferFailed`, the rest as `MixerError`.
    """

    def list_page(self, prefix: str, page: str | None) -> tuple[list[RemoteFile], str | None]:
        """A page of the files whose paths have this prefix, and the token of the next page."""

    def stream(self, file: RemoteFile, start: int, stop: int) -> Iterator[bytes]:
        """The bytes [start, stop) of a file, in pieces; fewer where the connection ends early."""

    def disconnect(self) -> None:
        """Close the connections; new ones are made when they are needed."""
