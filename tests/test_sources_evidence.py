"""Digests of whole files that are taken beside a build: never in an id, never a reason to wait or to fail."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
from sources_kit import WRITERS, Source, write_json_lines, write_parquet

from mixer.digest import xxh3_file
from mixer.errors import DataError
from mixer.sources.evidence import EvidenceCollector, check_evidence
from mixer.sources.file_digest import WholeDigest
from mixer.sources.pin import pin
from mixer.sources.pin_cache import PinCache

ROWS = [{"text": f"row {n}", "n": n} for n in range(10)]


def test_files_whose_blocks_were_read_are_digested_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a thread that is gone afterwards; JSON lines are identified by all their bytes and need no evidence."""
    for name in ("a.parquet", "b.parquet", "c.parquet"):
        write_parquet(tmp_path / name, ROWS, 4)
    write_json_lines(tmp_path / "d.jsonl", ROWS, 4)
    snapshots = {name: pin(name, Source(f"*.{name}"), tmp_path) for name in ("parquet", "jsonl")}
    read: list[int] = []
    read_on = WholeDigest.read_on
    monkeypatch.setattr(WholeDigest, "read_on", lambda self, file: read.append(1) or read_on(self, file))
    before = threading.enumerate()
    collector = EvidenceCollector(snapshots, PinCache(tmp_path / "cache"))
    assert threading.enumerate() == before
    collector.expect("parquet", [0, 1, 6])
    collector.expect("parquet", [8, 0])
    collector.expect("jsonl", [0])
    found = collector.close(seconds=60)
    assert threading.enumerate() == before
    assert found == {"parquet": {name: xxh3_file(tmp_path / name) for name in ("a.parquet", "c.parquet")}}
    read.clear()
    again = EvidenceCollector(snapshots, PinCache(tmp_path / "cache"))
    again.expect("parquet", [0, 8])
    assert (again.close(seconds=60), read) == (found, [])


def test_closing_waits_for_no_file(tmp_path: Path) -> None:
    """A file of a terabyte is given up at once; what was done before is told; nothing expected is nothing found."""
    write_parquet(tmp_path / "a.parquet", ROWS, 4)
    content = (tmp_path / "a.parquet").read_bytes()
    length = int.from_bytes(content[-8:-4], "little") + 8
    with (tmp_path / "b.parquet").open("wb") as file:
        file.write(content[:-length])
        file.truncate(1 << 40)
        file.seek(1 << 40)
        file.write(content[-length:])
    snapshot = pin("wiki", Source("*.parquet"), tmp_path)
    collector = EvidenceCollector({"wiki": snapshot})
    assert collector.close() == {}
    collector = EvidenceCollector({"wiki": snapshot})
    collector.expect("wiki", range(snapshot.num_blocks))
    while not collector._found:
        time.sleep(0.01)
    started = time.monotonic()
    assert collector.close() == {"wiki": {"a.parquet": xxh3_file(tmp_path / "a.parquet")}}
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("what", ["gone", "exchanged"])
def test_a_file_that_is_not_the_pinned_one_is_no_evidence(tmp_path: Path, what: str) -> None:
    """And no error: whoever reads its rows says so."""
    write_parquet(tmp_path / "a.parquet", ROWS, 4)
    snapshot = pin("wiki", Source("a.parquet"), tmp_path)
    (tmp_path / "a.parquet").unlink()
    if what == "exchanged":
        write_parquet(tmp_path / "a.parquet", ROWS[::-1], 4)
    collector = EvidenceCollector({"wiki": snapshot})
    collector.expect("wiki", [0])
    assert collector.close(seconds=60) == {}


@pytest.mark.parametrize("name", ["a.parquet", "file.arrow"])
def test_a_changed_page_under_the_same_footer_is_found_by_its_evidence(tmp_path: Path, name: str) -> None:
    """Read in full and compared where it is known; what is not known is not read."""
    path = tmp_path / name
    WRITERS[name](path, [{"text": os.urandom(500).hex(), "n": n} for n in range(100)], 100)
    snapshot = pin("wiki", Source(name), tmp_path)
    evidence = {name: xxh3_file(path), "elsewhere.parquet": "0"}
    read: list[int] = []
    assert check_evidence("wiki", snapshot, evidence, read.append) == 1
    assert sum(read) == path.stat().st_size
    assert check_evidence("wiki", snapshot, {}) == 0
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    now = pin("wiki", Source(name), tmp_path)
    assert now.identity == snapshot.identity
    with pytest.raises(DataError, match=r"the file's digest is [0-9a-f]{32}, and was [0-9a-f]{32}") as caught:
        check_evidence("wiki", now, evidence)
    assert caught.value.where == f"sources.wiki: {path}"
