"""Starts each kind of server, with what its clients need in their environment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from servers.process import Server, serve
from servers.settings import ACCESS_KEY, REGION, SECRET_KEY


class HubServer(Server):
    """The hub; it has no repositories until something is committed."""

    def __init__(self, server: Server) -> None:
        super().__init__(server.process, server.port)

    def commit(self, name: str, folder: Path, *, branch: str = "main", gated: bool = False) -> str:
        """Make a folder's files the newest commit of a branch of a data set; the commit's sha."""
        return self.call("commit", name=name, folder=str(folder), branch=branch, gated=gated)

    def environment(self, home: Path) -> dict[str, str]:
        """What sends `huggingface_hub` here, read when it is imported: for a process of its own."""
        return {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_XET": "1",
        }


def aws_environment(server: Server) -> dict[str, str]:
    """What sends S3 clients here, with keys that every bucket takes."""
    return {
        "AWS_ENDPOINT_URL": server.url,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ALLOW_HTTP": "true",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@contextmanager
def serve_hub(*, tokens: dict[str, list[str]] | None = None, page_entries: int = 1000) -> Iterator[HubServer]:
    """The hub's API. A token opens the gated repositories listed with it."""
    with serve("hub", tokens=tokens or {}, page_entries=page_entries) as server:
        yield HubServer(server)


@contextmanager
def serve_files(root: Path) -> Iterator[Server]:
    """A web server over a folder."""
    with serve("folder", root=str(root)) as server:
        yield server


@contextmanager
def serve_bucket(root: Path, *, signed: Sequence[str] = (), unlisted: Sequence[str] = ()) -> Iterator[Server]:
    """S3 to read from: each folder of `root` is a bucket. Buckets not in `signed` take unsigned requests as well."""
    with serve("buckets", root=str(root), signed=list(signed), unlisted=list(unlisted)) as server:
        yield server


@contextmanager
def serve_moto(root: Path) -> Iterator[Server]:
    """moto's S3 with each folder of `root` uploaded as a bucket."""
    with serve("moto", root=str(root)) as server:
        yield server
