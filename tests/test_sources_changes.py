"""What differs between two snapshots of a source: which files, and whether they were added, removed or changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from sources_kit import Source, write_parquet

from mixer.sources.pin import pin
from mixer.sources.snapshot import Snapshot
from mixer.sources.snapshot_changes import difference

ROWS = [{"text": f"row {n}", "n": n} for n in range(10)]
SOURCE = Source("*.parquet")


def pinned_before(folder: Path) -> Snapshot:
    """Two files, as a manifest remembers them."""
    for name in ("b.parquet", "c.parquet"):
        write_parquet(folder / name, ROWS, 4)
    snapshot = pin("wiki", SOURCE, folder)
    return Snapshot.from_json(json.loads(json.dumps(snapshot.as_json())), snapshot.base)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda folder: (folder / "c.parquet").unlink(), "1 removed ('c.parquet'), 20 rows became 10"),
        (lambda folder: write_parquet(folder / "b.parquet", ROWS[::-1], 4), "1 changed ('b.parquet')"),
        (lambda folder: write_parquet(folder / "b.parquet", ROWS, 5), "1 changed ('b.parquet')"),
        (
            lambda folder: [write_parquet(folder / f"{name}.parquet", ROWS, 5) for name in "bcdefgh"],
            "2 changed ('b.parquet', 'c.parquet'), 5 added ('d.parquet', 'e.parquet', 'f.parquet' and 2 more), "
            "20 rows became 70",
        ),
    ],
)
def test_files_that_changed_are_named_with_what_became_of_them(
    tmp_path: Path, change: Callable[[Path], object], words: str
) -> None:
    """Three names of each kind, and how many more there are."""
    before = pinned_before(tmp_path)
    change(tmp_path)
    now = pin("wiki", SOURCE, tmp_path)
    assert difference(before, now).words() == words
    assert not difference(before, before)
