"""The same recipe and data give the same shards and manifest id, whatever happens on the way."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from workshop import BATCH_TOKENS, Workshop, contents, write_mixture

from mixer import rng
from mixer.building.folder import BuildFolder
from mixer.building.task import TaskRunner
from mixer.plan.plan import make_plan
from mixer.shards.manifest import load_manifest
from mixer.shards.records import Limit
from mixer.sources.pin_cache import PinCache
from mixer.survey.survey import survey
from mixer.tokens.tokenizer import load_tokenizer

NOT_COMPARED = ("build-log.json", "evidence.json")
RUN = """
import json, os, sys
from pathlib import Path
from mixer.building.build import build
from mixer.recipe import recipe_of

recipe, root, out, cache, workers = sys.argv[1:]
os.setpgrp()
build(
    recipe_of(json.loads(recipe)), root=Path(root), out=Path(out), cache_dir=Path(cache),
    workers=int(workers), on_progress=lambda progress: print(progress.num_tasks - progress.num_resumed, flush=True),
)
"""


def record(out: Path) -> tuple[str, dict[str, str]]:
    """The manifest's id, and the digest of every file but the log, and the evidence, which is taken as time allows."""
    files = contents(out)
    for name in NOT_COMPARED:
        files.pop(name, None)
    return load_manifest(out).id, files


def start(recipe: Any, root: Path, out: Path, cache: Path, workers: int, **env: str) -> subprocess.Popen:
    """A build in another process, and in a process group of its own; prints a line after every task."""
    arguments = [recipe.model_dump_json(), root, out, cache, workers]
    return subprocess.Popen(
        [sys.executable, "-c", RUN, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)} | env,
        text=True,
    )


def finish(process: subprocess.Popen) -> None:
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors


@pytest.mark.parametrize(
    ("target", "packing"),
    [
        ({"tokens": 30_000}, "concat"),
        ({"tokens": 30_000}, "best-fit"),
        ({"tokens": 100}, "concat"),
        ({"sequences": 77}, "best-fit"),
        ({"rows": 500}, "concat"),
    ],
)
def test_the_number_of_workers_changes_nothing(
    workshop: Workshop, tmp_path: Path, target: dict[str, int], packing: str
) -> None:
    """1, 2 and 5 workers, where the target ends late, in the first task, or by rows."""
    recipe = workshop.recipe(target=target, sequence={"packing": packing})
    records = []
    for workers in (1, 2, 5):
        manifest = workshop.build(tmp_path / str(workers), recipe, workers=workers)
        records.append(record(tmp_path / str(workers)))
        assert manifest.id == records[0][0]
        assert records[-1] == records[0]


def test_the_order_of_the_tasks_changes_nothing(workshop: Workshop, finished: Path, tmp_path: Path) -> None:
    """One runner over the tasks from the last to the first, and each by a new runner: the same shards."""
    recipe = workshop.recipe()
    tokenizer = load_tokenizer("llama3", root=workshop.root, cache_dir=workshop.cache_dir)
    plan = make_plan(
        survey(recipe, tokenizer, root=workshop.root, cache=PinCache(workshop.cache_dir)), batch_tokens=BATCH_TOKENS
    )
    shards = load_manifest(finished).shards
    before = sum(shard.tokens for shard in shards[:-1])
    last = Limit(kind="tokens", amount=30_000 - before)
    with BuildFolder(tmp_path / "out") as folder:
        folder.adopt(plan)
        runner = TaskRunner(plan, tokenizer, tmp_path / "out")
        for fresh in (False, True):
            for shard in reversed(shards):
                task = plan.task(shard.task)
                assert task is not None
                one = TaskRunner(plan, tokenizer, tmp_path / "out") if fresh else runner
                result = one.run(task, last if shard is shards[-1] else None)
                assert result.shard is not None
                assert result.shard.content_xxh3 == shard.content_xxh3
                assert result.shard.file.xxh3 == shard.file.xxh3


def test_another_hash_seed_another_process_and_another_folder_change_nothing(
    workshop: Workshop, finished: Path, tmp_path: Path
) -> None:
    """Data copied elsewhere with new times, a new cache, PYTHONHASHSEED 1 and 12345: bytes as before."""
    shutil.copytree(workshop.root, tmp_path / "elsewhere/data", copy_function=shutil.copyfile)
    processes = []
    for hash_seed in ("1", "12345"):
        out = tmp_path / hash_seed
        root, cache = tmp_path / "elsewhere/data", tmp_path / f"cache{hash_seed}"
        processes.append(start(workshop.recipe(), root, out, cache, 2, PYTHONHASHSEED=hash_seed))
    for process in processes:
        finish(process)
    expected = load_manifest(finished)
    for hash_seed in ("1", "12345"):
        manifest = load_manifest(tmp_path / hash_seed)
        assert [shard.content_xxh3 for shard in manifest.shards] == [shard.content_xxh3 for shard in expected.shards]
    assert record(tmp_path / "1") == record(tmp_path / "12345")


def test_another_seed_and_other_data_change_the_id(workshop: Workshop, finished: Path, tmp_path: Path) -> None:
    """An id that never changed would be worth nothing."""
    write_mixture(tmp_path / "data", seed=8)
    ids = {
        load_manifest(finished).id,
        workshop.build(tmp_path / "a", workshop.recipe(seed=2)).id,
        workshop.build(tmp_path / "b", workshop.recipe(), root=tmp_path / "data").id,
    }
    assert len(ids) == 3


@pytest.mark.slow
def test_ten_kills_at_keyed_moments_change_nothing(workshop: Workshop, sample: Path, tmp_path: Path) -> None:
    """SIGKILL to the parent alone or to the whole group, again and again, then on to the end: the same bytes.

    Nothing is left over, and no worker outlives its parent.
    """
    source = {
        "dclm": {"weight": 10, "path": "dclm/*"},
        "stack": {"weight": 2, "path": "stack-v2/*", "text": "files[].text"},
    }
    recipe = workshop.recipe(
        target={"tokens": 16_000_000}, task_tokens="256Ki", sources=source, sequence={"length": 2048}
    )
    where = (sample, tmp_path / "killed", workshop.cache_dir, 2)
    straight = start(recipe, sample, tmp_path / "straight", workshop.cache_dir, 2)
    finish(straight)
    moments = rng.words(rng.key(0, "kills"), 20).tolist()
    killed = 0
    for number in range(10):
        process = start(recipe, *where)
        assert process.stdout is not None
        # Resumed tasks print too; what counts is how many are new.
        wanted = moments[2 * number] % 4
        for line in process.stdout:
            if int(line) >= wanted:
                break
        time.sleep((moments[2 * number + 1] % 60) / 1000)
        if process.poll() is None:
            killed += 1
            (os.killpg if number % 2 else os.kill)(process.pid, signal.SIGKILL)
        process.communicate()
        if (tmp_path / "killed/manifest.json").exists():
            break
    assert killed == 10
    finish(start(recipe, *where))
    assert record(tmp_path / "killed") == record(tmp_path / "straight")
