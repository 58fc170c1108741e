"""One enormous document: memory bounded by its bytes, and skipped without its tokens where it must be too long."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from workshop import Workshop

from mixer.recipe import Recipe, parse_recipe
from mixer.tokens.tokenizer import Tokenizer, load_tokenizer

SMALL_BYTES, LARGE_BYTES = 40_000_000, 80_000_000
"""Both above what the allocators keep of freed memory for a next time."""
MOST_BYTES_A_BYTE = 6
PROSE = "The quick brown fox doesn't jump over 12 lazy dogs; it sleeps (mostly) near the river.\n"

SCRIPT = """
import re, resource, sys
from pathlib import Path
from mixer.building.build import build
from mixer.recipe import parse_recipe

folder = Path(sys.argv[1])
source = {"weight": 1, "path": sys.argv[2]}
recipe = parse_recipe({"target": {"rows": 1}, "sources": {"a": source}}, where="test", default_name="one")
build(recipe, root=folder, out=folder / f"{sys.argv[2]}.out", cache_dir=folder / "cache", workers=1)
# Of this process by its memory map alone: what getrusage says begins with the peak of who started it.
own = int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
print(own * 1024, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
@pytest.mark.parametrize("unit", [PROSE, "a"], ids=["prose", "one-letter"])
def test_a_large_document_takes_six_bytes_of_memory_a_byte(tmp_path: Path, kind: str, unit: str) -> None:
    """The slope between two sizes, in the process that plans and in the one that encodes; it was 12."""
    peaks = []
    for num_bytes in (SMALL_BYTES, LARGE_BYTES):
        text = (unit * (num_bytes // len(unit) + 1))[:num_bytes]
        path = tmp_path / f"{num_bytes}.{kind}"
        if kind == "jsonl":
            path.write_text(json.dumps({"text": text}) + "\n")
        else:
            pq.write_table(pa.table({"text": pa.array([text], pa.large_string())}), path)
        command = [sys.executable, "-c", SCRIPT, str(tmp_path), path.name]
        done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1])
        assert done.returncode == 0, done.stderr
        peaks.append([int(word) for word in done.stdout.split()])
    for small, large in zip(*peaks, strict=True):
        assert large - small < MOST_BYTES_A_BYTE * (LARGE_BYTES - SMALL_BYTES)


LIMIT = 6


def recipe_of(path: Path) -> Recipe:
    source = {"weight": 1, "path": path.name}
    mapping = {
        "target": {"rows": 5},
        "max_document_tokens": LIMIT,
        "sources": {"a": source},
        "sequence": {"length": 16},
    }
    return parse_recipe(mapping, where="test", default_name="few")


def test_a_document_is_too_long_exactly_where_its_tokens_are(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes decide only where no tokens could be so long; the longest token of Llama 3 is 128 spaces."""
    longest = " " * 128
    texts = [longest * (LIMIT - 2), longest * (LIMIT - 2) + "x", "a b c d", "a b c d e", "word " * 3000]
    path = tmp_path / "few.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    tokenizer = load_tokenizer("llama3", root=tmp_path, cache_dir=workshop.cache_dir)
    lengths = [len(tokenizer.reference.encode(text)) for text in texts]
    assert lengths == [LIMIT - 2, LIMIT, 4, 5, 3001]
    assert tokenizer.most_bytes(LIMIT - 2) == len(texts[0])

    encode, seen = Tokenizer.encode, []

    def spy(self: Tokenizer, text: pa.LargeStringArray) -> object:
        seen.extend(text.to_pylist())
        return encode(self, text)

    monkeypatch.setattr(Tokenizer, "encode", spy)
    manifest = workshop.build(tmp_path / "out", recipe_of(path), root=tmp_path)
    (source,) = manifest.source_counts
    assert source.skipped == {"too_long": sum(length + 2 > LIMIT for length in lengths)}
    assert source.documents == 2
    assert texts[4] not in seen
