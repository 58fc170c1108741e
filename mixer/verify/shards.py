"""`mixer verify`: a build against its manifest: every digest, every rule of the format, conservation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mixer.errors import IntegrityError
from mixer.mixing.draws import DrawSchedule
from mixer.shards.consistency import recipe_problems
from mixer.shards.files import damage_beside_shards, file_damage
from mixer.shards.manifest import MANIFEST
from mixer.shards.records import Manifest, ShardEntry
from mixer.shards.rules import batch_problem, joint_problem, run_lengths
from mixer.shards.shard import REBUILD_HINT, RUN_COLUMNS, check_shard_schema, open_shard, read_batch, read_columns
from mixer.shards.write import ContentDigests, content_arrays


def find_damage(folder: Path, manifest: Manifest) -> Iterator[IntegrityError]:
    """All damage of a build: shard by shard, then the files beside the shards, then the counts.

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
    yield from damage_beside_shards(folder, manifest)
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


def shard_damage(path: Path, shard: ShardEntry, manifest: Manifest, tokens: np.ndarray) -> Iterator[IntegrityError]:
    """All damage inside one shard, each with its record batch if it has one.

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
        check_shard_schema(reader, manifest.sequence.length, path)
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
