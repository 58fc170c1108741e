"""The sample: six small sources of real text, in the formats and schemas of the data sets they stand for."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from mixer.digest import xxh3_file
from mixer.errors import UsageError
from mixer.sample import SampleReport, make_sample
from mixer.sample.choose import ROW_SHARES, choose_rows
from mixer.sample.docstrings import Docstring, iter_comments, iter_docstrings
from mixer.sample.documents import Document
from mixer.sample.installation import find_installation

SIZE_BYTES = 4_000_000


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SampleReport]:
    folder = tmp_path_factory.mktemp("sample") / "new" / "sample"
    return folder, make_sample(folder, SIZE_BYTES)


def contents(folder: Path) -> dict[str, str]:
    """Digest by relative path of every file below a folder."""
    return {str(path.relative_to(folder)): xxh3_file(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def read_dclm(folder: Path) -> list[dict]:
    lines = []
    for path in sorted((folder / "dclm").glob("*.jsonl.zst")):
        with path.open("rb") as file:
            reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
            lines += reader.readall().decode("utf-8").split("\n")[:-1]
    return [json.loads(line) for line in lines]


def read_dolma(folder: Path) -> list[dict]:
    paths = sorted((folder / "dolma").glob("*.json.gz"))
    return [json.loads(line) for path in paths for line in gzip.decompress(path.read_bytes()).decode().split("\n")[:-1]]


def read_parquet(folder: Path, source: str) -> list[dict]:
    return [row for path in sorted((folder / source).glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def texts_by_source(folder: Path) -> dict[str, list[str]]:
    """The text of every document, or of every file of a repository, by source."""
    rows = {"dclm": read_dclm(folder), "dolma": read_dolma(folder)}
    rows |= {source: read_parquet(folder, source) for source in ("fineweb-edu", "zyda", "finemath")}
    texts = {source: [row["text"] for row in found] for source, found in rows.items()}
    texts["stack-v2"] = [file["text"] for row in read_parquet(folder, "stack-v2") for file in row["files"]]
    return texts


def test_the_report_counts_what_is_in_the_files(sample: tuple[Path, SampleReport]) -> None:
    """Rows, bytes and file sizes of the report are those of the files."""
    folder, report = sample
    texts = texts_by_source(folder)
    assert texts.keys() == report.sources.keys() == ROW_SHARES.keys()
    for source, counts in report.sources.items():
        assert counts.text_bytes == sum(len(text.encode()) for text in texts[source]) > 0
        assert counts.num_files == len(list((folder / source).iterdir()))
        num_rows = len(read_parquet(folder, source)) if source == "stack-v2" else len(texts[source])
        assert counts.num_rows == num_rows
    assert report.files == {name: (folder / name).stat().st_size for name in contents(folder) if name != "SAMPLE.json"}
    assert json.loads((folder / "SAMPLE.json").read_text())["files"] == report.files
    assert SIZE_BYTES <= report.text_bytes == sum(counts.text_bytes for counts in report.sources.values())
    assert report.text_bytes < 1.5 * SIZE_BYTES


def test_each_document_is_there_once_over_all_sources(sample: tuple[Path, SampleReport]) -> None:
    """No text occurs twice, none is empty, none names a folder of this machine."""
    folder, _ = sample
    texts = [text.strip() for source in texts_by_source(folder).values() for text in source]
    assert len(set(texts)) == len(texts)
    assert all(texts)
    machine = sysconfig.get_paths()
    assert not [text[:80] for text in texts if machine["purelib"] in text or machine["stdlib"] in text]


def test_dclm_is_json_lines_in_zstd_with_metadata_keys_that_come_and_go(sample: tuple[Path, SampleReport]) -> None:
    """Two files, the first of several frames; every row has text and url, the nested keys differ."""
    folder, _ = sample
    paths = sorted((folder / "dclm").iterdir())
    assert [path.name for path in paths] == [f"shard_0000000{number}_processed.jsonl.zst" for number in (0, 1)]
    assert [path.read_bytes().count(zstandard.FRAME_HEADER) for path in paths] == [4, 1]
    rows = read_dclm(folder)
    assert all(isinstance(row["text"], str) and isinstance(row["url"], str) for row in rows)
    assert all(0 <= value <= 1 for row in rows for name, value in row.items() if name.startswith("fasttext_"))
    assert len({tuple(row["metadata"]) for row in rows}) > 1


def test_dolma_is_json_lines_in_gzip_with_free_form_metadata(sample: tuple[Path, SampleReport]) -> None:
    """The columns are those of Dolma; a metadata value has another type from line to line."""
    rows = read_dolma(sample[0])
    assert {tuple(row) for row in rows} == {("id", "text", "source", "added", "created", "metadata")}
    assert {type(row["metadata"]["num_lines"]) for row in rows} == {int, str}


SCHEMAS = {
    "fineweb-edu": {
        **dict.fromkeys(("text", "id", "dump", "url", "file_path", "language"), pa.string()),
        "language_score": pa.float64(),
        "token_count": pa.int64(),
        "score": pa.float64(),
        "int_score": pa.int64(),
    },
    "zyda": dict.fromkeys(("text", "source", "filtering_features", "source_other"), pa.string()),
    "finemath": {
        "text": pa.string(),
        "url": pa.string(),
        "score": pa.float64(),
        "int_score": pa.int64(),
        "token_count": pa.int32(),
    },
}


@pytest.mark.parametrize("source", SCHEMAS)
def test_parquet_sources_have_the_schema_of_their_data_set(source: str, sample: tuple[Path, SampleReport]) -> None:
    """Column names, order and types are the data set's; every file has several row groups; UTF-8 is valid."""
    for path in (sample[0] / source).iterdir():
        table = pq.read_table(path)
        table.validate(full=True)
        assert dict(zip(table.schema.names, table.schema.types)) == SCHEMAS[source]
        assert list(table.schema.names) == list(SCHEMAS[source])
        assert pq.ParquetFile(path).num_row_groups > 1


def test_a_row_of_stack_is_a_repository_with_its_files_texts(sample: tuple[Path, SampleReport]) -> None:
    """`blob_id` is the sha1 of the bytes, `num_files` counts the files, rows are longer than the others."""
    folder, report = sample
    for path in (folder / "stack-v2").iterdir():
        pq.read_table(path).validate(full=True)
        assert pq.ParquetFile(path).num_row_groups > 1
    rows = read_parquet(folder, "stack-v2")
    for row in rows:
        assert row["num_files"] == len(row["files"]) > 0
        assert sum(file["length_bytes"] for file in row["files"]) <= 1_500_000
        for file in row["files"]:
            data = file["text"].encode()
            assert file["blob_id"] == hashlib.sha1(data).hexdigest()
            assert file["length_bytes"] == len(data)
            assert not file["path"].startswith(sys.prefix)
    # A mean of all others together: a source of a small sample may hold a handful of long files.
    stack, *others = [report.sources[name] for name in sorted(report.sources, key=lambda name: name != "stack-v2")]
    mean_bytes = sum(counts.text_bytes for counts in others) / sum(counts.num_rows for counts in others)
    assert stack.text_bytes / stack.num_rows > 4 * mean_bytes


def test_another_process_with_another_hash_seed_makes_the_same_bytes(
    sample: tuple[Path, SampleReport], tmp_path: Path
) -> None:
    """The same installation and size give the same files."""
    code = f"from pathlib import Path; from mixer.sample import make_sample; make_sample(Path('again'), {SIZE_BYTES})"
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONHASHSEED": "12345", "PYTHONPATH": path}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True, timeout=60)
    assert contents(tmp_path / "again") == contents(sample[0])


def test_a_second_call_does_nothing(sample: tuple[Path, SampleReport]) -> None:
    """The report comes back and no file is written, even where the user has put a file beside the sample."""
    folder, report = sample
    stamps = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert make_sample(folder, SIZE_BYTES) == report
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == stamps
    (folder / "notes.txt").write_text("mine")
    try:
        assert make_sample(folder, SIZE_BYTES) == report
    finally:
        (folder / "notes.txt").unlink()


def test_a_folder_with_other_content_is_refused_and_left_alone(tmp_path: Path) -> None:
    """The user's files stay as they are, and the error names them."""
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(UsageError, match=r"not a sample's: thesis\.tex"):
        make_sample(tmp_path, 100_000)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(UsageError, match="is a file, not a folder"):
        make_sample(tmp_path / "thesis.tex", 100_000)
    with pytest.raises(UsageError, match="cannot have 0 bytes"):
        make_sample(tmp_path / "none", 0)


def test_a_broken_or_interrupted_or_smaller_sample_is_made_anew(tmp_path: Path) -> None:
    """Whatever state a sample was left in, the next call makes it whole; a stranger's file in it is never deleted."""
    report = make_sample(tmp_path, 100_000)
    whole = contents(tmp_path)
    (tmp_path / "zyda" / "part.0.parquet").write_bytes(b"cut")
    assert make_sample(tmp_path, 100_000) == report
    assert contents(tmp_path) == whole
    (tmp_path / "SAMPLE.json").unlink()
    (tmp_path / ".sample-partial").mkdir()
    assert make_sample(tmp_path, 100_000) == report
    assert contents(tmp_path) == whole
    (tmp_path / "dclm" / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"dclm/mine\.txt"):
        make_sample(tmp_path, 1_000_000)
    (tmp_path / "dclm" / "mine.txt").unlink()
    assert make_sample(tmp_path, 1_000_000).text_bytes > report.text_bytes


def test_paths_and_fingerprint_of_an_installation_do_not_name_the_machine() -> None:
    """Paths are relative, sorted and unique, and found the same twice."""
    found = find_installation()
    paths = [file.path for file in found.files]
    assert paths == sorted(set(paths))
    assert not [path for path in paths if path.startswith("/") or "\\" in path or "__pycache__" in path]
    assert {file.kind for file in found.files} == {"code", "stub", "prose", "licence", "note"}
    assert find_installation() == found


def test_docstrings_are_found_with_their_owner_unescaped_and_without_indentation() -> None:
    """Module, classes, methods and functions in the order of the source."""
    source = '''# coding: utf-8
"""The module."""
x = """not: a docstring"""


class A(B):  # why
    r"""A \\d class."""

    def f(self, a: int = 3,
          b=None):
        """First line.

            indented \\u00e9
        last line
        """
        class Inner:
            pass


async def g():
    \'\'\'A function.\'\'\'
    if x:
        pass
'''
    assert list(iter_docstrings(source)) == [
        Docstring(kind="module", name="", owner="", text="The module."),
        Docstring(kind="class", name="A", owner="A", text="A \\d class."),
        Docstring(kind="def", name="f", owner="A", text="First line.\n\n    indented é\nlast line"),
        Docstring(kind="def", name="g", owner="", text="A function."),
    ]


def test_comments_are_blocks_of_eight_lines_or_more() -> None:
    """The marks go, the layout stays; a comment behind code is none, a short block is none."""
    block = "".join(f"    # line {number}\n" for number in range(8))
    assert list(iter_comments(block, 1)) == ["\n".join(f"line {number}" for number in range(8))]
    assert list(iter_comments(block, 1000)) == []
    assert list(iter_comments(block[: block.rindex("    #")], 1)) == []
    assert list(iter_comments("x = 1  " + block.lstrip(), 1)) == []


def documents(lengths: list[int]) -> list[Document]:
    return [Document(text="x" * length, path="p", kind="k") for length in lengths]


@settings(deadline=None, max_examples=60)
@given(
    st.fixed_dictionaries({source: st.lists(st.integers(1, 50), max_size=30) for source in ROW_SHARES}),
    st.integers(1, 5000),
)
def test_rows_are_chosen_to_the_size_or_to_the_last(lengths: dict[str, list[int]], size_bytes: int) -> None:
    """A choice is a prefix of each source, reaches the size or takes all, and grows with the size."""
    found = {source: documents(values) for source, values in lengths.items()}
    small, large = (choose_rows(found, size) for size in (size_bytes, size_bytes + 500))
    for source, rows in found.items():
        assert small[source] == rows[: len(small[source])]
        assert bool(small[source]) == bool(rows)
        assert len(small[source]) <= len(large[source])
    total = sum(row.num_bytes for rows in small.values() for row in rows)
    assert total >= size_bytes or small == found


def test_rows_are_chosen_in_the_proportions_of_the_recipe() -> None:
    """With rows of equal length the counts are the shares."""
    found = {source: documents([10] * 1000) for source in ROW_SHARES}
    chosen = choose_rows(found, 10 * sum(ROW_SHARES.values()))
    assert {source: len(rows) for source, rows in chosen.items()} == ROW_SHARES
