"""Builds from remote sources: the bytes of a build from local copies, and what goes over the network for them."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest
from remote_kit import PLACES
from workshop import Workshop, contents

from mixer.shards.manifest import load_named
from mixer.stores import connect
from mixer.stores.address import Address
from mixer.stores.store import Store


def shards(out: Path) -> dict[str, str]:
    """The digest of each shard's file."""
    return {path: digest for path, digest in contents(out).items() if path.startswith("shards/")}


@pytest.fixture(scope="module")
def local(workshop: Workshop, finished: Path) -> dict[str, str]:
    return shards(finished)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("place", PLACES)
def test_a_build_from_anywhere_is_the_build_from_local_copies(
    workshop: Workshop, local: dict[str, str], tmp_path: Path, place: str, workers: int
) -> None:
    """Byte for byte, over row groups, record batches, zstd and gzip lines, with one worker and with two."""
    with PLACES[place](workshop, tmp_path) as remote:
        manifest = workshop.build(tmp_path / "out", remote.recipe(), cache_dir=tmp_path / "cache", workers=workers)
    assert shards(tmp_path / "out") == local
    snapshots = [load_named(tmp_path / "out", "snapshots", source.snapshot) for source in manifest.sources]
    assert all(snapshot["origin"].startswith(remote.prefix) for snapshot in snapshots)
    log = json.loads((tmp_path / "out/build-log.json").read_text())
    assert log["traffic"]["requests"] > 0


def test_workers_are_there_before_the_first_connection(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So no thread and no connection has to survive a fork; none is forked later."""
    seen: list[set[int | None]] = []
    made = connect._made

    def opening(address: Address) -> Store:
        seen.append({process.pid for process in multiprocessing.active_children()})
        return made(address)

    monkeypatch.setattr(connect, "_made", opening)
    with PLACES["s3"](workshop, tmp_path) as remote:
        during = []
        workshop.build(
            tmp_path / "out",
            remote.recipe(),
            cache_dir=tmp_path / "cache",
            workers=3,
            on_progress=lambda progress: during.append({one.pid for one in multiprocessing.active_children()}),
        )
    assert len(seen[0]) == 3
    assert all(pids == seen[0] for pids in (*seen, *during))
