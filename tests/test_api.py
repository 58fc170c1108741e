"""`import mixer`: a small list of names, each imported when it is first used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from workshop import Workshop

import mixer
import mixer.export.export
from mixer.errors import RecipeError, UsageError
from mixer.feed.sequences import open_build

PACKAGE = Path(mixer.__file__).parent
HEAVY = {"numpy", "pyarrow", "torch", "pydantic", "yaml", "typer", "rich", "tokenizers", "gigatoken", "awkward"}


def loaded_by(code: str) -> set[str]:
    """The modules that are there after some lines in a process of their own."""
    script = f"import sys\n{code}\nprint(*sys.modules)"
    return set(subprocess.check_output([sys.executable, "-c", script], text=True).split())


def test_the_public_names_are_sorted_there_and_documented() -> None:
    """Each has a docstring, and `dir` lists it."""
    assert sorted(mixer.__all__) == mixer.__all__ == sorted(mixer._HOMES)
    assert set(mixer.__all__) <= set(dir(mixer))
    for name in mixer.__all__:
        assert len(getattr(mixer, name).__doc__ or "") > 40, name


def test_no_public_name_is_a_folder_or_a_module() -> None:
    """Else importing the folder would put it in the name's place: `mixer.plan` would be one thing, then another."""
    assert {path.stem for path in PACKAGE.iterdir()} & set(mixer.__all__) == set()


def test_importing_mixer_imports_nothing_heavy() -> None:
    """Nor any other module of mixer."""
    modules = loaded_by("import mixer; mixer.__version__; dir(mixer)")
    assert {name.split(".")[0] for name in modules} & HEAVY == set()
    assert {name for name in modules if name.startswith("mixer")} == {"mixer"}


def test_opening_a_build_needs_numpy_and_pyarrow_alone() -> None:
    """As on a training node."""
    modules = loaded_by("import mixer; mixer.open; mixer.load_manifest; mixer.Batch; mixer.verify_build")
    assert {name.split(".")[0] for name in modules} & HEAVY == {"numpy", "pyarrow"}


def test_an_unknown_name_is_an_attribute_error() -> None:
    """As of any module, so that `hasattr` works."""
    with pytest.raises(AttributeError, match="module 'mixer' has no attribute 'plam'"):
        mixer.plam  # noqa: B018
    assert not hasattr(mixer, "_build")


@pytest.mark.parametrize(
    "name", ["mixer.export.export", "mixer.plan.plan", "mixer.building.build", "mixer.verify.repair"]
)
def test_a_module_can_be_imported_by_its_name(name: str) -> None:
    """`import a.b.c as m` takes attributes: no function of the same name may stand in the folder."""
    names: dict[str, object] = {}
    exec(f"import {name} as found", names)
    assert isinstance(names["found"], ModuleType)


def test_open_is_open_build() -> None:
    """Under its short name, which shadows nothing in this module."""
    assert mixer.open is open_build
    assert mixer.__dict__.get("open") is None


@pytest.fixture
def recipe(workshop: Workshop, tmp_path: Path) -> Path:
    """A recipe beside its source."""
    (tmp_path / "rows.jsonl").write_text("".join(f'{{"text": "line {number} of a few"}}\n' for number in range(60)))
    path = tmp_path / "few.yaml"
    path.write_text("sequence: {length: 32}\ntarget: {sequences: 8}\nsources:\n  few: {weight: 1, path: rows.jsonl}\n")
    return path


def test_a_recipe_is_planned_built_opened_verified_and_exported(recipe: Path, workshop: Workshop) -> None:
    """With strings for paths; relative paths of the recipe start from its folder."""
    out, cache = recipe.parent / "out", workshop.cache_dir
    forecast = mixer.plan_recipe(str(recipe), cache_dir=str(cache))
    assert forecast.sequences.value == pytest.approx(8)
    assert [source.name for source in forecast.sources] == ["few"]
    manifest = mixer.build(str(recipe), str(out), workers=1, cache_dir=str(cache))
    assert manifest.totals.sequences == 8
    assert mixer.load_manifest(str(out)) == manifest
    sequences = mixer.open(str(out))
    assert (len(sequences), sequences[:3].input_ids.shape, sequences[:3].input_ids.dtype) == (8, (3, 32), "int32")
    assert mixer.verify_build(str(out)) == []
    record = mixer.export_build(str(out), "bin", str(recipe.parent / "bin"))
    assert record["manifest"] == manifest.id


def test_a_loaded_recipe_is_built_from_a_root(recipe: Path, workshop: Workshop, tmp_path: Path) -> None:
    """Its overrides were given when it was loaded; given again, they are refused and not ignored."""
    loaded = mixer.load_recipe(str(recipe), ["target.sequences=2"])
    manifest = mixer.build(loaded, tmp_path / "out", root=tmp_path, workers=1, cache_dir=workshop.cache_dir)
    assert manifest.totals.sequences == 2
    with pytest.raises(UsageError, match="overrides need the path of a recipe"):
        mixer.build(loaded, tmp_path / "other", root=tmp_path, overrides=["seed=2"])
    assert not (tmp_path / "other").exists()


def test_overrides_of_a_path_are_those_of_the_command_line(recipe: Path) -> None:
    """All problems at once, before anything is read."""
    with pytest.raises(RecipeError, match=r"sequence\.length"):
        mixer.plan_recipe(recipe, overrides=["sequence.length=0"])


def test_damage_is_listed(copy_of_finished: Path) -> None:
    """Each with its place; a build that is whole has none."""
    assert mixer.verify_build(copy_of_finished) == []
    shard = copy_of_finished / mixer.load_manifest(copy_of_finished).shards[0].path
    shard.write_bytes(shard.read_bytes()[:-9])
    damage = mixer.verify_build(copy_of_finished / "manifest.json")
    assert damage
    assert {error.where for error in damage} == {str(shard)}
    assert isinstance(damage[0], mixer.MixerError)


def test_an_address_is_refused(tmp_path: Path) -> None:
    """Where a folder is needed."""
    with pytest.raises(UsageError, match="is an address"):
        mixer.verify_build("s3://bucket/out")


@pytest.mark.parametrize("name", ["nothing-here", "v1.0"])
def test_a_folder_that_is_not_there_is_named(name: str, tmp_path: Path) -> None:
    """And not the folder around it, which may well be there."""
    with pytest.raises(mixer.MixerError, match="there is no such folder") as caught:
        mixer.open(tmp_path / name)
    assert caught.value.where == str(tmp_path / name)
