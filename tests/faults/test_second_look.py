"""What a reviewer broke: each was a wrong result, a wrong word or a crash."""

from __future__ import annotations

import contextlib
import copy
import json
import multiprocessing
import multiprocessing.context
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from workshop import Workshop, contents

from mixer.building import build as build_module
from mixer.cli.main import run
from mixer.engines import local
from mixer.engines.jobs import Job
from mixer.errors import BuildStateError, DataError, FormatError, IntegrityError, RecipeError, TaskError
from mixer.recipe import parse_recipe
from mixer.shards.files import check_files
from mixer.shards.ids import manifest_id
from mixer.shards.manifest import load_manifest
from mixer.sources.pin import pin
from mixer.sources.pin_cache import PinCache
from mixer.sources.reader import SourceReader
from mixer.survey.measure import measure_sources
from mixer.tokens.tokenizer import load_tokenizer


def test_tokens_per_row_are_measured_all_over_an_ordered_source(workshop: Workshop, tmp_path: Path) -> None:
    """One file sorted by length, short rows first: the mean is that of all rows, within the error of a sample."""
    lines = [json.dumps({"text": "word " * (1 if row < 1000 else 50)}) for row in range(20_000)]
    (tmp_path / "sorted.jsonl").write_text("\n".join(lines))
    text = {"seed": 1, "target": {"rows": 1}, "sources": {"a": {"weight": 1, "path": "sorted.jsonl"}}}
    recipe = parse_recipe(text, where="test", default_name="t")
    tokenizer = load_tokenizer("llama3", root=tmp_path, cache_dir=workshop.cache_dir)
    snapshot = pin("a", recipe.sources["a"], tmp_path, PinCache(tmp_path / "cache"))
    mean = measure_sources(recipe.sources, [snapshot], tokenizer, recipe, tmp_path / "cache")["a"].tokens_per_row
    reader = SourceReader("a", recipe.sources["a"], snapshot)
    exact = np.mean([n + 2 for part in reader.read(0, 0, 20_000) for n in np.diff(tokenizer.encode(part.text).offsets)])
    assert mean == pytest.approx(exact, rel=0.15)


def test_one_row_with_text_among_many_without_is_found(workshop: Workshop, tmp_path: Path) -> None:
    """The sample grows until there is a text in it; only a source without any is refused."""
    rows = ['{"text": null}'] * 9_000
    (tmp_path / "some.jsonl").write_text("\n".join([*rows, '{"text": "here"}', *rows]))
    (tmp_path / "none.jsonl").write_text("\n".join(rows))
    tokenizer = load_tokenizer("llama3", root=tmp_path, cache_dir=workshop.cache_dir)
    for name, found in (("some", True), ("none", False)):
        text = {"target": {"rows": 1}, "sources": {name: {"weight": 1, "path": f"{name}.jsonl"}}}
        recipe = parse_recipe(text, where="test", default_name="t")
        snapshot = pin(name, recipe.sources[name], tmp_path, PinCache(tmp_path / "cache"))
        if found:
            measured = measure_sources(recipe.sources, [snapshot], tokenizer, recipe, tmp_path / "cache")
            mean = measured[name].tokens_per_row
            assert 0 < mean <= 3 / 9_001 * 4
        else:
            with pytest.raises(DataError, match="none of the 9,000 rows has any text"):
                measure_sources(recipe.sources, [snapshot], tokenizer, recipe, tmp_path / "cache")


@pytest.mark.parametrize(("moment", "of"), [("plan", ""), ("task", " that did task 0")])
def test_a_worker_that_died_while_idle_is_no_full_disk(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str, of: str
) -> None:
    """Giving it its plan or a task says that it died, and that the same command goes on."""
    send = local.LocalEngine._send

    def killed(self: local.LocalEngine, worker: local._Worker, message: object) -> None:
        if isinstance(message, Job) == (moment == "task"):
            worker.process.kill()
            worker.process.join()
        send(self, worker, message)

    monkeypatch.setattr(local.LocalEngine, "_send", killed)
    with pytest.raises(TaskError, match=rf"the worker process{of} died \(exit code -9\)"):
        workshop.build(tmp_path / "out", workshop.recipe())


def test_a_finished_folder_with_another_builds_manifest_is_refused(
    workshop: Workshop, copy_of_finished: Path, tmp_path: Path
) -> None:
    """Though its shards and its id are right: it is not what the recipe asks for."""
    other = tmp_path / "other"
    workshop.build(other, workshop.recipe(seed=9))
    shutil.rmtree(copy_of_finished / "shards")
    shutil.copytree(other / "shards", copy_of_finished / "shards")
    shutil.copy(other / "manifest.json", copy_of_finished)
    with pytest.raises(BuildStateError, match="another plan's build"):
        workshop.build(copy_of_finished, workshop.recipe())


def test_a_finished_folder_copied_without_its_state_is_known(
    workshop: Workshop, copy_of_finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`cp -r OUT/*` leaves `.mixer` behind, and a plan may be lost: the manifest says which plan it is of."""
    monkeypatch.setattr(build_module, "run_tasks", None)
    shutil.rmtree(copy_of_finished / ".mixer")
    (copy_of_finished / "plan.json").unlink()
    with pytest.raises(BuildStateError, match="another plan's build"):
        workshop.build(copy_of_finished, workshop.recipe(seed=5))


@pytest.mark.parametrize("damage", ["snapshots", "selections", "plan.json"])
def test_a_damage_beside_the_shards_is_mended_by_the_same_build(
    workshop: Workshop, tmp_path: Path, damage: str
) -> None:
    """What the plan alone says is reported, and written anew where the plan is at hand."""
    out = tmp_path / "out"
    workshop.build(out, workshop.recipe(target={"rows": 50}))
    before = contents(out)
    damaged = out / damage if damage.endswith(".json") else next((out / damage).iterdir())
    damaged.write_text("{}")
    with pytest.raises(IntegrityError, match=re.escape(str(damaged))):
        check_files(out, load_manifest(out))
    workshop.build(out, workshop.recipe(target={"rows": 50}))
    assert contents(out) == before


@pytest.mark.parametrize("stray", ["shards/00007.arrow", "shards/mine.arrow", "tasks/notes.txt", "shards/sub/x.arrow"])
def test_a_stray_file_beside_the_shards_is_no_finished_build(workshop: Workshop, tmp_path: Path, stray: str) -> None:
    """Who reads the folder would read it."""
    out = tmp_path / "out"
    workshop.build(out, workshop.recipe(target={"rows": 50}))
    (out / stray).parent.mkdir(exist_ok=True)
    shutil.copy(out / "shards/00000.arrow", out / stray)
    with pytest.raises((IntegrityError, BuildStateError), match=re.escape(stray.removesuffix("/x.arrow"))):
        workshop.build(out, workshop.recipe(target={"rows": 50}))


def test_a_folder_in_which_nothing_was_finished_is_taken_over(workshop: Workshop, tmp_path: Path) -> None:
    """The hint `set on_bad_row: skip` can be followed: the folder of the build that failed is free."""
    (tmp_path / "bad.jsonl").write_text('{"text": "fine"}\n{"text": \n{"text": "fine too"}\n')
    text = {"target": {"rows": 6}, "sources": {"a": {"weight": 1, "path": "bad.jsonl"}}}
    arguments = {"root": tmp_path}
    with pytest.raises(DataError, match="set on_bad_row: skip"):
        workshop.build(tmp_path / "out", parse_recipe(text, where="test", default_name="t"), **arguments)
    mended = parse_recipe({**text, "on_bad_row": "skip"}, where="test", default_name="t")
    assert workshop.build(tmp_path / "out", mended, **arguments).source_counts[0].skipped == {"bad_row": 2}


def test_a_wrong_folder_is_told_before_the_sources_are_read(workshop: Workshop, tmp_path: Path) -> None:
    """Not after minutes of hashing; and a recipe that fails leaves no folder behind."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("x")
    text = {"target": {"rows": 6}, "sources": {"a": {"weight": 1, "path": "nothing-*.jsonl"}}}
    recipe = parse_recipe(text, where="test", default_name="t")
    with pytest.raises(BuildStateError, match="holds no build of mixer"):
        workshop.build(tmp_path / "mine", recipe)
    with pytest.raises(RecipeError, match="nothing-"):
        workshop.build(tmp_path / "new", recipe)
    assert not (tmp_path / "new").exists()


def test_a_manifest_without_a_key_is_a_wrong_format(copy_of_finished: Path) -> None:
    """Though its id is that of its content: every key, one at a time."""
    path = copy_of_finished / "manifest.json"
    whole = json.loads(path.read_bytes())
    optional = {"parent"}  # null is a value of it
    for key in sorted(whole.keys() - {"id", "format", "format_version"}):
        for change in ("missing", "null"):
            if key in optional and change == "null":
                continue
            broken = copy.deepcopy(whole)
            if change == "missing":
                del broken[key]
            else:
                broken[key] = None
            with contextlib.suppress(KeyError, TypeError):
                broken["id"] = manifest_id(broken)
            path.write_text(json.dumps(broken))
            with pytest.raises(FormatError, match="not a manifest of mixer"):
                load_manifest(copy_of_finished)


def test_a_damaged_plan_is_told(workshop: Workshop, copy_of_finished: Path) -> None:
    """A plan that is JSON, and no plan."""
    (copy_of_finished / "plan.json").write_text("[]")
    (copy_of_finished / "manifest.json").unlink()
    with pytest.raises(BuildStateError, match="not a plan of mixer"):
        workshop.build(copy_of_finished, workshop.recipe())


def test_weights_of_a_hundred_and_forty_digits_are_a_wrong_recipe(workshop: Workshop, tmp_path: Path) -> None:
    """The period is looked at before anything is made of it."""
    sources = {"a": {"weight": 1e140, "path": "crawl/*.zst"}, "b": {"weight": 1, "path": "crawl/*.zst"}}
    with pytest.raises(RecipeError, match=r"repeat only every 10\^140 draws"):
        workshop.build(tmp_path / "out", workshop.recipe(sources=sources))


@pytest.mark.parametrize("path", ["~nobody-here/x.jsonl", "x" * 5000])
def test_a_path_that_cannot_be_is_a_wrong_recipe(workshop: Workshop, tmp_path: Path, path: str) -> None:
    """A home of nobody, and a name that no file system takes."""
    with pytest.raises(RecipeError, match="is not a path") as caught:
        workshop.build(tmp_path / "out", workshop.recipe(sources={"a": {"weight": 1, "path": path}}))
    assert caught.value.where == "sources.a"


def test_a_closed_stdout_is_no_bug(finished: Path) -> None:
    """`mixer inspect OUT >&-`."""
    command = f"'{sys.executable}' -m mixer.cli.main inspect '{finished}' >&-"
    done = subprocess.run(["sh", "-c", command], cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_terminated_build_says_how_to_go_on(workshop: Workshop, tmp_path: Path) -> None:
    """Slurm sends SIGTERM before it kills: code 130, the hint, and no manifest."""
    (tmp_path / "r.yaml").write_text("target: {tokens: 500M}\nsources: {a: {weight: 1, path: crawl/*.zst}}\n")
    command = [sys.executable, "-m", "mixer.cli.main", "build", str(tmp_path / "r.yaml"), "-o", str(tmp_path / "out")]
    command += ["--root", str(workshop.root), "--cache", str(workshop.cache_dir)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    while not (tmp_path / "out/shards").exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, words = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "run the same command again to resume" in words
    assert not (tmp_path / "out/manifest.json").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_a_fork_is_not_lost(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """It arrives while a worker is started, when nothing may be raised; the build ends all the same."""
    raised: list[int] = []
    start = multiprocessing.context.ForkProcess.start

    def interrupted(self: multiprocessing.context.ForkProcess) -> None:
        try:
            signal.raise_signal(number)
        except KeyboardInterrupt:
            raised.append(number)  # as the hooks of a fork swallow it
        start(self)

    monkeypatch.setattr(multiprocessing.context.ForkProcess, "start", interrupted)
    # A test run in the background of a shell inherits that ^C is ignored.
    before = signal.signal(number, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            workshop.build(tmp_path / "out", workshop.recipe())
    finally:
        signal.signal(number, before)
    assert raised == []
    assert multiprocessing.active_children() == []


def test_a_tokenizer_that_is_not_there_is_not_looked_for_on_the_hub(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An absolute path is no hub id."""
    recipe = f"tokenizer: {tmp_path}/nope\ntarget: {{rows: 1}}\nsources: {{a: {{weight: 1, path: x.jsonl}}}}\n"
    (tmp_path / "r.yaml").write_text(recipe)
    assert run(["build", str(tmp_path / "r.yaml"), "-o", str(tmp_path / "out"), "--quiet"]) == 2
    assert "there is no tokenizer" in capsys.readouterr().err
