"""`mixer verify`: a build against its manifest: every digest, every rule of the format, conservation."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from mixer.digest import xxh3_file
from mixer.errors import FormatError, IntegrityError
from mixer.mixing.draws import DrawSchedule
from mixer.shards.consistency import recipe_problems
from mixer.shards.manifest import MANIFEST, SELECTIONS, SNAPSHOTS, load_named
from mixer.shards.plan_file import load_plan_record, load_task_record
from mixer.shards.records import NOTHING, Manifest, ShardEntry, TaskRecord
from mixer.shards.rules import batch_problem, joint_problem, run_lengths
from mixer.shards.shard import REBUILD_HINT, RUN_COLUMNS, check_schema, open_shard, read_batch, read_columns
from mixer.shards.snapshot_rules import selection_problem, snapshot_problem
from mixer.shards.write import ContentDigests, content_arrays


def check_files(folder: Path, manifest: Manifest) -> None:
    """Check the digests of all files of a build, all cores at once, and that there are no others.

    Raises:
        IntegrityError: a shard or snapshot is missing or differs, or a shard is not of this build; names the first.
    """
    for damage in _damage_beside_shards(folder, manifest):
        raise damage
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for found in pool.map(lambda shard: file_damage(folder, shard), manifest.shards):
            if found is not None:
                raise found


def damaged_shards(folder: Path, manifest: Manifest) -> list[ShardEntry]:
    """The shards whose file is missing or not as the manifest says; all cores at once."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(lambda shard: file_damage(folder, shard), manifest.shards))
    return [shard for shard, damage in zip(manifest.shards, found, strict=True) if damage is not None]


def file_damage(folder: Path, shard: ShardEntry) -> IntegrityError | None:
    """What is wrong with a shard as a file: its size or its digest; None where both are right, or it was deleted."""
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


def find_damage(folder: Path, manifest: Manifest) -> Iterator[IntegrityError]:
    """All that is wrong with a build: shard by shard, then what lies beside the shards, then the counts.

    Nothing is trusted: a file with the right digest is still read and held against the format's rules, and a file
    with a wrong one is searched for the record batch in which the damage lies.
    """
    tokens = np.zeros(len(manifest.sources), dtype=np.int64)
    whole = True
    for shard in manifest.shards:
        if shard.file.state == "deleted":
            whole = False
            continue
        damage = file_damage(folder, shard)
        found_inside = False
        for error in shard_damage(folder / shard.path, shard, manifest, tokens):
            found_inside, whole = True, False
            yield error
        if damage is not None and not found_inside:
            yield damage
    yield from _damage_beside_shards(folder, manifest)
    yield from _draw_damage(manifest)
    yield from (IntegrityError(problem, where=MANIFEST) for problem in recipe_problems(manifest))
    if whole:
        for source, counts, found in zip(manifest.sources, manifest.source_counts, tokens.tolist(), strict=True):
            if found != counts.tokens:
                yield IntegrityError(
                    f"the shards hold {found:,} tokens of it, the manifest says {counts.tokens:,}", where=source.name
                )


def _draw_damage(manifest: Manifest) -> Iterator[IntegrityError]:
    """Each stage's rows are exactly those that its weights draw."""
    for counts in manifest.counts:
        stage = manifest.stages[counts.stage]
        expected = DrawSchedule([source.weight for source in stage.sources]).counts(counts.draws[1] - counts.draws[0])
        for source, one, rows in zip(stage.sources, counts.sources, expected.tolist(), strict=True):
            if one.rows != rows:
                yield IntegrityError(
                    f"stage {counts.stage} has {one.rows:,} rows of it, its weights draw {rows:,}",
                    where=manifest.sources[source.source].name,
                )


def _damage_beside_shards(folder: Path, manifest: Manifest) -> Iterator[IntegrityError]:
    yield from _named_damage(folder, manifest)
    yield from _record_damage(folder, manifest)
    known = {folder / shard.path for shard in manifest.shards if shard.file.state == "present"}
    for path in sorted({*folder.glob("shards/*.arrow")} - known):
        yield IntegrityError(
            "not a shard of this build, but read as one by its data-set card", where=str(path), hint="delete it"
        )


def _named_damage(folder: Path, manifest: Manifest) -> Iterator[IntegrityError]:
    """Snapshots and selections: there, as their names say, and what the manifest says of them."""
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
        if chosen.source in snapshots and (problem := selection_problem(value, snapshots[chosen.source], chosen)):
            yield IntegrityError(problem, where=f"{SELECTIONS}/{chosen.selection}.json", hint=REBUILD_HINT)


def _record_damage(folder: Path, manifest: Manifest) -> Iterator[IntegrityError]:
    """Plan and task records: there, whole, and saying what the manifest says."""
    try:
        plan = load_plan_record(folder)
        if plan.id != manifest.plan:
            yield IntegrityError(
                f"it is the plan {plan.id}, the manifest is of {manifest.plan}", where=str(folder / "plan.json")
            )
        for name in ("name", "recipe", "tokenizer", "seed", "split", "parent", "features", "sources", "stages"):
            if getattr(plan, name) != getattr(manifest, name):
                yield IntegrityError(f"its {name} is not the manifest's", where=str(folder / "plan.json"))
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
            yield IntegrityError(f"the task records of stage {counts.stage} come to other counts than the manifest's")


def _record_problem(record: TaskRecord, shard: ShardEntry | None, manifest: Manifest) -> str | None:
    """What of a task's record is not as in the manifest; None where all is."""
    if record.plan != manifest.plan:
        return f"it is of the plan {record.plan}, the manifest of {manifest.plan}"
    if record.cut != manifest.cut_of(record.task):
        return "its cut is not the manifest's"
    found = record.shard
    if (found is None) != (shard is None):
        return "it has a shard and the manifest has none, or the other way round"
    if found is not None and shard is not None:
        # the file may be encoded anew, or gone by now
        for name in ("stage", "draws", "sequences", "tokens", "padding", "content_xxh3", "content_sha256"):
            if getattr(found, name) != getattr(shard, name):
                return f"its {name} is {getattr(found, name)}, the manifest has {getattr(shard, name)}"
    return None


def shard_damage(path: Path, shard: ShardEntry, manifest: Manifest, tokens: np.ndarray) -> Iterator[IntegrityError]:
    """What is wrong inside one shard, each with its record batch where it has one.

    Args:
        path: the shard.
        shard: what the manifest says of it.
        manifest: the build's.
        tokens: the shard's tokens are added to it; int64[sources], changed in place.
    """

    def damage(problem: str) -> IntegrityError:
        return IntegrityError(problem, where=str(path), hint=REBUILD_HINT)

    try:
        reader = open_shard(path)
        check_schema(reader, manifest.sequence.length, path)
    except IntegrityError as error:
        yield error
        return
    rules = manifest.sequence
    counts = {"sequences": 0, "tokens": 0, "padding": 0}
    before = None
    parts: list[list[np.ndarray]] = [[] for _ in range(5 + 2 * len(RUN_COLUMNS))]
    for number in range(reader.num_record_batches):
        place = f"record batch {number}"
        try:
            batch = read_batch(reader, number, path)
        except IntegrityError as error:
            yield error
            continue
        last = number == reader.num_record_batches - 1
        if batch.num_rows != rules.batch_sequences and not (last and 0 < batch.num_rows < rules.batch_sequences):
            yield damage(f"{place}: {batch.num_rows} sequences instead of {rules.batch_sequences}")
        counts["sequences"] += batch.num_rows
        if batch.num_rows == 0:
            continue
        problem = batch_problem(batch, manifest)
        columns = None if problem else read_columns(batch)
        if columns is not None:
            problem = joint_problem(before, columns, rules.packing)
        if columns is None or problem is not None:
            yield damage(f"{place}: {problem}")
            continue
        before = columns
        lengths = run_lengths(columns)
        real = columns.segment_source >= 0
        tokens += np.bincount(columns.segment_source[real], lengths[real], minlength=len(tokens)).astype(np.int64)
        counts["tokens"] += int(lengths[real].sum())
        counts["padding"] += int(columns.num_pad.sum())
        for part, array in zip(parts, content_arrays(columns), strict=True):
            part.append(array)
    for name, found in counts.items():
        if found != getattr(shard, name):
            yield damage(f"{found:,} {name} instead of {getattr(shard, name):,}")
    digests = ContentDigests()
    for array in (array for part in parts for array in part):
        digests.update(array)
    for name, digest in (("xxh3", digests.xxh3()), ("sha256", digests.sha256())):
        if digest != (asked := getattr(shard, f"content_{name}")):
            yield damage(f"the content's {name} is {digest}, not {asked}")
