"""What pinning costs at the size of a data set of the hub: files in 100 folders, several pages of them.

MIXER_SCALE_FILES=30000 makes it the size of FineWeb: two minutes.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from servers import HubServer, serve_hub
from servers.process import ServedRequest
from sources_kit import write_parquet

REPOSITORY = Path(__file__).parents[1]
REPO = "lab/web"
NUM_FILES = int(os.environ.get("MIXER_SCALE_FILES", "3000"))
NUM_FOLDERS = 100
PAGE_ENTRIES = 1000
# A file has as many rows as its number says, modulo this, and one more; the bytes of those that have as many are alike.
NUM_KINDS = 10
PIN = """
import json, sys, time
from pathlib import Path
from mixer.recipe import Source
from mixer.sources.pin import pin
from mixer.sources.pin_cache import PinCache
import mixer.stores.hub  # so that what it takes to load the client is not counted

def peak_bytes():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))

source = Source(weight=1, path=sys.argv[1])
before, start = peak_bytes(), time.perf_counter()
snapshot = pin("web", source, Path.cwd(), PinCache(Path(sys.argv[2])))
seconds, added = time.perf_counter() - start, peak_bytes() - before
rows = {file.path: rows for file, rows in zip(snapshot.files, snapshot.block_rows.tolist(), strict=True)}
print(json.dumps({"identity": snapshot.identity, "rows": rows, "seconds": seconds, "added_bytes": added}))
"""


@dataclass(frozen=True)
class Pinned:
    """What a process said of its snapshot, and what it asked the hub for."""

    said: dict[str, Any]
    requests: list[ServedRequest]


@dataclass(frozen=True)
class Hub:
    """The hub with the data set, and a folder for what is kept of it."""

    server: HubServer
    root: Path

    def pin(self) -> Pinned:
        """Pin in a process of its own, where a warning is an error."""
        self.server.forget()
        arguments = [f"hf://datasets/{REPO}@main/data/*/*.parquet", str(self.root / "cache")]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", PIN, *arguments],
            cwd=REPOSITORY,
            env=environment | self.server.environment(self.root / "home"),
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return Pinned(json.loads(done.stdout), self.server.requests())


def name_of(number: int) -> str:
    """Of a file, below `data`, as FineWeb names them."""
    return f"CC-MAIN-{number % NUM_FOLDERS:04d}/000_{number // NUM_FOLDERS:05d}.parquet"


def rows_of(number: int) -> int:
    return number % NUM_KINDS + 1


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    root = tmp_path_factory.mktemp("scale")
    for number in range(NUM_FOLDERS):
        (root / "tree/data" / name_of(number)).parent.mkdir(parents=True)
    for number in range(NUM_FILES):
        path = root / "tree/data" / name_of(number)
        if number < NUM_KINDS:
            write_parquet(path, [{"text": f"row {row}"} for row in range(rows_of(number))], block_rows=NUM_KINDS)
        else:
            os.link(root / "tree/data" / name_of(number % NUM_KINDS), path)
    with serve_hub(page_entries=PAGE_ENTRIES) as server:
        server.commit(REPO, root / "tree")
        yield Hub(server=server, root=root)
    # Two entries of a disk for each, which pytest would keep for three runs.
    shutil.rmtree(root)


@pytest.fixture(scope="module")
def first(hub: Hub) -> Pinned:
    """The data set pinned for the first time."""
    return hub.pin()


@pytest.mark.slow
def test_every_file_has_its_rows(first: Pinned) -> None:
    """Under its own name, none twice and none lost between two pages."""
    assert first.said["rows"] == {name_of(number): rows_of(number) for number in range(NUM_FILES)}


@pytest.mark.slow
def test_a_first_pin_asks_for_each_page_once_and_for_each_file_twice(first: Pinned) -> None:
    """Once where its bytes are, and once for its footer."""
    paths = [request.target.partition("?")[0] for request in first.requests]
    pages = [path for path in paths if path.startswith(f"/api/datasets/{REPO}/tree/")]
    resolved = Counter(path for path in paths if "/resolve/" in path)
    footers = [path for path in paths if path.startswith(f"/repos/{REPO}/")]
    assert len(pages) == -(-(NUM_FILES + NUM_FOLDERS) // PAGE_ENTRIES)
    assert len(resolved) == NUM_FILES
    assert max(resolved.values()) == 1
    assert len(footers) == NUM_FILES
    assert len(paths) - len(pages) - 2 * NUM_FILES <= 1
    assert {request.status for request in first.requests} == {200, 206, 302}


@pytest.mark.slow
def test_a_kept_snapshot_is_small_and_needs_no_file(hub: Hub, first: Pinned) -> None:
    """Pinned again there is one question, whether the branch moved; less than 200 bytes are kept of a file."""
    again = hub.pin()
    assert again.said["identity"] == first.said["identity"]
    assert again.said["rows"] == first.said["rows"]
    assert 1 <= len(again.requests) <= 2
    assert again.said["seconds"] < 10
    (kept,) = (hub.root / "cache/snapshots").iterdir()
    assert kept.stat().st_size < 200 * NUM_FILES


@pytest.mark.slow
def test_pinning_takes_little_memory(first: Pinned) -> None:
    """The footers are let go of: less than 8 KB a file is left, and what 32 connections take."""
    assert first.said["added_bytes"] < 8_000 * NUM_FILES + 40_000_000
