"""Requests and responses of HTTP/1.1 (RFC 9112), and how they are read from and put onto a connection."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

MAX_HEAD_BYTES = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request. Header names are in lower case; `target` is what followed the method, still quoted."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def quoted_path(self) -> str:
        """The path as it was sent, without the query."""
        return urlsplit(self.target).path

    @property
    def path(self) -> str:
        """The path in plain text."""
        return unquote(self.quoted_path)

    @property
    def query(self) -> dict[str, str]:
        """The query's fields, the first value of each."""
        fields = parse_qs(urlsplit(self.target).query, keep_blank_values=True)
        return {name: values[0] for name, values in fields.items()}

    @property
    def origin(self) -> str:
        """The address that the client used: http://127.0.0.1:PORT."""
        return f"http://{self.headers['host']}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePart:
    """Bytes [start, stop) of a file."""

    path: Path
    start: int
    stop: int

    def read(self) -> bytes:
        # Bare system calls: small files are served by the thousand, to measure a client.
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            return os.pread(descriptor, self.stop - self.start, self.start)
        finally:
            os.close(descriptor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A response. The body is what a GET sends: the answer to HEAD has its length and sends nothing of it."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | FilePart = b""

    @property
    def num_bytes(self) -> int:
        return len(self.body) if isinstance(self.body, bytes) else self.body.stop - self.body.start

    def head(self) -> bytes:
        """Status line and headers, as they go onto the wire."""
        lines = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if self.status != HTTPStatus.NOT_MODIFIED:
            lines.append(f"Content-Length: {self.num_bytes}")
        # Header values are ASCII or UTF-8 (a file's name in a Location or in an error's message).
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


def json_response(value: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A value as a JSON document."""
    all_headers = {"Content-Type": "application/json; charset=utf-8", **(headers or {})}
    return Response(status=status, headers=all_headers, body=json.dumps(value).encode())


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """The next request of a connection; None where the client closed it instead."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    first, *lines = head[:-4].decode().split("\r\n")
    method, target, _ = first.split(" ", 2)
    pairs = (line.partition(":") for line in lines)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(method=method, target=target, headers=headers, body=body)
