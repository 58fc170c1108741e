"""A server in a process of its own, and the handle that a test holds on it.

A process, and not a thread: mixer's workers are forked, and a fork would copy the sockets of a server's thread, so that
no connection could be closed for sure. It also leaves the interpreter to the client that is tested or measured.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from servers.faults import Faults, Kind

_TESTS = Path(__file__).parents[1]
_STOP_SECONDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedRequest:
    """A request as the server saw it, and what it did."""

    method: str
    # Path and query, quoted as they were sent.
    target: str
    # The Range header, empty without one.
    range: str
    host: str
    # Whether it had an Authorization header.
    has_token: bool
    # 0 where the connection was reset instead.
    status: int
    # The body's length, sent whole or not.
    num_bytes: int
    fault: Kind | None


class Server:
    """A running server: its address, what it was asked, and what shall go wrong."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    def set_faults(self, faults: Faults) -> None:
        """From now on these faults; the attempts at each request are counted anew."""
        self.call("set_faults", **asdict(faults))

    def requests(self) -> list[ServedRequest]:
        """The requests since the start, or since the last `forget`, in the order of their arrival."""
        return [ServedRequest(**record) for record in self.call("requests")]

    def forget(self) -> None:
        """Begin the record of requests anew."""
        self.call("forget")

    def call(self, command: str, /, **arguments: Any) -> Any:
        """Have the server's process do something, and what came of it."""
        self._write([command, arguments])
        assert self.process.stdout
        return json.loads(self.process.stdout.readline())

    def stop(self) -> None:
        """End the process, and wait until it has."""
        if self.process.poll() is None:
            self._write(["stop", {}])
            self.process.wait(_STOP_SECONDS)

    def _write(self, message: list[Any]) -> None:
        assert self.process.stdin
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()


@contextmanager
def serve(site: str, **arguments: Any) -> Iterator[Server]:
    """A server of a site (`hub`, `buckets`, `moto`, `folder`) for as long as the block lasts."""
    command = [sys.executable, "-m", "servers", site, json.dumps(arguments)]
    environment = os.environ | {"PYTHONPATH": str(_TESTS)}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            assert process.stdout
            server = Server(process, int(process.stdout.readline()))
            yield server
            server.stop()
        finally:
            process.kill()
