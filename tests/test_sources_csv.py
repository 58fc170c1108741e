"""CSV and TSV: the rows of Python's csv module, whatever is quoted, in whatever runs the file is read."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from sources_kit import Source, TextSpec, open_source, read_all, read_texts

from mixer.errors import DataError, RecipeError
from mixer.sources.formats import csv_rows
from mixer.sources.formats.csv_rows import row_ends
from mixer.sources.pin import pin
from mixer.sources.row import read_row

PIECES = st.sampled_from(["a", "b", ",", '"', '""', "\n", "\r\n", " ", "é", "\t", ',"', '",', '"\n'])
CONTENT = st.lists(PIECES, max_size=40).map("".join)


def records(content: str, delimiter: str = ",") -> list[list[str]]:
    """The rows as the csv module reads them; empty lines are none."""
    return [row for row in csv.reader(io.StringIO(content, newline=""), delimiter=delimiter) if row]


def ends_by_hand(content: bytes, delimiter: int) -> tuple[list[int], bool]:
    """Byte by byte: quotes open a field at its start alone, and close it where they are not doubled."""
    ends, state, place = [], "start", 0
    while place < len(content):
        byte = content[place]
        if state == "quoted":
            if byte == ord('"') and content[place + 1 : place + 2] == b'"':
                place += 1
            elif byte == ord('"'):
                state = "plain"
        elif byte == ord('"') and state == "start":
            state = "quoted"
        elif byte == ord("\n"):
            ends.append(place)
            state = "start"
        else:
            state = "start" if byte == delimiter else "plain"
        place += 1
    return ends, state == "quoted"


@settings(max_examples=400, deadline=None)
@given(CONTENT, st.sampled_from(",\t"))
def test_row_ends_are_those_of_a_machine_that_reads_byte_by_byte(content, delimiter):
    """Both ways to find them, that of clean files and that of files with stray quotes, give the same."""
    text = content.encode()
    array = np.frombuffer(text, np.uint8)
    ends, is_open = row_ends(array, np.flatnonzero(array == ord("\n")), ord(delimiter))
    assert (ends.tolist(), is_open) == ends_by_hand(text, ord(delimiter))


@settings(max_examples=300, deadline=None)
@given(content=CONTENT, mark=st.booleans(), piece_bytes=st.sampled_from([4, 16, 1 << 20]))
def test_texts_are_those_of_the_csv_module(tmp_path_factory, content, mark, piece_bytes):
    """Whole rows in any run, with a byte order mark or without; rows of another width are bad, in their place."""
    folder = tmp_path_factory.mktemp("csv")
    whole = "id,text\n" + content
    (folder / "a.csv").write_bytes(b"\xef\xbb\xbf" * mark + whole.encode())
    expected = [(row[1] if len(row) == 2 else None) for row in records(whole)[1:]]
    _, is_open = ends_by_hand(whole.encode(), ord(","))
    if is_open:
        expected[-1] = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_rows, "PIECE_BYTES", piece_bytes)
        found = read_all(folder, Source("a.csv"), on_bad_row="skip")
    assert [row for row, _, _ in found] == list(range(len(expected)))
    assert [text or "" for _, text, _ in found] == [text or "" for text in expected]
    assert [bad for _, _, bad in found] == [text is None for text in expected]


def test_an_empty_field_is_null_and_quotes_make_it_text(tmp_path):
    """As SQL's exports mean it: nothing at all is null."""
    (tmp_path / "a.csv").write_text('text,n\n,1\n"",2\nNULL,3\n')
    assert read_texts(tmp_path, Source("a.csv")) == [None, "", "NULL"]
    assert read_texts(tmp_path, Source("a.csv", where="text is not null")) == ["", "NULL"]


def test_where_compares_numbers_truth_values_and_texts(tmp_path):
    """A column has the type of what it is compared with, not of what some rows hold."""
    (tmp_path / "a.csv").write_text("text,n,ok,zip\na,3,true,007\nb,10.5,false,7\nc,,true,008\n")
    assert read_texts(tmp_path, Source("a.csv", where="n >= 3.5")) == ["b"]
    assert read_texts(tmp_path, Source("a.csv", where="ok == true")) == ["a", "c"]
    assert read_texts(tmp_path, Source("a.csv", where="zip == '007'")) == ["a"]
    assert read_texts(tmp_path, Source("a.csv", where="n is null")) == ["c"]


def test_a_column_whose_name_has_a_dot_is_read_by_it(tmp_path):
    """As tables flattened from JSON have them."""
    (tmp_path / "a.csv").write_text("meta.text,meta.lang\nein,de\none,en\n")
    source = Source("a.csv", text=TextSpec(column="meta.text"), where="meta.lang == 'en'")
    assert read_texts(tmp_path, source) == ["one"]


def test_tabs_separate_a_tsv_and_commas_are_text(tmp_path):
    """`.tsv` and `format: tsv`, also compressed."""
    content = b'id\ttext\n1\ta, b\n2\t"c\td"\n'
    (tmp_path / "a.tsv").write_bytes(content)
    (tmp_path / "b.tsv.gz").write_bytes(gzip.compress(content[:9]) + gzip.compress(content[9:]))
    (tmp_path / "c.TSV.zst").write_bytes(zstandard.compress(content))
    (tmp_path / "d.tab").write_bytes(content)
    for source in [Source("a.tsv"), Source("b.tsv.gz"), Source("c.TSV.zst"), Source("d.tab", format="tsv")]:
        assert read_texts(tmp_path, source) == ["a, b", "c\td"]


def test_each_file_has_its_own_header(tmp_path):
    """The columns may come in another order."""
    (tmp_path / "a.csv").write_text("id,text\n1,one\n")
    (tmp_path / "b.csv").write_text("text,id\ntwo,2\n")
    (tmp_path / "c.csv").write_text("")
    (tmp_path / "d.csv").write_text("text\n")
    assert read_texts(tmp_path, Source("*.csv")) == ["one", "two"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"text,n\na,1\n\nb\n", "row 1 (line 4): number of fields 1, of the header 2"),
        (b'text,n\n"a\nb",1\nc,2,3\n', "row 1 (line 4): number of fields 3, of the header 2"),
        (b'text,n\na,1\n"b,2\n', "row 1 (line 3): a quote is never closed"),
        (b"text,n\na,1\nb\rc,2\n", "row 1 (line 3): it has a carriage return (CR) that is not quoted"),
        (b"text,n\na,1\n\xff,2\n", "row 1 (line 3): the text is not valid UTF-8"),
        (b"text,n\na,x\n", "row 0 (line 2): column 'n' is 'x', not a number"),
    ],
)
def test_a_bad_row_is_named_by_its_line(tmp_path, content, message):
    """File, row, line, and what is wrong; the rows around it are read where bad ones are skipped."""
    (tmp_path / "a.csv").write_bytes(content)
    source = Source("a.csv", where="n < 5" if b"x" in content else None)
    with pytest.raises(DataError, match=r"a\.csv") as error:
        read_all(tmp_path, source)
    assert message in str(error.value)
    assert [bad for _, _, bad in read_all(tmp_path, source, "skip")].count(True) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text\n".encode("utf-16"), "the file is UTF-16"),
        (b"t\xffxt\na\n", "it is not UTF-8"),
        (b"text\ra\rb\r", "carriage return"),
        (b'"text\na\n', "a quote is never closed"),
    ],
)
def test_a_header_that_cannot_be_read_is_an_error(tmp_path, content, message):
    """It is found when the source is pinned."""
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.csv") as error:
        pin("wiki", Source("a.csv"), tmp_path)
    assert message in str(error.value)
    assert error.value.hint


def test_a_missing_or_doubled_column_or_a_list_is_an_error(tmp_path):
    """With the columns that are there."""
    (tmp_path / "a.csv").write_text("body,n,n\na,1,2\n")
    with pytest.raises(RecipeError, match="columns are 'body', 'n', 'n'"):
        pin("wiki", Source("a.csv"), tmp_path)
    with pytest.raises(RecipeError, match="column 'n' twice"):
        pin("wiki", Source("a.csv", text=TextSpec(column="n")), tmp_path)
    with pytest.raises(RecipeError, match="list level 0; expected 1"):
        pin("wiki", Source("a.csv", text=TextSpec(list="files", field="text")), tmp_path)


def test_ranges_are_read_from_anywhere(tmp_path):
    """A range gives the rows that reading all gives, and a row has its line."""
    rows = [f'{n},"text {n}\n{n}"' for n in range(500)]
    (tmp_path / "a.csv").write_text("id,text\n" + "\n\n".join(rows))
    source = Source("a.csv")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_rows, "PIECE_BYTES", 256)
        reader = open_source(tmp_path, source)
        found = [text for texts in reader.read(0, 123, 321) for text in texts.text.to_pylist()]
        place = read_row("wiki", source, pin("wiki", source, tmp_path), 499).place
    assert found == [f"text {n}\n{n}" for n in range(123, 321)]
    assert place.words() == "a.csv, line 1499"


def test_an_enormous_row_is_read_and_one_that_never_ends_is_an_error(tmp_path):
    """Rows are as long as they like up to 1 GB; after a lost quote a file is one row."""
    long = "x\n" * (5 << 20)
    Path(tmp_path / "a.csv").write_text(f'text,n\nshort,1\n"{long}",2\nend,3\n')
    assert read_texts(tmp_path, Source("a.csv")) == ["short", long, "end"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_rows, "MAX_LINE_BYTES", 8 << 20)
        with pytest.raises(DataError, match="the row on line 3 is longer than"):
            pin("wiki", Source("a.csv"), tmp_path)
