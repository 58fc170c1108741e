"""Pinning the sources of a recipe again, and the changes since they were pinned before."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mixer.sources.pin import pin_anew
from mixer.sources.snapshot_changes import difference
from mixer.stack.contents import rows_of
from mixer.system.progress import OnAdvance, silent

if TYPE_CHECKING:
    from mixer.recipe import Recipe
    from mixer.sources.pin_cache import PinCache


def update_pins(recipe: Recipe, *, root: Path, cache: PinCache, on_pin: OnAdvance = silent) -> dict[str, str]:
    """Pin each remote source again and keep the new snapshots; the changes of each, in words.

    Local sources are left out: no snapshot of them is kept.

    Raises:
        RecipeError: the addresses, `where` or the columns do not fit the data.
        DataError: a store cannot be read.
    """
    words = {}
    for name, source in recipe.sources.items():
        before, now = pin_anew(name, rows_of(source), root, cache, on_pin)
        if before is not None:
            words[name] = difference(before, now).words()
        elif now.origin is not None:
            words[name] = f"pinned for the first time: {now.num_kept:,} rows in {len(now.files):,} files"
    return words
