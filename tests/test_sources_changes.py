"""What differs between two snapshots of a source: which files, and whether they were added, removed or changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from sources_kit import Source, read_all, write_parquet

from mixer.errors import DataError
from mixer.sources import Snapshot, SourceReader, as_pinned, difference, pin

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
    """A build is not held against them."""
    before = pinned_before(tmp_path)
    change(tmp_path)
    now = pin("wiki", SOURCE, tmp_path)
    assert difference(before, now).words() == words
    assert not difference(before, now).only_added
    with pytest.raises(DataError, match="its files are not those of the build: ") as caught:
        as_pinned("wiki", before, now)
    assert caught.value.message.partition("build: ")[2] == words.partition(", 5 added")[0].partition(", 20 rows")[0]
    assert caught.value.where == "sources.wiki"


def test_files_that_were_added_to_a_pattern_are_left_alone(tmp_path: Path) -> None:
    """Before, between and after those of the build: its rows have the numbers they had."""
    before = pinned_before(tmp_path)
    rows = read_all(tmp_path, SOURCE)
    for name in ("a.parquet", "bb.parquet", "d.parquet"):
        write_parquet(tmp_path / name, ROWS[:3], 2)
    now = pin("wiki", SOURCE, tmp_path)
    changes = difference(before, now)
    assert (changes.only_added, changes.added) == (True, ("a.parquet", "bb.parquet", "d.parquet"))
    again = as_pinned("wiki", before, now)
    assert again.identity == before.identity
    assert again.states is not None
    assert [Path(state.path).name for state in again.states] == ["b.parquet", "c.parquet"]
    reader = SourceReader("wiki", SOURCE, again)
    found = [
        (row, text)
        for block in range(again.num_blocks)
        for texts in reader.read(block, 0, int(again.block_kept[block]))
        for row, text in zip(texts.rows.tolist(), texts.text.to_pylist())
    ]
    assert found == [(row, text) for row, text, _ in rows]
    assert not difference(before, before)
