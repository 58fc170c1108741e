"""Hold-outs by content: what one recipe validates with, none trains on."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import oracle
import pyarrow as pa
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st
from workshop import Workshop

import mixer
from mixer.building.holdout import held_out
from mixer.errors import RecipeError
from mixer.shards.manifest import load_manifest
from mixer.verify.row_fate import row_fate
from mixer.verify.shards import find_damage
from mixer.verify.sources import check_deep

FRACTION = 0.3


def column(texts: list[str | None]) -> pa.LargeStringArray:
    return pa.array(texts, pa.large_string())


@pytest.mark.quick
@settings(deadline=None)
@given(st.lists(st.none() | st.text(max_size=20), max_size=20), st.sampled_from([0.001, 0.25, 0.5, 0.999]))
def test_a_document_is_held_out_by_its_digest(texts: list[str | None], fraction: float) -> None:
    """Whatever is around it; null is not."""
    texts = [None if text is None else text.encode(errors="ignore").decode() for text in texts]
    expected = [
        text is not None and xxhash.xxh3_64(text.encode(), seed=0x686F6C646F7574).intdigest() / 2**64 < fraction
        for text in texts
    ]
    assert held_out(column(texts), fraction).tolist() == expected
    assert held_out(column(["before", *texts])[1:], fraction).tolist() == expected


@pytest.mark.quick
def test_smaller_fractions_are_parts_of_larger_ones() -> None:
    """So that a larger validation set keeps what a smaller one had; the share is the fraction."""
    texts = column([f"document {number}" for number in range(20_000)])
    small, large = held_out(texts, 0.01), held_out(texts, 0.1)
    assert not (small & ~large).any()
    assert 0.008 < small.mean() < 0.012
    assert 0.09 < large.mean() < 0.11


@pytest.mark.quick
def test_the_page_of_the_format_has_an_example() -> None:
    """Of eight texts."""
    found = np.flatnonzero(held_out(column([str(number) for number in range(8)]), 0.5)).tolist()
    page = (Path(mixer.__file__).parent / "format.md").read_text()
    match = re.search(r'fraction 0.5, texts "0" to "7", held out +([0-7 ]+)\n', page)
    assert match is not None
    assert match[1].split() == [str(one) for one in found]


def texts_of(workshop: Workshop, recipe: Any, name: str) -> dict[int, str]:
    """The texts of a source by ordinal."""
    source = recipe.sources[name]
    blocks = oracle.read_source(name, source, workshop.root, oracle.keeps_by_where(source))
    return {row.ordinal: row.text for block in blocks for row in block}


def drawn(workshop: Workshop, out: Path, recipe: Any) -> tuple[set[str], set[tuple[str, int]]]:
    """The texts of a build, decoded, and its rows by source name and ordinal."""
    manifest = workshop.build(out, recipe)
    names = manifest.source_names
    rows = set()
    for shard in workshop.rows(out, manifest):
        for row in shard:
            pairs = zip(row["segment_source"], row["segment_row"], strict=True)
            rows |= {(names[source], number) for source, number in pairs if source >= 0}
    texts = {name: texts_of(workshop, recipe, name) for name in names}
    return {texts[name][number] for name, number in rows}, rows


def test_no_build_trains_on_what_another_validates_with(workshop: Workshop, tmp_path: Path) -> None:
    """Other seeds, weights, packing and sources; and both together are all that was drawn."""
    plain = {"holdout": {"fraction": FRACTION, "tokens": 100_000}}
    trained, _ = drawn(workshop, tmp_path / "train", workshop.recipe(**plain, target={"tokens": 60_000}))
    other = workshop.recipe(**plain, seed=7, sequence={"packing": "best-fit"}, split="validation")
    validated, rows = drawn(workshop, tmp_path / "validation", other)
    assert trained
    assert validated
    assert not trained & validated
    assert all(held_out(column([text]), FRACTION)[0] for text in validated)
    assert not any(held_out(column([text]), FRACTION)[0] for text in trained)
    manifest = load_manifest(tmp_path / "validation")
    assert manifest.split == "validation"
    assert max(counts.rows for counts in manifest.source_counts) > 0
    assert len(rows) == sum(counts.documents for counts in manifest.source_counts)  # none twice
    assert list(find_damage(tmp_path / "validation", manifest)) == []
    where = {"root": workshop.root, "cache_dir": workshop.cache_dir}
    assert check_deep(tmp_path / "validation", manifest, **where).num_shards == 1


def test_held_out_rows_are_counted_and_explained(workshop: Workshop, tmp_path: Path) -> None:
    """They are drawn, so the shares of rows stay exact, and skipped."""
    recipe = workshop.recipe(holdout={"fraction": FRACTION}, target={"rows": 300})
    manifest = workshop.build(tmp_path / "out", recipe)
    assert manifest.totals.draws == 300
    skipped = sum(counts.skipped.get("held_out", 0) for counts in manifest.source_counts)
    assert 0.15 * 300 < skipped < 0.45 * 300
    number = manifest.source_names.index("crawl")
    texts = texts_of(workshop, recipe, "crawl")
    row = next(number for number, text in texts.items() if text and held_out(column([text]), FRACTION)[0])
    where = {"root": workshop.root, "cache_dir": workshop.cache_dir}
    assert row_fate(tmp_path / "out", manifest, number, row, is_in_a_sequence=False, **where).why == "held_out"


def test_the_target_of_a_validation_build_follows(workshop: Workshop, tmp_path: Path) -> None:
    """The share of the tokens, unless it is said."""
    recipe = workshop.recipe(holdout={"fraction": FRACTION}, target={"tokens": 10_000}, split="validation")
    manifest = workshop.build(tmp_path / "out", recipe)
    assert 0 < manifest.totals.tokens < 3000 + 64
    assert manifest.recipe["target"] == {"tokens": 3000}


@pytest.mark.quick
@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"split": "validation"}, "split: needs holdout"),
        ({"split": "test"}, "split: must be 'train' or 'validation', not 'test'"),
        ({"holdout": {"fraction": 1}}, "holdout.fraction: must be less than 1"),
        ({"holdout": {"fraction": 0}}, "holdout.fraction: must be a number above 0"),
        ({"holdout": {"fractoin": 0.1}}, "holdout.fractoin: is not a key; did you mean 'fraction'"),
        ({"holdout": {}}, "holdout.fraction: is missing"),
    ],
)
def test_mistakes_are_named(workshop: Workshop, changes: dict[str, Any], problem: str) -> None:
    """With their place."""
    with pytest.raises(RecipeError) as caught:
        workshop.recipe(**changes)
    assert problem in str(caught.value)


def test_a_validation_build_without_a_target_is_refused(workshop: Workshop, tmp_path: Path) -> None:
    """Rows are no tokens."""
    recipe = workshop.recipe(holdout={"fraction": FRACTION}, target={"rows": 100}, split="validation")
    with pytest.raises(RecipeError, match="needs a target in tokens") as caught:
        workshop.build(tmp_path / "out", recipe)
    assert caught.value.where == "holdout.tokens"
