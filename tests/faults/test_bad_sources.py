"""One fault of the data a test: it is named by file, block or row, or passes as the recipe says."""

from __future__ import annotations

import gzip
import os
import zlib
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from sources_kit import WRITERS, Source, TextSpec, json_lines, open_source, read_all, read_texts, write_parquet

from mixer.errors import DataError, MixerError, RecipeError
from mixer.sources.formats import lines
from mixer.sources.pin import pin
from mixer.sources.reader import SourceReader
from mixer.sources.snapshot import Snapshot

ROWS = [{"text": f"row {n}", "n": n} for n in range(10)]
NESTED = [{**row, "tags": ["a"], "files": [{"path": "p", "body": "b"}]} for row in ROWS]
LINE = b'{"text": "good"}\n'
BINARY = pa.array([b"good", b"\xff\xfe", b"fine"])
INVALID = pa.StringArray.from_buffers(3, *BINARY.buffers()[1:])


def message_of(error: type[MixerError], root: Path, source: Source) -> str:
    """Pin and read everything: the text of the error that comes."""
    with pytest.raises(error) as caught:
        read_all(root, source)
    assert caught.value.where is not None
    assert caught.value.where.startswith("sources.wiki")
    assert caught.value.hint
    return str(caught.value)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"text": "cut', "not a JSON object"),
        (b'{"text": "a" "b"}', "Missing a comma"),
        (b'{"text": 3}', "changed from string to number"),
        (b'{"text": ["a"]}', "changed from string to array"),
        (b"[1]", "not a JSON object"),
        (b"3", "not a JSON object"),
        (b'{"text": "a"} {"text": "b"}', "more than one JSON object"),
        (b'{"text": "a"}{"text": {"b": 1}}', "changed from string to object"),
        (b'{"text": "\\ud800"}', "surrogate"),
        (b'{"text": "a\xff"}', "not valid UTF-8"),
        (b'{"text": "a", "text": "b"}', "twice"),
        (b"\x00\x01\x02", "not a JSON object"),
    ],
)
def test_a_bad_line_is_named_by_row_and_line_or_skipped(tmp_path: Path, line: bytes, reason: str) -> None:
    """Lines around it are read as ever; blank lines count as lines and not as rows."""
    (tmp_path / "a.jsonl").write_bytes(LINE * 3 + b"\n" + line + b"\n" + LINE * 4)
    message = message_of(DataError, tmp_path, Source("a.jsonl"))
    assert f"{tmp_path}/a.jsonl: block 0: row 3 (line 5): " in message
    assert reason in message
    assert "on_bad_row: skip" in message
    rows = read_all(tmp_path, Source("a.jsonl"), on_bad_row="skip")
    assert rows == [(n, None if n == 3 else "good", n == 3) for n in range(8)]


def test_two_objects_on_a_line_do_not_hide_behind_one_on_two_lines(tmp_path: Path) -> None:
    """The numbers of lines and objects agree here."""
    (tmp_path / "a.jsonl").write_bytes(LINE + b'{"text": "a"} {"text": "b"}\n{"text": "c",\n"n": 1}\n')
    assert [bad for _, _, bad in read_all(tmp_path, Source("a.jsonl"), on_bad_row="skip")] == [False, True, True, True]


def test_a_bad_row_outside_of_the_range_is_no_error(tmp_path: Path) -> None:
    """A task fails by its own rows alone, whatever was decoded with them."""
    (tmp_path / "a.jsonl").write_bytes(LINE * 2 + b"{\n" + LINE)
    reader = open_source(tmp_path, Source("a.jsonl"))
    assert [len(texts) for texts in reader.read(0, 0, 2)] == [2]
    assert [len(texts) for texts in reader.read(0, 3, 4)] == [1]
    for _ in range(2):
        with pytest.raises(DataError, match="row 2"):
            list(reader.read(0, 1, 4))


def test_many_bad_lines_are_all_found(tmp_path: Path) -> None:
    """Halving finds each of them, also across runs of lines."""
    (tmp_path / "a.jsonl").write_bytes(b"".join(b"{\n" if n % 7 == 3 else LINE for n in range(200)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "PIECE_BYTES", 500)
        rows = read_all(tmp_path, Source("a.jsonl"), on_bad_row="skip")
    assert [n for n, _, bad in rows if bad] == list(range(3, 200, 7))


def test_a_line_that_cannot_be_parsed_passes_where(tmp_path: Path) -> None:
    """Nobody knows whether it would; it is counted, so that it is not lost silently."""
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "a", "n": 1}\n{"text": "b", "n": "x"}\n{\n{"text": "d", "n": 0}\n')
    source = Source("a.jsonl", where="n == 1")
    assert pin("wiki", source, tmp_path).num_kept == 3
    assert read_all(tmp_path, source, on_bad_row="skip") == [(0, "a", False), (1, None, True), (2, None, True)]
    assert "row 1 (line 2): Column(/n) changed" in message_of(DataError, tmp_path, source)


@pytest.mark.parametrize(
    ("name", "compress"), [("a.jsonl.gz", gzip.compress), ("a.jsonl.zst", zstandard.compress), ("a.json.zst", None)]
)
@pytest.mark.parametrize("lost", [1, 5, 30])
def test_a_compressed_file_cut_short_is_an_error(tmp_path: Path, name: str, compress: object, lost: int) -> None:
    """Also where a whole frame came before."""
    content = json_lines([{"text": os.urandom(20).hex()} for _ in range(50)])
    whole = compress(content) if callable(compress) else zstandard.compress(content) * 2
    (tmp_path / name).write_bytes(whole[:-lost])
    message = message_of(DataError, tmp_path, Source(name))
    assert str(tmp_path / name) in message
    assert "Truncated compressed stream" in message


ZIPPED = gzip.compress(json_lines([{"text": f"row {row}"} for row in range(5000)]), mtime=0)
DAMAGED = {
    "a flipped bit": ZIPPED[:500] + bytes([ZIPPED[500] ^ 4]) + ZIPPED[501:],
    "another check sum": ZIPPED[:-8] + bytes(4) + ZIPPED[-4:],
    "another length": ZIPPED[:-4] + b"\1\0\0\0",
    "a second member cut short": ZIPPED + ZIPPED[:20],
    "a second member that is none": ZIPPED + b"row,row,row",
    "text": b'{"text": "a"}\n',
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_gzip_file_is_an_error(tmp_path: Path, content: bytes) -> None:
    """Each is one for the `gzip` of Python too."""
    with pytest.raises((OSError, EOFError, zlib.error)):
        gzip.decompress(content)
    (tmp_path / "a.jsonl.gz").write_bytes(content)
    assert "a.jsonl.gz: cannot be read" in message_of(DataError, tmp_path, Source("a.jsonl.gz"))


@pytest.mark.parametrize("content", [ZIPPED * 3, ZIPPED + bytes(512), gzip.compress(b"") + ZIPPED], ids=len)
def test_all_members_of_a_gzip_file_are_read(tmp_path: Path, content: bytes) -> None:
    """Empty ones too, and the zeros that tape archives end with."""
    (tmp_path / "a.jsonl.gz").write_bytes(content)
    num_rows = gzip.decompress(content).count(b"\n")
    assert len(read_all(tmp_path, Source("a.jsonl.gz"))) == num_rows >= 5000


@pytest.mark.parametrize("name", ["a.parquet", "file.arrow", "stream.arrow"])
def test_a_binary_file_cut_short_is_an_error(tmp_path: Path, name: str) -> None:
    """Its footer or its last block is not there."""
    path = tmp_path / name
    WRITERS[name](path, ROWS, 3)
    path.write_bytes(path.read_bytes()[:-300])
    assert f"{path}: cannot be read" in message_of(DataError, tmp_path, Source(name))


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_without_bytes_has_no_rows_or_is_an_error(tmp_path: Path, name: str) -> None:
    """A file of no lines is a file of lines; the other formats have a frame around nothing."""
    (tmp_path / name).write_bytes(b"")
    if ".json" in name:
        assert read_all(tmp_path, Source(name)) == []
    else:
        assert str(tmp_path / name) in message_of(DataError, tmp_path, Source(name))


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_of_another_format_is_an_error(tmp_path: Path, name: str) -> None:
    """Whatever its name says."""
    (tmp_path / name).write_bytes(b"<html>404 not found</html>\n" * 10)
    assert str(tmp_path / name) in message_of(DataError, tmp_path, Source(name))


@pytest.mark.parametrize("name", WRITERS)
def test_a_missing_column_is_named_with_those_that_are_there(tmp_path: Path, name: str) -> None:
    """Before anything is read, with the nearest name."""
    WRITERS[name](tmp_path / name, ROWS, 4)
    message = message_of(RecipeError, tmp_path, Source(name, text=TextSpec(column="txt")))
    assert "column 'txt' is not in the source; columns are 'text', 'n'" in message
    assert "did you mean 'text'?" in message
    assert "column 'm' is not" in message_of(RecipeError, tmp_path, Source(name, where="m > 3"))
    spec = TextSpec(list="files", field="boddy")
    assert "column 'files.boddy' is not" in message_of(RecipeError, tmp_path, Source(name, text=spec))


@pytest.mark.parametrize("name", WRITERS)
def test_a_text_column_of_numbers_is_an_error(tmp_path: Path, name: str) -> None:
    """The type found and the types expected are named."""
    WRITERS[name](tmp_path / name, ROWS, 4)
    message = message_of(RecipeError, tmp_path, Source(name, text=TextSpec(column="n")))
    assert "column 'n' is of type int" in message
    assert "expected" in message


@pytest.mark.parametrize("name", WRITERS)
def test_a_list_is_no_column_and_a_column_no_list(tmp_path: Path, name: str) -> None:
    """Each way of naming the text is checked against the type."""
    WRITERS[name](tmp_path / name, NESTED, 4)
    for spec in (TextSpec(column="tags"), TextSpec(column="files.body"), TextSpec(list="text")):
        assert "list level" in message_of(RecipeError, tmp_path, Source(name, text=spec))
    assert "is inside a list" in message_of(RecipeError, tmp_path, Source(name, where="files.path == 'x'"))


@pytest.mark.parametrize("name", WRITERS)
def test_a_comparison_with_another_type_is_an_error(tmp_path: Path, name: str) -> None:
    """Columns have a type in binary formats; in JSON lines each value has its own, and none of the first lines fits."""
    WRITERS[name](tmp_path / name, ROWS, 4)
    source = Source(name, where="n == 'x'")
    if ".json" in name:
        assert "does not fit column 'n', which is of type int" in message_of(RecipeError, tmp_path, source)
    else:
        assert "n is int64" in message_of(RecipeError, tmp_path, source)


@pytest.mark.parametrize(
    ("name", "format", "found"),
    [
        ("a.parquet", "arrow", "parquet"),
        ("a.parquet", "jsonl", "parquet"),
        ("file.arrow", "parquet", "arrow"),
        ("stream.arrow", "parquet", "arrow"),
        ("a.jsonl", "parquet", "jsonl"),
    ],
)
def test_a_format_that_the_files_do_not_have_is_an_error_of_the_recipe(
    tmp_path: Path, name: str, format: str, found: str
) -> None:
    """It is said which one they have."""
    WRITERS[name](tmp_path / name, ROWS, 4)
    with pytest.raises(RecipeError) as caught:
        pin("wiki", Source(name, format=format), tmp_path)
    assert (caught.value.where, caught.value.hint) == (
        "sources.wiki.format",
        f"set format: {found}, or leave it out",
    )


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow"])
def test_bytes_that_are_not_utf8_are_a_bad_row(tmp_path: Path, name: str) -> None:
    """Writers do not check them; the row is named within its file."""
    table = pa.table({"text": INVALID})
    if name == "a.parquet":
        pq.write_table(table, tmp_path / name, row_group_size=1)
    else:
        with pa.ipc.new_stream(str(tmp_path / name), table.schema) as writer:
            writer.write_table(table, max_chunksize=1)
    message = message_of(DataError, tmp_path, Source(name))
    assert f"{name}: block 1: row 1: the text is not valid UTF-8" in message
    rows = read_all(tmp_path, Source(name), on_bad_row="skip")
    assert rows == [(0, "good", False), (1, None, True), (2, "fine", False)]


@pytest.mark.parametrize("name", WRITERS)
def test_null_and_empty_text_pass_through(tmp_path: Path, name: str) -> None:
    """They are rows like others; who draws them skips them."""
    rows = [{"text": None, "n": 1}, {"text": "", "n": 2}, {"text": "a", "n": 3}]
    WRITERS[name](tmp_path / name, rows, 2)
    assert read_texts(tmp_path, Source(name)) == [None, "", "a"]


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    """A folder with the name of a file, and a link to nothing."""
    (tmp_path / "folder.parquet").mkdir()
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "gone")
    message = message_of(DataError, tmp_path, Source("*.parquet"))
    assert "folder.parquet: cannot be read" in message
    assert "is a directory" in message
    assert "link.jsonl: the file is missing" in message_of(DataError, tmp_path, Source("*.jsonl"))
    assert "link.jsonl: the file is missing" in message_of(DataError, tmp_path, Source("link.jsonl"))


def test_a_pattern_that_matches_nothing_shows_what_is_there(tmp_path: Path) -> None:
    """The nearest folder that exists, and the first of its names."""
    (tmp_path / "data/deep").mkdir(parents=True)
    (tmp_path / "data/a.txt").touch()
    message = message_of(RecipeError, tmp_path, Source("data/*.parquet"))
    assert "'data/*.parquet' matches no file" in message
    assert f"{tmp_path}/data holds 'a.txt', 'deep/'" in message
    message = message_of(RecipeError, tmp_path, Source("data/x/y/*.parquet"))
    assert f"{tmp_path}/data has no 'x'" in message
    assert "holds nothing" in message_of(RecipeError, tmp_path, Source("data/deep/a.parquet"))
    assert "'..' cannot follow a glob" in message_of(RecipeError, tmp_path, Source("*/../a.parquet"))


def test_a_folder_of_files_is_refused_with_the_glob_to_write(tmp_path: Path) -> None:
    """A folder is no source, unless `datasets` saved it."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/part.0.json.gz").touch()
    message = message_of(RecipeError, tmp_path, Source("data"))
    assert "'data' is a folder" in message
    assert "data/*.json.gz" in message


def test_a_damaged_folder_of_datasets_is_an_error(tmp_path: Path) -> None:
    """Its state cannot be read, or its files are gone."""
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved/state.json").write_text("{}")
    assert "not a complete save_to_disk folder" in message_of(DataError, tmp_path, Source("saved"))
    (tmp_path / "saved/state.json").write_text('{"_data_files": [{"filename": "data.arrow"}]}')
    assert "saved/data.arrow: the file is missing" in message_of(DataError, tmp_path, Source("saved"))


@pytest.mark.parametrize("name", ["a.pdf", "a.parquet.gz", "README"])
def test_a_name_that_tells_no_format_is_an_error(tmp_path: Path, name: str) -> None:
    """Unless the recipe tells it."""
    (tmp_path / name).write_bytes(LINE)
    assert f"the name of '{name}' does not show its format" in message_of(RecipeError, tmp_path, Source(name))
    if not name.endswith(".gz"):
        assert read_texts(tmp_path, Source(name, format="jsonl")) == ["good"]


def test_files_of_several_formats_are_no_source(tmp_path: Path) -> None:
    """An example of each format is named."""
    (tmp_path / "a.jsonl").write_bytes(LINE)
    write_parquet(tmp_path / "b.parquet", ROWS, 4)
    message = message_of(RecipeError, tmp_path, Source("*"))
    assert "files of several formats: jsonl ('a.jsonl'), parquet ('b.parquet')" in message


def test_a_file_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    """It could not be written into a manifest."""
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.jsonl")).write_bytes(LINE)
    assert "'\\udcff.jsonl' is not UTF-8" in message_of(RecipeError, tmp_path, Source("*.jsonl"))


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_that_changed_after_it_was_pinned_is_an_error(tmp_path: Path, name: str) -> None:
    """By its size; by its time as well where that is known."""
    path = tmp_path / name
    WRITERS[name](path, ROWS, 10)
    source = Source(name)
    snapshot = pin("wiki", source, tmp_path)
    later = Snapshot.from_json(snapshot.as_json(), snapshot.base)
    os.utime(path, ns=(1, 1))
    with pytest.raises(DataError, match="changed since it was pinned: it was written to"):
        list(SourceReader("wiki", source, snapshot).read(0, 0, 1))
    assert len(next(SourceReader("wiki", source, later).read(0, 0, 1))) == 1
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(DataError, match=rf"{name}: block 0: the file changed since it was pinned: \d+ bytes then"):
        list(SourceReader("wiki", source, later).read(0, 0, 1))


def test_a_file_that_is_gone_after_it_was_pinned_is_an_error(tmp_path: Path) -> None:
    """It is named, with its block."""
    (tmp_path / "a.jsonl").write_bytes(LINE)
    reader = open_source(tmp_path, Source("a.jsonl"))
    (tmp_path / "a.jsonl").unlink()
    with pytest.raises(DataError, match=r"a\.jsonl: block 0: the file is missing"):
        list(reader.read(0, 0, 1))


def test_fewer_rows_than_were_pinned_are_an_error(tmp_path: Path) -> None:
    """As when another `where` is read than was pinned; and it stays one when read again."""
    write_parquet(tmp_path / "a.parquet", ROWS, 10)
    source = Source("a.parquet")
    reader = SourceReader("wiki", replace(source, where="n < 4"), pin("wiki", source, tmp_path))
    assert len(next(reader.read(0, 0, 4))) == 4
    for _ in range(2):
        with pytest.raises(DataError, match=r"block 0: the block ended after 4 kept rows; 10 were pinned"):
            list(reader.read(0, 4, 6))


def test_a_line_without_end_is_an_error_and_not_the_end_of_memory(tmp_path: Path) -> None:
    """As when a file of one JSON array is taken for lines."""
    (tmp_path / "a.jsonl").write_bytes(b"[" + b"1," * 500 + b"1]")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "PIECE_BYTES", 64)
        patch.setattr(lines, "MAX_LINE_BYTES", 512)
        with pytest.raises(DataError, match=r"a\.jsonl: line 1 is longer than 512 bytes"):
            pin("wiki", Source("a.jsonl"), tmp_path)
