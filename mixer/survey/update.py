"""Pinning the sources of a recipe anew, and what differs from what was pinned before."""

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
    """What differs in each remote source, in words, from the snapshot that was kept; the new one is kept from now on.

    Local sources are left out: no snapshot of them is kept.

    Raises:
        RecipeError: the addresses, `where` or the columns do not fit what is there.
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
