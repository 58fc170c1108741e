"""A server's own process: `python -m servers SITE ARGUMENTS`, the arguments as JSON.

The first line it prints is its port. Then it takes a JSON list [name, arguments] a line on stdin and prints the JSON
result on stdout; it ends with `stop`, or when stdin is closed: never later than the process that started it.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from typing import Any

from servers.faults import Faults
from servers.wire import Site, Wire, listen


def make_site(name: str, arguments: dict[str, Any]) -> Site:
    """The site of a name. Imports are here so that each process has only what it serves."""
    if name == "hub":
        from servers.hub import Hub

        return Hub(**arguments)
    if name == "buckets":
        from servers.s3 import Buckets

        return Buckets(**arguments)
    if name == "moto":
        from servers.moto_s3 import start_moto

        return start_moto(**arguments)
    from servers.web import Folder

    return Folder(**arguments)


def obey(wire: Wire, name: str, arguments: dict[str, Any]) -> Any:
    """Do what the starting process asks for; the result as JSON knows it."""
    if name == "requests":
        return wire.records
    if name == "forget":
        wire.records.clear()
        return None
    if name == "set_faults":
        return wire.set_faults(Faults(**arguments))
    return getattr(wire.site, name)(**arguments)


async def main(name: str, arguments: dict[str, Any]) -> None:
    wire = Wire(make_site(name, arguments))
    server = await listen(wire)
    print(server.sockets[0].getsockname()[1], flush=True)
    while (line := await asyncio.to_thread(sys.stdin.readline)) and json.loads(line)[0] != "stop":
        print(json.dumps(obey(wire, *json.loads(line))), flush=True)
    server.close()


if __name__ == "__main__":
    # ^C is for the process that started this one, which then ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(main(sys.argv[1], json.loads(sys.argv[2])))
