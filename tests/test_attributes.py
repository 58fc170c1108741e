"""Row attributes: files of columns by row ordinal, and builds from the rows that they keep."""

from __future__ import annotations

import copy
import hashlib
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from test_build_oracle import both
from workshop import SOURCES, Workshop, contents, shared, write_mixture

import mixer
from mixer.attributes.columns import AttributeColumn, ColumnDigest
from mixer.attributes.set_file import AttributeSet, AttributeWriter
from mixer.errors import DataError, FormatError, IntegrityError, MixerError, RecipeError
from mixer.shards.manifest import load_manifest
from mixer.sources.pin import pin
from mixer.verify.repair import repair
from mixer.verify.row_fate import row_fate
from mixer.verify.shards import find_damage
from mixer.verify.sources import check_deep

COLUMNS = (
    AttributeColumn(name="keep", kind="bool"),
    AttributeColumn(name="score", kind="float32"),
    AttributeColumn(name="topic", kind="label", labels=("maths", "sport", "none")),
)


def keep_of(name: str, row: int) -> bool:
    """Two rows of three; of one source whole blocks go."""
    return row % 3 > 0 if name != "edu" else row // 7 % 3 > 0


def score_of(name: str, row: int) -> float | None:
    return None if row % 11 == 5 else (row * 37 + len(name)) % 100 / 100


def topic_of(row: int) -> str:
    return ("maths", "sport", "none")[row % 3 - 1]


def write_set(folder: Path, name: str, snapshot: Any, **made_by: Any) -> AttributeSet:
    """Columns for all rows of a source, by formulas that a test can use too."""
    with AttributeWriter(folder, snapshot.identity, COLUMNS, {"by": name, **made_by}) as writer:
        for first, num_rows in zip(snapshot.block_first_row.tolist(), snapshot.block_rows.tolist(), strict=True):
            rows = range(first, first + num_rows)
            writer.write(
                {
                    "keep": pa.array([keep_of(name, row) for row in rows], pa.bool_()),
                    "score": pa.array([score_of(name, row) for row in rows], pa.float32()),
                    "topic": pa.array([row % 3 - 1 if row % 3 else 2 for row in rows], pa.uint16()),
                }
            )
    return writer.finish()


def with_sets(workshop: Workshop, folder: Path, **where: str) -> Any:
    """A recipe whose sources all have the attributes `q`, some with a `where` over them."""
    sources = copy.deepcopy(SOURCES)
    for name, source in workshop.recipe().sources.items():
        found = write_set(folder, name, pin(name, source.model_copy(update={"where": None}), workshop.root))
        sources[name] |= {"attributes": {"q": str(found.folder / f"{found.digest}.json")}}
        if name in where:
            sources[name]["where"] = where[name]
    return workshop.recipe(sources=sources)


@pytest.fixture(scope="module")
def recipe(workshop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("sets")
    made = with_sets(
        workshop,
        folder,
        edu="score >= 3 and q.score > 0.2",
        crawl="q.score < 0.7",
        books="q.topic in ['sport', 'maths']",
    )
    shared(folder)
    return made


def keeps(name: str, row: int, record: dict[str, Any]) -> bool:
    """What the recipe says, in Python."""
    score = None if score_of(name, row) is None else float(np.float32(score_of(name, row)))  # as it is stored
    wanted = {
        "edu": lambda: record["score"] >= 3 and score is not None and score > 0.2,
        "crawl": lambda: score is not None and score < 0.7,
        "books": lambda: topic_of(row) in ("sport", "maths"),
    }
    return keep_of(name, row) and bool(wanted.get(name, lambda: True)())


@pytest.mark.quick
def test_a_set_has_the_digests_of_its_values(tmp_path: Path) -> None:
    """Of all values end to end, nulls as 0, and of where there are values; blocks make no difference."""
    values, valid = [0.5, 0.0, -2.0], [1, 0, 1]
    sets = []
    for cuts in ([3], [1, 2], [0, 2, 1]):
        with AttributeWriter(tmp_path, "a" * 64, COLUMNS[:2], {"by": "hand"}) as writer:
            start = 0
            for size in cuts:
                part = slice(start, start + size)
                scores = [value if there else None for value, there in zip(values[part], valid[part], strict=True)]
                writer.write({"keep": pa.array([True] * size), "score": pa.array(scores, pa.float32())})
                start += size
        sets.append(writer.finish())
    assert len({one.digest for one in sets}) == 1
    digests = sets[0].header.digests
    assert digests["keep"] == {"nulls": 0, "sha256": hashlib.sha256(b"\1\1\1").hexdigest()}
    assert digests["score"]["sha256"] == hashlib.sha256(struct.pack("<3f", 0.5, 0, -2)).hexdigest()
    assert digests["score"]["valid_sha256"] == hashlib.sha256(bytes(valid)).hexdigest()
    assert sets[-1].damage([0, 2, 1]) is None
    assert "block 1 has 2 rows" in (sets[-1].damage([0, 1, 2]) or "")
    assert "blocks" in (sets[-1].damage([3]) or "")


@pytest.mark.quick
def test_the_page_of_the_format_has_a_digest() -> None:
    """Of true, true, false."""
    column = ColumnDigest()
    column.update(pa.array([True, True, False]))
    page = (Path(mixer.__file__).parent / "format.md").read_text()
    assert f"bool true, true, false     sha256 {column.as_json()['sha256']}" in page


@pytest.mark.quick
def test_a_set_that_is_not_finished_leaves_nothing(tmp_path: Path) -> None:
    """An error in the middle."""
    writer = AttributeWriter(tmp_path, "a" * 64, COLUMNS[:1], {})
    with pytest.raises(KeyError, match="keep"), writer:
        writer.write({"score": pa.array([0.5])})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_a_build_equals_the_oracle_over_the_rows_that_are_kept(
    workshop: Workshop, tmp_path: Path, recipe: Any, workers: int
) -> None:
    """Masks, scores with nulls, labels, with columns of the source or without; whole blocks may go."""
    manifest, shards = both(workshop, tmp_path / "out", recipe, keeps=keeps)
    assert len(shards) > 3
    again = workshop.build(tmp_path / "again", recipe, workers=workers)
    assert again.id == manifest.id
    rows = [row for shard in workshop.rows(tmp_path / "out", manifest) for row in shard]
    drawn = {pair for row in rows for pair in zip(row["segment_source"], row["segment_row"], strict=True)}
    names = manifest.source_names
    assert all(keep_of(names[source], row) for source, row in drawn if source >= 0)


@pytest.fixture(scope="module")
def finished(workshop: Workshop, tmp_path_factory: pytest.TempPathFactory, recipe: Any) -> Path:
    out = tmp_path_factory.mktemp("finished") / "out"
    workshop.build(out, recipe)
    return shared(out)


def test_a_build_holds_what_decided_its_rows(workshop: Workshop, tmp_path: Path, finished: Path, recipe: Any) -> None:
    """It can be checked and made again when the sets of the recipe are gone; another set is another plan."""
    manifest = load_manifest(finished)
    assert list(find_damage(finished, manifest)) == []
    assert len(list((finished / "attributes").glob("*.arrow"))) == 12
    shutil.copytree(finished, tmp_path / "out")
    moved = tmp_path / "cache"
    assert check_deep(tmp_path / "out", manifest, root=workshop.root, cache_dir=moved).num_shards == 1
    for path in (tmp_path / "out/shards").iterdir():
        path.unlink()
    assert len(repair(tmp_path / "out", root=workshop.root, cache_dir=moved).shards) == len(manifest.shards)
    assert contents(tmp_path / "out/shards") == contents(finished / "shards")


@pytest.mark.parametrize("kind", ["json", "arrow"])
def test_damage_of_a_set_is_found(tmp_path: Path, finished: Path, kind: str) -> None:
    """Any byte of either file."""
    manifest = load_manifest(finished)
    for number, path in enumerate(sorted((finished / "attributes").glob(f"*.{kind}"))):
        out = tmp_path / str(number)
        shutil.copytree(finished, out)
        damaged = out / "attributes" / path.name
        data = bytearray(damaged.read_bytes())
        data[len(data) // 2] ^= 1
        damaged.write_bytes(data)
        assert any("attributes" in str(problem) for problem in find_damage(out, manifest)), path
        damaged.unlink()
        assert any("attributes" in str(problem) for problem in find_damage(out, manifest)), path


def test_trace_says_why_a_row_is_not_there(workshop: Workshop, finished: Path) -> None:
    """Row attributes, not `where`."""
    manifest = load_manifest(finished)
    number = manifest.source_names.index("forum")
    assert not keep_of("forum", 3)
    fate = row_fate(
        finished, manifest, number, 3, is_in_a_sequence=False, root=workshop.root, cache_dir=workshop.cache_dir
    )
    assert fate.why == "not_kept"


@pytest.mark.quick
def test_attributes_of_another_snapshot_are_refused(workshop: Workshop, tmp_path: Path) -> None:
    """By the name of the file."""
    root = write_mixture(tmp_path / "data")
    recipe = with_sets(workshop, tmp_path / "sets")
    (root / "crawl/0.jsonl.zst").write_bytes((root / "crawl/1.jsonl.zst").read_bytes())
    with pytest.raises(DataError, match=r"[0-9a-f]{64}\.arrow are of another snapshot .*54 rows") as caught:
        workshop.build(tmp_path / "out", recipe, root=root)
    assert caught.value.where == "sources.crawl.attributes.q"


@pytest.mark.quick
@pytest.mark.parametrize(
    ("where", "kind", "message"),
    [
        ("q.score > 2", RecipeError, "keep none of the 54 rows"),
        ("q.scores > 0.2", RecipeError, "column 'q.scores' is not in the source; columns are 'q.keep', 'q.score'"),
        ("q.score == 'high'", RecipeError, "does not fit"),
        ("quality.score > 0.2", RecipeError, "column 'quality.score' is not in the source"),
    ],
)
def test_a_where_that_does_not_fit_is_refused(
    workshop: Workshop, tmp_path: Path, where: str, kind: type[MixerError], message: str
) -> None:
    """With the place in the recipe; nothing is built."""
    with pytest.raises(kind, match=message) as caught:
        workshop.build(tmp_path / "out", with_sets(workshop, tmp_path / "sets", crawl=where))
    assert "sources.crawl" in str(caught.value.where)
    assert not (tmp_path / "out").exists()


@pytest.mark.quick
@pytest.mark.parametrize(
    ("content", "kind", "message"),
    [
        (None, RecipeError, "is not the DIGEST.json"),
        (b"{}", IntegrityError, "differs from its name"),
        (b'{"format":"mixer-attributes","format_version":3}', FormatError, "version 3"),
        (b'{"format":"mixer-attributes","format_version":2}', FormatError, "not a set"),
        (b'{"format":"mixer"}', FormatError, "not a set"),
    ],
)
def test_what_is_no_set_is_refused(
    workshop: Workshop, tmp_path: Path, content: bytes | None, kind: type[MixerError], message: str
) -> None:
    """A path to nothing, another file, another version."""
    path = tmp_path / f"{hashlib.sha256(content or b'').hexdigest()}.json"
    if content is not None:
        path.write_bytes(content if content != b"{}" else b"{} ")
    sources = {"crawl": {"weight": 1, "path": "crawl/*.jsonl.zst", "attributes": {"q": str(path)}}}
    with pytest.raises(kind, match=message):
        workshop.build(tmp_path / "out", workshop.recipe(sources=sources))
