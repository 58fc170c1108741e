"""`mixer verify`: a build against its manifest: every digest, every invariant of the format, conservation."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mixer.digest import xxh3_file
from mixer.errors import IntegrityError
from mixer.packing.columns import NO_ID
from mixer.shards.manifest import load_snapshot
from mixer.shards.shard import RUN_COLUMNS, open_shard, read_columns, shard_schema


def check_shards(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Check the digest of every shard's file, all cores at once.

    Raises:
        IntegrityError: a shard is missing or differs; names the first one.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for damage in pool.map(lambda shard: _file_damage(folder, shard), manifest["shards"]):
            if damage is not None:
                raise damage


def _file_damage(folder: Path, shard: Mapping[str, Any]) -> IntegrityError | None:
    path = folder / shard["path"]
    try:
        digest = xxh3_file(path)
    except OSError as error:
        return IntegrityError(f"cannot read the shard: {error.strerror}", where=str(path), hint=_REBUILD)
    if digest == shard["file_xxh3"]:
        return None
    return IntegrityError(f"the file's digest is {digest}, not {shard['file_xxh3']}", where=str(path), hint=_REBUILD)


_REBUILD = "delete the damaged shards and manifest.json, and run `mixer build` again"


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
                yield IntegrityError(problem_text, where=str(folder / shard["path"]), hint=_REBUILD)
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
    for source in manifest["sources"]:
        try:
            load_snapshot(folder, source)
        except IntegrityError as error:
            yield error
    known = {folder / shard["path"] for shard in manifest["shards"]}
    for path in sorted({*folder.glob("shards/*.arrow")} - known):
        yield IntegrityError("not a shard of this build, but read as one by its data-set card", where=str(path))
    for name, found in (("tokens", tokens), ("sequences", sequences), ("padding", padding)):
        if found != manifest["totals"][name]:
            yield IntegrityError(f"{name} of the shards are {found:,}, in totals {manifest['totals'][name]:,}")
    for index, source in enumerate(manifest["sources"]):
        found = int(totals.get("tokens", np.zeros(len(manifest["sources"])))[index])
        if found != source["tokens"]:
            yield IntegrityError(
                f"the shards hold {found:,} tokens of it, the manifest says {source['tokens']:,}", where=source["name"]
            )


def shard_problems(
    path: Path, shard: Mapping[str, Any], manifest: Mapping[str, Any], totals: dict[str, np.ndarray]
) -> Iterator[str]:
    """What is wrong inside one shard, each with its record batch where it has one.

    Adds the shard's tokens per source to `totals["tokens"]`.
    """
    import xxhash

    schema = shard_schema(manifest["sequence_length"])
    reader = open_shard(path)
    if not reader.schema.equals(schema, check_metadata=True):
        yield f"the schema is not that of format version {manifest['format_version']}"
        return
    num_sources = len(manifest["sources"])
    tokens = totals.setdefault("tokens", np.zeros(num_sources, dtype=np.int64))
    step, sequences = manifest["batch_sequences"], 0
    num_tokens = num_pad = 0
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
        problem = batch_problem(batch, manifest)
        if problem is not None:
            yield f"{place}: {problem}"
            continue
        runs = np.diff(columns.run_offsets).astype(np.int32)
        lengths = _run_lengths(columns)
        real = columns.segment_source >= 0
        tokens += np.bincount(columns.segment_source[real], lengths[real], minlength=num_sources).astype(np.int64)
        num_tokens += int(lengths[real].sum())
        num_pad += int(columns.num_pad.sum())
        flat = [columns.input_ids, columns.next_id, columns.num_pad, runs + 1, np.asarray(batch["cu_seqlens"].flatten())]
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


def _items_are_null(column: pa.Array) -> bool:
    return pa.types.is_nested(column.type) and column.flatten().null_count > 0


def _run_lengths(columns: Any) -> np.ndarray:
    starts = np.concatenate([[0], columns.run_stop[:-1]])
    starts[columns.run_offsets[:-1]] = 0
    return columns.run_stop - starts


def batch_problem(batch: pa.RecordBatch, manifest: Mapping[str, Any]) -> str | None:
    """The first rule of the format that a record batch breaks; None where it keeps them all. Pure."""
    if any(column.null_count or _items_are_null(column) for column in batch.columns):
        return "there are nulls"
    columns = read_columns(batch)
    length = manifest["sequence_length"]
    num = batch.num_rows
    borders, offsets = np.asarray(batch["cu_seqlens"].flatten()), columns.run_offsets
    runs = np.diff(offsets)
    if (runs < 1).any():
        return "a sequence has no segment"
    for name in RUN_COLUMNS:
        if not np.array_equal(np.diff(np.asarray(batch[name].offsets)), runs):
            return f"{name} has not one entry a run"
    first = offsets[:-1] + np.arange(num)
    if borders[first].any() or (columns.run_stop[offsets[1:] - 1] != length).any():
        return f"cu_seqlens do not run from 0 to {length}"
    lengths = _run_lengths(columns)
    if (lengths <= 0).any():
        return "cu_seqlens do not rise"
    vocab = manifest["tokenizer"]["vocab_size"]
    if columns.input_ids.size and not 0 <= int(columns.input_ids.min()) <= int(columns.input_ids.max()) < vocab:
        return f"an id is outside 0..{vocab - 1}"
    if ((columns.next_id != NO_ID) & ((columns.next_id < 0) | (columns.next_id >= vocab))).any():
        return "a next_id is neither an id nor -100"
    source = columns.segment_source
    if (source < -1).any() or (source >= len(manifest["sources"])).any():
        return "a segment_source is not a source of the manifest"
    padding = source == -1
    is_last = np.zeros(len(source), dtype=bool)
    is_last[offsets[1:] - 1] = True
    if (padding & ~is_last).any():
        return "padding stands before the end of a sequence"
    pad = np.zeros(num, dtype=np.int64)
    pad[padding[offsets[1:] - 1]] = lengths[padding]
    if not np.array_equal(pad, columns.num_pad):
        return "num_pad is not the length of the padding run"
    tail = np.arange(length) >= length - pad[:, None]
    if (columns.input_ids[tail] != manifest["tokenizer"]["pad_id"]).any():
        return "padding holds other ids than the padding id"
    if (columns.next_id[pad > 0] != NO_ID).any():
        return "a padded sequence has a next_id"
    for name, empty in (("segment_row", -1), ("segment_pass", -1), ("segment_start", 0)):
        values = getattr(columns, name)
        if (values[padding] != empty).any() or (values[~padding] < 0).any():
            return f"{name} is wrong for a run"
    available = np.array([source["rows_in_snapshot"] for source in manifest["sources"]])
    if (columns.segment_row[~padding] >= available[source[~padding]]).any():
        return "a segment_row is beyond its source's rows"
    return None
