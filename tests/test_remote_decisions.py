"""What is decided without a network: addresses, globs, ranges, waits."""

from __future__ import annotations

import glob
import os
import tempfile
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixer.errors import DataError, RecipeError
from mixer.sources.column_ranges import column_ranges
from mixer.stores import retry
from mixer.stores.address import is_remote, parse_address
from mixer.stores.globs import fixed_folder, fixed_prefix, matching
from mixer.stores.listing import parse_addresses
from mixer.stores.ranges import merged, parts
from mixer.stores.retry import BUSY, SERVER, RetryPolicy, RetryState, TransferFailed, failure_of_status, wait_seconds

pytestmark = pytest.mark.quick


@pytest.mark.parametrize(
    ("text", "store", "revision", "path", "shown"),
    [
        ("hf://datasets/a/b", "hf://datasets/a/b", "main", "", "hf://datasets/a/b@main/"),
        ("hf://datasets/a/b@v1/x y/*", "hf://datasets/a/b", "v1", "x y/*", "hf://datasets/a/b@v1/x y/*"),
        (
            "hf://datasets/a/b@refs%2Fpr%2F1/x",
            "hf://datasets/a/b",
            "refs/pr/1",
            "x",
            "hf://datasets/a/b@refs%2Fpr%2F1/x",
        ),
        ("s3://bucket/a@b/c?d*", "s3://bucket", None, "a@b/c?d*", "s3://bucket/a@b/c?d*"),
        ("gs://bucket", "gs://bucket", None, "", "gs://bucket/"),
        ("https://x.org:8080/a b/é%20", "https://x.org:8080", None, "a%20b/%C3%A9%20", None),
    ],
)
def test_an_address_has_one_spelling(text: str, store: str, revision: str | None, path: str, shown: str | None) -> None:
    """And is read back from it as the same."""
    address = parse_address(text, "here")
    assert (address.store, address.revision, address.path) == (store, revision, path)
    assert str(address) == (shown or f"{store}/{path}")
    assert parse_address(str(address), "here") == address
    assert is_remote(text)


@pytest.mark.parametrize(
    "text", ["hf://a/b", "hf://datasets/a", "hf://models/a/b/c", "s3://", "s3:///key", "https://", "https:///a"]
)
def test_an_address_that_names_no_store_is_refused(text: str) -> None:
    """With how it is written."""
    with pytest.raises(RecipeError) as caught:
        parse_address(text, "here")
    assert "write " in str(caught.value.hint)


@pytest.mark.parametrize(
    "text", ["https://u:pw@x.org/a", "https://x.org/a?sig=pw", "https://x.org/a#pw", "s3://key:pw@bucket/a"]
)
def test_no_part_of_a_secret_is_shown(text: str) -> None:
    """An address with one is refused."""
    with pytest.raises(RecipeError) as caught:
        parse_address(text, "here")
    assert "pw" not in str(caught.value)


def test_addresses_of_one_source_are_of_one_place() -> None:
    """One bucket, one repository, one revision; and no local path among them."""
    for patterns in (["s3://a/x", "s3://b/x"], ["hf://datasets/a/b@x/c", "hf://datasets/a/b@y/c"], ["s3://a/x", "x"]):
        with pytest.raises(RecipeError, match="make one source per place"):
            parse_addresses(patterns, "here")


LETTERS = st.sampled_from(["a", "b", ".", "[", "]", "1", " ", "*", "?", "é", "-", "!"])
NAMES = st.lists(st.text(LETTERS, min_size=1, max_size=4), min_size=1, max_size=3).map("/".join)


@given(st.lists(NAMES, max_size=8, unique=True), st.one_of(NAMES, NAMES.map(lambda name: f"**/{name}")))
def test_globs_match_what_they_match_on_a_disk(names: list[str], pattern: str) -> None:
    """Held against `glob` over real files."""
    with tempfile.TemporaryDirectory() as folder:
        made = []
        for name in names:
            parts = name.split("/")
            if {".", ".."} & set(parts) or any("**" in part for part in parts):
                continue
            try:
                (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
                (Path(folder) / name).touch()
            except (FileExistsError, NotADirectoryError, IsADirectoryError):
                continue
            made.append(name)
        made = [name for name in made if (Path(folder) / name).is_file()]
        if {".", ".."} & set(pattern.split("/")):
            return
        if os.path.isfile(os.path.join(folder, pattern)):
            expected = [pattern]
        else:
            found = glob.glob(pattern, root_dir=folder, recursive=True)
            expected = sorted(name for name in set(found) if os.path.isfile(os.path.join(folder, name)))
    assert sorted(matching(pattern, made)) == expected
    assert all(name.startswith(fixed_prefix(pattern)) for name in expected if name != pattern)
    assert all(name.startswith(fixed_folder(pattern)) for name in expected if name != pattern)


def test_near_ranges_become_one_and_none_goes_beyond_the_end() -> None:
    """The worked example."""
    assert merged([(12, 20), (0, 10), (90, 120)], 100, max_gap=5) == [(0, 20), (90, 100)]
    assert merged([(0, 10), (2, 5), (200, 300)], 100, max_gap=0) == [(0, 10)]
    assert parts([(0, 10), (10, 35)], part_bytes=10) == [(0, 10), (10, 18), (18, 26), (26, 35)]
    assert merged([], 10) == parts([]) == []


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 60)), max_size=12), st.integers(0, 40))
def test_merged_ranges_hold_all_bytes_and_lie_apart(pieces: list[tuple[int, int]], gap: int) -> None:
    """And their parts hold the same bytes."""
    ranges = [(start, start + length) for start, length in pieces]
    result = merged(ranges, 320, gap)
    wanted = {byte for start, stop in ranges for byte in range(start, min(stop, 320))}
    covered = [byte for start, stop in result for byte in range(start, stop)]
    assert wanted <= set(covered)
    assert len(covered) == len(set(covered))
    assert all(after[0] - before[1] > gap for before, after in pairwise(result))
    cut = parts(result, part_bytes=7)
    assert [byte for start, stop in cut for byte in range(start, stop)] == covered
    assert all(stop - start <= 7 for start, stop in cut)


@pytest.mark.parametrize("compression", ["none", "zstd"])
@pytest.mark.parametrize("dictionary", [True, False])
def test_the_ranges_of_a_column_are_enough_to_read_it(tmp_path: Path, compression: str, dictionary: bool) -> None:
    """A file in which all other bytes are zeros gives the same column."""
    rows = [{"id": n, "text": f"text {n % 7} " * 50, "meta": {"a": n, "b": "x" * n}} for n in range(500)]
    path = tmp_path / "a.parquet"
    pq.write_table(
        pa.Table.from_pylist(rows), path, row_group_size=100, compression=compression, use_dictionary=dictionary
    )
    data, metadata = path.read_bytes(), pq.read_metadata(path)
    body = len(data) - metadata.serialized_size - 8
    ranges = merged(column_ranges(metadata, metadata.schema.to_arrow_schema(), [1, 3], ["meta.b", "text"]), body, 0)
    sparse = bytearray(len(data))
    for start, stop in [*ranges, (body, len(data))]:
        sparse[start:stop] = data[start:stop]
    assert 0 < sum(stop - start for start, stop in ranges) < body
    columns = ["text", "meta.b"]
    found = pq.ParquetFile(pa.BufferReader(bytes(sparse)), pre_buffer=False).read_row_groups([1, 3], columns)
    assert found.equals(pq.ParquetFile(path).read_row_groups([1, 3], columns))


@pytest.mark.parametrize(
    ("status", "retry_after", "kind", "asked"),
    [
        (429, "7", BUSY, 7.0),
        (408, None, BUSY, None),
        (503, "Thu, 01 Jan 1970 00:01:40 GMT", SERVER, 90.0),
        (500, "soon", SERVER, None),
        (599, "-3", SERVER, 0.0),
    ],
)
def test_what_may_pass_is_told_by_its_status(status: int, retry_after: str | None, kind: str, asked: float) -> None:
    """With what the server asks for, in seconds or as a date."""
    failure = failure_of_status(status, "words", retry_after, now_unix=10.0)
    assert failure is not None
    assert (failure.kind, failure.retry_after_seconds) == (kind, asked)


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 410, 412, 416])
def test_what_will_not_pass_is_told_by_its_status(status: int) -> None:
    """Another attempt would end the same."""
    assert failure_of_status(status, "words", "1", 0.0) is None


def test_slow_down_is_busy_whatever_its_status() -> None:
    """S3 says it with 503."""
    failure = failure_of_status(503, "the bucket answered 503 SlowDown", None, 0.0)
    assert failure is not None
    assert failure.kind == BUSY


def test_waits_grow_and_end() -> None:
    """Doubling up to the longest; a random part of it; at least what the server asks for; bounded in all."""
    policy = RetryPolicy(max_failures=5, first_wait_seconds=1, longest_wait_seconds=3, total_wait_seconds=10)
    assert [wait_seconds(policy, number, 0, None, 1.0) for number in range(1, 6)] == [1, 2, 3, 3, None]
    assert wait_seconds(policy, 3, 0, None, 0.25) == 0.75
    assert wait_seconds(policy, 1, 0, 8.0, 0.5) == 8.0
    assert wait_seconds(policy, 1, 3, 8.0, 0.5) is None


def test_patience_ends_with_the_last_failure_and_how_many_there_were(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress begins the count anew, but not the time waited in all."""
    waits: list[float] = []
    monkeypatch.setattr(retry.time, "sleep", waits.append)
    retry_state = RetryState("s3://b/k", RetryPolicy(max_failures=3, first_wait_seconds=1))
    for _ in range(5):
        retry_state.failed(TransferFailed(SERVER, "the server answered 500"))
        retry_state.progressed()
    retry_state.failed(TransferFailed(SERVER, "the server answered 500"))
    retry_state.failed(TransferFailed(BUSY, "the server answered 429", 2.0))
    with pytest.raises(DataError) as caught:
        retry_state.failed(TransferFailed(SERVER, "the server answered 502"))
    assert caught.value.message.startswith("the server answered 502 (8 attempts failed")
    assert caught.value.where == "s3://b/k"
    assert len(waits) == 7
    assert waits[-1] >= 2.0
    assert all(wait <= 2.0 for wait in waits)
