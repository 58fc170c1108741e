"""The published recipes, built from a loopback hub, bucket and web server laid out as the real ones are."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import layouts
import pyarrow.parquet as pq
import pytest
from servers import Faults, HubServer, Server, serve_bucket, serve_files, serve_hub

from mixer.recipe import load_recipe
from mixer.report.tables import summarise
from mixer.shards.manifest import load_manifest
from mixer.shards.records import Manifest

REPOSITORY = Path(__file__).parents[2]
REPOS = {
    "Zyphra/Zyda-2": layouts.write_zyda2,
    "HuggingFaceTB/finemath": layouts.write_finemath,
    "HuggingFaceFW/fineweb-edu": layouts.write_fineweb_edu,
    "mlfoundations/dclm-baseline-1.0": layouts.write_dclm_baseline,
}
TARGETS = {
    "llama3-8b-zyda2": "target.tokens=150K",
    "zyda2-100bt": "target.passes.fineweb-edu=2",
    "dclm-fineweb-originals": "target.tokens=100K",
}
# What the recipes ask for, before a test makes them small.
FIRST_LINES = {
    "llama3-8b-zyda2": ({"tokens": 809_000_000_000}, ["dclm", "fineweb-edu", "dolma", "zyda", "stack-v2", "finemath"]),
    "zyda2-100bt": ({"passes": {"fineweb-edu": 1}}, ["dclm", "fineweb-edu", "dolma", "zyda"]),
    "dclm-fineweb-originals": ({"tokens": 100_000_000_000}, ["dclm", "fineweb-edu", "dolma"]),
}


@dataclass(frozen=True)
class World:
    """The servers, and the folder of what they serve: `hub/ORG/NAME`, `web`; and `data/stack-v2`, which was fetched."""

    root: Path
    hub: HubServer
    web: Server
    environment: dict[str, str]

    def build(self, recipe: Path, out: Path, *settings: str) -> Manifest:
        """Build by the command line; the manifest."""
        changes = [part for setting in settings for part in ("--set", setting)]
        folders = ["-o", str(out), "--root", str(self.root), "--manifests", str(out.parent / "manifests")]
        run_mixer(self.environment, "build", str(recipe), *folders, *changes, "--quiet")
        return load_manifest(out)

    def plan(self, recipe: Path, *settings: str) -> dict[str, Any]:
        """Plan by the command line; what it says to programs."""
        changes = [part for setting in settings for part in ("--set", setting)]
        return json.loads(run_mixer(self.environment, "plan", str(recipe), "--root", str(self.root), *changes))


def run_mixer(environment: dict[str, str], *arguments: str) -> str:
    """The command line, in a process of its own; what it prints."""
    command = [sys.executable, "-m", "mixer.cli.main", *arguments, "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, cli_environment: dict[str, str]) -> Iterator[World]:
    root = tmp_path_factory.mktemp("world")
    layouts.write_dolma(root / "web")
    layouts.write_stack_ids(root / "stack-ids")
    layouts.write_stack_bucket(root / "buckets/softwareheritage")
    with (
        serve_hub() as hub,
        serve_files(root / "web") as web,
        serve_bucket(root / "buckets", unlisted=["softwareheritage"]) as bucket,
    ):
        for name, write in REPOS.items():
            write(root / "hub" / name)
            hub.commit(name, root / "hub" / name)
        kept = {name: value for name, value in cli_environment.items() if not name.startswith(("HF_", "AWS_"))}
        environment = kept | hub.environment(root / "home") | {"MIXER_CACHE": str(root / "cache")}
        # Without keys: the real bucket is read unsigned.
        of_bucket = {"AWS_ENDPOINT_URL": bucket.url, "AWS_ALLOW_HTTP": "true"}
        ids, texts = root / "stack-ids/data/*.parquet", root / "data/stack-v2"
        run_mixer(environment | of_bucket, "fetch", "stack-v2", str(ids), str(texts), "--quiet")
        yield World(root=root, hub=hub, web=web, environment=environment)


@pytest.fixture(scope="module", params=TARGETS)
def recipe(request: pytest.FixtureRequest) -> Path:
    return REPOSITORY / "recipes" / f"{request.param}.yaml"


def addresses(recipe: Path, change: Callable[[str], str]) -> list[str]:
    """Settings that change each address of a recipe."""
    settings = []
    for name, source in load_recipe(recipe, []).sources.items():
        changed = json.dumps([change(path) for path in source.path], ensure_ascii=False)
        settings.append(f"sources.{name}.path={changed}")
    return settings


def remote(world: World) -> Callable[[str], str]:
    """The hub is found by its environment; the web server of Dolma stands here."""
    return lambda path: path.replace("https://olmo-data.org", world.web.url)


def local(world: World) -> Callable[[str], str]:
    """The same files on this disk."""

    def change(path: str) -> str:
        path = path.replace("https://olmo-data.org", str(world.root / "web"))
        return path.replace("hf://datasets", str(world.root / "hub")).replace("@main", "")

    return change


def test_what_is_fetched_is_what_the_blobs_mean(world: World, tmp_path: Path) -> None:
    """Every file of every repository, decoded as its row says."""
    layouts.write_stack_texts(tmp_path / "texts")
    fetched, expected = (
        [row for path in sorted(folder.rglob("*.parquet")) for row in pq.read_table(path).to_pylist()]
        for folder in (world.root / "data/stack-v2", tmp_path / "texts")
    )
    assert fetched == expected


def content(manifest: Manifest) -> Any:
    """What must not depend on where the sources are."""
    sources = [(source.name, source.num_rows) for source in manifest.sources]
    return manifest.shards, sources, manifest.counts, manifest.totals


def test_the_recipe_asks_for_what_its_comment_says(recipe: Path) -> None:
    """Target and sources, as they are published."""
    loaded = load_recipe(recipe, [])
    target, names = FIRST_LINES[recipe.stem]
    asked = loaded.target.model_dump(exclude_none=True)
    assert asked == target
    assert sorted(loaded.sources) == sorted(names)


@pytest.fixture(scope="module")
def near(recipe: Path, world: World, tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """The manifest of the build from local copies."""
    out = tmp_path_factory.mktemp("near") / recipe.stem
    return world.build(recipe, out, TARGETS[recipe.stem], *addresses(recipe, local(world)))


def test_built_from_the_servers_it_is_the_build_of_local_copies(
    recipe: Path, world: World, near: Manifest, tmp_path: Path
) -> None:
    """Byte for byte the same shards, and the same account of every source."""
    far = world.build(recipe, tmp_path / "far", TARGETS[recipe.stem], *addresses(recipe, remote(world)))
    assert content(far) == content(near)
    assert far.shards


def test_planned_from_the_servers_it_is_what_the_build_holds(recipe: Path, world: World, near: Manifest) -> None:
    """Every source with all its rows, the shares that its weight asks for, and the build's own within the intervals."""
    found = world.plan(recipe, TARGETS[recipe.stem], *addresses(recipe, remote(world)))
    built = {row.name: row for row in summarise(near).sources}
    asked = {name: source.weight for name, source in load_recipe(recipe, []).sources.items()}
    assert sorted(source["name"] for source in found["sources"]) == sorted(asked) == sorted(built)
    one_row = 1 / found["rows"]["value"]
    # A build that has its tokens goes on to the end of a sequence, and a plan does not.
    by_tokens = TARGETS[recipe.stem].startswith("target.tokens")
    held_tokens = near.totals.tokens + near.totals.tokens_left_out
    longer = held_tokens / found["tokens"]["value"] if by_tokens else 1.0
    for source in found["sources"]:
        actual, share = built[source["name"]], source["token_share"]
        num_rows = actual.rows_available
        assert source["rows_available"] == {"value": num_rows, "low": num_rows, "high": num_rows}
        # So no row of a source is unknown; which of them its last pass draws is what the intervals are for.
        assert source["basis"].startswith(f"a sample of {num_rows} of {num_rows} rows")
        assert source["share_asked"] == pytest.approx(asked[source["name"]] / sum(asked.values()))
        assert source["row_share"] == pytest.approx(actual.row_share_asked, abs=one_row)
        if found["weights"] == "rows":
            assert source["row_share"] == pytest.approx(source["share_asked"], abs=one_row)
        else:
            assert share["low"] <= source["share_asked"] <= share["high"]
        assert share["low"] <= actual.token_share <= share["high"]
        passes = {name: value * longer for name, value in source["passes"].items()}
        assert passes["low"] - 1 / num_rows < actual.passes < passes["high"] + 1 / num_rows
    for kind in ("row_share", "share_asked"):
        assert sum(source[kind] for source in found["sources"]) == pytest.approx(1)
    assert sum(source["token_share"]["value"] for source in found["sources"]) == pytest.approx(1)


def test_faults_on_the_way_change_no_byte(recipe: Path, world: World, near: Manifest, tmp_path: Path) -> None:
    """Every third request fails once, from an empty cache; the build does not differ, and its log counts them."""
    # All but the tokenizer, which takes long to make and comes from no server.
    for folder in (world.root / "cache").iterdir():
        if folder.name != "tokenizers":
            shutil.rmtree(folder)
    servers = (world.hub, world.web)
    for server in servers:
        server.forget()
        server.set_faults(Faults(seed=11, share=0.3))
    try:
        far = world.build(recipe, tmp_path / "far", TARGETS[recipe.stem], *addresses(recipe, remote(world)))
    finally:
        for server in servers:
            server.set_faults(Faults())
    assert content(far) == content(near)
    failed = [request for server in servers for request in server.requests() if request.fault]
    assert len({request.fault for request in failed}) >= 4
