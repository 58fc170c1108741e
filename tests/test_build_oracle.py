"""The build equals a second, slow implementation: draws, tokens, packing, provenance, and where it ends."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import oracle
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from manifest_kit import passes
from workshop import Workshop

import mixer.feed
from mixer.feed.cursor import Cursor
from mixer.feed.torch import TrainLoader
from mixer.mixing.tasks import task_tokens
from mixer.shards.records import Manifest
from mixer.verify.shards import find_damage


def both(
    workshop: Workshop, out: Path, recipe: Any, max_draws: int | None = None, keeps: oracle.Keeps | None = None
) -> tuple[Manifest, list[oracle.Shard]]:
    """Build, and hold every shard against the oracle's; returns the manifest and the oracle's shards."""
    manifest = workshop.build(out, recipe)
    draws_per_task = manifest.stages[0].draws_per_task
    expected = oracle.build(recipe, workshop.root, draws_per_task, max_draws, oracle.llama3(), keeps)
    with_rows = [shard for shard in expected if shard.rows]
    assert [tuple(shard.draws) for shard in manifest.shards] == [shard.draws for shard in with_rows]
    assert [shard.task for shard in manifest.shards] == [shard.task for shard in with_rows]
    for found, shard in zip(workshop.rows(out, manifest), with_rows, strict=True):
        for column in shard.rows[0]:
            assert [row[column] for row in found] == [row[column] for row in shard.rows], column
    for index, counts in enumerate(manifest.source_counts):
        packed: Counter[int] = Counter()
        for shard in with_rows:
            for row in shard.rows:
                lengths = [stop - start for start, stop in pairwise(row["cu_seqlens"])]
                for length, of, number in zip(lengths, row["segment_source"], row["segment_row"], strict=True):
                    packed[number] += length if of == index else 0
        assert counts.tokens == packed.total()
        left_out = sum(len(doc.tokens) for shard in expected for doc in shard.documents if doc.source == index)
        assert counts.tokens_left_out == left_out - packed.total()
        assert counts.rows == drawn_rows(expected, index)
        assert counts.num_skipped == sum(shard.skipped[index] for shard in expected)
    return manifest, expected


def drawn_rows(shards: list[oracle.Shard], source: int) -> int:
    """Rows of a source that were drawn, skipped ones included."""
    documents = [document for shard in shards for document in shard.documents if document.source == source]
    return len(documents) + sum(shard.skipped[source] for shard in shards)


@pytest.mark.parametrize("packing", ["concat", "best-fit"])
@pytest.mark.parametrize("seed", [0, 1, 2**62])
def test_a_build_equals_the_oracle_in_every_column(workshop: Workshop, tmp_path: Path, packing: str, seed: int) -> None:
    """Every id, border, next id and provenance of six sources over several tasks and passes, for both packings."""
    recipe = workshop.recipe(seed=seed, sequence={"length": 64 if seed else 128, "packing": packing})
    manifest, shards = both(workshop, tmp_path / "out", recipe)
    assert len(shards) > 5
    assert max(passes(manifest)) > 2
    assert manifest.totals.tokens >= 30_000 > manifest.totals.tokens - len(shards[-1].rows[-1]["input_ids"])


def test_redrawn_epochs_are_the_draws_gone_on_with(workshop: Workshop, tmp_path: Path) -> None:
    """Three epochs of 111 rows are 333 draws; each epoch reads a third of the sequences, none of them twice."""
    recipe = workshop.recipe(target={"rows": 111}, epochs={"count": 3, "mode": "redraw"})
    manifest, _ = both(workshop, tmp_path / "out", recipe, 333)
    sequences = mixer.feed.open(tmp_path / "out")
    cursor, count = Cursor.start(sequences), len(sequences)
    assert manifest.totals.draws == 333
    order = cursor.order(sequences)
    borders = [0, count // 3, 2 * count // 3, count]
    read = [order.sequences(epoch, np.arange(borders[epoch + 1] - borders[epoch])) for epoch in range(3)]
    assert [sorted(one.tolist()) for one in read] == [list(range(*pair)) for pair in pairwise(borders)]
    assert len(TrainLoader(tmp_path / "out", batch_size=1, epochs=3)) == count
    assert order.sequences(3, np.arange(count // 3)).tolist() != read[0].tolist()


@pytest.mark.parametrize("packing", ["concat", "best-fit"])
@pytest.mark.parametrize(
    ("target", "max_draws"),
    [
        ({"rows": 333}, 333),
        ({"sequences": 130}, None),
        ({"tokens": 1}, None),
        ({"tokens": 64}, None),
        ({"tokens": 4096 * 3}, None),
    ],
)
def test_every_kind_of_target_ends_where_the_oracle_ends(
    workshop: Workshop, tmp_path: Path, packing: str, target: dict, max_draws: int | None
) -> None:
    """Rows exactly, sequences exactly, tokens to the sequence."""
    recipe = workshop.recipe(target=target, sequence={"packing": packing})
    manifest, _ = both(workshop, tmp_path / "out", recipe, max_draws)
    (kind, amount) = next(iter(target.items()))
    if kind == "tokens":
        last = manifest.shards[-1]
        ids = workshop.rows(tmp_path / "out", manifest)[-1][-1]
        assert manifest.totals.tokens >= amount > manifest.totals.tokens - (64 - ids["num_pad"])
        assert last.sequences > 0
    else:
        assert getattr(manifest.totals, {"rows": "draws"}.get(kind, kind)) == amount


@pytest.mark.parametrize(("bos", "eos"), [(True, False), (False, True), (False, False)])
def test_bos_and_eos_are_switched_alone(workshop: Workshop, tmp_path: Path, bos: bool, eos: bool) -> None:
    """Each switch adds its id round every document and nothing else."""
    recipe = workshop.recipe(sequence={"bos": bos, "eos": eos}, target={"tokens": 9000})
    manifest, _ = both(workshop, tmp_path / "out", recipe)
    ids = [token for shard in workshop.rows(tmp_path / "out", manifest) for row in shard for token in row["input_ids"]]
    assert (oracle.BOS in ids, oracle.EOS in ids) == (bos, eos)


@pytest.mark.parametrize("packing", ["concat", "best-fit"])
def test_skipped_documents_are_counted_by_reason_and_leave_no_token(
    workshop: Workshop, tmp_path: Path, packing: str
) -> None:
    """Null, empty and too long texts: rows are documents and skipped rows."""
    recipe = workshop.recipe(max_document_tokens=60, target={"rows": 400}, sequence={"packing": packing})
    manifest, shards = both(workshop, tmp_path / "out", recipe, 400)
    seen: set[str] = set()
    for index, counts in enumerate(manifest.source_counts):
        documents = [doc for shard in shards for doc in shard.documents if doc.source == index]
        assert counts.documents == len(documents)
        assert counts.rows == counts.documents + sum(counts.skipped.values())
        assert counts.tokens == sum(len(document.tokens) for document in documents)
        seen |= counts.skipped.keys()
    assert seen == {"null_text", "empty_text", "too_long"}


def test_the_size_of_a_task_depends_on_the_total_alone() -> None:
    """A power of two between 1 Mi and 64 Mi tokens."""
    assert [task_tokens(total) for total in (0, 1, 64 << 20, (64 << 20) + 64, 1e9, 1e15)] == [
        1 << 20,
        1 << 20,
        1 << 20,
        1 << 21,
        1 << 24,
        1 << 26,
    ]


@pytest.mark.parametrize("packing", ["concat", "best-fit"])
@pytest.mark.parametrize("target", [{"rows": 900}, {"tokens": 70}, {"sequences": 3}])
def test_tasks_without_any_text_make_no_shard(
    workshop: Workshop, tmp_path: Path, packing: str, target: dict[str, int]
) -> None:
    """One row in 300 has text, and it is long: most tasks are empty, and the build is still that of the oracle."""
    texts = ["some words to pack " * 750 if row % 300 == 40 else (None, "")[row % 2] for row in range(900)]
    pq.write_table(pa.table({"text": texts}), tmp_path / "thin.parquet", row_group_size=50)
    thin = Workshop(root=tmp_path, cache_dir=workshop.cache_dir)
    sources = {"thin": {"weight": 1, "path": "*.parquet"}}
    recipe = thin.recipe(sources=sources, target=target, task_tokens="1Ki", sequence={"length": 4, "packing": packing})
    manifest, shards = both(thin, tmp_path / "out", recipe, target.get("rows"))
    assert any(not shard.rows for shard in shards)
    assert list(find_damage(tmp_path / "out", manifest)) == []
