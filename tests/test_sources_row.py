"""One row by its ordinal: file and line or row group behind it, its text, or why it has none."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from remote_kit import environment
from servers import aws_environment, serve_bucket
from sources_kit import WRITERS, Source, read_all, write_parquet

from mixer.errors import DataError
from mixer.sources.pin import pin
from mixer.sources.pin_cache import PinCache
from mixer.sources.row import place_of_row, read_row

ROWS = [{"text": f"row {n}", "n": n} for n in range(10)]
PLACES = {
    "a.parquet": "a.parquet, row group 1, row 3",
    "file.arrow": "file.arrow, record batch 1, row 3",
    "stream.arrow": "stream.arrow, record batch 1, row 3",
    "a.jsonl": "a.jsonl, line 8",
    "a.json.gz": "a.json.gz, line 8",
    "a.jsonl.zst": "a.jsonl.zst, line 22",  # two blank lines follow each row
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_row_is_found_in_every_format(tmp_path: Path, name: str) -> None:
    """Its file comes after another one here; its place is that of its file."""
    WRITERS[name](tmp_path / name, ROWS, 4)
    (tmp_path / f"0-{name}").write_bytes((tmp_path / name).read_bytes())
    source = Source(f"*{name}")
    snapshot = pin("wiki", source, tmp_path)
    for row, text, _ in read_all(tmp_path, source):
        found = read_row("wiki", source, snapshot, row)
        assert (found.text, found.reason, found.place.row_in_file) == (text, None, row % 10)
        assert found.place.file == str(tmp_path / (name if row >= 10 else f"0-{name}"))
    place = read_row("wiki", source, snapshot, 17).place
    assert place.words() == PLACES[name]
    known = place_of_row(snapshot, 17)
    assert (known.file, known.block, known.row_in_block) == (place.file, place.block, place.row_in_block)
    for row in (-1, 20):
        with pytest.raises(ValueError, match="of a snapshot of 20 rows"):
            place_of_row(snapshot, row)


@pytest.mark.parametrize("name", ["a.parquet", "file.arrow", "a.jsonl"])
def test_why_a_row_has_no_text_is_said(tmp_path: Path, name: str) -> None:
    """By the words that builds count what they skip with; a row that `where` drops still has its text."""
    rows = [{"text": "a", "n": 1}, {"text": None, "n": 5}, {"text": "", "n": 5}, {"text": "b", "n": 5}]
    WRITERS[name](tmp_path / name, rows, 2)
    source = Source(name, where="n > 3")
    snapshot = pin("wiki", source, tmp_path)
    found = [read_row("wiki", source, snapshot, row) for row in range(4)]
    assert [(one.text, one.reason) for one in found] == [
        ("a", "where"),
        (None, "null_text"),
        ("", "empty_text"),
        ("b", None),
    ]


def test_a_bad_row_says_what_is_wrong(tmp_path: Path) -> None:
    """Whatever the recipe does with bad rows; blank lines count as lines."""
    (tmp_path / "a.jsonl.gz").write_bytes(
        gzip.compress(b'{"text": "a"}\n\n \n{"text": \n{"text": "b\xff"}\n{"text": "c"}')
    )
    source = Source("a.jsonl.gz")
    snapshot = pin("wiki", source, tmp_path)
    found = [read_row("wiki", source, snapshot, row) for row in range(4)]
    assert [(one.place.words(), one.reason) for one in found] == [
        ("a.jsonl.gz, line 1", None),
        ("a.jsonl.gz, line 4", "bad_row"),
        ("a.jsonl.gz, line 5", "bad_row"),
        ("a.jsonl.gz, line 6", None),
    ]
    assert [one.detail for one in found] == [None, "not a JSON object", "the text is not valid UTF-8", None]


def test_row_groups_of_a_block_of_several_are_told_apart(tmp_path: Path) -> None:
    """A file of 130 row groups has blocks of three; groups without rows count as groups."""
    with pq.ParquetWriter(tmp_path / "a.parquet", pa.schema([("text", pa.string())])) as writer:
        for group in range(130):
            texts = pa.array([f"{group}-{row}" for row in range(group % 3)], pa.string())
            writer.write_table(pa.table({"text": texts}))
    source = Source("a.parquet")
    snapshot = pin("wiki", source, tmp_path)
    metadata = pq.read_metadata(tmp_path / "a.parquet")
    row = 0
    for group in range(130):
        for number in range(metadata.row_group(group).num_rows):
            if row % 10 == 0:
                found = read_row("wiki", source, snapshot, row)
                assert found.text == f"{group}-{number}"
                assert found.place.words() == f"a.parquet, row group {group}, row {number}"
            row += 1


def test_rows_of_remote_files_are_found_by_their_address(tmp_path: Path) -> None:
    """Only the row's block is fetched."""
    folder = tmp_path / "buckets/data"
    folder.mkdir(parents=True)
    write_parquet(folder / "a.parquet", ROWS, 4)
    WRITERS["a.jsonl.zst"](folder / "b.jsonl.zst", ROWS, 4)
    with serve_bucket(tmp_path / "buckets") as server, environment(**aws_environment(server)):
        cache = PinCache(tmp_path / "cache")
        for name, words in (("a.parquet", "a.parquet, row group 1, row 3"), ("b.jsonl.zst", "b.jsonl.zst, line 22")):
            source = Source(f"s3://data/{name}")
            found = read_row("wiki", source, pin("wiki", source, tmp_path, cache), 7)
            assert (found.text, found.place.words(), found.place.file) == ("row 7", words, f"s3://data/{name}")


def test_a_file_that_changed_is_an_error(tmp_path: Path) -> None:
    """As for every other reader."""
    write_parquet(tmp_path / "a.parquet", ROWS, 4)
    source = Source("a.parquet")
    snapshot = pin("wiki", source, tmp_path)
    write_parquet(tmp_path / "a.parquet", ROWS[:5], 4)
    with pytest.raises(DataError, match="changed since it was pinned"):
        read_row("wiki", source, snapshot, 7)
