"""Builds that were committed when their format version was new can be read for ever, and come out the same."""

from pathlib import Path

import pytest

from mixer.building.build import build
from mixer.errors import FormatError
from mixer.recipe import load_recipe
from mixer.shards.manifest import load_manifest
from mixer.shards.records import FORMAT_VERSION
from mixer.shards.shard import open_shard
from mixer.sources.pin_cache import default_cache_dir
from mixer.verify.shards import find_damage

pytestmark = pytest.mark.quick

GOLDEN = Path(__file__).parent / "golden"
BUILDS = sorted(path.parent for path in GOLDEN.glob("v*/*/manifest.json"))


def test_every_version_has_its_golden_builds() -> None:
    """A new format version comes with builds of it. Nobody outside had builds of version 1, and it is not read."""
    assert {build.parent.name for build in BUILDS} == {f"v{version}" for version in range(2, FORMAT_VERSION + 1)}


@pytest.mark.parametrize("folder", BUILDS, ids=lambda folder: f"{folder.parent.name}-{folder.name}")
def test_a_committed_build_is_still_read(folder: Path) -> None:
    """Manifest and shards of an older mixer keep all rules."""
    manifest = load_manifest(folder)
    assert list(find_damage(folder, manifest)) == []
    sequences = sum(open_shard(folder / shard.path).read_all().num_rows for shard in manifest.shards)
    assert sequences == manifest.totals.sequences > 20


@pytest.mark.parametrize("name", ["concat", "best-fit"])
def test_todays_mixer_builds_the_same(name: str, tmp_path: Path) -> None:
    """The id, and so every draw, id, segment and digest, is that of the committed build."""
    folder = GOLDEN / f"v{FORMAT_VERSION}"
    built = build(
        load_recipe(folder / f"{name}.yaml"),
        root=folder,
        out=tmp_path / "out",
        workers=1,
        cache_dir=default_cache_dir(),
    )
    committed = load_manifest(folder / name)
    assert [shard.content_sha256 for shard in built.shards] == [shard.content_sha256 for shard in committed.shards]
    assert (built.plan, built.prefix_id, built.id) == (committed.plan, committed.prefix_id, committed.id)


def test_a_build_of_version_1_is_refused_in_one_clear_sentence(tmp_path: Path) -> None:
    """It names the version and what to do."""
    (tmp_path / "manifest.json").write_text('{"format": "mixer", "format_version": 1, "id": "0", "shards": []}')
    with pytest.raises(FormatError, match=r"format version 1; this mixer reads 2\n  hint: build it again"):
        load_manifest(tmp_path)
