"""The tiny mixture of six sources that the tests build, and the tool that builds it."""

from __future__ import annotations

import copy
import gzip
import json
import random
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from mixer.building import build as build_module
from mixer.digest import xxh3_file
from mixer.recipe import Recipe, parse_recipe
from mixer.shards.records import Manifest
from mixer.tokens.tokenizer import load_tokenizer

SOURCES: dict[str, dict[str, Any]] = {
    "crawl": {"weight": 40, "path": "crawl/*.jsonl.zst"},
    "edu": {"weight": 44, "path": "edu/*.parquet", "where": "score >= 3"},
    "books": {"weight": 3, "path": "books/*.json.gz"},
    "forum": {"weight": 2, "path": "forum/*.arrow"},
    "code": {"weight": 10, "path": "code/*.parquet", "text": {"list": "files", "field": "text", "prefix": "\n\n"}},
    "maths": {"weight": 0.7, "path": "maths/*.parquet", "text": "body"},
}
TASK_TOKENS, BATCH_TOKENS = 1 << 12, 1 << 10
"""So small that a tiny build has several tasks, and several record batches a shard."""


def write_mixture(folder: Path, seed: int = 7) -> Path:
    """Six sources of tens of rows in small blocks and all formats, with null and empty texts among them."""
    chance = random.Random(seed)
    words = (
        "the",
        "of",
        "and",
        "Größe",
        "猫",
        "x=1",
        "\n\n",
        "1234",
        "don't",
        "<|end_of_text|>",
        "🙂",
        "(",
        "\t",
        "",
        "ünï",
    )

    def text(most: int) -> str:
        return " ".join(chance.choice(words) for _ in range(chance.randint(1, most)))

    def texts(count: int, most: int) -> list[str | None]:
        return [chance.choices([text(most), "", None], [12, 1, 1])[0] for _ in range(count)]

    def lines(count: int, most: int) -> bytes:
        return b"".join(json.dumps({"text": one, "n": n}).encode() + b"\n" for n, one in enumerate(texts(count, most)))

    for name in SOURCES:
        (folder / name).mkdir(parents=True)
    for number in range(3):
        packed = b"".join(zstandard.compress(lines(9, 30)) for _ in range(2))
        (folder / f"crawl/{number}.jsonl.zst").write_bytes(packed)
        (folder / f"books/{number}.json.gz").write_bytes(gzip.compress(lines(5, 150), mtime=0))
    for number in (2, 10):
        rows = [{"text": one, "score": chance.randint(1, 5)} for one in texts(40, 20)]
        pq.write_table(pa.Table.from_pylist(rows), folder / f"edu/part.{number}.parquet", row_group_size=7)
    with pa.ipc.new_file(folder / "forum/0.arrow", pa.schema([("text", pa.large_string())])) as writer:
        for _ in range(4):
            writer.write_batch(pa.record_batch([pa.array(texts(4, 40), pa.large_string())], names=["text"]))
    repositories = [{"files": [{"text": one} for one in texts(chance.randint(0, 4), 60)]} for _ in range(20)]
    schema = pa.schema([("files", pa.list_(pa.struct([("text", pa.string())])))])
    pq.write_table(pa.Table.from_pylist(repositories, schema), folder / "code/0.parquet", row_group_size=6)
    pq.write_table(pa.table({"body": texts(11, 25)}), folder / "maths/0.parquet", row_group_size=3)
    return folder


def contents(folder: Path) -> dict[str, str]:
    """Digest by relative path of every file below a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): xxh3_file(path) for path in files}


SHARED: dict[Path, dict[str, str]] = {}
"""Folders that tests share, and what is in them."""


def shared(folder: Path) -> Path:
    """A folder that many tests read and none may change: conftest.py looks after each module."""
    SHARED[folder] = contents(folder)
    return folder


@dataclass(frozen=True)
class Workshop:
    """Makes recipes over the tiny mixture, and builds."""

    root: Path
    cache_dir: Path

    def recipe(self, **changes: Any) -> Recipe:
        """A recipe over the tiny mixture; `sequence` is merged, anything else replaced."""
        base: dict[str, Any] = {
            "seed": 1,
            "target": {"tokens": 30_000},
            "task_tokens": TASK_TOKENS,
            "sources": copy.deepcopy(SOURCES),
        }
        sequence = {"length": 64} | changes.pop("sequence", {})
        return parse_recipe({**base, **changes, "sequence": sequence}, where="test", default_name="tiny")

    def build(self, out: Path, recipe: Recipe, **arguments: Any) -> Manifest:
        """Build with one worker and small record batches unless told otherwise."""
        usual = {"root": self.root, "cache_dir": self.cache_dir, "workers": 1, "batch_tokens": BATCH_TOKENS}
        return build_module.build(recipe, out=out, **usual | arguments)

    @staticmethod
    def rows(out: Path, manifest: Manifest) -> list[list[dict]]:
        """The rows of each shard of a build."""
        return [pa.ipc.open_file(out / shard.path).read_all().to_pylist() for shard in manifest.shards]


@cache
def cached_tokenizer(name: str, *, root: Path, cache_dir: Path) -> Any:
    """Loading Llama-3's tokenizer takes longer than the small builds of the tests."""
    return load_tokenizer(name, root=root, cache_dir=cache_dir)
