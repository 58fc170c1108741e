"""`mixer build`: from a recipe to a published build, going on where an earlier run was stopped."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mixer import __version__
from mixer.build.account import Progress
from mixer.build.content import manifest_content
from mixer.build.engine import run_tasks
from mixer.build.folder import BuildFolder
from mixer.build.plan import Plan, make_plan
from mixer.errors import UsageError
from mixer.files import publish_bytes
from mixer.recipe import Recipe
from mixer.shards.card import dataset_card
from mixer.shards.manifest import MANIFEST, load_manifest, publish_manifest
from mixer.shards.verify import check_shards
from mixer.sources import PinCache
from mixer.tokens.tokenizer import load_tokenizer

BUILD_LOG = "build-log.json"


def build(
    recipe: Recipe,
    *,
    root: Path,
    out: Path,
    workers: int | None = None,
    cache_dir: Path,
    manifest_copy: Path | None = None,
    on_plan: Callable[[Plan], None] = lambda plan: None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> dict[str, Any]:
    """Build a recipe into a folder.

    Any number of workers, any number of interruptions and any machine give the same shards and manifest id.

    Args:
        recipe: what to build.
        root: the folder that relative paths of sources and tokenizer start from.
        out: the output folder: new, or that of the same build.
        workers: worker processes; None: one per core that this process may use.
        cache_dir: where row counts and tokenizers are kept between builds.
        manifest_copy: where a second copy of the manifest goes.
        on_plan: called once, before any text is tokenized for the build.
        on_progress: called after every task.

    Returns:
        The manifest.

    Raises:
        MixerError: by kind, what to do about it.
    """
    if workers is None:
        workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if workers < 1:
        raise UsageError("workers must be at least 1", where="--workers")
    started = time.time()
    clock = time.perf_counter()
    tokenizer = load_tokenizer(recipe.tokenizer, root=root, cache_dir=cache_dir)
    engine = tokenizer.engine.name
    plan = make_plan(recipe, tokenizer, root=root, cache=PinCache(cache_dir / "pins"))
    planned = time.perf_counter() - clock
    on_plan(plan)
    with BuildFolder(out, plan) as folder:
        if (out / MANIFEST).exists():
            manifest = load_manifest(out)
            check_shards(out, manifest)
            if manifest_copy is not None:
                publish_bytes(manifest_copy, (out / MANIFEST).read_bytes())
            folder.forget_tasks()
            return manifest
        results, progress = run_tasks(plan, tokenizer, folder, workers=workers, on_progress=on_progress)
        content = manifest_content(plan, results)
        publish_bytes(out / "README.md", dataset_card(content).encode())
        log = {
            "started_unix": started,
            "seconds": time.perf_counter() - clock,
            "plan_seconds": planned,
            "stage_seconds": progress.stage_seconds,
            "tasks": progress.num_tasks,
            "tasks_resumed": progress.num_resumed,
            "workers": workers,
            "engine": engine,
            "host": platform.node(),
            "platform": platform.platform(),
            "python": platform.python_version(),
            "root": str(root.resolve()),
            "bases": {name: str(snapshot.base) for name, snapshot in zip(plan.source_names, plan.snapshots)},
            "versions": {"mixer": __version__} | {name: version(name) for name in ("pyarrow", "numpy", "gigatoken", "tokenizers")},
        }
        publish_bytes(out / BUILD_LOG, (json.dumps(log, indent=1) + "\n").encode())
        folder.sync_shards()
        manifest = publish_manifest(out, content, manifest_copy)
        folder.forget_tasks()
        return manifest
