"""A finished build's sources, pinned again, so that any of its tasks can be rebuilt: `verify --deep`, `repair`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mixer.attributes.kept_rows import kept_rows_of
from mixer.attributes.set_file import ATTRIBUTES
from mixer.building.task import TaskRunner
from mixer.digest import identity
from mixer.errors import DataError, TokenizerError
from mixer.mixing.tasks import Task
from mixer.plan.plan import Plan, plan_of
from mixer.recipe import Recipe, recipe_of
from mixer.shards.manifest import SELECTIONS, SNAPSHOTS, load_named
from mixer.shards.records import Manifest, TaskRecord
from mixer.sources.pin_cache import PinCache
from mixer.sources.remote_snapshots import remote_snapshot
from mixer.sources.selection import kept_of, selection_json
from mixer.sources.snapshot import Snapshot
from mixer.sources.snapshot_changes import difference
from mixer.stack.contents import pin_read
from mixer.stores.block_cache import BlockCache
from mixer.system.progress import Advance, OnAdvance, Work, silent
from mixer.tokens.tokenizer import Tokenizer, load_tokenizer

_HINT = "point --root at the data that the build was made from"


@dataclass(frozen=True, kw_only=True)
class Rebuild:
    """A finished build with everything that its tasks need to be rebuilt."""

    manifest: Manifest
    plan: Plan
    tokenizer: Tokenizer

    @property
    def recipe(self) -> Recipe:
        """The build's recipe, its sources in the order of their numbers."""
        return self.plan.recipe

    def make_task(self, task: int, out: Path) -> TaskRecord:
        """Rebuild a task into a folder that has `shards/`; its record is not written.

        Raises:
            DataError: a source is damaged, or changed since it was pinned.
            OSError: the shard cannot be written.
        """
        start, stop = self.plan.stage.task_draws(task)
        runner = TaskRunner(self.plan, self.tokenizer, out)
        try:
            return runner.run_cut(Task(number=task, start=start, stop=stop), self.manifest.cut_of(task))
        finally:
            runner.close()


def open_rebuild(
    folder: Path,
    manifest: Manifest,
    *,
    root: Path,
    cache_dir: Path,
    blocks: BlockCache | None = None,
    on_progress: OnAdvance = silent,
) -> Rebuild:
    """Pin the sources of a build again, as they were.

    Files that were added since are left out: the build never saw them.

    Args:
        folder: the build.
        manifest: its manifest.
        root: the folder that the recipe's relative paths start from.
        cache_dir: where row counts and tokenizers are kept.
        blocks: where blocks of remote sources are kept, and fetched contents; None: there, too.
        on_progress: called with what is done now.

    Raises:
        DataError: a source is missing or has changed since the build.
        TokenizerError: the tokenizer differs.
        IntegrityError: a snapshot of the build is damaged.
    """
    recipe = recipe_of(manifest.recipe)
    tokenizer = load_tokenizer(recipe.tokenizer, root=root, cache_dir=cache_dir)
    if tokenizer.fingerprint != manifest.tokenizer.fingerprint:
        raise TokenizerError(
            "the tokenizer is not the one that the build was made with", where=manifest.tokenizer.name, hint=_HINT
        )
    on_progress(Advance(work=Work.PIN_SOURCES))
    cache = PinCache(cache_dir, blocks)
    snapshots = [
        pinned_source(folder, manifest, number, recipe, tokenizer, root=root, cache=cache)
        for number in range(len(manifest.sources))
    ]
    return Rebuild(manifest=manifest, plan=plan_of(manifest, tuple(snapshots)), tokenizer=tokenizer)


def pinned_source(
    folder: Path,
    manifest: Manifest,
    number: int,
    recipe: Recipe,
    tokenizer: Tokenizer,
    *,
    root: Path,
    cache: PinCache,
) -> Snapshot:
    """One source of a build, pinned again as it was.

    Raises:
        DataError: it is missing or has changed since the build.
        IntegrityError: its snapshot in the build is damaged.
    """
    entry = manifest.sources[number]
    (chosen,) = (one for one in manifest.stages[0].sources if one.source == number)
    built: dict[str, Any] = load_named(folder, SNAPSHOTS, entry.snapshot)
    selection: dict[str, Any] = load_named(folder, SELECTIONS, chosen.selection)
    name = entry.name
    kept_rows = kept_rows_of(selection, folder / ATTRIBUTES)
    if "origin" in built:  # each of its versions is checked when it is read
        return replace(remote_snapshot(built, cache, kept_of(selection)), kept_rows=kept_rows)
    source = recipe.sources[name]
    paths = [file["path"] for file in built["files"]]
    # not trusting the cache: it would believe a file whose bytes changed under the same size and times
    found = pin_read(name, source, tokenizer=tokenizer, root=root, cache=cache, trusting=False, only=paths)
    if found.as_json() != built:
        before = Snapshot.from_json(built, Path(), kept_of(selection))
        raise DataError(
            f"it changed since the build read it: {difference(before, found).words()}",
            where=f"sources.{name}",
            hint=_HINT,
        )
    if kept_rows is not None:  # as it was decided then: nothing is decided again
        counts = np.array(kept_of(selection) or found.block_rows, dtype=np.int64)
        found = replace(found, block_kept=counts, kept_rows=kept_rows)
    if identity(selection_json(found, source.where)) != identity(selection):
        raise DataError(
            "its `where` does not keep the rows that the build drew from", where=f"sources.{name}", hint=_HINT
        )
    return found
