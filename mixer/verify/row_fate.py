"""Why a row of a source is in no sequence of a build."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa

from mixer.attributes.kept_rows import KEEP
from mixer.building.holdout import held_out
from mixer.recipe import Recipe, recipe_of
from mixer.shards.drawn import Drawing, drawings
from mixer.shards.manifest import SNAPSHOTS, load_named
from mixer.shards.records import Manifest
from mixer.sources.pin_cache import PinCache
from mixer.sources.reader import SourceReader
from mixer.sources.remote_snapshots import remote_snapshot
from mixer.sources.row import FoundRow, place_of_row, read_row
from mixer.sources.snapshot import Snapshot
from mixer.stores.block_cache import BlockCache
from mixer.tokens.tokenizer import Tokenizer, load_tokenizer
from mixer.verify.rebuild import pinned_source

Why = Literal[
    "never_drawn",
    "where",
    "not_kept",
    "null_text",
    "empty_text",
    "bad_row",
    "too_long",
    "held_out",
    "not_held_out",
    "left_out",
    "drawn",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Why row attributes drop a row: the set that says so, and what a curation says of it."""

    # The set's name in the recipe; "where" where only the predicate over the sets drops it.
    name: str
    step: str | None = None
    reason: str | None = None
    # The row that a duplicate was dropped for: its source, ordinal and place, and the equal slots (255: equal rows).
    twin_source: str | None = None
    twin_row: int | None = None
    twin_place: str | None = None
    agreement: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """The fate of a row in a build.

    `why` is `never_drawn` where the build ends before its draw, `where` where the predicate drops it, `not_kept` where
    row attributes do, the reason for which it was skipped, `left_out` where the end of a cut task fell before its
    tokens, or `drawn`: its tokens are in sequences. `found` is the row itself, `drawings` when it was drawn.
    """

    why: Why
    found: FoundRow
    drawings: tuple[Drawing, ...]
    decision: Decision | None = None


def row_fate(
    folder: Path,
    manifest: Manifest,
    source: int,
    row: int,
    *,
    is_in_a_sequence: bool,
    root: Path,
    cache_dir: Path,
    blocks: BlockCache | None = None,
) -> Fate:
    """Read a row from its source and find its fate.

    Args:
        folder: the build.
        manifest: its manifest.
        source: the source's number.
        row: the row's ordinal in the snapshot.
        is_in_a_sequence: whether a sequence of the build has a token of it.
        root: the folder that the recipe's relative paths start from.
        cache_dir: where row counts and tokenizers are kept.
        blocks: where blocks of remote sources are kept; None: there, too.

    Raises:
        DataError: the source is missing, or changed since the build.
        TokenizerError: the tokenizer differs.
        IntegrityError: a snapshot of the build is damaged.
    """
    recipe = recipe_of(manifest.recipe)
    tokenizer = load_tokenizer(recipe.tokenizer, root=root, cache_dir=cache_dir)
    cache = PinCache(cache_dir, blocks)
    snapshot = pinned_source(folder, manifest, source, recipe, tokenizer, root=root, cache=cache)
    name = manifest.sources[source].name
    found = read_row(name, recipe.sources[name].model_copy(update={"contents": None}), snapshot, row)
    kept_number = (
        None if found.reason in ("where", "not_kept") else _number_in_block(name, recipe, snapshot, found, row)
    )
    drawn = tuple(drawings(folder, manifest, source, row, kept_number))
    why = _why(found, drawn, recipe, tokenizer, is_in_a_sequence)
    decision = _decision(folder, manifest, snapshot, found, cache) if why == "not_kept" else None
    return Fate(why=why, found=found, drawings=drawn, decision=decision)


def _decision(folder: Path, manifest: Manifest, snapshot: Snapshot, found: FoundRow, cache: PinCache) -> Decision:
    """What the row attributes of a build say of a row that they drop."""
    assert snapshot.kept_rows is not None
    for name, one in snapshot.kept_rows.attributes.items():
        row = one.values(found.place.block)[found.place.row_in_block].as_py()
        if row.get(KEEP) is not False:
            continue
        twin_source, twin_row = row.get("twin_source"), row.get("twin_row")
        return Decision(
            name=name,
            step=row.get("step"),
            reason=row.get("reason"),
            twin_source=twin_source,
            twin_row=twin_row,
            twin_place=None if twin_row is None else _place_in(folder, manifest, str(twin_source), twin_row, cache),
            agreement=row.get("agreement"),
        )
    return Decision(name="where")


def _place_in(folder: Path, manifest: Manifest, name: str, row: int, cache: PinCache) -> str:
    """The place of a row of a build's source, as far as its snapshot tells it."""
    (snapshot,) = (one.snapshot for one in manifest.sources if one.name == name)
    value = load_named(folder, SNAPSHOTS, snapshot)
    pinned = remote_snapshot(value, cache, None) if "origin" in value else Snapshot.from_json(value, Path())
    return place_of_row(pinned, row).words()


def _number_in_block(name: str, recipe: Recipe, snapshot: Snapshot, found: FoundRow, row: int) -> int | None:
    """The number of a kept row among the kept rows of its block; None where all are kept, and it is known."""
    block = found.place.block
    if snapshot.block_kept[block] == snapshot.block_rows[block]:
        return None
    source = recipe.sources[name].model_copy(update={"contents": None})
    before = 0
    for texts in SourceReader(name, source, snapshot, "skip").read(block, 0, int(snapshot.block_kept[block])):
        before += int((texts.rows < row).sum())
    return before


def _why(
    found: FoundRow, drawn: tuple[Drawing, ...], recipe: Recipe, tokenizer: Tokenizer, is_in_a_sequence: bool
) -> Why:
    if is_in_a_sequence:
        return "drawn"
    if found.reason == "where":
        return "where"
    if found.reason == "not_kept":
        return "not_kept"
    if not drawn:
        return "never_drawn"
    match found.reason:
        case "null_text" | "empty_text" | "bad_row" as reason:
            return reason
    if recipe.holdout is not None and found.text is not None:
        (is_held_out,) = held_out(pa.array([found.text], pa.large_string()), recipe.holdout.fraction).tolist()
        if is_held_out != (recipe.split == "validation"):
            return "held_out" if is_held_out else "not_held_out"
    longest = recipe.max_document_tokens
    if longest is not None and found.text is not None:
        num_tokens = len(tokenizer.reference.encode(found.text)) + recipe.sequence.bos + recipe.sequence.eos
        if num_tokens > longest:
            return "too_long"
    return "left_out"
