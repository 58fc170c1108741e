"""`mixer repair`: rebuild the damaged files of a build, and nothing else.

A rebuilt shard must have the content of the manifest, so a repair cannot change a build. The file
may be encoded otherwise by another Arrow library: the manifest then notes its new size and digest, which are in no id.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from mixer.building.folder import BuildFolder
from mixer.errors import FormatError, IntegrityError, write_error
from mixer.shards.files import damaged_shards
from mixer.shards.manifest import load_manifest, publish_manifest
from mixer.shards.plan_file import (
    load_task_record,
    plan_json,
    publish_plan_record,
    publish_task_record,
    read_plan_json,
)
from mixer.shards.records import Manifest, PlanRecord, ShardEntry, TaskRecord
from mixer.stores.block_cache import BlockCache
from mixer.system.progress import Advance, OnAdvance, Work, silent
from mixer.system.publish import publish_written, sync_file
from mixer.verify.rebuild import Rebuild, open_rebuild


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """The rebuilt files: paths in the build's folder."""

    shards: tuple[str, ...]
    records: tuple[str, ...]
    others: tuple[str, ...]

    @property
    def num_files(self) -> int:
        """The number of rebuilt files."""
        return len(self.shards) + len(self.records) + len(self.others)


def repair(
    out: Path,
    *,
    root: Path,
    cache_dir: Path,
    blocks: BlockCache | None = None,
    on_progress: OnAdvance = silent,
) -> Repair:
    """Rebuild the damaged or missing files of a finished build, one by one; the manifest must be undamaged.

    Interrupted, it goes on when it is run again.

    Args:
        out: the build.
        root: the folder that the recipe's relative paths start from.
        cache_dir: where row counts and tokenizers are kept.
        blocks: where blocks of remote sources are kept, and fetched contents; None: there, too.
        on_progress: called with what is done now.

    Raises:
        IntegrityError: the manifest is damaged, or a rebuilt shard has other content.
        BuildStateError: the folder is in use.
        DataError, TokenizerError: the sources or the tokenizer are not those of the build.
        TaskError: a file cannot be written.
    """
    manifest = load_manifest(out)
    with BuildFolder(out):
        on_progress(Advance(work=Work.CHECK_SHARDS, total=len(manifest.shards)))
        shards = damaged_shards(out, manifest)
        records = _damaged_records(out, manifest)
        again = None
        if shards or records:
            again = open_rebuild(out, manifest, root=root, cache_dir=cache_dir, blocks=blocks, on_progress=on_progress)
        try:
            others = _repair_plan(out, manifest)
            for number, shard in enumerate(shards, 1):
                assert again is not None
                on_progress(Advance(work=Work.REMAKE_SHARD, about=shard.path, done=number, total=len(shards)))
                manifest = _repair_shard(out, manifest, shard, again)
            for task in records:
                assert again is not None
                _repair_record(out, manifest, task, again)
        except OSError as error:
            raise write_error(error, str(out)) from error
    return Repair(
        shards=tuple(shard.path for shard in shards),
        records=tuple(f"tasks/{task:05d}.json" for task in records),
        others=tuple(others),
    )


def _damaged_records(out: Path, manifest: Manifest) -> list[int]:
    """The tasks whose record is missing or damaged, or contradicts the manifest."""
    shards = {shard.task: shard for shard in manifest.shards}
    damaged = []
    for counts in manifest.counts:
        for task in range(*counts.tasks):
            try:
                record = load_task_record(out, task)
            except IntegrityError:
                damaged.append(task)
                continue
            shard = shards.get(task)
            wanted = None if shard is None else shard.content_sha256
            if record.plan != manifest.plan or record.content_sha256 != wanted:
                damaged.append(task)
    return damaged


def _repair_plan(out: Path, manifest: Manifest) -> list[str]:
    """Write `plan.json` again from the manifest, which has all of it."""
    try:
        if read_plan_json(out)["id"] == manifest.plan:
            return []
    except (IntegrityError, FormatError):
        pass
    names = ("features", "name", "recipe", "tokenizer", "seed", "split", "parent", "sources", "stages")
    value = plan_json(PlanRecord(id="", **{name: getattr(manifest, name) for name in names}))
    if value["id"] != manifest.plan:
        raise IntegrityError("the manifest's plan does not match its stages", where=str(out))
    publish_plan_record(out, value)
    return ["plan.json"]


def _repair_shard(out: Path, manifest: Manifest, shard: ShardEntry, again: Rebuild) -> Manifest:
    """Rebuild a shard in its place, and record its file in manifest and record; returns the manifest."""
    scratch = out / f".repair.{os.getpid()}.tmp"
    (scratch / "shards").mkdir(parents=True, exist_ok=True)
    made = scratch / shard.path
    try:
        record = again.make_task(shard.task, scratch)
        if record.content_sha256 != shard.content_sha256 or record.file is None:
            raise IntegrityError("rebuilt from its sources, the shard differs from the manifest", where=shard.path)
        sync_file(made)
        if record.file != shard.file:
            manifest = _with_file(out, manifest, record)
        publish_written(made, out / shard.path)
        with suppress(IntegrityError):  # a record that holds says more: under which limit the task was made
            record = replace(load_task_record(out, shard.task), file=record.file)
        publish_task_record(out, record)
    finally:
        made.unlink(missing_ok=True)
        (scratch / "shards").rmdir()
        scratch.rmdir()
    return manifest


def _repair_record(out: Path, manifest: Manifest, task: int, again: Rebuild) -> None:
    """Rebuild a task for its record alone."""
    scratch = out / f".repair.{os.getpid()}.tmp"
    (scratch / "shards").mkdir(parents=True, exist_ok=True)
    try:
        record = again.make_task(task, scratch)
    finally:
        for made in (scratch / "shards").glob("*"):
            made.unlink()
        (scratch / "shards").rmdir()
        scratch.rmdir()
    shard = next((shard for shard in manifest.shards if shard.task == task), None)
    if record.content_sha256 != (None if shard is None else shard.content_sha256):
        raise IntegrityError("rebuilt from its sources, the task has other content", where=f"task {task}")
    publish_task_record(out, record if shard is None else replace(record, file=shard.file))


def _with_file(out: Path, manifest: Manifest, record: TaskRecord) -> Manifest:
    """The manifest with another file of a shard: published, under the same id."""
    assert record.file is not None
    shards = [replace(one, file=record.file) if one.task == record.task else one for one in manifest.shards]
    published = publish_manifest(out, replace(manifest, shards=tuple(shards)))
    assert published.id == manifest.id
    return published
