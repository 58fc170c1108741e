"""An address is refused wherever a path of this machine is needed, and nothing is written into a folder `s3:`."""

from __future__ import annotations

from pathlib import Path

import pytest
from workshop import Workshop

import mixer.feed
from mixer.building.build import build, sources_cache
from mixer.cli.main import run
from mixer.errors import UsageError
from mixer.export.export import export
from mixer.feed import open_build
from mixer.sample import make_sample
from mixer.shards.manifest import load_manifest
from mixer.system.local_paths import check_local

pytestmark = pytest.mark.quick

ADDRESSES = ["s3://bucket/out", "gs://bucket/out", "hf://datasets/a/b", "https://host/out", "S3://bucket/out"]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("kind", [str, Path])
def test_an_address_is_no_path(address: str, kind: type) -> None:
    """As text, and as the path that pathlib makes of it, which loses a slash."""
    with pytest.raises(UsageError) as refused:
        check_local(kind(address), where="--out")
    assert refused.value.where == "--out"
    assert refused.value.message == f"'{address}' is an address; a local path is needed"
    assert refused.value.hint == f"give a local path, and copy between it and {address} with that store's own tool"


def test_a_file_address_is_refused_with_its_path() -> None:
    """`file:///data/out` would be a folder `file:`; the hint has the path."""
    with pytest.raises(UsageError) as refused:
        check_local("file:///data/out", where="OUT")
    assert refused.value.hint == "give the path alone: /data/out"


@pytest.mark.parametrize(
    "path", ["out", "/data/s3/out", "./a:b/c", "C:/data", "out/s3:/x", "a b", "s3:bucket", "", "~/out", ".hidden/x"]
)
def test_a_path_is_a_path(path: str) -> None:
    """Colons alone make no address."""
    check_local(path, where="OUT")


RECIPE = "recipe.yaml"
COMMANDS = {
    "--out": ["build", RECIPE, "-o", "@"],
    "build --cache": ["build", RECIPE, "--cache", "@"],
    "build --root": ["build", RECIPE, "--root", "@"],
    "--manifests": ["build", RECIPE, "--manifests", "@"],
    "build RECIPE": ["build", "@"],
    "plan RECIPE": ["plan", "@", "--facts"],
    "plan --root": ["plan", RECIPE, "--root", "@"],
    "plan --cache": ["plan", RECIPE, "--cache", "@"],
    "export OUT": ["export", "@", "data", "--to", "bin"],
    "export DIR": ["export", "out", "@", "--to", "bin"],
    "fetch OUT": ["fetch", "stack-v2", "rows/*.parquet", "@"],
    "fetch --cache": ["fetch", "stack-v2", "rows/*.parquet", "out", "--cache", "@"],
    "sample": ["sample", "@"],
    "inspect": ["inspect", "@"],
    "verify": ["verify", "@"],
    "verify --recipe": ["verify", "out", "--deep", "--recipe", "@"],
    "verify --root": ["verify", "out", "--deep", "--root", "@"],
    "show": ["show", "@", "--sequence", "0"],
    "show --cache": ["show", "out", "--sequence", "0", "--cache", "@"],
    "trace": ["trace", "@", "--step", "0"],
}


@pytest.mark.parametrize("address", ["s3://bucket/out", "file:///data/out"])
@pytest.mark.parametrize("name", COMMANDS)
def test_every_verb_refuses_an_address(
    name: str, address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, the place, and nothing on disk."""
    assert run([address if word == "@" else word for word in COMMANDS[name]]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    place = name.split()[-1] if not name.islower() or "-" in name else ""
    assert f"{place}: '{address}' is an address; a local path is needed" in said.err
    assert "hint: give" in said.err
    assert list(tmp_path.iterdir()) == []


def test_the_cache_of_the_environment_is_held_to_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], workshop: Workshop
) -> None:
    """`$MIXER_CACHE` is named as the place."""
    monkeypatch.setenv("MIXER_CACHE", "s3://bucket/cache")
    (tmp_path / RECIPE).write_text(
        "name: a\ntarget: {rows: 1}\nsources: {a: {weight: 1, path: a.jsonl}}\ntokenizer: llama3\n"
    )
    assert run(["build", RECIPE]) == 2
    assert "$MIXER_CACHE: 's3://bucket/cache' is an address" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [RECIPE]


@pytest.mark.parametrize("address", ["s3://bucket/out", Path("s3://bucket/out")])
def test_the_library_refuses_it_as_well(workshop: Workshop, tmp_path: Path, address: str | Path) -> None:
    """From Python, where no option was parsed."""
    recipe = workshop.recipe()
    folders = {"root": workshop.root, "out": tmp_path / "out", "cache_dir": workshop.cache_dir, "copies": None}
    for name in folders:
        with pytest.raises(UsageError) as refused:
            build(recipe, **folders | {name: address})  # type: ignore[arg-type]
        assert refused.value.where == name
    for call in (
        lambda: export(tmp_path / "out", "bin", address),  # type: ignore[arg-type]
        lambda: export(address, "bin", tmp_path / "data"),
        lambda: open_build(address),
        lambda: mixer.feed.open(address),
        lambda: load_manifest(Path(address)),
        lambda: make_sample(Path(address), 1000),
    ):
        with pytest.raises(UsageError, match="is an address; a local path is needed"):
            call()
    assert list(tmp_path.iterdir()) == []


def test_a_recipes_cache_is_local(workshop: Workshop) -> None:
    """`cache: {dir: s3://...}` names its place in the recipe."""
    recipe = workshop.recipe(cache={"dir": "s3://bucket/cache"})
    with pytest.raises(UsageError) as refused:
        sources_cache(recipe, root=workshop.root, cache_dir=workshop.cache_dir)
    assert refused.value.where == "cache.dir"
