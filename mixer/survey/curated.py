"""The curation of a survey: by facts that are there, or that are computed now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mixer.attributes.kept_rows import KeptRows
from mixer.sources.row_filter import parse_where
from mixer.sources.scan import CURATE, attributes_in
from mixer.survey.select_rows import open_attributes, select_rows
from mixer.system.progress import OnAdvance, silent

if TYPE_CHECKING:
    from mixer.curate.curation import Curation
    from mixer.recipe import Recipe, Source
    from mixer.sources.pin_cache import PinCache
    from mixer.sources.snapshot import Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Curating:
    """Settings for computing the facts of texts."""

    workers: int
    on_advance: OnAdvance = silent


def curate_sources(
    recipe: Recipe, pinned: Mapping[str, Snapshot], *, root: Path, cache: PinCache, curating: Curating | None
) -> Curation | None:
    """The curation of a recipe; None without `curate`, or where facts are not there and are not to be computed.

    Raises:
        RecipeError, DataError, TaskError: as `Curator` and its `run`.
    """
    if recipe.curate is None:
        return None
    from mixer.curate.curation import Curator  # with the parts that read texts: not for a recipe without

    entering = {}
    for name, source in recipe.sources.items():
        kept = _let_in(name, source, pinned[name], root, cache.folder)
        if kept is not None:
            masks = [kept.mask(block) for block in range(pinned[name].num_blocks)]
            entering[name] = np.concatenate([np.empty(0, dtype=bool), *masks])
    curator = Curator(recipe, pinned, entering=entering, root=root, cache_dir=cache.folder, blocks=cache.blocks)
    if curating is None and not curator.is_whole:
        return None
    workers, on_advance = (1, silent) if curating is None else (curating.workers, curating.on_advance)
    return curator.run(workers=workers, on_advance=on_advance)


def _let_in(name: str, source: Source, snapshot: Snapshot, root: Path, folder: Path) -> KeptRows | None:
    """The rows that a source's other row attributes let into a curation; a `where` over `curate` is for afterwards."""
    found = open_attributes(name, source, snapshot, root, folder)
    return select_rows(name, before_curation(name, source), snapshot, found, folder).kept_rows


def before_curation(name: str, source: Source) -> Source:
    """The source as long as it is not curated: without a `where` over what a curation will find out."""
    predicate = None if source.where is None else parse_where(source.where, f"sources.{name}.where")
    uses = predicate is not None and attributes_in(predicate, [CURATE])
    return source.model_copy(update={"where": None}) if uses else source
