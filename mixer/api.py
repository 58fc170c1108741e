"""The library's entry points, with the same defaults as the command line; `mixer/__init__.py` lists them.

Paths may be strings. A recipe may be a path; its relative paths then start from its own folder, as on the command line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mixer.errors import IntegrityError, UsageError
from mixer.extras import require
from mixer.system.local_paths import check_local

if TYPE_CHECKING:
    from mixer.plan.forecast import Forecast
    from mixer.recipe import Recipe
    from mixer.shards.records import Manifest


def plan_recipe(
    recipe: Recipe | str | Path,
    *,
    root: str | Path | None = None,
    cache_dir: str | Path | None = None,
    overrides: Sequence[str] = (),
) -> Forecast:
    """The forecast of a recipe before it is built: survey and forecast, as in `mixer plan`.

    Pins the sources and tokenizes a keyed sample of each: seconds for local files, longer the first time for remote
    ones. Writes nothing but the cache. The same recipe and sources give the same forecast.

    Args:
        recipe: a recipe, or the path of one.
        root: the folder that relative paths of the recipe start from; default: the recipe's folder, or the current
            one if `recipe` is no path.
        cache_dir: where pins, measurements and tokenizers are kept; default: `$MIXER_CACHE` or `~/.cache/mixer`.
        overrides: as `--set`: `["target.tokens=10M"]`; only with a path.

    Returns:
        The forecast. Its figures are `Estimate`s: `value`, and an interval of 95 %. `tokens`, `rows`, `sequences`
        count; `shard_bytes` and `text_bytes` are bytes; shares are fractions from 0 to 1. `sources` has one entry for
        each source.

    Raises:
        MissingPackages: `mixer-data[build]` is not installed.
        UsageError: overrides without a path, or an address of a store where a folder is needed.
        RecipeError: the recipe is wrong, or its target cannot be met.
        DataError: a source is missing, unreadable, empty, or changed since it was pinned.
        TokenizerError: the tokenizer cannot be loaded.
    """
    require("build", "planning")
    from mixer.building.build import silent_listener, sources_cache
    from mixer.plan.forecast import forecast
    from mixer.stack.contents import Fetching
    from mixer.survey.profiles import profiles_of_sources
    from mixer.survey.survey import survey
    from mixer.system.processes import usable_cores
    from mixer.tokens.tokenizer import load_tokenizer

    loaded, folder = _loaded(recipe, root, overrides)
    cache = _cache_dir(cache_dir)
    tokenizer = load_tokenizer(loaded.tokenizer, root=folder, cache_dir=cache)
    fetching = Fetching(workers=usable_cores(), listener=silent_listener, sample=True)
    known = sources_cache(loaded, root=folder, cache_dir=cache)
    surveyed = survey(loaded, tokenizer, root=folder, cache=known, fetching=fetching)
    return forecast(surveyed.recipe, profiles_of_sources(surveyed))


def build(
    recipe: Recipe | str | Path,
    out: str | Path,
    *,
    root: str | Path | None = None,
    workers: int | None = None,
    cache_dir: str | Path | None = None,
    overrides: Sequence[str] = (),
) -> Manifest:
    """Build a recipe into a folder, or finish a build that was stopped there.

    Any number of workers, any number of interruptions and any machine give the same sequences, content digests and
    manifest id. Workers are forked; a worker needs about 20 bytes of memory for each token of its task.

    Args:
        recipe: a recipe, or the path of one.
        out: the output folder: new, empty, or that of the same build.
        root: the folder that relative paths of the recipe start from; default: the recipe's folder, or the current
            one if `recipe` is no path.
        workers: worker processes; default: one for each core that this process may use.
        cache_dir: where pins, measurements and tokenizers are kept; default: `$MIXER_CACHE` or `~/.cache/mixer`.
        overrides: as `--set`: `["target.tokens=10M"]`; only with a path.

    Returns:
        The manifest: `id` (64 hex digits), `totals` and, for each source, `source_counts`.

    Raises:
        MissingPackages: `mixer-data[build]` is not installed.
        UsageError: overrides without a path, an address of a store where a folder is needed, or too many workers.
        RecipeError: the recipe is wrong, or its target cannot be met.
        DataError: a source is missing, unreadable, empty, or changed since it was pinned.
        BuildStateError: another process builds into the folder, or it holds other files.
        TokenizerError, TaskError: the tokenizer disagrees with the reference; a worker died or the disk is full.
    """
    require("build", "building")
    from mixer.building.build import build as run_build

    loaded, folder = _loaded(recipe, root, overrides)
    return run_build(loaded, root=folder, out=Path(out), workers=workers, cache_dir=_cache_dir(cache_dir))


def verify_build(out: str | Path) -> list[IntegrityError]:
    """All damage of a build: every digest, every rule of the format and all counts, as `mixer verify` checks them.

    Reads every shard once. Needs no extra and no sources.

    Args:
        out: the folder of a build, or its manifest.

    Returns:
        The damages, in the order of the shards; empty if the build is whole. Each says `where` and `message`.

    Raises:
        IntegrityError: the manifest itself is missing or damaged.
        FormatError: it is of an unknown version, or contradicts itself.
        UsageError: `out` is an address of a store.
    """
    return list(_damage(Path(out)))


def export_build(out: str | Path, format_name: str, folder: str | Path) -> Mapping[str, Any]:
    """Write a build in the format of another trainer, as `mixer export` does; run again, it resumes.

    Args:
        out: the folder of a build, or its manifest.
        format_name: `bin`, `litdata`, `mds`, `megatron`, `nanotron` or `olmo`.
        folder: new, empty, or an unfinished export of the same build in the same format; outside of the build.

    Returns:
        What `export.json` says: `format`, `manifest` (the id), `dtype` of the ids, `tokens`, `sequence_length` and
        `tokenizer`.

    Raises:
        UsageError: there is no such format, or a folder is an address of a store.
        DataError: the build has no sequences.
        BuildStateError: the folder holds other files, or another process writes to it.
        IntegrityError, FormatError: the build is damaged, or of an unknown version.
        TaskError: a file cannot be written or read, for example because the disk is full.
    """
    from mixer.export.export import export

    return export(out, format_name, Path(folder))


def _damage(out: Path) -> Iterator[IntegrityError]:
    from mixer.shards.manifest import load_manifest
    from mixer.verify.shards import find_damage

    check_local(out, where="out")
    return find_damage(out if out.is_dir() else out.parent, load_manifest(out))


def _loaded(recipe: Recipe | str | Path, root: str | Path | None, overrides: Sequence[str]) -> tuple[Recipe, Path]:
    """The recipe, and the root of its relative paths."""
    from mixer.recipe import load_recipe

    if isinstance(recipe, str | Path):
        path = Path(recipe)
        return load_recipe(path, overrides), path.parent if root is None else Path(root)
    if overrides:
        raise UsageError("overrides need the path of a recipe", where="overrides", hint="pass them to load_recipe")
    return recipe, Path() if root is None else Path(root)


def _cache_dir(given: str | Path | None) -> Path:
    from mixer.sources.pin_cache import default_cache_dir

    return default_cache_dir() if given is None else Path(given)
