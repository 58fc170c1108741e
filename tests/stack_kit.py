"""Small stand-ins for Stack v2: rows without text, the blobs they point at, and what fetching them must give."""

from __future__ import annotations

import codecs
import gzip
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mixer.stack.blobs import Origin
from mixer.stack.fetch import Listener, fetch_stack_v2
from mixer.stack.fetch_plan import HostPart, Rules
from mixer.stack.wanted_files import Selection

FILE = pa.struct(
    [
        ("blob_id", pa.string()),
        ("path", pa.string()),
        ("content_id", pa.string()),
        ("language", pa.string()),
        ("length_bytes", pa.int64()),
        ("detected_licenses", pa.list_(pa.string())),
        ("license_type", pa.string()),
        ("src_encoding", pa.string()),
        ("is_vendor", pa.bool_()),
        ("is_generated", pa.bool_()),
    ]
)
SCHEMA = pa.schema([("repo_name", pa.string()), ("num_files", pa.int64()), ("files", pa.list_(FILE))])


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """A file of a repository."""

    content: bytes
    path: str = "a.py"
    encoding: str | None = "UTF-8"
    language: str = "Python"
    license_type: str = "permissive"
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def blob_id(self) -> str:
        return hashlib.sha1(self.content).hexdigest()

    def as_row(self) -> dict[str, Any]:
        row = {
            "blob_id": self.blob_id,
            "path": self.path,
            "content_id": self.blob_id[::-1],
            "language": self.language,
            "length_bytes": len(self.content),
            "detected_licenses": ["MIT"],
            "license_type": self.license_type,
            "src_encoding": self.encoding,
            "is_vendor": False,
            "is_generated": False,
        }
        return row | self.extra


# What a fetch tells, to nobody.
SILENT = Listener(on_plan=lambda *_: None, on_files=lambda *_: None, on_chunk=lambda *_: None)

Repositories = Sequence[Sequence[SourceFile]]


def write_ids(path: Path, repositories: Repositories, *, group_rows: int = 1000, schema: pa.Schema = SCHEMA) -> Path:
    """Repositories as rows without text, named r0, r1 ... in order."""
    rows = [
        {"repo_name": f"r{number}", "num_files": len(files), "files": [file.as_row() for file in files]}
        for number, files in enumerate(repositories)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema), path, row_group_size=group_rows)
    return path


def write_blobs(root: Path, repositories: Repositories) -> Path:
    """The files as objects of a bucket `softwareheritage`; the folder of buckets."""
    folder = root / "softwareheritage" / "content"
    folder.mkdir(parents=True, exist_ok=True)
    for files in repositories:
        for file in files:
            (folder / file.blob_id).write_bytes(gzip.compress(file.content, mtime=0))
    return root


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """All rows of a folder of parquet files, in the order of the files' names."""
    return [row for path in sorted(folder.rglob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def expected_text(file: SourceFile) -> str:
    """What the text of a file must be, by Python's own decoder."""
    try:
        codecs.lookup(file.encoding or "utf-8")
        return file.content.decode(file.encoding or "utf-8")
    except (LookupError, UnicodeDecodeError):
        return file.content.decode("utf-8", "replace")


def expected_rows(repositories: Repositories) -> list[dict[str, Any]]:
    """The rows with text, where every file is wanted and there; repositories without a file are left out."""
    return [
        {
            "repo_name": f"r{number}",
            "num_files": len(files),
            "files": [file.as_row() | {"text": expected_text(file)} for file in files],
        }
        for number, files in enumerate(repositories)
        if files
    ]


def fetch(source: Path | str, out: Path, **changes: Any) -> dict[str, Any]:
    """Fetch with one worker and few connections unless told otherwise."""
    rules = changes.pop("rules", Rules(selection=changes.pop("selection", Selection())))
    arguments: dict[str, Any] = {
        "rules": rules,
        "origin": Origin(),
        "part": HostPart(),
        "tokenizer": "llama3",
        "cache_dir": out.parent / "cache",
        "workers": 1,
        "connections": 8,
        "listener": SILENT,
    }
    return fetch_stack_v2(str(source), out, **{**arguments, **changes})
