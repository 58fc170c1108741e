"""Plain text: a file, its lines or its paragraphs are documents, to the byte."""

from __future__ import annotations

import gzip
import re

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from sources_kit import Source, TextSpec, open_source, read_all, read_texts

from mixer.errors import DataError, RecipeError
from mixer.sources.formats import lines, text, text_paragraphs
from mixer.sources.pin import pin
from mixer.sources.row import read_row

CONTENT = st.lists(st.sampled_from(["a", "bc", " ", "\t", "\n", "\n\n", "\r\n", "\r", "é", "🙂"]), max_size=40).map(
    "".join
)


def lines_of(content: str) -> list[str]:
    """Lines end in LF or CR LF; those of white space alone are none."""
    found = [line.removesuffix("\r") for line in content.split("\n")]
    return [line for line in found if line.strip(" \t\r\n")]


def paragraphs_of(content: str) -> list[str]:
    """Runs of lines that are not blank, with the line ends between them."""
    found, held = [], ""
    for line in re.findall(r"[^\n]*\n|[^\n]+", content):
        if line.strip(" \t\r\n"):
            held += line
        else:
            found.append(held)
            held = ""
    return [re.sub(r"\r?\n\Z|\r\Z", "", one) for one in [*found, held] if one]


EXPECTED = {"text": lambda content: [content], "text-lines": lines_of, "text-paragraphs": paragraphs_of}


@pytest.mark.parametrize("format", EXPECTED)
@settings(max_examples=300, deadline=None)
@given(content=CONTENT, mark=st.booleans(), piece_bytes=st.sampled_from([4, 32, 1 << 20]))
def test_rows_are_what_the_format_says(tmp_path_factory, format, content, mark, piece_bytes):
    """To the byte, in whatever runs the file is read, with a byte order mark or without."""
    folder = tmp_path_factory.mktemp("text")
    (folder / "a.txt").write_bytes(b"\xef\xbb\xbf" * mark + content.encode())
    with pytest.MonkeyPatch.context() as patch:
        for module in (lines, text):
            patch.setattr(module, "PIECE_BYTES", piece_bytes)
        found = read_all(folder, Source("a.txt", format=format))
    expected = EXPECTED[format](content)
    assert found == [(row, one, False) for row, one in enumerate(expected)]


def test_every_file_is_a_row_also_an_empty_one(tmp_path):
    """A row's number is its file's, in the order of the paths; compressed files are read as others."""
    (tmp_path / "a.txt").write_bytes(b"one\r\n\r\ntwo")
    (tmp_path / "b.txt").write_bytes(b"")
    (tmp_path / "c.txt.gz").write_bytes(gzip.compress(b"three\n") + gzip.compress(b"four\n"))
    (tmp_path / "d.text.zst").write_bytes(zstandard.compress(b"five"))
    source = Source("*.t*")
    assert read_texts(tmp_path, source) == ["one\r\n\r\ntwo", "", "three\nfour\n", "five"]
    assert read_row("wiki", source, pin("wiki", source, tmp_path), 2).place.words() == "c.txt.gz, line 1"


def test_lines_and_paragraphs_say_where_they_stand(tmp_path):
    """The line that a row begins with; `where` and ranges count as reading does."""
    (tmp_path / "a.txt").write_text("one\ntwo\n\n \nthree\nfour\n\nfive")
    for format, row, line, content in [
        ("text-lines", 2, 5, "three"),
        ("text-paragraphs", 1, 5, "three\nfour"),
        ("text-paragraphs", 2, 8, "five"),
    ]:
        source = Source("a.txt", format=format)
        found = read_row("wiki", source, pin("wiki", source, tmp_path), row)
        assert (found.place.line, found.text) == (line, content)
        reader = open_source(tmp_path, source)
        assert [one for texts in reader.read(0, row, row + 1) for one in texts.text.to_pylist()] == [content]
    assert read_texts(tmp_path, Source("a.txt", format="text-lines", where="text != 'two'")) == [
        "one", "three", "four", "five",
    ]  # fmt: skip
    assert pin("wiki", Source("a.txt", where="text == 'no'"), tmp_path).num_kept == 0


def test_a_source_of_plain_text_has_one_column(tmp_path):
    """Another one is an error that names it."""
    (tmp_path / "a.txt").write_text("one")
    for format in EXPECTED:
        with pytest.raises(RecipeError, match="columns are 'text'"):
            pin("wiki", Source("a.txt", format=format, text=TextSpec(column="body")), tmp_path)


@pytest.mark.parametrize("format", EXPECTED)
def test_text_that_is_not_utf_8_is_a_bad_row(tmp_path, format):
    """It is named, and skipped if bad rows are."""
    (tmp_path / "a.txt").write_bytes("Größe".encode("latin-1"))
    with pytest.raises(DataError, match=r"row 0 \(line 1\): the text is not valid UTF-8") as error:
        read_all(tmp_path, Source("a.txt", format=format))
    assert "iconv" in str(error.value.hint)
    assert read_all(tmp_path, Source("a.txt", format=format), "skip") == [(0, None, True)]


@pytest.mark.parametrize(
    ("format", "module"), [("text", text), ("text-lines", lines), ("text-paragraphs", text_paragraphs)]
)
def test_what_is_too_long_for_memory_is_an_error(tmp_path, format, module):
    """The message says what to do: it is found while pinning."""
    (tmp_path / "a.txt").write_text("abc def ghi\n" * 2 + "x" * 1000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "PIECE_BYTES", 16)
        patch.setattr(text, "PIECE_BYTES", 16)
        patch.setattr(module, "MAX_LINE_BYTES", 64)
        with pytest.raises(DataError, match="longer than 64 bytes") as error:
            pin("wiki", Source("a.txt", format=format), tmp_path)
    assert error.value.hint


def test_a_source_that_is_compressed_and_cut_short_is_an_error_of_the_plan(tmp_path):
    """Not of a worker in the middle of a build."""
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"x" * 1000)[:-9])
    with pytest.raises(DataError, match="cannot be read"):
        pin("wiki", Source("a.txt.gz"), tmp_path)
