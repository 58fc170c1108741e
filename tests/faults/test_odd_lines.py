"""Odd JSON lines: each is read, or is an error that names its place; none ends in anything else."""

from __future__ import annotations

import gzip
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from sources_kit import Source, read_all

from mixer.errors import MixerError

LINE = b'{"text": "good", "n": 1}\n'
# Lines whose text is read whatever else is in them.
READ = {
    "a list nested 500 deep": b'{"text": "odd", "x": ' + b"[" * 500 + b"]" * 500 + b"}",
    "a number of 5,000 digits": b'{"text": "odd", "x": ' + b"9" * 5000 + b"}",
    "NUL in a key": b'{"text": "odd", "\\u0000": 1}',
    "a key of no letters": b'{"": 1, "text": "odd"}',
}
OTHERS = {
    "a list nested 1,000 deep": b'{"text": "a", "x": ' + b"[" * 1000 + b"]" * 1000 + b"}",
    "objects nested 1,000 deep": b'{"text": "a", "x": ' + b'{"a":' * 1000 + b"1" + b"}" * 1001,
    "a number beyond a double": b'{"text": "a", "x": 1e999}',
    "text nested 1,500 deep": b'{"text": ' + b"[" * 1500 + b"]" * 1500 + b"}",
    "a list nested 100,000 deep": b'{"text": "a", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "no number": b'{"text": "a", "n": NaN, "x": Infinity}',
    "a needed number beyond a double": b'{"text": "a", "n": 1e999}',
    "NUL bytes": b'{"text": "a\x00b"}\x00',
    "half a pair of UTF-16": b'{"text": "\\ud800", "\\udfff": "\\udfff"}',
    "a byte order mark inside": b'\xef\xbb\xbf{"text": "a"}',
    "lines that end in CR alone": b'{"text": "a"}\r{"text": "b"}\r',
    "UTF-16": '{"text": "a"}'.encode("utf-16"),
    "a form feed": b"\x0c",
    "a comment": b'// {"text": "a"}',
}
COMPRESS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "plain": ("a.jsonl", bytes),
    "gzip": ("a.jsonl.gz", gzip.compress),
    "gzip and garbage": ("a.jsonl.gz", lambda content: gzip.compress(content) + b"garbage"),
    "gzip and NUL bytes": ("a.jsonl.gz", lambda content: gzip.compress(content) + bytes(512)),
    "zstd": ("a.jsonl.zst", zstandard.compress),
    "zstd and garbage": ("a.jsonl.zst", lambda content: zstandard.compress(content) + b"garbage"),
}


def rows_or_error(root: Path, source: Source, on_bad_row: str) -> list | MixerError:
    try:
        return read_all(root, source, on_bad_row)
    except MixerError as error:
        return error


@pytest.mark.parametrize("line", READ.values(), ids=READ)
def test_what_is_odd_in_an_unused_column_is_read_past(tmp_path: Path, line: bytes) -> None:
    """As the first line, the last one without an end, or between others."""
    for before, after in itertools.product((b"", LINE), (b"", b"\n" + LINE)):
        (tmp_path / "a.jsonl").write_bytes(before + line + after)
        texts = [text for _, text, _ in read_all(tmp_path, Source("a.jsonl"))]
        assert texts == ["good"] * bool(before) + ["odd"] + ["good"] * bool(after)


@pytest.mark.parametrize("form", COMPRESS)
@pytest.mark.parametrize("line", [*READ.values(), *OTHERS.values()], ids=[*READ, *OTHERS])
def test_no_line_ends_in_anything_but_rows_or_an_error_of_ours(tmp_path: Path, line: bytes, form: str) -> None:
    """With and without a predicate, with bad rows as errors and skipped."""
    name, compress = COMPRESS[form]
    (tmp_path / name).write_bytes(compress(LINE + line + b"\n" + LINE))
    for where, on_bad_row in itertools.product((None, "n > 0", "x is not null", "x.a == 'b'"), ("error", "skip")):
        rows = rows_or_error(tmp_path, Source(name, where=where), on_bad_row)
        if isinstance(rows, MixerError):
            assert str(rows.where).startswith("sources.wiki")
        else:
            assert where is not None or rows[0][1] == rows[-1][1] == "good"
