"""A row of a source: in which sequences it is, or why it is in none, and where it stands."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from workshop import Workshop, cached_tokenizer

import mixer.feed
from mixer.cli.main import run
from mixer.feed.trace import holding
from mixer.shards.drawn import drawings
from mixer.shards.manifest import load_manifest
from mixer.verify import row_fate as fate
from mixer.verify.row_fate import Fate, row_fate

pytestmark = pytest.mark.quick


def held(out: Path) -> dict[tuple[int, int], set[int]]:
    """The sequences of each (source, row), by reading all of them."""
    found: dict[tuple[int, int], set[int]] = {}
    sequences = mixer.feed.open(out)
    for number in range(len(sequences)):
        batch = sequences[number]
        for source, row in zip(batch.source.tolist(), batch.row.tolist()):
            if source >= 0:
                found.setdefault((source, row), set()).add(number)
    return found


@pytest.mark.parametrize("packing", ["concat", "best-fit"])
def test_the_sequences_of_a_row_follow_from_its_draws(workshop: Workshop, tmp_path: Path, packing: str) -> None:
    """Every row of every source, over several passes: those that reading all shards finds, and no others."""
    manifest = workshop.build(tmp_path / "out", workshop.recipe(sequence={"packing": packing}))
    expected, sequences = held(tmp_path / "out"), mixer.feed.open(tmp_path / "out")
    for source, entry in enumerate(manifest.sources):
        for row in range(entry.num_rows):
            assert holding(sequences, source, row) == sorted(expected.get((source, row), ())), (entry.name, row)
            drawn = drawings(tmp_path / "out", manifest, source, row)
            assert all(0 <= start < stop <= manifest.counts[0].tasks[1] for start, stop in (one.tasks for one in drawn))


def test_few_shards_are_read_for_a_row(workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row without `where` is in one task a pass."""
    manifest = workshop.build(tmp_path / "out", workshop.recipe(target={"tokens": 9000}))
    sequences = mixer.feed.open(tmp_path / "out")
    read: list[int] = []
    columns = sequences.iter_columns
    monkeypatch.setattr(sequences, "iter_columns", lambda shard: read.append(shard) or columns(shard))
    number = manifest.source_names.index("crawl")
    holding(sequences, number, 3)
    passes = {one.pass_number for one in drawings(tmp_path / "out", manifest, number, 3)}
    assert 0 < len(read) <= len(passes) < len(manifest.shards)


@pytest.fixture(autouse=True)
def _load_the_tokenizer_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fate, "load_tokenizer", cached_tokenizer)


def fates(workshop: Workshop, out: Path, name: str) -> list[Fate]:
    """The fate of each row of a source."""
    manifest, sequences = load_manifest(out), mixer.feed.open(out)
    source = manifest.source_names.index(name)
    return [
        row_fate(
            out,
            manifest,
            source,
            row,
            is_in_a_sequence=bool(holding(sequences, source, row)),
            root=workshop.root,
            cache_dir=workshop.cache_dir,
        )
        for row in range(manifest.sources[source].num_rows)
    ]


@pytest.mark.parametrize("target", [{"rows": 60}, {"tokens": 700}])
def test_every_row_has_one_fate_and_they_add_up(workshop: Workshop, tmp_path: Path, target: dict[str, int]) -> None:
    """Skipped rows by reason are as many as the manifest says, for a build that reads no source twice."""
    recipe = workshop.recipe(target=target, max_document_tokens=40, sequence={"length": 32})
    manifest = workshop.build(tmp_path / "out", recipe)
    seen: set[str] = set()
    for number, (entry, counts) in enumerate(zip(manifest.sources, manifest.source_counts, strict=True)):
        if counts.rows > manifest.stages[0].sources[number].pass_rows[0]:
            continue
        found = fates(workshop, tmp_path / "out", entry.name)
        why = Counter(one.why for one in found)
        assert {reason: why[reason] for reason in counts.skipped} == counts.skipped  # type: ignore[index]
        assert why["drawn"] + why["left_out"] == counts.documents
        assert why["where"] == entry.num_rows - manifest.stages[0].sources[number].pass_rows[0]
        seen |= set(why)
        for one in found:
            assert one.found.place.words()
    assert seen >= {"drawn", "never_drawn", "where", "null_text", "too_long"}


def test_the_command_line_says_which_it_is(
    workshop: Workshop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With its file and line or row group; and less, but nothing wrong, where the source is gone."""
    lines = [{"text": "first"}, {"text": None}, {"text": "third " * 5}, {"text": "last"}]
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(line) for line in lines[:2]) + "\n\n" + json.dumps(lines[2]))
    (tmp_path / "b.jsonl").write_text(json.dumps(lines[3]))
    pq.write_table(pa.table({"text": ["x", "y", "z"], "n": [1, 2, 3]}), tmp_path / "c.parquet", row_group_size=2)
    sources = {
        "a": {"weight": 1, "path": ["a.jsonl", "b.jsonl"]},
        "c": {"weight": 1, "path": "c.parquet", "where": "n != 2"},
    }
    out = tmp_path / "out"
    workshop.build(out, workshop.recipe(sources=sources, target={"rows": 4}, sequence={"length": 8}), root=tmp_path)

    def said(*words: str) -> str:
        code = run([*words, "--cache", str(workshop.cache_dir)])
        answer = capsys.readouterr()
        assert code == 0, answer.err
        return answer.out

    trace = ["trace", str(out), "--source"]
    fates_of_a = [said(*trace, "a", "--row", str(row)) for row in range(4)]
    assert sum("never drawn" in words or "null_text" in words for words in fates_of_a) >= 2
    assert "where" in said(*trace, "c", "--row", "1")
    assert "(c.parquet, row group 0, row 1)" in said(*trace, "c", "--row", "1")
    shown = said("show", str(out), "--source", "a", "--row", "2", "--root", str(tmp_path))
    assert shown.startswith("a row 2, a.jsonl, line 4: ")
    assert "third third" in shown
    value = json.loads(said("show", str(out), "--source", "c", "--row", "1", "--json", "--root", str(tmp_path)))
    assert (value["why"], value["text"], value["sequences"]) == ("where", "y", [])
    (tmp_path / "c.parquet").unlink()
    assert "drops it" in said(*trace, "c", "--row", "1")
    assert run([*trace, "c", "--row", "1", "--root", str(tmp_path)]) != 0
    assert run(["show", str(out)]) == 2
    assert run([*trace, "c", "--row", "9"]) == 2
