"""Real servers on loopback for the tests of remote sources: an S3 bucket, a web server, the hub, with faults on demand.

Each runs in a process of its own and belongs to one `with` block:

    with serve_hub() as hub:
        hub.commit("Zyphra/Zyda-2", folder)
        hub.set_faults(Faults(seed=1, share=0.3, kinds=("reset", "429")))
        ...
        assert all(request.status < 500 for request in hub.requests())
"""

from servers.faults import Faults
from servers.process import ServedRequest, Server
from servers.start import HubServer, aws_environment, serve_bucket, serve_files, serve_hub, serve_moto

__all__ = [
    "Faults",
    "HubServer",
    "ServedRequest",
    "Server",
    "aws_environment",
    "serve_bucket",
    "serve_files",
    "serve_hub",
    "serve_moto",
]
