"""Check the files of a build against its manifest: all digests, and no other files. No shard is decoded."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from mixer.attributes.kept_rows import kept_rows_of
from mixer.attributes.set_file import ATTRIBUTES
from mixer.digest import xxh3_file
from mixer.errors import FormatError, IntegrityError
from mixer.shards.manifest import SELECTIONS, SNAPSHOTS, load_named
from mixer.shards.plan_file import load_plan_record, load_task_record
from mixer.shards.records import NOTHING, Manifest, ShardEntry, SourceEntry, TaskRecord
from mixer.shards.shard import REBUILD_HINT
from mixer.shards.snapshot_rules import selection_problem, snapshot_problem
from mixer.system.threads import map_in_threads


def check_files(folder: Path, manifest: Manifest) -> None:
    """Check the digests of all files of a build, all cores at once, and that there are no others.

    Raises:
        IntegrityError: a shard or snapshot is missing or differs, or a shard is not of this build; names the first.
    """
    for damage in damage_beside_shards(folder, manifest):
        raise damage

    def check(shard: ShardEntry) -> None:
        if damage := file_damage(folder, shard):
            raise damage

    map_in_threads(check, manifest.shards)


def damaged_shards(folder: Path, manifest: Manifest) -> list[ShardEntry]:
    """The shards whose file is missing or differs from the manifest; on all cores."""
    found = map_in_threads(partial(file_damage, folder), manifest.shards)
    return [shard for shard, damage in zip(manifest.shards, found, strict=True) if damage is not None]


def file_damage(folder: Path, shard: ShardEntry) -> IntegrityError | None:
    """The damage of a shard's file: its size or its digest; None if both match, or if it was deleted."""
    if shard.file.state == "deleted":
        return None
    path = folder / shard.path
    try:
        num_bytes = path.stat().st_size
        digest = xxh3_file(path) if num_bytes == shard.file.bytes else None
    except OSError as error:
        return IntegrityError(f"cannot read the shard: {error.strerror}", where=str(path), hint=REBUILD_HINT)
    if digest is None:
        message = f"it has {num_bytes:,} bytes, the manifest says {shard.file.bytes:,}"
    elif digest != shard.file.xxh3:
        message = f"the file's digest is {digest}, not {shard.file.xxh3}"
    else:
        return None
    return IntegrityError(message, where=str(path), hint=REBUILD_HINT)


def damage_beside_shards(folder: Path, manifest: Manifest) -> Iterator[IntegrityError]:
    """The damage of snapshots, selections, plan and task records; and files that do not belong to the build."""
    yield from _named_damage(folder, manifest)
    yield from _record_damage(folder, manifest)
    known = {folder / shard.path for shard in manifest.shards if shard.file.state == "present"}
    for path in sorted({*folder.glob("shards/*.arrow")} - known):
        yield IntegrityError(
            "not a shard of this build, but its data-set card reads it as one", where=str(path), hint="delete it"
        )


def _named_damage(folder: Path, manifest: Manifest) -> Iterator[IntegrityError]:
    """The damage of snapshots and selections: missing, or against their names or the manifest."""
    snapshots = {}
    for number, source in enumerate(manifest.sources):
        try:
            snapshots[number] = load_named(folder, SNAPSHOTS, source.snapshot)
        except IntegrityError as error:
            yield error
            continue
        if problem := snapshot_problem(snapshots[number], source):
            yield IntegrityError(problem, where=f"{SNAPSHOTS}/{source.snapshot}.json", hint=REBUILD_HINT)
            del snapshots[number]
    for chosen in dict.fromkeys(one for stage in manifest.stages for one in stage.sources):
        try:
            value = load_named(folder, SELECTIONS, chosen.selection)
        except IntegrityError as error:
            yield error
            continue
        if chosen.source not in snapshots:
            continue
        snapshot = snapshots[chosen.source]
        problem = selection_problem(value, snapshot, chosen) or _attributes_problem(
            value, folder / ATTRIBUTES, manifest.sources[chosen.source], snapshot
        )
        if problem:
            yield IntegrityError(problem, where=f"{SELECTIONS}/{chosen.selection}.json", hint=REBUILD_HINT)


def _attributes_problem(selection: Any, folder: Path, source: SourceEntry, snapshot: Any) -> str | None:
    """The first problem of the row attributes of a selection that has no other one; None if there is none. Reads all.

    Args:
        selection: the selection as JSON.
        folder: where the sets are.
        source: whose rows they are about.
        snapshot: its snapshot as JSON.
    """
    block_rows = [rows for file in snapshot["files"] for rows in file["rows"]]
    try:
        kept = kept_rows_of(selection, folder)
        for one in () if kept is None else kept.sets:
            problem = one.damage(block_rows)
            if one.header.snapshot != source.snapshot:
                problem = "it is of another snapshot"
            if problem:
                return f"row attributes {one.digest}: {problem}"
        if kept is None:
            return None
        counts = [int(kept.mask(block).sum()) for block in range(len(block_rows))]
    except (IntegrityError, FormatError) as error:
        return f"row attributes: {error.message}"
    if counts != list((selection["kept"] or [block_rows])[0]):
        return f"row attributes {kept.rows.digest}: its blocks keep other numbers of rows than the selection says"
    return None


def _record_damage(folder: Path, manifest: Manifest) -> Iterator[IntegrityError]:
    """The damage of plan and task records: missing, damaged, or against the manifest."""
    try:
        plan = load_plan_record(folder)
        if plan.id != manifest.plan:
            yield IntegrityError(
                f"it is plan {plan.id}; the manifest is of plan {manifest.plan}", where=str(folder / "plan.json")
            )
        for name in ("name", "recipe", "tokenizer", "seed", "split", "parent", "features", "sources", "stages"):
            if getattr(plan, name) != getattr(manifest, name):
                yield IntegrityError(f"its {name} differs from the manifest's", where=str(folder / "plan.json"))
    except (IntegrityError, FormatError) as error:
        yield IntegrityError(error.message, where=error.where, hint=error.hint)
    shards = {shard.task: shard for shard in manifest.shards}
    for counts in manifest.counts:
        total = [NOTHING] * len(counts.sources)
        whole = True
        for task in range(*counts.tasks):
            try:
                record = load_task_record(folder, task)
            except IntegrityError as error:
                yield error
                whole = False
                continue
            if problem := _record_problem(record, shards.get(task), manifest):
                yield IntegrityError(problem, where=str(folder / f"tasks/{task:05d}.json"), hint=REBUILD_HINT)
            if len(record.counts) == len(total):
                total = [one + other for one, other in zip(total, record.counts)]
        if whole and tuple(total) != counts.sources:
            yield IntegrityError(
                f"the task records of stage {counts.stage} have counts that differ from the manifest's"
            )


def _record_problem(record: TaskRecord, shard: ShardEntry | None, manifest: Manifest) -> str | None:
    """The difference between a task's record and the manifest; None if there is none."""
    if record.plan != manifest.plan:
        return f"it is of the plan {record.plan}, the manifest of {manifest.plan}"
    if record.cut != manifest.cut_of(record.task):
        return "its cut differs from the manifest's"
    found = record.shard
    if (found is None) != (shard is None):
        return "it has a shard and the manifest has none, or the other way round"
    if found is not None and shard is not None:
        # the file may be encoded anew, or gone by now
        for name in ("stage", "draws", "sequences", "tokens", "padding", "content_xxh3", "content_sha256"):
            if getattr(found, name) != getattr(shard, name):
                return f"its {name} is {getattr(found, name)}, the manifest has {getattr(shard, name)}"
    return None
