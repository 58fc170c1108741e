"""Reading: any range of any block, in any format, equals a slice of all rows."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sources_kit import WRITERS, Source, TextSpec, json_lines, open_source, read_all, read_texts

from mixer.sources import reader
from mixer.sources.formats import arrow, jsonl, lines, parquet
from mixer.sources.pin import pin
from mixer.sources.reader import SourceReader

TEXT = st.none() | st.text('aé\n"\\{}🙂 \r', max_size=12)
ROW = st.fixed_dictionaries(
    {
        "text": TEXT,
        "n": st.none() | st.integers(-5, 5),
        "meta": st.none() | st.fixed_dictionaries({"lang": st.none() | st.sampled_from(["en", "de"])}),
        "files": st.none()
        | st.lists(st.fixed_dictionaries({"body": TEXT, "path": st.sampled_from("abc")}), max_size=3),
        "tags": st.none() | st.lists(TEXT, max_size=3),
    }
)


def joined(items: list[str | None] | None, separator: str, prefix: str) -> str | None:
    there = [prefix + item for item in items or [] if item is not None]
    return separator.join(there) if there else None


def bodies(row: dict[str, Any], by: str | None = None) -> list[str | None]:
    files = row["files"] or []
    return [file["body"] for file in (sorted(files, key=lambda file: file[by]) if by else files)]


TEXTS = [
    (TextSpec(column="text"), lambda row: row["text"]),
    (TextSpec(column="meta.lang"), lambda row: row["meta"] and row["meta"]["lang"]),
    (TextSpec(list="files", field="body", prefix="\n\n"), lambda row: joined(bodies(row), "", "\n\n")),
    (
        TextSpec(list="files", field="body", separator="-", order="path"),
        lambda row: joined(bodies(row, "path"), "-", ""),
    ),
    (TextSpec(list="tags", separator=" "), lambda row: joined(row["tags"], " ", "")),
]
WHERES = [
    (None, lambda row: True),
    ("n >= 0", lambda row: row["n"] is not None and row["n"] >= 0),
    (
        "meta.lang is null or n in [1, 2]",
        lambda row: not row["meta"] or row["meta"]["lang"] is None or row["n"] in (1, 2),
    ),
]


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(ROW, min_size=1, max_size=12),
    name=st.sampled_from(sorted(WRITERS)),
    text=st.sampled_from(TEXTS),
    where=st.sampled_from(WHERES),
    block_rows=st.integers(1, 12),
    sizes=st.tuples(st.integers(1, 200), st.integers(1, 40)),
    data=st.data(),
)
def test_any_range_of_any_block_is_a_slice_of_all_rows(
    rows: list, name: str, text: tuple, where: tuple, block_rows: int, sizes: tuple, data: st.DataObject
) -> None:
    """Whatever was read before, and however small buffers and chunks are."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        for module in (lines, parquet, arrow):
            patch.setattr(module, "PIECE_BYTES", sizes[0])
        patch.setattr(reader, "MAX_CHUNK_BYTES", sizes[1])
        patch.setattr(jsonl, "check_columns", lambda paths, scan: None)  # So few rows may lack a key by chance.
        WRITERS[name](Path(folder, name), rows, block_rows)
        source = Source(name, text=text[0], where=where[0])
        snapshot = pin("wiki", source, Path(folder))
        opened = SourceReader("wiki", source, snapshot)
        kept = [(n, text[1](row)) for n, row in enumerate(rows) if where[1](row)]
        blocks = [
            [row for row in kept if first <= row[0] < first + count]
            for first, count in zip(snapshot.block_first_row, snapshot.block_rows)
        ]
        assert snapshot.block_kept.tolist() == [len(block) for block in blocks]
        for _ in range(data.draw(st.integers(1, 4))):
            block = data.draw(st.integers(0, len(blocks) - 1))
            start = data.draw(st.integers(0, len(blocks[block])))
            stop = data.draw(st.integers(start, len(blocks[block])))
            found = list(opened.read(block, start, stop))
            read = [row for texts in found for row in zip(texts.rows.tolist(), texts.text.to_pylist())]
            assert read == blocks[block][start:stop]
            for texts in found:
                assert texts.text.type == pa.large_string()
                assert (texts.rows.dtype, texts.bad.any()) == (np.int64, False)
                size = sum(len(one.encode()) for one in texts.text.to_pylist() if one)
                assert len(texts) == 1 or (len(texts) > 0 and size <= sizes[1])


@pytest.mark.parametrize("name", WRITERS)
def test_consecutive_ranges_open_a_block_once(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks read a block piece by piece; going back opens it again."""
    WRITERS[name](tmp_path / name, [{"text": str(n), "n": n} for n in range(20)], 20)
    opened = open_source(tmp_path, Source(name))
    times: list[int] = []
    for module in (parquet, arrow, jsonl):
        read = module.read_block
        monkeypatch.setattr(module, "read_block", lambda *args, read=read: times.append(1) or read(*args))

    def texts(start: int, stop: int) -> list[str]:
        return [text for part in opened.read(0, start, stop) for text in part.text.to_pylist()]

    assert [texts(0, 3), texts(3, 3), texts(3, 9), texts(12, 20)] == [
        ["0", "1", "2"],
        [],
        ["3", "4", "5", "6", "7", "8"],
        [str(n) for n in range(12, 20)],
    ]
    assert len(times) == 1
    assert texts(5, 7) == ["5", "6"]
    assert len(times) == 2


def test_a_range_that_is_left_early_does_not_disturb_the_next(tmp_path: Path) -> None:
    """A generator may be dropped after its first chunk."""
    (tmp_path / "a.jsonl").write_bytes(json_lines([{"text": str(n)} for n in range(9)]))
    opened = open_source(tmp_path, Source("a.jsonl"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "MAX_CHUNK_BYTES", 2)
        assert next(opened.read(0, 0, 8)).text.to_pylist() == ["0", "1"]
        assert next(opened.read(0, 1, 8)).text.to_pylist() == ["1", "2"]
        assert next(opened.read(0, 3, 8)).text.to_pylist()[0] == "3"


def test_a_range_outside_of_the_block_is_refused(tmp_path: Path) -> None:
    """A mistake of the caller, not of the data."""
    (tmp_path / "a.jsonl").write_bytes(json_lines([{"text": "x"}]))
    opened = open_source(tmp_path, Source("a.jsonl"))
    with pytest.raises(ValueError, match="block 0, which has 1"):
        list(opened.read(0, 0, 2))


def test_metadata_keys_that_come_go_and_change_type_are_harmless(tmp_path: Path) -> None:
    """As in DCLM; a line without the text key has no text."""
    rows = [
        {"text": "a", "metadata": {"WARC-Type": "response", "n": 1}},
        {"text": "b", "metadata": {"n": [1, {"x": None}]}, "url": 3},
        {"metadata": "none", "url": {"host": "h"}},
        {"text": "d"},
    ]
    (tmp_path / "a.jsonl").write_bytes(json_lines(rows))
    assert read_texts(tmp_path, Source("a.jsonl")) == ["a", "b", None, "d"]
    (tmp_path / "b.jsonl").write_bytes(json_lines(rows[:2]))
    assert read_texts(tmp_path, Source("b.jsonl", where="metadata['WARC-Type'] == 'response'")) == ["a"]


def test_a_byte_order_mark_and_windows_line_ends_are_no_text(tmp_path: Path) -> None:
    """And the last line needs no end."""
    (tmp_path / "a.jsonl").write_bytes(b'\xef\xbb\xbf{"text": "a"}\r\n\r\n  {"text": "b\\r\\n"} \r\n{"text": "c"}')
    assert read_all(tmp_path, Source("a.jsonl")) == [(0, "a", False), (1, "b\r\n", False), (2, "c", False)]


def test_whole_numbers_and_fractions_share_a_column_of_json(tmp_path: Path) -> None:
    """The first line does not settle it; neither does the literal."""
    (tmp_path / "a.jsonl").write_bytes(b'{"text":"a","s":3}\n{"text":"b","s":2.5}\n{"text":"c"}\n{"text":"d","s":1}\n')
    assert read_texts(tmp_path, Source("a.jsonl", where="s >= 2")) == ["a", "b"]
    assert read_texts(tmp_path, Source("a.jsonl", where="s in [1, 2.5]")) == ["b", "d"]


def test_columns_tested_for_null_may_be_of_any_type(tmp_path: Path) -> None:
    """Structs and numbers are null or not like anything else."""
    rows = [{"text": "a", "m": {"x": 1}}, {"text": "b", "m": None, "k": True}, {"text": "c", "k": None}]
    (tmp_path / "a.jsonl").write_bytes(json_lines(rows))
    assert read_texts(tmp_path, Source("a.jsonl", where="m is not null")) == ["a"]
    assert read_texts(tmp_path, Source("a.jsonl", where="k is null")) == ["a", "c"]
    pq.write_table(pa.Table.from_pylist([{"k": None} | row for row in rows]), tmp_path / "a.parquet")
    assert read_texts(tmp_path, Source("a.parquet", where="m is not null and k is null")) == ["a"]


@pytest.mark.parametrize("kind", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())], ids=str)
def test_every_string_type_is_read_from_files(tmp_path: Path, kind: pa.DataType) -> None:
    """From Arrow IPC as stored, compressed or not, and from Parquet as written."""
    table = pa.table({"other": [1, 2, 3], "text": pa.array(["a", None, "é"], pa.string()).cast(kind)})
    for name, options in (("a", None), ("b", pa.ipc.IpcWriteOptions(compression="zstd"))):
        with pa.ipc.new_file(str(tmp_path / f"{name}.arrow"), table.schema, options=options) as writer:
            writer.write_table(table)
        assert read_texts(tmp_path, Source(f"{name}.arrow")) == ["a", None, "é"]
    if not pa.types.is_string_view(kind):
        pq.write_table(table, tmp_path / "a.parquet")
        assert read_texts(tmp_path, Source("a.parquet")) == ["a", None, "é"]


def test_leaves_are_found_beside_maps_and_nested_lists(tmp_path: Path) -> None:
    """Parquet numbers its columns by leaf; a map has two, and a name may be the start of another."""
    schema = pa.schema(
        [
            ("m", pa.map_(pa.string(), pa.list_(pa.struct([("text", pa.string())])))),
            ("text_id", pa.int64()),
            ("a", pa.struct([("x", pa.list_(pa.struct([("y", pa.list_(pa.int8()))]))), ("text", pa.string())])),
        ]
    )
    row = {"m": [("k", [{"text": "no"}])], "text_id": 3, "a": {"x": [{"y": [1]}], "text": "yes"}}
    pq.write_table(pa.Table.from_pylist([row], schema), tmp_path / "a.parquet")
    assert read_texts(tmp_path, Source("a.parquet", text=TextSpec(column="a.text"))) == ["yes"]


def test_a_forked_child_reads_what_its_parent_pinned(tmp_path: Path) -> None:
    """Workers are forked after pinning, with files of every format pinned and read before."""
    for name, write in WRITERS.items():
        write(tmp_path / name, [{"text": "x", "n": 1}], 1)
    assert [read_texts(tmp_path, Source(name, where="n == 1")) for name in WRITERS] == [["x"]] * len(WRITERS)
    code = (
        "import os, sys; sys.path[:0] = sys.argv[2:]\n"
        "from pathlib import Path\n"
        "from sources_kit import WRITERS, Source, read_texts\n"
        "def read(): return [read_texts(Path(sys.argv[1]), Source(name, where='n == 1')) for name in WRITERS]\n"
        "expected = read()\n"
        "child = os.fork()\n"
        "if child == 0: os._exit(0 if read() == expected else 1)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path, Path(__file__).parent], check=True, timeout=60)


def test_a_document_of_100_mb_is_one_chunk_in_bounded_memory(tmp_path: Path) -> None:
    """A line costs a few times its size, and no time that grows with its square."""
    with (tmp_path / "a.jsonl").open("w") as file:
        for text in ("small", "x" * 100_000_000, "last"):
            json.dump({"text": text}, file)
            file.write("\n")
    code = (
        "import sys; sys.path[:0] = sys.argv[2:]\n"
        "from pathlib import Path\n"
        "from sources_kit import Source, open_source\n"
        "reader = open_source(Path(sys.argv[1]), Source('a.jsonl'))\n"
        "sizes = [texts.text.get_total_buffer_size() // 10**8 for texts in reader.read(0, 0, 3)]\n"
        "peak = next(line for line in open('/proc/self/status') if line.startswith('VmHWM'))\n"
        "print(len(sizes), int(peak.split()[1]) // 1024)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path, Path(__file__).parent], capture_output=True, check=True, timeout=60
    )
    num_chunks, peak_mib = map(int, done.stdout.split())
    assert num_chunks == 3
    assert peak_mib < 900


@pytest.mark.parametrize("where", [None, "n % 3 == 0", "n >= 100"])
def test_a_file_of_many_row_groups_has_blocks_of_neighbouring_ones(tmp_path: Path, where: str | None) -> None:
    """150 groups of 2 rows make 50 blocks of three; every range of rows is where it was."""
    if where == "n % 3 == 0":
        where = "n in [" + ", ".join(str(n) for n in range(0, 300, 3)) + "]"
    table = pa.table({"text": [f"row {n}" for n in range(300)], "n": range(300)})
    pq.write_table(table, tmp_path / "many.parquet", row_group_size=2)
    source = Source(path="many.parquet", where=where)
    snapshot = pin("many", source, tmp_path, None)
    assert snapshot.block_rows.tolist() == [6] * 50
    opened = SourceReader("many", source, snapshot)
    kept = [n for n in range(300) if where is None or (n >= 100 if ">=" in where else n % 3 == 0)]
    seen = []
    for block in reversed(range(50)):
        count = int(snapshot.block_kept[block])
        for start in range(count):
            for part in opened.read(block, start, min(start + 2, count)):
                own = [row for row in kept if block * 6 <= row < block * 6 + 6][start : start + 2]
                assert part.rows.tolist() == own
                assert part.text.to_pylist() == [f"row {row}" for row in own]
                seen += own[:1]
    assert sorted(seen) == kept
