"""`mixer verify --deep` and `mixer repair`: a finished build against its sources, and damaged files made again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from workshop import Workshop, contents, write_mixture

from mixer.errors import DataError, IntegrityError
from mixer.shards.manifest import load_manifest
from mixer.verify.repair import repair
from mixer.verify.shards import find_damage
from mixer.verify.sources import check_deep


def deep(workshop: Workshop, out: Path, root: Path | None = None) -> Any:
    return check_deep(out, load_manifest(out), root=root or workshop.root, cache_dir=workshop.cache_dir)


def mend(workshop: Workshop, out: Path) -> Any:
    return repair(out, root=workshop.root, cache_dir=workshop.cache_dir)


@pytest.mark.parametrize("packing", ["concat", "best-fit"])
@pytest.mark.parametrize("target", [{"tokens": 2000}, {"sequences": 20}, {"rows": 60}, {"passes": {"maths": 2}}])
def test_redrawn_epochs_are_built_again_as_they_were(
    workshop: Workshop, tmp_path: Path, target: dict[str, Any], packing: str
) -> None:
    """Three epochs meet the target three times over; every task, the cut one too, comes out with the same content."""
    recipe = workshop.recipe(
        target=target, epochs={"mode": "redraw", "count": 3}, sequence={"packing": packing}, seed=len(packing)
    )
    manifest = workshop.build(tmp_path / "out", recipe)
    assert deep(workshop, tmp_path / "out").num_shards == 1
    shutil.rmtree(tmp_path / "out/shards")
    (tmp_path / "out/shards").mkdir()
    assert len(mend(workshop, tmp_path / "out").shards) == len(manifest.shards)
    assert list(find_damage(tmp_path / "out", load_manifest(tmp_path / "out"))) == []


def test_a_file_that_was_added_to_a_glob_is_none_of_the_build(workshop: Workshop, tmp_path: Path) -> None:
    """The build is right; but a file that it read and that is gone, or another one, is an error that names it."""
    root = write_mixture(tmp_path / "data")
    workshop.build(tmp_path / "out", workshop.recipe(), root=root)
    pq.write_table(pa.table({"text": ["new"], "score": [5]}), root / "edu/part.1.parquet")
    (root / "crawl/00.jsonl.zst").write_bytes((root / "crawl/0.jsonl.zst").read_bytes())
    assert deep(workshop, tmp_path / "out", root).num_shards == 1
    pq.write_table(pa.table({"text": ["other"], "score": [5]}), root / "edu/part.2.parquet")
    with pytest.raises(DataError, match=r"part\.2\.parquet.* changed|changed.*part\.2\.parquet"):
        deep(workshop, tmp_path / "out", root)
    (root / "edu/part.2.parquet").unlink()
    with pytest.raises(DataError, match=r"removed.*part\.2\.parquet"):
        deep(workshop, tmp_path / "out", root)


def test_a_page_that_changed_under_the_same_footer_is_found(workshop: Workshop, tmp_path: Path) -> None:
    """The footer identifies the file; the digest that the build noted beside tells."""
    root = write_mixture(tmp_path / "data")
    workshop.build(tmp_path / "out", workshop.recipe(), root=root)
    noted = json.loads((tmp_path / "out/evidence.json").read_bytes())
    assert set(noted) >= {"code", "edu"}
    path = root / "code/0.parquet"
    data = bytearray(path.read_bytes())
    at = data.index(b"don't") if b"don't" in data else 20
    data[at] ^= 1
    path.write_bytes(data)
    with pytest.raises((DataError, IntegrityError)):
        deep(workshop, tmp_path / "out", root)


def damage_shard(out: Path) -> None:
    path = out / "shards/00002.arrow"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


DAMAGES: dict[str, Any] = {
    "a flipped bit": (damage_shard, {"shards/00002.arrow"}),
    "a shard that is gone": (lambda out: (out / "shards/00001.arrow").unlink(), {"shards/00001.arrow"}),
    "the last shard": (lambda out: sorted((out / "shards").iterdir())[-1].write_bytes(b""), None),
    "a record": (lambda out: (out / "tasks/00003.json").write_bytes(b"{}"), {"tasks/00003.json"}),
    "the plan": (lambda out: (out / "plan.json").unlink(), {"plan.json"}),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_what_is_damaged_is_made_again_and_nothing_else(workshop: Workshop, copy_of_finished: Path, name: str) -> None:
    """Every file is as it was, and the others were not written to."""
    before = contents(copy_of_finished)
    damage, expected = DAMAGES[name]
    damage(copy_of_finished)
    times = {path: path.stat().st_mtime_ns for path in copy_of_finished.rglob("*") if path.is_file()}
    done = mend(workshop, copy_of_finished)
    made = {*done.shards, *done.records, *done.others}
    assert len(made) == 1
    assert expected is None or made == expected
    assert contents(copy_of_finished) == before
    for path, mtime in times.items():
        name_in_build = path.relative_to(copy_of_finished).as_posix()
        record = name_in_build.replace("shards/", "tasks/").replace(".arrow", ".json")
        if not made & {name_in_build, record.replace("tasks/", "shards/").replace(".json", ".arrow")}:
            assert path.stat().st_mtime_ns == mtime, name_in_build
    assert mend(workshop, copy_of_finished).num_files == 0


def test_a_repair_cannot_change_a_build(workshop: Workshop, copy_of_finished: Path, tmp_path: Path) -> None:
    """Other sources are refused, and the damage stays as it is."""
    damage_shard(copy_of_finished)
    before = contents(copy_of_finished)
    write_mixture(tmp_path / "other", seed=8)
    with pytest.raises(DataError, match="it changed since the build read it"):
        repair(copy_of_finished, root=tmp_path / "other", cache_dir=workshop.cache_dir)
    after = contents(copy_of_finished)
    after.pop(".mixer/lock", None), before.pop(".mixer/lock", None)
    assert after == before


def test_a_damaged_manifest_is_not_repaired(workshop: Workshop, copy_of_finished: Path) -> None:
    """It says what the build is: without it there is nothing to hold the shards against."""
    path = copy_of_finished / "manifest.json"
    path.write_text(path.read_text().replace('"seed": 1', '"seed": 2'))
    with pytest.raises(IntegrityError, match="edited or damaged"):
        mend(workshop, copy_of_finished)
