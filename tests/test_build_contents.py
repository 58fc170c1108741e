"""Sources whose text is fetched as a step of the build: real rows, real blobs, loopback servers."""

from __future__ import annotations

import fcntl
import gzip
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from manifest_kit import counts_of
from remote_kit import environment
from servers import HubServer, Server, aws_environment, serve_bucket, serve_hub
from stack_kit import SILENT, SourceFile, fetch, write_blobs, write_ids
from workshop import SOURCES, Workshop

import mixer
from mixer.building.build import sources_cache
from mixer.errors import BuildStateError, DataError, RecipeError
from mixer.plan.plan import Plan, make_plan
from mixer.recipe import Recipe, Target, parse_recipe, recipe_of
from mixer.shards.manifest import load_manifest
from mixer.shards.records import Manifest
from mixer.stack.cells import sample_cells
from mixer.stack.contents import Fetching, rows_of
from mixer.stack.fetch_plan import Policy, Rules
from mixer.stack.wanted_files import Selection
from mixer.survey.cache_contents import cache_entries, remove_entries
from mixer.survey.profile import SourceProfile
from mixer.survey.profiles import profiles_of_sources
from mixer.survey.result import Survey
from mixer.survey.survey import survey
from mixer.survey.update import update_pins
from mixer.tokens.tokenizer import load_tokenizer
from mixer.verify.sources import check_deep

REPO = "lab/stack-ids"


def make_repositories(count: int, begin: int = 0) -> list[list[SourceFile]]:
    """Repositories of 0 to 4 small files in two languages."""
    return [
        [
            SourceFile(
                content=f"# file {n} of repository {row}\n{'print(1)  # größe' * (row % 7)}\n".encode(),
                path=f"{row}/{n}",
                language=("Python", "C")[n % 2],
            )
            for n in range((row * 7) % 5)
        ]
        for row in range(begin, begin + count)
    ]


REPOSITORIES = make_repositories(300)


@dataclass(frozen=True)
class Yard:
    """The tiny mixture with rows without text beside it, and the bucket that has their blobs."""

    workshop: Workshop
    bucket: Server
    buckets: Path

    @property
    def ids(self) -> Path:
        return self.workshop.root / "ids"

    def recipe(self, *, path: str = "ids/*.parquet", contents: Any = "stack-v2", **changes: Any) -> Recipe:
        """The tiny mixture, with the text of `code` fetched."""
        code = {"weight": 10, "path": path, "contents": contents}
        return self.workshop.recipe(**{"sources": {**SOURCES, "code": code}, **changes})

    def blob(self, file: SourceFile) -> Path:
        return self.buckets / "softwareheritage/content" / file.blob_id

    def profiles(self, recipe: Recipe) -> tuple[Survey, list[SourceProfile]]:
        """What `mixer plan` goes by."""
        workshop = self.workshop
        tokenizer = load_tokenizer("llama3", root=workshop.root, cache_dir=workshop.cache_dir)
        cache = sources_cache(recipe, root=workshop.root, cache_dir=workshop.cache_dir)
        fetching = Fetching(workers=1, listener=lambda name: SILENT, sample=True)
        found = survey(recipe, tokenizer, root=workshop.root, cache=cache, fetching=fetching)
        make_plan(found)  # refuses what a build would
        return found, profiles_of_sources(found)

    def plan(self, recipe: Recipe) -> Plan:
        """The plan of a build, and nothing fetched for it."""
        workshop = self.workshop
        tokenizer = load_tokenizer("llama3", root=workshop.root, cache_dir=workshop.cache_dir)
        cache = sources_cache(recipe, root=workshop.root, cache_dir=workshop.cache_dir)
        return make_plan(survey(recipe, tokenizer, root=workshop.root, cache=cache))


@pytest.fixture
def yard(workshop: Workshop, tmp_path: Path) -> Iterator[Yard]:
    own = Workshop(root=tmp_path / "mixture", cache_dir=tmp_path / "cache")
    own.root.mkdir()
    for name in SOURCES:
        (own.root / name).symlink_to(workshop.root / name)
    write_ids(own.root / "ids/train-0.parquet", REPOSITORIES[:200], group_rows=70)
    write_ids(own.root / "ids/train-1.parquet", REPOSITORIES[200:])
    buckets = write_blobs(tmp_path / "buckets", REPOSITORIES)
    with serve_bucket(buckets, unlisted=["softwareheritage"]) as bucket, environment(**aws_environment(bucket)):
        yield Yard(workshop=own, bucket=bucket, buckets=buckets)


@pytest.fixture
def hub(yard: Yard, tmp_path: Path) -> Iterator[HubServer]:
    """The hub, with the rows as a data set."""
    with (
        serve_hub() as server,
        environment(**aws_environment(yard.bucket), **server.environment(tmp_path / "home")),
    ):
        server.commit(REPO, yard.ids)
        yield server


def digests(manifest: Manifest) -> list[str]:
    return [shard.content_xxh3 for shard in manifest.shards]


def blobs_asked(server: Server) -> int:
    return sum("/content/" in request.target for request in server.requests())


def test_the_shards_are_those_of_contents_fetched_before(yard: Yard, tmp_path: Path) -> None:
    """`mixer fetch`, then a plain source; or one build that does both."""
    fetch(
        yard.ids,
        yard.workshop.root / "fetched",
        rules=Rules(selection=Selection(languages=("Python",)), on_missing=Policy.ERROR),
    )
    plain = {"weight": 10, "path": "fetched/*.parquet", "text": "files[].text"}
    before = yard.workshop.build(
        tmp_path / "before", yard.workshop.recipe(sources={**SOURCES, "code": plain}), workers=2
    )
    step = yard.recipe(contents={"languages": ["Python"], "on_missing": "error"})
    manifest = yard.workshop.build(tmp_path / "step", step)
    assert digests(manifest) == digests(before)
    assert counts_of(manifest, "code").tokens > 0
    assert manifest.recipe["sources"]["code"]["contents"]["languages"] == ["Python"]
    assert "blobs" not in manifest.recipe["sources"]["code"]["contents"]


def test_contents_are_fetched_once(yard: Yard, tmp_path: Path) -> None:
    """For other seeds, weights and texts of the same rows too; other rules are another fetch."""
    yard.workshop.build(tmp_path / "one", yard.recipe())
    first = blobs_asked(yard.bucket)
    assert first == sum(map(len, REPOSITORIES))
    yard.workshop.build(tmp_path / "two", yard.recipe(seed=2))
    assert yard.plan(yard.recipe(seed=3)).snapshots
    assert blobs_asked(yard.bucket) == first
    yard.workshop.build(tmp_path / "three", yard.recipe(contents={"languages": ["C"]}))
    assert blobs_asked(yard.bucket) == first + sum(file.language == "C" for files in REPOSITORIES for file in files)
    assert len([path for path in (tmp_path / "cache/fetched").iterdir() if path.is_dir()]) == 2
    entries = [entry for entry in cache_entries(tmp_path / "cache") if entry.kind == "fetched"]
    assert len(entries) == 2
    assert remove_entries(tmp_path / "cache", entries) == []  # who has read them may do so again until it ends


def test_a_plan_of_a_build_wants_them_fetched(yard: Yard) -> None:
    """It says what to do; nothing was asked of the bucket."""
    with pytest.raises(DataError, match="its contents are not fetched") as caught:
        yard.plan(yard.recipe())
    assert caught.value.where == "sources.code.contents"
    assert "mixer build" in str(caught.value.hint)
    assert yard.bucket.requests() == []


def test_a_forecast_fetches_a_sample(yard: Yard, tmp_path: Path) -> None:
    """Once, at the same places; rows without a wanted file count; the truth is in its intervals."""
    many = make_repositories(3000)
    write_ids(yard.ids / "train-0.parquet", many[:1000], group_rows=70)
    write_ids(yard.ids / "train-1.parquet", many[1000:])
    write_blobs(yard.buckets, many)
    recipe = yard.recipe(contents={"languages": ["C"]}, target={"rows": 1000})
    found, profiles = yard.profiles(recipe)
    asked = blobs_asked(yard.bucket)
    assert 0 < asked < 512 * 2
    again = yard.profiles(recipe)[0]
    assert [one.as_json() for one in found.snapshots.values()] == [one.as_json() for one in again.snapshots.values()]
    assert blobs_asked(yard.bucket) == asked
    code = profiles[list(found.snapshots).index("code")]
    num_read = found.samples["code"].num_read
    assert 448 < num_read <= 512  # the last cell may be short
    assert f"of a sample of {num_read} rows" in code.notes[0]
    build = yard.workshop.build(tmp_path / "out", recipe.model_copy(update={"target": Target(passes={"code": 1})}))
    whole, truth = yard.profiles(recipe)[1][1], counts_of(build, "code")
    assert whole.num_rows.value == sum(len(files) > 1 for files in many)
    assert whole.num_rows.interval == (whole.num_rows.value, whole.num_rows.value)
    low, high = code.num_rows.interval
    assert low < whole.num_rows.value < high
    low, high = code.tokens_per_row.interval
    assert low < truth.tokens / truth.rows < high


def test_a_sample_of_few_rows_is_all_of_them(yard: Yard) -> None:
    """With no error left in it."""
    plan, profiles = yard.profiles(yard.recipe())
    assert plan.samples["code"].num_read == len(REPOSITORIES)
    assert profiles[1].num_rows.value == sum(map(bool, REPOSITORIES))
    assert profiles[1].num_rows.interval[0] == profiles[1].num_rows.interval[1]
    assert profiles[1].tokens_per_row.interval[0] == profiles[1].tokens_per_row.interval[1]


def test_the_error_of_a_sample_counts_what_is_read_together_as_one(yard: Yard) -> None:
    """Rows come in stretches of 500, with a file of Go and without: rows and tokens are in the intervals."""
    files = {True: "Go", False: "C"}
    many = [
        [SourceFile(content=b"x %d " % row * (1 + row // 500), path=f"{row}", language=files[row // 500 % 2 == 0])]
        for row in range(4000)
    ]
    for path in yard.ids.iterdir():
        path.unlink()
    write_ids(yard.ids / "train-0.parquet", many)
    write_blobs(yard.buckets, many)
    texts = pa.array([file.content.decode() for (file,) in many if file.language == "Go"], pa.large_string())
    tokenizer = load_tokenizer("llama3", root=yard.workshop.root, cache_dir=yard.workshop.cache_dir)
    truth = 2 + len(tokenizer.encode(texts).ids) / len(texts)
    missed = []
    for seed in range(8):
        recipe = yard.recipe(contents={"languages": ["Go"]}, seed=seed, target={"rows": 100})
        _, profiles = yard.profiles(recipe)
        (low, high), (least, most) = profiles[1].num_rows.interval, profiles[1].tokens_per_row.interval
        missed += [not low <= len(texts) <= high, not least <= truth <= most]
    assert sum(missed) <= 2


def test_every_file_of_a_sample_counts(yard: Yard) -> None:
    """Also those behind 32 MB of text."""
    big, small = b"a word " * 40_000, b"a"
    many = [[SourceFile(content=b"%d %s" % (row, big if row < 128 else small), path="x")] for row in range(256)]
    for path in yard.ids.iterdir():
        path.unlink()
    write_ids(yard.ids / "train-0.parquet", many[:128])
    write_ids(yard.ids / "train-1.parquet", many[128:])
    write_blobs(yard.buckets, many)
    found, profiles = yard.profiles(yard.recipe(target={"rows": 100}))
    assert found.samples["code"].num_read == 256
    assert 40_000 < profiles[1].tokens_per_row.value < 41_000
    assert list(found.measured)[1] == profiles[1].name == "code"
    assert make_plan(found).tokens_per_row[1] == profiles[1].tokens_per_row.value


def test_a_rare_selection_gets_a_larger_sample(yard: Yard) -> None:
    """One row in two thousand; where nothing at all is kept, that is said."""
    many = [
        [SourceFile(content=b"%d" % row, path="x", language="Go" if row % 2000 == 7 else "C")] for row in range(6000)
    ]
    write_ids(yard.ids / "train-0.parquet", many)
    write_blobs(yard.buckets, many)
    plan, profiles = yard.profiles(yard.recipe(contents={"languages": ["Go"]}, target={"rows": 9}))
    assert plan.samples["code"].num_read > 64 * 63
    low, high = profiles[1].num_rows.interval
    assert low <= 3 <= high
    with pytest.raises(DataError, match="fetched as a sample has any text") as caught:
        yard.profiles(yard.recipe(contents={"languages": ["Brainfuck"]}, target={"rows": 9}))
    assert caught.value.where == "sources.code"


def test_a_forecast_refuses_nothing_by_an_estimate(yard: Yard) -> None:
    """All rows are asked for, and the estimate may be a few less: the build would do it."""
    many = make_repositories(3000)
    write_ids(yard.ids / "train-0.parquet", many[:1000])
    write_ids(yard.ids / "train-1.parquet", many[1000:])
    write_blobs(yard.buckets, many)
    all_rows = sum(map(bool, many))
    code = {"weight": 1, "path": "ids/*.parquet", "contents": "stack-v2"}
    for seed in range(4):
        recipe = yard.workshop.recipe(
            sources={"code": code}, seed=seed, target={"rows": all_rows}, when_exhausted="error"
        )
        yard.profiles(recipe)
    too_many = recipe.model_copy(update={"target": Target(rows=3001)})
    with pytest.raises(RecipeError):
        yard.profiles(too_many)


@given(rows=st.lists(st.integers(0, 300), min_size=1, max_size=12), seed=st.integers(0, 2**32))
def test_cells_of_a_sample_are_rows_that_there_are(rows: list[int], seed: int) -> None:
    """No row twice, 64 a cell but for the last one, and all where there are no more."""
    cells = sample_cells(rows, 8, seed, "code")
    seen = [(file, row) for cell in cells for file, start, stop in cell for row in range(start, stop)]
    assert seen == sorted(set(seen))
    assert all(0 <= row < rows[file] for file, row in seen)
    assert len(cells) == min(8, -(-sum(rows) // 64))
    assert len(seen) >= min(sum(rows), 8 * 64 - 63)


def test_every_row_is_as_likely_in_a_sample() -> None:
    """Of files of 100 rows, the first as any other."""
    counts = np.zeros((40, 100))
    for seed in range(2000):
        for cell in sample_cells([100] * 40, 8, seed, "code"):
            for file, start, stop in cell:
                counts[file, start:stop] += 1
    expected = 2000 * 8 / 63  # of cells
    assert abs(counts / expected - 1).max() < 0.35
    assert abs(counts.mean(axis=0) / expected - 1).max() < 0.05


def test_rows_on_the_hub_stay_at_their_commit(yard: Yard, hub: HubServer, tmp_path: Path) -> None:
    """Until they are pinned anew: then what is new is fetched."""
    recipe = yard.recipe(path=f"hf://datasets/{REPO}/*.parquet")
    first = yard.workshop.build(tmp_path / "one", recipe)
    local = yard.workshop.build(tmp_path / "local", yard.recipe())
    assert digests(first) == digests(local)
    write_ids(yard.ids / "train-2.parquet", make_repositories(50, begin=300))
    write_blobs(yard.buckets, make_repositories(50, begin=300))
    commit = hub.commit(REPO, yard.ids)
    asked = blobs_asked(yard.bucket)
    plan = yard.plan(recipe)
    assert plan.source_names[1] == "code"
    assert f"'main' is now at {commit}" in str(plan.snapshots[1].note)
    assert blobs_asked(yard.bucket) == asked
    cache = sources_cache(recipe, root=yard.workshop.root, cache_dir=yard.workshop.cache_dir)
    assert update_pins(recipe, root=yard.workshop.root, cache=cache) == {
        "code": "1 added ('train-2.parquet'), 300 rows became 350"
    }
    with pytest.raises(DataError, match="not fetched"):
        yard.plan(recipe)
    assert yard.workshop.build(tmp_path / "two", recipe).plan != first.plan
    now = yard.plan(recipe)
    assert now.snapshots[1].num_kept - plan.snapshots[1].num_kept == sum(map(bool, make_repositories(50, begin=300)))


def test_a_gated_repository_wants_a_token_before_any_blob(yard: Yard, hub: HubServer, tmp_path: Path) -> None:
    """As the real one does."""
    hub.commit("lab/gated", yard.ids, gated=True)
    with pytest.raises(DataError, match="gated, and there is no token") as caught:
        yard.workshop.build(tmp_path / "out", yard.recipe(path="hf://datasets/lab/gated/*.parquet"))
    assert "sources.code" in str(caught.value.where)
    assert yard.bucket.requests() == []


def test_a_fetch_that_failed_goes_on(yard: Yard, tmp_path: Path) -> None:
    """The same build again: chunks that were finished are not asked for; nothing of the build was there before."""
    missing = next(file for files in reversed(REPOSITORIES) for file in files)
    content = yard.blob(missing).read_bytes()
    yard.blob(missing).unlink()
    recipe = yard.recipe(contents={"on_missing": "error"})
    with pytest.raises(DataError, match="no such blob") as caught:
        yard.workshop.build(tmp_path / "out", recipe)
    assert "in a recipe on_missing" in str(caught.value.hint)
    assert not (tmp_path / "out").exists()
    yard.blob(missing).write_bytes(content)
    yard.bucket.forget()
    manifest = yard.workshop.build(tmp_path / "out", recipe)
    assert 0 < blobs_asked(yard.bucket) < sum(map(len, REPOSITORIES))
    assert digests(manifest) == digests(yard.workshop.build(tmp_path / "other", yard.recipe()))


def test_a_fetched_file_that_changed_is_named(yard: Yard, tmp_path: Path) -> None:
    """A page by its checksum when it is read, and by the deep check; a footer before; fetched again once it is gone."""
    first = yard.workshop.build(tmp_path / "one", yard.recipe())
    path = next((tmp_path / "cache/fetched").glob("*/train-1-*.parquet"))
    whole = path.read_bytes()
    group = pq.read_metadata(path).row_group(0)
    columns = [group.column(number) for number in range(group.num_columns)]
    (text,) = [column for column in columns if column.path_in_schema.endswith(".text")]
    start = text.dictionary_page_offset or text.data_page_offset
    damaged = bytearray(whole)
    damaged[start + text.total_compressed_size - 10] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(DataError, match="CRC checksum verification failed") as caught:
        yard.workshop.build(tmp_path / "two", yard.recipe())
    assert str(path) in str(caught.value.where)
    where = {"root": yard.workshop.root, "cache_dir": yard.workshop.cache_dir}
    with pytest.raises(DataError, match="the file changed since it was fetched") as caught:
        check_deep(tmp_path / "one", load_manifest(tmp_path / "one"), **where)
    assert str(caught.value.where) == str(path)
    damaged = bytearray(whole)
    damaged[-40] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(DataError) as caught:
        yard.workshop.build(tmp_path / "two", yard.recipe())
    assert str(path) in str(caught.value.where)
    path.unlink()
    yard.bucket.forget()
    assert digests(yard.workshop.build(tmp_path / "two", yard.recipe())) == digests(first)
    assert blobs_asked(yard.bucket) == sum(map(len, REPOSITORIES[200:]))


def test_two_builds_do_not_fetch_the_same(yard: Yard, tmp_path: Path) -> None:
    """The second is told, and nothing is lost."""
    yard.workshop.build(tmp_path / "one", yard.recipe())
    (folder,) = [path for path in (tmp_path / "cache/fetched").iterdir() if path.is_dir()]
    next(folder.glob("*.parquet")).unlink()
    descriptor = os.open(folder.with_name(f"{folder.name}.lock"), os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(BuildStateError, match="another build is fetching the same contents"):
        yard.workshop.build(tmp_path / "two", yard.recipe())
    os.close(descriptor)
    yard.workshop.build(tmp_path / "two", yard.recipe())


def test_a_deep_check_finds_the_fetched_files(yard: Yard, tmp_path: Path) -> None:
    """Segments are held against them; rows that changed since are named."""
    yard.workshop.build(tmp_path / "out", yard.recipe())
    manifest = load_manifest(tmp_path / "out")
    where = {"root": yard.workshop.root, "cache_dir": yard.workshop.cache_dir}
    assert check_deep(tmp_path / "out", manifest, **where).num_segments > 0
    path = next((tmp_path / "cache/fetched").glob("*/train-0-*.parquet"))
    path.rename(tmp_path / "aside")
    with pytest.raises(DataError, match="not fetched"):
        check_deep(tmp_path / "out", manifest, **where)


def test_the_command_line_fetches_builds_and_checks(yard: Yard, hub: HubServer, tmp_path: Path) -> None:
    """From the hub and the bucket, with selection by tokens, and a line for each on stderr."""
    recipe = tmp_path / "code.yaml"
    recipe.write_text(
        f"""
seed: 1
sequence: {{length: 128}}
cache: {{dir: blocks here}}
target: {{passes: {{code: 1}}}}
sources:
  code:
    weight: 1
    path: hf://datasets/{REPO}/*.parquet
    contents: {{min_bytes_per_token: 1.5, vendored: false}}
    text: {{list: files, template: "{{path}}\\n{{text}}"}}
"""
    )
    own = {"PYTHONPATH": str(Path(mixer.__file__).parents[1])}
    variables = os.environ | aws_environment(yard.bucket) | hub.environment(tmp_path / "home") | own

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "mixer.cli.main", *arguments]
        return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=120, check=False)

    out, options = str(tmp_path / "out"), ["--cache", str(tmp_path / "cache"), "--manifests", str(tmp_path)]
    planned = run("plan", str(recipe), "--cache", str(tmp_path / "cache"))
    assert planned.returncode == 0, planned.stderr
    assert "code, a sample: 300 repositories in 2 files" in planned.stderr
    assert "its contents are not fetched yet; of a sample of 300 rows they are" in " ".join(planned.stdout.split())
    built = run("build", str(recipe), "-o", out, *options)
    assert built.returncode == 0, built.stderr
    assert "code: 300 repositories in 2 files" in built.stderr
    manifest = load_manifest(tmp_path / "out")
    assert counts_of(manifest, "code").rows == sum(bool(files) for files in REPOSITORIES)
    # Where the recipe had them is in the build's log.
    assert len(list((tmp_path / "blocks here/fetched").glob("*/train-*-00000.parquet"))) == 4
    checked = run("verify", out, "--deep")
    assert checked.returncode == 0, checked.stderr
    shown = run("show", out, "--sequence", "0")
    assert "# file" in shown.stdout
    planned = run("plan", str(recipe), "--json", "--cache", str(tmp_path / "cache"))
    assert planned.returncode == 0, planned.stderr


def parse(**source: Any) -> Recipe:
    sources = {"code": {"weight": 1, "path": "ids/*.parquet", **source}}
    return parse_recipe({"target": {"rows": 9}, "sources": sources}, where="test", default_name="tiny")


def test_a_recipe_without_contents_has_the_identity_it_had() -> None:
    """The key is no part of its normal form."""
    assert "contents" not in parse().normalised()["sources"]["code"]
    assert "contents" not in parse(contents=None).normalised()["sources"]["code"]


def test_contents_have_one_normal_form() -> None:
    """A name stands for its mapping, the order of names means nothing, and where blobs are is no part of it."""
    short, long = parse(contents="stack-v2"), parse(contents={"blobs": "https://mirror/content", "min_bytes": None})
    assert short.normalised() == long.normalised()
    assert (
        short.normalised()["sources"]["code"]["text"]
        == parse(text="files[].text").normalised()["sources"]["code"]["text"]
    )
    one, two = parse(contents={"languages": ["C", "Go"]}), parse(contents={"languages": ["Go", "C", "C"]})
    assert one.normalised() == two.normalised() == recipe_of(one.normalised()).normalised()
    assert parse(contents={"max_bytes": "1MB"}).sources["code"].contents.max_bytes == 1_000_000  # type: ignore[union-attr]
    assert rows_of(one.sources["code"]).contents is None


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"contents": "stack-v3"},
            "test: sources.code.contents: must be 'stack-v2', not 'stack-v3'; did you mean 'stack-v2'?",
        ),
        (
            {"contents": {"langages": ["C"]}},
            "test: sources.code.contents.langages: is not a key; did you mean 'languages'?",
        ),
        ({"contents": {"languages": "C"}}, "test: sources.code.contents.languages: must be a list of names, not 'C'"),
        ({"contents": {"min_bytes_per_token": 0}}, "must be a number above 0, such as 2.5, not 0"),
        (
            {"contents": {"signed": True, "blobs": "https://x/y"}},
            "test: sources.code.contents.signed: is for blobs at s3:// addresses",
        ),
        ({"contents": {}, "format": "jsonl"}, "test: sources.code.format: must be parquet where contents are fetched"),
    ],
)
def test_mistakes_are_said_in_plain_words(keys: dict[str, Any], message: str) -> None:
    """With their place."""
    with pytest.raises(RecipeError) as caught:
        parse(**keys)
    assert message in str(caught.value)


def test_a_relative_cache_is_found_wherever_the_recipe_is(
    yard: Yard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It starts from the folder of the command, and paths of sources from that of the recipe."""
    monkeypatch.chdir(tmp_path)
    yard.workshop.build(tmp_path / "out", yard.recipe(), cache_dir=Path("near"))
    assert [*(tmp_path / "near/fetched").glob("*/*.parquet")]


def test_other_ids_are_another_fetch(yard: Yard, tmp_path: Path) -> None:
    """Rows are identified by the footers of their files."""
    first = yard.workshop.build(tmp_path / "one", yard.recipe())
    path = yard.ids / "train-1.parquet"
    table = pq.read_table(path)
    pq.write_table(table.slice(0, len(table) // 2), path)
    assert yard.workshop.build(tmp_path / "two", yard.recipe()).plan != first.plan
    assert len([folder for folder in (tmp_path / "cache/fetched").iterdir() if folder.is_dir()]) == 2


def test_a_damaged_blob_is_dropped_as_asked(yard: Yard, tmp_path: Path) -> None:
    """`on_damaged` of the recipe; by default it is an error that names row and blob."""
    file = next(file for files in REPOSITORIES for file in files)
    yard.blob(file).write_bytes(gzip.compress(b"something else"))
    with pytest.raises(DataError, match="not those of its sha1"):
        yard.workshop.build(tmp_path / "one", yard.recipe())
    manifest = yard.workshop.build(tmp_path / "one", yard.recipe(contents={"on_damaged": "drop-repo"}))
    assert counts_of(manifest, "code").rows > 0
