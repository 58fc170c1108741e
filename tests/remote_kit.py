"""The tiny mixture on loopback servers, and recipes whose sources are there."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from servers import HubServer, Server, aws_environment, serve_bucket, serve_files, serve_hub
from workshop import SOURCES, Workshop

from mixer.recipe import Recipe
from mixer.stores import connect

BUCKET, REPO = "mixture", "lab/mixture"


@dataclass(frozen=True)
class Remote:
    """The mixture at some address."""

    server: Server
    workshop: Workshop
    # What goes before a path of the mixture.
    prefix: str
    # Where the server's copy of the mixture is.
    root: Path
    # Globs cannot be asked of a web server.
    globs: bool = True

    def recipe(self, **changes: Any) -> Recipe:
        """The workshop's recipe with every source at the server."""
        sources = copy.deepcopy(SOURCES)
        for source in sources.values():
            paths = [source["path"]]
            if not self.globs:
                paths = sorted(path.relative_to(self.root).as_posix() for path in self.root.glob(source["path"]))
            source["path"] = [f"{self.prefix}/{path}" for path in paths]
        return self.workshop.recipe(**{"sources": sources, **changes})


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    """These environment variables, and clients that were made under them."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HF_TOKEN", "HF_ENDPOINT", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
            patch.delenv(name, raising=False)
        for name, value in variables.items():
            patch.setenv(name, value)
        connect._disconnect_all()
        connect._stores.clear()
        try:
            yield
        finally:
            connect._disconnect_all()
            connect._stores.clear()


@contextmanager
def on_s3(workshop: Workshop, folder: Path) -> Iterator[Remote]:
    root = Path(shutil.copytree(workshop.root, folder / BUCKET))
    with serve_bucket(folder) as server, environment(**aws_environment(server)):
        yield Remote(server=server, workshop=workshop, prefix=f"s3://{BUCKET}", root=root)


@contextmanager
def on_hub(workshop: Workshop, folder: Path, **options: Any) -> Iterator[Remote]:
    root = Path(shutil.copytree(workshop.root, folder / "repository"))
    with serve_hub(**options) as server, environment(**server.environment(folder / "home")):
        server.commit(REPO, root)
        yield Remote(server=server, workshop=workshop, prefix=f"hf://datasets/{REPO}", root=root)


@contextmanager
def on_web(workshop: Workshop, folder: Path) -> Iterator[Remote]:
    root = Path(shutil.copytree(workshop.root, folder / "site"))
    with serve_files(root) as server, environment():
        yield Remote(server=server, workshop=workshop, prefix=server.url, root=root, globs=False)


PLACES = {"s3": on_s3, "hub": on_hub, "web": on_web}

__all__ = ["BUCKET", "PLACES", "REPO", "HubServer", "Remote", "environment", "on_hub", "on_s3", "on_web"]
