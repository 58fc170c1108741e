"""`mixer verify`: a build against its manifest: every digest, every invariant of the format, conservation."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash

from mixer.digest import xxh3_file
from mixer.errors import IntegrityError
from mixer.shards.manifest import load_snapshot
from mixer.shards.rules import batch_problem, joint_problem, run_lengths
from mixer.shards.shard import REBUILD_HINT, RUN_COLUMNS, open_shard, read_columns, shard_schema


def check_files(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Check the digests of all files of a build, all cores at once, and that there are no others.

    Raises:
        IntegrityError: a shard or snapshot is missing or differs, or a shard is not of this build; names the first.
    """
    for damage in _damage_beside_shards(folder, manifest):
        raise damage
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for found in pool.map(lambda shard: _file_damage(folder, shard), manifest["shards"]):
            if found is not None:
                raise found


def _file_damage(folder: Path, shard: Mapping[str, Any]) -> IntegrityError | None:
    path = folder / shard["path"]
    try:
        digest = xxh3_file(path)
    except OSError as error:
        return IntegrityError(f"cannot read the shard: {error.strerror}", where=str(path), hint=REBUILD_HINT)
    if digest == shard["file_xxh3"]:
        return None
    return IntegrityError(
        f"the file's digest is {digest}, not {shard['file_xxh3']}", where=str(path), hint=REBUILD_HINT
    )


def find_damage(folder: Path, manifest: Mapping[str, Any]) -> Iterator[IntegrityError]:
    """All that is wrong with a build: shard by shard, then the totals.

    Nothing is trusted: a file with the right digest is still read and held against the format's rules, and a file
    with a wrong one is searched for the record batch in which the damage lies.
    """
    totals: dict[str, np.ndarray] = {}
    tokens = sequences = padding = 0
    for shard in manifest["shards"]:
        damage = _file_damage(folder, shard)
        problem = False
        try:
            for problem_text in shard_problems(folder / shard["path"], shard, manifest, totals):
                problem = True
                yield IntegrityError(problem_text, where=str(folder / shard["path"]), hint=REBUILD_HINT)
        except IntegrityError as error:
            problem = True
            yield error
        if damage is not None and not problem:
            yield damage
        tokens, sequences, padding = (
            tokens + shard["tokens"],
            sequences + shard["sequences"],
            padding + shard["padding"],
        )
    yield from _damage_beside_shards(folder, manifest)
    for name, found in (("tokens", tokens), ("sequences", sequences), ("padding", padding)):
        if found != manifest["totals"][name]:
            yield IntegrityError(f"{name} of the shards are {found:,}, in totals {manifest['totals'][name]:,}")
    for index, source in enumerate(manifest["sources"]):
        found = int(totals.get("tokens", np.zeros(len(manifest["sources"])))[index])
        if found != source["tokens"]:
            yield IntegrityError(
                f"the shards hold {found:,} tokens of it, the manifest says {source['tokens']:,}", where=source["name"]
            )


def _damage_beside_shards(folder: Path, manifest: Mapping[str, Any]) -> Iterator[IntegrityError]:
    for source in manifest["sources"]:
        try:
            load_snapshot(folder, source)
        except IntegrityError as error:
            yield error
    known = {folder / shard["path"] for shard in manifest["shards"]}
    for path in sorted({*folder.glob("shards/*.arrow")} - known):
        yield IntegrityError(
            "not a shard of this build, but read as one by its data-set card", where=str(path), hint="delete it"
        )


def shard_problems(
    path: Path, shard: Mapping[str, Any], manifest: Mapping[str, Any], totals: dict[str, np.ndarray]
) -> Iterator[str]:
    """What is wrong inside one shard, each with its record batch where it has one.

    Adds the shard's tokens per source to `totals["tokens"]`.
    """
    schema = shard_schema(manifest["sequence_length"])
    reader = open_shard(path)
    if not reader.schema.equals(schema, check_metadata=True):
        yield f"the schema is not that of format version {manifest['format_version']}"
        return
    num_sources = len(manifest["sources"])
    tokens = totals.setdefault("tokens", np.zeros(num_sources, dtype=np.int64))
    step, sequences = manifest["batch_sequences"], 0
    num_tokens = num_pad = 0
    packing, before = manifest["recipe"]["sequence"]["packing"], None
    parts: list[list[np.ndarray]] = [[] for _ in range(5 + 2 * len(RUN_COLUMNS))]
    for number in range(reader.num_record_batches):
        place = f"record batch {number}"
        try:
            batch = reader.get_batch(number)
            batch.validate(full=True)
            columns = read_columns(batch)
        except (pa.ArrowException, OSError, ValueError, IndexError) as error:
            yield f"{place}: not readable: {error}"
            continue
        last = number == reader.num_record_batches - 1
        if batch.num_rows != step and not (last and 0 < batch.num_rows < step):
            yield f"{place}: {batch.num_rows} sequences instead of {step}"
        sequences += batch.num_rows
        problem = batch_problem(batch, manifest) or joint_problem(before, columns, packing)
        if problem is not None:
            yield f"{place}: {problem}"
            continue
        before = columns
        runs = np.diff(columns.run_offsets).astype(np.int32)
        lengths = run_lengths(columns)
        real = columns.segment_source >= 0
        tokens += np.bincount(columns.segment_source[real], lengths[real], minlength=num_sources).astype(np.int64)
        num_tokens += int(lengths[real].sum())
        num_pad += int(columns.num_pad.sum())
        borders = np.asarray(batch["cu_seqlens"].flatten())
        flat = [columns.input_ids, columns.next_id, columns.num_pad, runs + 1, borders]
        for name in RUN_COLUMNS:
            flat += [runs, getattr(columns, name)]
        for part, array in zip(parts, flat):
            part.append(array)
    for name, found in (("sequences", sequences), ("tokens", num_tokens), ("padding", num_pad)):
        if found != shard[name]:
            yield f"{found:,} {name} instead of {shard[name]:,}"
    state = xxhash.xxh3_128()
    for array in (array for part in parts for array in part):
        state.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    if state.hexdigest() != shard["content_xxh3"]:
        yield f"the content's digest is {state.hexdigest()}, not {shard['content_xxh3']}"
