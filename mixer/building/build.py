"""`mixer build`: from a recipe to a published build, resuming where an earlier run was stopped."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mixer import __version__
from mixer.building.folder import BuildFolder
from mixer.building.jobs import TaskJobs
from mixer.building.ledger import Progress
from mixer.building.manifest_content import manifest_content
from mixer.building.run import OnJob, run_tasks
from mixer.building.run_file import RunFile
from mixer.digest import canonical_json
from mixer.engines.local import LocalEngine
from mixer.errors import write_error
from mixer.plan.plan import Plan, make_plan
from mixer.plan.reads import blocks_read
from mixer.recipe import Recipe
from mixer.shards.card import dataset_card
from mixer.shards.files import check_files
from mixer.shards.manifest import MANIFEST, load_manifest, publish_manifest, with_id
from mixer.shards.records import Manifest, TaskRecord
from mixer.shards.shard import BATCH_TOKENS
from mixer.sources.evidence import EVIDENCE, Evidence, EvidenceCollector
from mixer.sources.pin_cache import MAX_CACHE_BYTES, PinCache
from mixer.stack.contents import Fetching
from mixer.stores import traffic
from mixer.stores.block_cache import BlockCache
from mixer.survey.curated import Curating
from mixer.survey.survey import survey
from mixer.system.local_paths import check_local
from mixer.system.processes import checked_workers
from mixer.system.progress import OnAdvance, silent
from mixer.system.publish import publish_bytes
from mixer.tokens.tokenizer import load_tokenizer

if TYPE_CHECKING:
    from mixer.stack.fetch import Listener

BUILD_LOG = "build-log.json"
_DIED_HINT = "it may have run out of memory: use fewer --workers or a smaller task_tokens, then run it again to resume"
_EVIDENCE_SHARE = 0.02
"""The share of a build's time that may be added to finish digests of the files it read."""
_VERSIONS = ("pyarrow", "numpy", "gigatoken", "tokenizers")


def build(
    recipe: Recipe,
    *,
    root: Path,
    out: Path,
    workers: int | None = None,
    cache_dir: Path,
    copies: Path | None = None,
    batch_tokens: int = BATCH_TOKENS,
    on_plan: Callable[[Plan], None] = lambda plan: None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    on_fetch: Callable[[str], Listener] | None = None,
    on_pin: OnAdvance = silent,
) -> Manifest:
    """Build a recipe into a folder.

    Any number of workers, any number of interruptions and any machine give the same shards and manifest id.

    Args:
        recipe: what to build.
        root: the folder that relative paths of sources and tokenizer start from.
        out: the output folder: new, or that of the same build.
        workers: worker processes; None: one per core that this process may use.
        cache_dir: where row counts and tokenizers are kept between builds.
        copies: the folder that a second copy of the manifest goes into, under the build's name and id.
        batch_tokens: tokens of a record batch of the shards, at most; part of the build's identity.
        on_plan: called once, before any text is tokenized for the build.
        on_progress: called after every task.
        on_pin: called with how far the files of a source are pinned; from several threads.
        on_fetch: called with a source's name where its contents are fetched: the listener of its progress.

    Returns:
        The manifest.

    Raises:
        MixerError: its kind says what to do about it.
    """
    workers = checked_workers(workers)
    for path, where in ((root, "root"), (out, "out"), (cache_dir, "cache_dir"), (copies, "copies")):
        if path is not None:
            check_local(path, where=where)
    clock = _Clock()
    with BuildFolder(out) as folder, RunFile(out, workers=workers) as run_file:
        tokenizer = load_tokenizer(recipe.tokenizer, root=root, cache_dir=cache_dir)
        tokenizer.encoder  # noqa: B018 - loaded before the workers are forked, so that they share it
        # Forked before there are threads or connections, which would not survive it; their plan follows.
        jobs = TaskJobs(tokenizer, folder)
        with LocalEngine(jobs, workers, where=str(out), died_hint=_DIED_HINT) as engine:
            traffic.take()
            cache = sources_cache(recipe, root=root, cache_dir=cache_dir)
            fetching = Fetching(workers=workers, listener=on_fetch or silent_listener)
            surveyed = survey(
                recipe,
                tokenizer,
                root=root,
                cache=cache,
                fetching=fetching,
                curating=Curating(workers=workers, on_advance=on_pin),
                on_pin=on_pin,
            )
            plan = make_plan(surveyed, batch_tokens=batch_tokens)
            clock.planned = clock.seconds()
            planning = traffic.take()
            folder.adopt(plan)
            run_file.on_plan(plan)
            on_plan(plan)
            try:
                if (out / MANIFEST).exists():
                    manifest = load_manifest(out)
                    check_files(out, manifest)
                else:
                    records, progress, evidence = _run(
                        plan, folder, engine, cache, clock, run_file.before(on_progress), run_file.on_job
                    )
                    content = manifest_content(plan, records)
                    progress.count_traffic(planning)
                    log = _build_log(plan, progress, clock, workers=workers, encoder=tokenizer.encoder.name)
                    log |= {"root": str(root.resolve()), "cache": _cache_json(cache.blocks)}
                    manifest = _publish(folder, content, log, evidence)
                if copies is not None:
                    publish_bytes(copies / copy_name(manifest), (out / MANIFEST).read_bytes())
                return manifest
            except OSError as error:
                raise write_error(error, str(out)) from error


def _publish(folder: BuildFolder, content: Manifest, log: dict[str, Any], evidence: Evidence) -> Manifest:
    """Write the files beside the shards, and the manifest last."""
    folder.check_no_strangers()
    out = folder.out
    publish_bytes(out / "README.md", dataset_card(with_id(content)).encode())
    publish_bytes(out / BUILD_LOG, (json.dumps(log, indent=1) + "\n").encode())
    if evidence:
        publish_bytes(out / EVIDENCE, canonical_json(evidence))
    folder.sync_entries()
    return publish_manifest(out, content)


def _run(
    plan: Plan,
    folder: BuildFolder,
    engine: LocalEngine,
    cache: PinCache,
    clock: _Clock,
    on_progress: Callable[[Progress], None],
    on_job: OnJob,
) -> tuple[list[TaskRecord], Progress, Evidence]:
    """Run the tasks, and digest the files that they read at the same time."""
    collector = EvidenceCollector(dict(zip(plan.source_names, plan.snapshots, strict=True)), cache)

    def on_record(record: TaskRecord) -> None:
        for name, blocks in blocks_read(plan, record):
            collector.expect(name, blocks)

    try:
        records, progress = run_tasks(plan, folder, engine, on_progress=on_progress, on_record=on_record, on_job=on_job)
        return records, progress, collector.close(_EVIDENCE_SHARE * clock.seconds())
    finally:
        collector.close()


def copy_name(manifest: Manifest) -> str:
    """The file name of a manifest's copy: builds of one name have different file names."""
    return f"{manifest.name}-{manifest.id[:12]}.json"


def sources_cache(recipe: Recipe, *, root: Path, cache_dir: Path) -> PinCache:
    """The cache of facts about source files, and of remote blocks unless the recipe has its own."""
    spec = recipe.cache
    if spec.dir is not None:
        check_local(spec.dir, where="cache.dir")
    folder = cache_dir if spec.dir is None else root / Path(spec.dir).expanduser()
    return PinCache(cache_dir, BlockCache(folder=folder, max_bytes=spec.size or MAX_CACHE_BYTES))


def silent_listener(name: str) -> Listener:
    """A listener that reports nothing about a fetch."""
    from mixer.stack.fetch import Listener

    return Listener(on_plan=lambda plan, chunks: None, on_files=lambda files, size: None, on_chunk=lambda *chunk: None)


class _Clock:
    """The start of a build, and the duration of its plan."""

    def __init__(self) -> None:
        self.started_unix = time.time()
        self._start = time.perf_counter()
        self.planned = 0.0

    def seconds(self) -> float:
        """Seconds since the build began."""
        return time.perf_counter() - self._start


def _cache_json(blocks: BlockCache) -> dict[str, Any]:
    """The folder where `mixer verify --deep` finds blocks again, and its size."""
    return {"dir": str(blocks.folder.resolve()), "size": blocks.max_bytes}


def _build_log(plan: Plan, progress: Progress, clock: _Clock, *, workers: int, encoder: str) -> dict[str, Any]:
    """Times, hosts and versions: they differ between machines, so the manifest leaves them out."""
    return {
        "started_unix": clock.started_unix,
        "seconds": clock.seconds(),
        "plan_seconds": clock.planned,
        "step_seconds": progress.step_seconds,
        "traffic": progress.traffic,
        "tasks": progress.num_tasks,
        "tasks_resumed": progress.num_resumed,
        "workers": workers,
        "encoder": encoder,
        "host": platform.node(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "bases": {name: str(snapshot.base) for name, snapshot in zip(plan.source_names, plan.snapshots)},
        "notes": {name: snap.note for name, snap in zip(plan.source_names, plan.snapshots) if snap.note is not None},
        "versions": {"mixer": __version__} | {name: version(name) for name in _VERSIONS},
    }
