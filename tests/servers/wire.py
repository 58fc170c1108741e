"""The one server behind all sites: connections, latency, faults, and a record of what was asked and sent."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import Counter
from collections.abc import Awaitable
from typing import Any, Protocol

from servers.faults import IN_BODY, Faults
from servers.message import MAX_HEAD_BYTES, FilePart, Request, Response, read_request

_LINGER_NOT = struct.pack("ii", 1, 0)
# Below, one write of head and body costs less than a system call that copies the file.
_SENDFILE_BYTES = 1 << 16
_SLOW_DOWN = b"""<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message><RequestId>0</RequestId></Error>"""


class Site(Protocol):
    """What a server serves."""

    def answer(self, request: Request) -> Awaitable[Response]: ...


class Wire:
    """Serves a site to any number of connections."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.faults = Faults()
        # A dict for each request that was answered, in the order of the answers: see `ServedRequest`.
        self.records: list[dict[str, Any]] = []
        self._attempts: Counter[tuple[str, str, str]] = Counter()

    def set_faults(self, faults: Faults) -> None:
        """From now on these, with attempts counted from 0."""
        self.faults = faults
        self._attempts.clear()

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection until either side closes it."""
        try:
            while (request := await read_request(reader)) and await self._exchange(request, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # The client has gone, or the server ends: nobody is left to answer.
        finally:
            writer.close()

    async def _exchange(self, request: Request, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; whether the connection can take another."""
        faults, key = self.faults, (request.method, request.target, request.headers.get("range", ""))
        kind = faults.kind_of(*key, self._attempts[key])
        self._attempts[key] += 1
        record = _record(request)
        self.records.append(record)
        if faults.latency_seconds:
            await asyncio.sleep(faults.latency_seconds)
        if kind == "silent":
            await asyncio.sleep(faults.stall_seconds)
        if kind in ("reset", "silent"):
            record["fault"] = kind
            return _reset(writer)
        refusal = _refusal(kind, faults)
        response = refusal or await self.site.answer(request)
        is_damaged = kind in IN_BODY and response.status < 300
        record["fault"] = kind if refusal or is_damaged else None
        record["status"] = response.status
        if request.method == "HEAD":
            writer.write(response.head())
            await writer.drain()
            return True
        record["num_bytes"] = response.num_bytes
        if is_damaged:
            return await self._send_damaged(response, kind, writer)
        await _send(response, writer)
        return request.headers.get("connection", "").lower() != "close"

    async def _send_damaged(self, response: Response, kind: str | None, writer: asyncio.StreamWriter) -> bool:
        body = response.body if isinstance(response.body, bytes) else response.body.read()
        half = len(body) // 2
        if kind == "wrong-bytes" and body:
            body = body[:half] + bytes([body[half] ^ 0xFF]) + body[half + 1 :]
        writer.write(response.head() + body[:half])
        await writer.drain()
        if kind == "reset-inside":
            return _reset(writer)
        if kind == "short":
            return False
        if kind == "stall":
            await asyncio.sleep(self.faults.stall_seconds)
        writer.write(body[half:])
        await writer.drain()
        return True


def _record(request: Request) -> dict[str, Any]:
    """What is known of a request before it is answered."""
    return {
        "method": request.method,
        "target": request.target,
        "range": request.headers.get("range", ""),
        "host": request.headers.get("host", ""),
        "has_token": "authorization" in request.headers,
        "status": 0,
        "num_bytes": 0,
        "fault": None,
    }


async def _send(response: Response, writer: asyncio.StreamWriter) -> None:
    body = response.body
    if isinstance(body, FilePart) and response.num_bytes < _SENDFILE_BYTES:
        body = body.read()
    if isinstance(body, bytes):
        writer.write(response.head() + body)
        await writer.drain()
        return
    writer.write(response.head())
    await writer.drain()
    with body.path.open("rb") as file:
        await asyncio.get_running_loop().sendfile(writer.transport, file, body.start, body.stop - body.start)


def _reset(writer: asyncio.StreamWriter) -> bool:
    """Close with a reset in place of an orderly end; False: the connection takes no more."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
    writer.transport.abort()
    return False


def _refusal(kind: str | None, faults: Faults) -> Response | None:
    """The answer of a server that does not serve the request now."""
    if kind not in ("403", "429", "500", "502", "503", "slow-down"):
        return None
    headers: dict[str, str] = {}
    if kind == "429" and faults.rate_limit_seconds is not None:
        headers = {"RateLimit": f'"resolvers";r=0;t={faults.rate_limit_seconds}'}
    elif kind in ("429", "503", "slow-down") and faults.retry_after_seconds is not None:
        headers = {"Retry-After": str(faults.retry_after_seconds)}
    if kind == "slow-down":
        return Response(status=503, headers={"Content-Type": "application/xml", **headers}, body=_SLOW_DOWN)
    return Response(status=int(kind), headers={"Content-Type": "text/plain", **headers}, body=b"not now\n")


async def listen(wire: Wire, port: int = 0) -> asyncio.Server:
    """Serve on loopback, on a port that is free."""
    return await asyncio.start_server(wire.connect, "127.0.0.1", port, limit=MAX_HEAD_BYTES, backlog=1024)
