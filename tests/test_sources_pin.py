"""Pinning: which files, in which order, with how many rows, under which identity, remembered by which cache."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, DatasetDict, disable_progress_bars
from sources_kit import WRITERS, Source, TextSpec, json_lines, read_texts, write_parquet

from mixer.errors import FormatError, RecipeError
from mixer.sources.file_digest import WholeDigest
from mixer.sources.find import find_files
from mixer.sources.formats import jsonl, parquet
from mixer.sources.pin import pin
from mixer.sources.pin_cache import PinCache, default_cache_dir
from mixer.sources.snapshot import Snapshot
from mixer.system.progress import Advance, Work

ROWS = [{"text": f"row {n}", "n": n} for n in range(10)]


def write_lines(path: Path, *texts: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(json_lines([{"text": text} for text in texts]))
    return path


def paths(snapshot: Snapshot) -> list[str]:
    return [file.path for file in snapshot.files]


def test_blocks_are_row_groups_with_all_rows_and_kept_rows(tmp_path: Path) -> None:
    """Blocks are numbered through the files; ordinals count all rows."""
    write_parquet(tmp_path / "a.parquet", ROWS, 4)
    write_parquet(tmp_path / "b.parquet", ROWS[:3], 2)
    snapshot = pin("wiki", Source("*.parquet", where="n >= 2 and n != 5"), tmp_path)
    assert snapshot.format == "parquet"
    assert snapshot.block_file.tolist() == [0, 0, 0, 1, 1]
    assert snapshot.block_in_file.tolist() == [0, 1, 2, 0, 1]
    assert snapshot.block_rows.tolist() == [4, 4, 2, 2, 1]
    assert snapshot.block_kept.tolist() == [2, 3, 2, 0, 1]
    assert snapshot.block_first_row.tolist() == [0, 4, 8, 10, 12]
    assert (snapshot.num_rows, snapshot.num_kept, snapshot.num_blocks) == (13, 8, 5)
    assert [array.dtype for array in (snapshot.block_file, snapshot.block_in_file)] == [np.int32, np.int32]
    assert [array.dtype for array in (snapshot.block_rows, snapshot.block_first_row)] == [np.int64, np.int64]


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_counts_the_same_rows(tmp_path: Path, name: str) -> None:
    """With and without a predicate."""
    WRITERS[name](tmp_path / name, ROWS, 4)
    assert pin("wiki", Source(name), tmp_path).num_rows == 10
    filtered = pin("wiki", Source(name, where="n > 6"), tmp_path)
    assert (filtered.num_rows, filtered.num_kept) == (10, 3)


def test_a_snapshot_comes_back_from_json(tmp_path: Path) -> None:
    """As plain integers and strings; which rows are kept is said apart from it."""
    write_parquet(tmp_path / "a.parquet", ROWS, 4)
    snapshot = pin("wiki", Source("a.parquet", where="n > 4"), tmp_path)
    value = json.loads(json.dumps(snapshot.as_json()))
    assert value["files"][0] | {"footer_sha256": "", "bytes": 0} == {
        "path": "a.parquet",
        "bytes": 0,
        "footer_sha256": "",
        "rows": [4, 4, 2],
    }
    again = Snapshot.from_json(value, snapshot.base, snapshot.kept_json())
    assert (again.as_json(), again.identity) == (value, snapshot.identity)
    assert again.block_first_row.tolist() == [0, 4, 8]
    assert again.block_kept.tolist() == snapshot.kept_json() == [0, 3, 2]
    whole = pin("wiki", Source("a.parquet"), tmp_path)
    assert (whole.kept_json(), whole.identity) == (None, snapshot.identity)
    with pytest.raises(FormatError, match="not a snapshot"):
        Snapshot.from_json({"files": [{}]}, tmp_path)


def test_the_identity_is_of_the_data_and_not_of_the_place(tmp_path: Path) -> None:
    """The same files below another folder are the same snapshot; another byte is another."""
    for place in ("here", "there/deep"):
        write_lines(tmp_path / place / "data/a.jsonl", "x", "y")
    here, there = (pin("wiki", Source("data/*.jsonl"), tmp_path / place) for place in ("here", "there/deep"))
    assert here.identity == there.identity
    assert str(tmp_path) not in json.dumps(here.as_json())
    write_lines(tmp_path / "here/data/a.jsonl", "x", "z")
    assert pin("wiki", Source("data/*.jsonl"), tmp_path / "here").identity != there.identity


def test_files_are_sorted_by_code_point_and_counted_once(tmp_path: Path) -> None:
    """Whatever the order of the patterns; names are relative to the longest folder without a glob."""
    for name in ("x/part.2.jsonl", "x/part.10.jsonl", "y/é.jsonl", "y/Z.jsonl"):
        write_lines(tmp_path / "data" / name, name)
    snapshot = pin("wiki", Source(("data/y/*.jsonl", "data/**/*.jsonl", "data/x/part.2.jsonl")), tmp_path)
    assert paths(snapshot) == ["x/part.10.jsonl", "x/part.2.jsonl", "y/Z.jsonl", "y/é.jsonl"]
    assert snapshot.base == tmp_path / "data"


def test_a_path_may_go_up_and_be_absolute_and_be_odd(tmp_path: Path) -> None:
    """Folders that end in a space, names with brackets, '..' before the first glob."""
    write_lines(tmp_path / "zyda /a [1].jsonl", "odd")
    (tmp_path / "recipes").mkdir()
    for path in ("../zyda */*.jsonl", "../zyda /a [1].jsonl", f"{tmp_path}/zyda /*.jsonl"):
        snapshot = pin("wiki", Source(path), tmp_path / "recipes")
        assert [Path(name).name for name in paths(snapshot)] == ["a [1].jsonl"]
        assert not any(".." in name for name in paths(snapshot))


def test_folders_among_the_matches_are_left_out(tmp_path: Path) -> None:
    """`**` matches folders too."""
    write_lines(tmp_path / "data/deep/a.jsonl", "x")
    assert paths(pin("wiki", Source("data/**"), tmp_path)) == ["deep/a.jsonl"]


@pytest.mark.parametrize(
    ("files", "path", "glob"),
    [
        (["data/a.parquet", "data/b.parquet", "data/readme.md"], "data", "data/*.parquet"),
        (["data/a.parquet"], "data/", "data/*.parquet"),
        (["data/x/y/a.jsonl.zst", "data/x/.hidden/b.parquet"], "data", "data/**/*.jsonl.zst"),
        (["data/x/a.jsonl.gz", "data/y/b.parquet", "data/y/c.parquet"], "data", "data/**/*.parquet"),
        (["data/a.PARQUET"], "data", "data/*.PARQUET"),
        (["data [1]/a.parquet"], "data [1]", "data [[]1]/*.parquet"),
        (["data/x/a.parquet", "data/y/b.parquet"], "data/*", "data/*/*.parquet"),
        (["data/x/a.md", "data/y/z/b.parquet"], "data/*", "data/*/**/*.parquet"),
    ],
)
def test_a_folder_hints_at_a_glob_that_matches_its_files(
    tmp_path: Path, files: list[str], path: str, glob: str
) -> None:
    """However deep they lie; and what is hinted at can be pinned."""
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        if name.lower().endswith(".parquet"):
            write_parquet(tmp_path / name, ROWS[:1], 1)
        else:
            (tmp_path / name).touch()
    with pytest.raises(RecipeError) as caught:
        pin("wiki", Source(path), tmp_path)
    assert caught.value.hint == f"name files with a glob: {glob}"
    assert find_files([glob], tmp_path, "").paths


def test_a_name_that_is_not_utf8_can_be_shown(tmp_path: Path) -> None:
    """Beside what a pattern does not match."""
    (tmp_path / os.fsdecode(b"\xff.txt")).touch()
    with pytest.raises(RecipeError) as caught:
        pin("wiki", Source("*.parquet"), tmp_path)
    assert "'\\udcff.txt'" in str(caught.value).encode().decode()


@pytest.mark.parametrize(("folder", "path"), [("data/x", "data"), ("data/x", "data/*")])
def test_a_folder_without_data_says_so(tmp_path: Path, folder: str, path: str) -> None:
    """No glob would match."""
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / "notes.md").touch()
    with pytest.raises(RecipeError) as caught:
        pin("wiki", Source(path), tmp_path)
    assert str(caught.value.hint).startswith("there is no data file below it; known are .parquet,")


def test_a_folder_that_datasets_saved_is_read_in_its_own_order(tmp_path: Path) -> None:
    """The order is in state.json; a DatasetDict with one split is that split."""
    disable_progress_bars()
    data = Dataset.from_list(ROWS)
    data.save_to_disk(tmp_path / "saved", num_shards=2)
    DatasetDict({"train": data}).save_to_disk(tmp_path / "one")
    state = json.loads((tmp_path / "saved/state.json").read_text())
    state["_data_files"].reverse()
    (tmp_path / "saved/state.json").write_text(json.dumps(state))
    texts = [row["text"] for row in ROWS]
    assert read_texts(tmp_path, Source("saved")) == texts[5:] + texts[:5]
    assert read_texts(tmp_path, Source("one")) == read_texts(tmp_path, Source("one/train")) == texts
    assert paths(pin("wiki", Source("*/"), tmp_path))[0].startswith("one/train/")


def test_several_splits_are_refused_by_name(tmp_path: Path) -> None:
    """Nothing is mixed that the user did not name."""
    disable_progress_bars()
    data = Dataset.from_list(ROWS)
    DatasetDict({"train": data, "test": data}).save_to_disk(tmp_path / "two")
    with pytest.raises(RecipeError, match="holds 2 splits: train, test"):
        pin("wiki", Source("two"), tmp_path)


def test_blocks_without_rows_do_no_harm(tmp_path: Path) -> None:
    """Empty files are counted and skipped; a source of nothing else has no rows."""
    write_lines(tmp_path / "a.jsonl")
    (tmp_path / "b.jsonl").write_bytes(b"\n \n\n")
    write_lines(tmp_path / "c.jsonl", "x")
    snapshot = pin("wiki", Source("*.jsonl"), tmp_path)
    assert snapshot.block_rows.tolist() == [0, 0, 1]
    assert read_texts(tmp_path, Source("*.jsonl")) == ["x"]
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "none.parquet")
    assert pin("wiki", Source("none.parquet"), tmp_path).num_rows == 0
    assert pin("wiki", Source("a.jsonl"), tmp_path).num_rows == 0


def test_a_key_that_comes_and_goes_is_no_missing_column(tmp_path: Path) -> None:
    """It is enough that some line has it; null and empty values above it say nothing."""
    rows = [{"text": "a"}, {"meta": None, "text": "b"}, {"meta": {"lang": "en"}, "n": 1}]
    (tmp_path / "a.jsonl").write_bytes(json_lines(rows))
    assert pin("wiki", Source("a.jsonl", where="meta.lang == 'en' or n > 3"), tmp_path).num_kept == 1
    (tmp_path / "b.jsonl").write_bytes(json_lines([{"files": []}, {"files": None}]))
    assert pin("wiki", Source("b.jsonl", text=TextSpec(list="files", field="body")), tmp_path).num_kept == 2


def test_the_cache_saves_reading_until_a_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The digest is kept for every use of a file, the counts for one `where`."""
    read: list[str] = []
    digest, count = WholeDigest.finish, jsonl.count_blocks
    monkeypatch.setattr(WholeDigest, "finish", lambda self, file: read.append("digest") or digest(self, file))
    monkeypatch.setattr(jsonl, "count_blocks", lambda file, scan: read.append("count") or count(file, scan))
    path = tmp_path / "a.jsonl"
    path.write_bytes(json_lines(ROWS))
    cache = PinCache(tmp_path / "cache")

    def pinned(where: str | None = None) -> tuple[dict, list[str]]:
        read.clear()
        snapshot = pin("wiki", Source("a.jsonl", where=where), tmp_path, cache)
        return snapshot.as_json() | {"kept": snapshot.kept_json()}, list(read)

    first, first_read = pinned()
    assert first_read == ["count", "digest"]
    assert pinned() == (first, [])
    filtered, filtered_read = pinned("n > 3")
    assert (filtered["kept"], filtered_read) == ([6], ["count"])
    assert pinned("n > 3") == (filtered, [])
    path.write_bytes(json_lines(ROWS[::-1]))
    os.utime(path, ns=(1, 1))
    changed, changed_read = pinned()
    assert changed != first
    assert changed_read == ["count", "digest"]


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"\xff", b'{"state": 3}', "counts"])
def test_a_damaged_cache_is_rebuilt(tmp_path: Path, damage: bytes | str) -> None:
    """No entry can make pinning fail or lie about the shape of a file."""
    write_lines(tmp_path / "a.jsonl", "x", "y")
    cache = PinCache(tmp_path / "cache")
    first = pin("wiki", Source("a.jsonl"), tmp_path, cache).as_json()
    (entry,) = (tmp_path / "cache").rglob("*.json")
    if isinstance(damage, str):
        value = json.loads(entry.read_bytes())
        value["facts"] = {key: 3 if key == "xxh3" else [[1, 2], ["a"]] for key in value["facts"]}
        damage = json.dumps(value).encode()
    entry.write_bytes(damage)
    assert pin("wiki", Source("a.jsonl"), tmp_path, cache).as_json() == first
    assert json.loads(entry.read_bytes())["facts"]["xxh3"] == first["files"][0]["xxh3"]
    assert [path.name for path in (tmp_path / "cache").rglob(".*")] == []


def test_a_cache_that_cannot_be_written_is_left_alone(tmp_path: Path) -> None:
    """Here a file stands where the folder should be."""
    write_lines(tmp_path / "a.jsonl", "x")
    (tmp_path / "cache").write_bytes(b"")
    assert pin("wiki", Source("a.jsonl"), tmp_path, PinCache(tmp_path / "cache")).num_rows == 1


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """MIXER_CACHE, else XDG_CACHE_HOME/mixer, else ~/.cache/mixer."""
    monkeypatch.setenv("HOME", "/home/me")
    for name, value, expected in (
        ("MIXER_CACHE", "/c", "/c"),
        ("XDG_CACHE_HOME", "/x", "/x/mixer"),
        (None, None, "/home/me/.cache/mixer"),
    ):
        monkeypatch.delenv("MIXER_CACHE", raising=False)
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        if name:
            monkeypatch.setenv(name, value)
        assert default_cache_dir() == Path(expected)


def test_no_thread_is_left_when_files_are_pinned(tmp_path: Path) -> None:
    """Workers are forked afterwards."""
    for number in range(20):
        write_lines(tmp_path / f"{number}.jsonl", "x")
    before = threading.enumerate()
    assert pin("wiki", Source("*.jsonl"), tmp_path).num_rows == 20
    assert threading.enumerate() == before


def test_counting_with_a_predicate_reads_its_columns_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The text of a Parquet file is not decoded to count rows."""
    asked: list[list[str]] = []
    iter_batches = pq.ParquetFile.iter_batches
    monkeypatch.setattr(
        parquet.pq.ParquetFile,
        "iter_batches",
        lambda self, *args, **names: asked.append(names["columns"]) or iter_batches(self, *args, **names),
    )
    write_parquet(tmp_path / "a.parquet", [{"text": "x", "meta": {"lang": "en"}}], 1)
    assert pin("wiki", Source("a.parquet", where="meta.lang == 'en'"), tmp_path).num_kept == 1
    assert read_texts(tmp_path, Source("a.parquet")) == ["x"]
    assert asked == [["meta.lang"], ["text"]]


def test_who_asks_is_told_of_every_file(tmp_path: Path) -> None:
    """How many are done, one more each time, and how many there are; what the cache knows counts as well."""
    for number in range(9):
        write_lines(tmp_path / f"{number}.jsonl", "text")
    cache = PinCache(tmp_path / "cache")
    told: list[Advance] = []
    for _ in range(2):
        pin("wiki", Source("*.jsonl"), tmp_path, cache, told.append)
    num_bytes = sum(path.stat().st_size for path in tmp_path.glob("*.jsonl"))
    assert [(advance.done, advance.total, advance.total_bytes) for advance in told] == [
        (done, 9, num_bytes) for done in range(1, 10)
    ] * 2
    assert told[8] == told[17]
    assert told[8] == Advance(
        work=Work.PIN_SOURCE, about="wiki", done=9, total=9, done_bytes=num_bytes, total_bytes=num_bytes
    )
