"""`mixer verify --deep`: a build against its sources.

Two witnesses: the segments of a keyed sample of sequences are encoded again by the reference implementation, each from
its own row; and one task, chosen by a key, is built again and must have the same content.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mixer import rng
from mixer.errors import IntegrityError
from mixer.recipe import Recipe
from mixer.shards.locate import Locator
from mixer.shards.records import Manifest
from mixer.shards.shard import check_shard_schema, open_shard, read_batch, read_columns
from mixer.sources.evidence import EVIDENCE, check_evidence
from mixer.sources.reader import SourceReader
from mixer.stores.block_cache import BlockCache
from mixer.system.progress import Advance, OnAdvance, Work, silent
from mixer.system.regular_files import parse_json, read_regular
from mixer.tokens.tokenizer import Tokenizer
from mixer.verify.rebuild import Rebuild, open_rebuild

SAMPLED_SEQUENCES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepCheck:
    """The numbers of compared items."""

    num_sequences: int
    num_segments: int
    num_shards: int
    num_files: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Segment:
    """One segment to be encoded again: its place and its tokens."""

    shard: str
    sequence: int
    start: int
    ids: np.ndarray


def check_deep(
    folder: Path,
    manifest: Manifest,
    *,
    root: Path,
    cache_dir: Path,
    blocks: BlockCache | None = None,
    on_progress: OnAdvance = silent,
) -> DeepCheck:
    """Compare a build with its sources.

    Args:
        folder: the build.
        manifest: its manifest, loaded.
        root: the folder that the recipe's relative paths start from.
        cache_dir: where row counts and tokenizers are kept.
        blocks: where blocks of remote sources are kept, and fetched contents; None: there, too.
        on_progress: called with what is done now.

    Raises:
        DataError: a source is missing or has changed since the build.
        TokenizerError: the tokenizer differs.
        IntegrityError: a sequence differs from its rows; names shard, sequence and row.
    """
    again = open_rebuild(folder, manifest, root=root, cache_dir=cache_dir, blocks=blocks, on_progress=on_progress)
    on_progress(Advance(work=Work.ENCODE_SAMPLE, total=SAMPLED_SEQUENCES))
    wanted, num_sequences = _sample(folder, manifest)
    num_segments = sum(_check_source(index, rows, again) for index, rows in sorted(wanted.items()))
    on_progress(Advance(work=Work.REBUILD_TASK))
    num_shards = _build_again(again)
    return DeepCheck(
        num_sequences=num_sequences,
        num_segments=num_segments,
        num_shards=num_shards,
        num_files=_check_evidence(folder, again, on_progress),
    )


def _sample(folder: Path, manifest: Manifest) -> tuple[dict[int, dict[int, list[_Segment]]], int]:
    """Source -> row -> segments of it, of some sequences that a key chooses; and how many those are."""
    locator = Locator.of(manifest)
    total = locator.num_sequences
    words = rng.words(rng.key(manifest.seed, "deep", manifest.id), SAMPLED_SEQUENCES)
    chosen = np.unique((words % np.uint64(max(total, 1))).astype(np.int64)) if total else np.empty(0, np.int64)
    wanted: dict[int, dict[int, list[_Segment]]] = {}
    num_read = 0
    for number in chosen.tolist():
        place = locator.place(number)
        shard = manifest.shards[place.shard]
        if shard.file.state == "deleted":
            continue
        num_read += 1
        path = folder / shard.path
        reader = open_shard(path)
        check_shard_schema(reader, manifest.sequence.length, path)
        columns = read_columns(read_batch(reader, place.batch, path).slice(place.row_in_batch, 1))
        starts = np.concatenate([[0], columns.run_stop[:-1]])
        for run in np.flatnonzero(columns.segment_source >= 0).tolist():
            segment = _Segment(
                shard=shard.path,
                sequence=place.row,
                start=int(columns.segment_start[run]),
                ids=columns.input_ids[0, starts[run] : columns.run_stop[run]],
            )
            rows = wanted.setdefault(int(columns.segment_source[run]), {})
            rows.setdefault(int(columns.segment_row[run]), []).append(segment)
    return wanted, num_read


def _check_source(index: int, rows: dict[int, list[_Segment]], again: Rebuild) -> int:
    """Encode the rows of one source with the reference and compare their segments; returns how many."""
    recipe, snapshot = again.recipe, again.plan.snapshots[index]
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
                num_segments += _check_row(name, row, texts.text[place].as_py(), rows[row], recipe, again.tokenizer)
            if not missing:
                break
        if missing:
            raise IntegrityError("a segment comes from a row that is not drawn", where=f"{name}, row {min(missing)}")
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
                f"sequence {segment.sequence} differs from the reference encoding of row {row} of {name}",
                where=segment.shard,
            )
    return len(segments)


def _check_evidence(folder: Path, again: Rebuild, on_progress: OnAdvance) -> int:
    """Compare files of the sources with the digests that the build noted of them; returns how many it had."""
    try:
        evidence = parse_json(read_regular(folder / EVIDENCE))
        known = {name: evidence.get(name, {}) for name in again.plan.source_names}
    except (OSError, ValueError, AttributeError):
        return 0  # it is in no id: a build without it is whole
    on_progress(Advance(work=Work.READ_FILES, total=sum(map(len, known.values()))))
    return sum(
        check_evidence(name, snapshot, known[name])
        for name, snapshot in zip(again.plan.source_names, again.plan.snapshots, strict=True)
    )


def _build_again(again: Rebuild) -> int:
    """Build the task of one shard again and compare its content; returns how many."""
    manifest = again.manifest
    if not manifest.shards:
        return 0
    shard = manifest.shards[rng.key(manifest.seed, "deep task", manifest.id) % len(manifest.shards)]
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "shards").mkdir()
        record = again.make_task(shard.task, Path(scratch))
    if record.content_sha256 != shard.content_sha256:
        raise IntegrityError("rebuilt from its sources, the shard has other content", where=shard.path)
    return 1
