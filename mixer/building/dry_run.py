"""`mixer build --dry-run`: the work of a build and its finished part; nothing is written into its folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mixer.building.build import sources_cache
from mixer.building.folder import BuildFolder
from mixer.building.status import Status, StatusReader
from mixer.plan.forecast import forecast
from mixer.plan.plan import Plan, make_plan
from mixer.recipe import Recipe
from mixer.shards.manifest import MANIFEST
from mixer.shards.plan_file import PLAN
from mixer.stack.contents import Fetching
from mixer.survey.profiles import profiles_of_sources
from mixer.survey.survey import survey
from mixer.system.local_paths import check_local
from mixer.system.processes import usable_cores
from mixer.system.progress import OnAdvance
from mixer.tokens.tokenizer import load_tokenizer

if TYPE_CHECKING:
    from mixer.stack.fetch import Listener
    from mixer.survey.estimate import Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """The work of a build, and its finished part.

    `found` is what is in the folder of the same plan; None: nothing. `free_bytes` are those of the folder's disk.
    Where contents are not fetched yet, a sample of them stands for them, and the folder is not looked at.
    """

    plan: Plan
    out: Path
    shard_bytes: Estimate
    text_bytes: Estimate
    free_bytes: int
    found: Status | None


def dry_run(
    recipe: Recipe,
    *,
    root: Path,
    out: Path,
    cache_dir: Path,
    on_pin: OnAdvance,
    on_fetch: Callable[[str], Listener],
) -> DryRun:
    """Survey and plan as `build` does; arguments as there.

    Raises:
        MixerError: the errors of `build` before its first task, such as for a folder of another build.
    """
    check_local(out, where="out")
    folder = BuildFolder(out)
    folder.check_free()
    tokenizer = load_tokenizer(recipe.tokenizer, root=root, cache_dir=cache_dir)
    fetching = Fetching(workers=usable_cores(), listener=on_fetch, sample=True)
    cache = sources_cache(recipe, root=root, cache_dir=cache_dir)
    surveyed = survey(recipe, tokenizer, root=root, cache=cache, fetching=fetching, on_pin=on_pin)
    plan, mix = make_plan(surveyed), forecast(surveyed.recipe, profiles_of_sources(surveyed))
    found = None
    if not plan.forecasting:
        folder.check_plan(plan)
        if (out / MANIFEST).exists() or (out / PLAN).exists():
            found = StatusReader(out).read()
    there = next(place for place in (out.resolve(), *out.resolve().parents) if place.is_dir())
    return DryRun(
        plan=plan,
        out=out,
        shard_bytes=mix.shard_bytes,
        text_bytes=mix.text_bytes,
        free_bytes=shutil.disk_usage(there).free,
        found=found,
    )
