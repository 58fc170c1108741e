"""`mixer verify --deep`: a build against its sources.

Two witnesses: the segments of a keyed sample of sequences are encoded anew by the reference implementation, each from
its own row; and one task, chosen by a key, is built again and must have the same content.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mixer import rng
from mixer.build.contents import pin_read
from mixer.build.plan import Plan
from mixer.build.result import Limit
from mixer.build.task import TaskRunner
from mixer.errors import DataError, IntegrityError, TokenizerError
from mixer.mixing.target import Extent
from mixer.mixing.tasks import Task
from mixer.recipe import Recipe
from mixer.shards.manifest import load_snapshot
from mixer.shards.shard import open_shard, read_columns
from mixer.sources import PinCache, Snapshot, SourceReader
from mixer.sources.remote.block_cache import BlockCache
from mixer.sources.remote.kept import remote_snapshot
from mixer.tokens.tokenizer import Tokenizer, load_tokenizer

SAMPLED_SEQUENCES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepCheck:
    """What was compared."""

    num_sequences: int
    num_segments: int
    num_shards: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Segment:
    """One segment to be encoded again: where it stands and what is there."""

    shard: str
    sequence: int
    start: int
    ids: np.ndarray


def check_deep(
    folder: Path,
    manifest: Mapping[str, Any],
    *,
    root: Path,
    cache_dir: Path,
    blocks: BlockCache | None = None,
    on_progress: Callable[[str], None] = lambda words: None,
) -> DeepCheck:
    """Compare a build with its sources.

    Args:
        folder: the build.
        manifest: its manifest, loaded.
        root: the folder that the recipe's relative paths start from.
        cache_dir: where row counts and tokenizers are kept.
        blocks: where blocks of remote sources are kept, and fetched contents; None: there, too.
        on_progress: told in words what is done now.

    Raises:
        DataError: a source is missing or has changed since the build.
        TokenizerError: the tokenizer is another one.
        IntegrityError: a sequence does not hold what its rows say; names shard, sequence and row.
    """
    recipe = Recipe.from_normalised(manifest["recipe"])
    tokenizer = load_tokenizer(recipe.tokenizer, root=root, cache_dir=cache_dir)
    if tokenizer.fingerprint != manifest["tokenizer"]["fingerprint"]:
        raise TokenizerError("the tokenizer is not the one that the build was made with", where=recipe.tokenizer_name)
    # The order of the sources is the manifest's: shards hold indices into it.
    names = [source["name"] for source in manifest["sources"]]
    recipe = recipe.model_copy(update={"sources": {name: recipe.sources[name] for name in names}})
    on_progress("pinning the sources")
    snapshots = _pin_again(folder, manifest, recipe, tokenizer, root, PinCache(cache_dir, blocks))
    on_progress(f"encoding a sample of {SAMPLED_SEQUENCES} sequences with the reference")
    wanted, num_sequences = _sample(folder, manifest, recipe.seed)
    num_segments = sum(
        _check_source(index, rows, recipe, snapshots[index], tokenizer) for index, rows in sorted(wanted.items())
    )
    on_progress("building one task again")
    num_shards = _build_again(manifest, recipe, snapshots, tokenizer)
    return DeepCheck(num_sequences=num_sequences, num_segments=num_segments, num_shards=num_shards)


def _pin_again(
    folder: Path, manifest: Mapping[str, Any], recipe: Recipe, tokenizer: Tokenizer, root: Path, cache: PinCache
) -> tuple[Snapshot, ...]:
    snapshots = []
    # not trusting the cache: it would believe a file whose bytes changed under the same size and times
    for entry in manifest["sources"]:
        pinned = load_snapshot(folder, entry)
        if "origin" in pinned:
            snapshots.append(remote_snapshot(pinned, cache))  # each of its versions is checked when it is read
            continue
        name = entry["name"]
        snapshot = pin_read(name, recipe.sources[name], tokenizer=tokenizer, root=root, cache=cache, trusting=False)
        found, built = snapshot.as_json()["files"], pinned["files"]
        if found != built:
            before = {file["path"]: file for file in built}
            now = {file["path"]: file for file in found}
            changed = sorted(path for path in before.keys() | now.keys() if before.get(path) != now.get(path))
            raise DataError(
                f"{len(changed):,} of its files changed since the build, the first is {changed[0]}",
                where=f"sources.{entry['name']}",
                hint="point --root at the data that the build was made from",
            )
        snapshots.append(snapshot)
    return tuple(snapshots)


def _sample(folder: Path, manifest: Mapping[str, Any], seed: int) -> tuple[dict[int, dict[int, list[_Segment]]], int]:
    """Source -> row -> segments of it, of some sequences that a key chooses; and how many those are."""
    borders = np.cumsum([0, *(shard["sequences"] for shard in manifest["shards"])])
    total = int(borders[-1])
    words = rng.words(rng.key(seed, "deep", manifest["id"]), SAMPLED_SEQUENCES) if total else np.empty(0, np.uint64)
    chosen = np.unique((words % np.uint64(max(total, 1))).astype(np.int64))
    wanted: dict[int, dict[int, list[_Segment]]] = {}
    for number in chosen.tolist():
        place = int(np.searchsorted(borders, number, side="right")) - 1
        shard, sequence = manifest["shards"][place], number - int(borders[place])
        batch, row = divmod(sequence, manifest["batch_sequences"])
        columns = read_columns(open_shard(folder / shard["path"]).get_batch(batch).slice(row, 1))
        starts = np.concatenate([[0], columns.run_stop[:-1]])
        for run in np.flatnonzero(columns.segment_source >= 0).tolist():
            segment = _Segment(
                shard=shard["path"],
                sequence=sequence,
                start=int(columns.segment_start[run]),
                ids=columns.input_ids[0, starts[run] : columns.run_stop[run]],
            )
            rows = wanted.setdefault(int(columns.segment_source[run]), {})
            rows.setdefault(int(columns.segment_row[run]), []).append(segment)
    return wanted, len(chosen)


def _check_source(
    index: int, rows: dict[int, list[_Segment]], recipe: Recipe, snapshot: Snapshot, tokenizer: Tokenizer
) -> int:
    """Encode the rows of one source with the reference and compare their segments; returns how many."""
    name, source = list(recipe.sources.items())[index]
    reader = SourceReader(name, source, snapshot, recipe.on_bad_row)
    ordinals = np.array(sorted(rows), dtype=np.int64)
    blocks = np.searchsorted(snapshot.block_first_row + snapshot.block_rows, ordinals, side="right")
    num_segments = 0
    for block in np.unique(blocks).tolist():
        missing = set(ordinals[blocks == block].tolist())
        for texts in reader.read(block, 0, int(snapshot.block_kept[block])):
            for place in np.flatnonzero(np.isin(texts.rows, list(missing))).tolist():
                row = int(texts.rows[place])
                missing.discard(row)
                num_segments += _check_row(name, row, texts.text[place].as_py(), rows[row], recipe, tokenizer)
            if not missing:
                break
        if missing:
            raise IntegrityError("a segment is of a row that is not drawn", where=f"{name}, row {min(missing)}")
    return num_segments


def _check_row(
    name: str, row: int, text: str | None, segments: list[_Segment], recipe: Recipe, tokenizer: Tokenizer
) -> int:
    ids = tokenizer.reference.encode(text or "")
    if recipe.sequence.bos:
        ids = [tokenizer.bos_id or 0, *ids]
    if recipe.sequence.eos:
        ids = [*ids, tokenizer.eos_id or 0]
    for segment in segments:
        if ids[segment.start : segment.start + len(segment.ids)] != segment.ids.tolist():
            raise IntegrityError(
                f"sequence {segment.sequence} does not hold what the reference makes of row {row} of {name}",
                where=segment.shard,
            )
    return len(segments)


def _build_again(
    manifest: Mapping[str, Any], recipe: Recipe, snapshots: tuple[Snapshot, ...], tokenizer: Tokenizer
) -> int:
    """Build the task of one shard again and compare its content; returns how many."""
    if not manifest["shards"]:
        return 0
    place = rng.key(recipe.seed, "deep task", manifest["id"]) % len(manifest["shards"])
    shard = manifest["shards"][place]
    plan = Plan(
        recipe=recipe,
        tokenizer=dict(manifest["tokenizer"]),
        snapshots=snapshots,
        tokens_per_row=tuple(source["measured_tokens_per_row"] for source in manifest["sources"]),
        integer_weights=tuple(source["row_weight"] for source in manifest["sources"]),
        draws_per_task=manifest["draws_per_task"],
        extent=Extent(max_draws=None, end_tokens=None, end_sequences=None, estimated_draws=0),
    )
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "shards").mkdir()
        runner = TaskRunner(plan, tokenizer, Path(scratch))
        task = Task(number=shard["task"], start=shard["draws"][0], stop=shard["draws"][1])
        result = runner.run(task, _limit(manifest, recipe, place))
        runner.close()
    if result.shard is None or result.shard["content_xxh3"] != shard["content_xxh3"]:
        raise IntegrityError("built again from its sources, the shard has other content", where=shard["path"])
    return 1


def _limit(manifest: Mapping[str, Any], recipe: Recipe, place: int) -> Limit | None:
    """Where the build ends in this shard: for the last one of a build with a target in tokens or sequences."""
    target = recipe.target
    if place + 1 < len(manifest["shards"]) or target is None:
        return None
    if target.tokens is not None:
        return Limit(kind="tokens", amount=target.tokens - sum(shard["tokens"] for shard in manifest["shards"][:-1]))
    if target.sequences is not None:
        done = sum(shard["sequences"] for shard in manifest["shards"][:-1])
        return Limit(kind="sequences", amount=target.sequences - done)
    return None
