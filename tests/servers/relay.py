"""Another HTTP server behind the wire: its answers, with our latency and faults."""

from __future__ import annotations

import asyncio
import http.client

from servers.message import Request, Response

# They are about one connection and not about the message.
_OF_A_CONNECTION = frozenset({"connection", "content-length", "transfer-encoding", "keep-alive", "date", "server"})


class Relay:
    """Passes every request on to a server on loopback."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def answer(self, request: Request) -> Response:
        return await asyncio.to_thread(self._forward, request)

    def _forward(self, request: Request) -> Response:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            # A response holds what a GET sends; the wire leaves the body out for HEAD.
            method = "GET" if request.method == "HEAD" else request.method
            connection.request(method, request.target, request.body or None, dict(request.headers))
            answer = connection.getresponse()
            body = answer.read()
            headers = {name: value for name, value in answer.getheaders() if name.lower() not in _OF_A_CONNECTION}
            return Response(status=answer.status, headers=headers, body=body)
        finally:
            connection.close()
