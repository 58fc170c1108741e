"""All reading before a decision: snapshots of a recipe's sources, and measurements of a sample of their rows.

`mixer plan` and `mixer build` make the same survey, so the build uses the figures that the plan shows.
"""

from __future__ import annotations

from pathlib import Path

from mixer.errors import DataError, RecipeError
from mixer.recipe import Recipe, Source
from mixer.recipe.split import recipe_of_split
from mixer.shards.records import TokenizerEntry
from mixer.sources.pin import pin
from mixer.sources.pin_cache import PinCache
from mixer.sources.scan import CURATE
from mixer.sources.snapshot import Snapshot
from mixer.stack.cells import CellSample
from mixer.stack.contents import Contents, Fetching
from mixer.survey.curated import Curating, before_curation, curate_sources
from mixer.survey.kept_share import kept_share
from mixer.survey.measure import measure_sample, measure_sources
from mixer.survey.result import SampledRows, Survey
from mixer.survey.select_rows import open_attributes, select_rows
from mixer.system.progress import OnAdvance, silent
from mixer.system.threads import map_in_threads
from mixer.tokens.tokenizer import Tokenizer

_SOURCES_AT_ONCE = 4
"""Sources that are pinned side by side; each reads over up to sixteen connections."""


def survey(
    recipe: Recipe,
    tokenizer: Tokenizer,
    *,
    root: Path,
    cache: PinCache,
    fetching: Fetching | None = None,
    curating: Curating | None = None,
    on_pin: OnAdvance = silent,
) -> Survey:
    """Pin the sources, curate them, and measure tokens per row. Contents that rows refer to are fetched first.

    Args:
        recipe: the recipe.
        tokenizer: the recipe's tokenizer, loaded.
        root: the folder that the sources' relative paths start from.
        cache: what is known of files seen before.
        fetching: settings for fetching missing contents; None: missing contents are an error.
        curating: settings for computing missing facts of texts; None: a curation whose facts are not there is left out.
        on_pin: called with how far the files of a source are pinned; from several threads.

    Raises:
        RecipeError: the recipe does not fit the data.
        DataError: a source is missing, unreadable or empty.
        BuildStateError, TaskError: another process is fetching the contents, or they cannot be written.
    """
    # Sources are numbered by name: the order of the keys of a YAML mapping means nothing.
    recipe = recipe_of_split(recipe)
    recipe = recipe.model_copy(update={"sources": dict(sorted(recipe.sources.items()))})
    check_specials(recipe, tokenizer)
    pinned, samples = _pin_all(recipe, tokenizer, root=root, cache=cache, fetching=fetching, on_pin=on_pin)
    curation = None if samples else curate_sources(recipe, pinned, root=root, cache=cache, curating=curating)
    for name, source in recipe.sources.items():
        found = open_attributes(name, source, pinned[name], root, cache.folder)
        if curation is not None:
            found[CURATE] = curation.sets[name]
        elif recipe.curate is not None:
            source = before_curation(name, source)
        pinned[name] = select_rows(name, source, pinned[name], found, cache.folder)
    for name, snapshot in pinned.items():
        if snapshot.num_rows and not snapshot.num_kept:
            raise _nothing_kept(name, recipe.sources[name], snapshot)
        if snapshot.num_kept == 0:
            raise DataError(
                "the source has no rows to draw: its files are empty", where=f"sources.{name}", hint="check its path"
            )
    whole = {name: source for name, source in recipe.sources.items() if name not in samples}
    measured = measure_sources(whole, [pinned[name] for name in whole], tokenizer, recipe, cache.folder)
    sampled = {}
    for name, sample in samples.items():
        rows = SampledRows(num_rows=sample.num_rows, num_read=sample.num_read, kept=kept_share(sample))
        sampled[name] = rows
        measured[name] = measure_sample(
            name,
            recipe.sources[name],
            sample.snapshot,
            tokenizer,
            recipe,
            block_cluster=sample.block_cell,
            total_rows=max(rows.num_kept, sample.snapshot.num_kept),
        )
    return Survey(
        recipe=recipe,
        tokenizer=TokenizerEntry(**tokenizer.as_json()),
        snapshots=pinned,
        measured={name: measured[name] for name in recipe.sources},
        samples=sampled,
        curation=None if curation is None else curation.record,
    )


def _pin_all(
    recipe: Recipe,
    tokenizer: Tokenizer,
    *,
    root: Path,
    cache: PinCache,
    fetching: Fetching | None,
    on_pin: OnAdvance,
) -> tuple[dict[str, Snapshot], dict[str, CellSample]]:
    """The snapshots of all sources in their order, and samples of those whose contents are not all fetched.

    Several are pinned at a time, as a store lets one wait; but contents are fetched for one after another. No thread is
    left running.
    """

    def pin_one(name: str) -> Snapshot:
        return pin(name, recipe.sources[name], root, cache, on_pin)

    plain = [name for name, source in recipe.sources.items() if source.contents is None]
    pinned = dict(zip(plain, map_in_threads(pin_one, plain, num_threads=_SOURCES_AT_ONCE), strict=True))
    samples = {}
    for name in [name for name in recipe.sources if name not in plain]:
        contents = Contents(name, recipe.sources[name], tokenizer=tokenizer, root=root, cache=cache)
        if fetching is not None and fetching.sample and not contents.is_whole:
            pinned[name] = contents.ids
            samples[name] = contents.sample(fetching, recipe.seed)
            continue
        if fetching is not None:
            contents.fetch(fetching)
        pinned[name] = contents.pinned()
    return {name: pinned[name] for name in recipe.sources}, samples


def _nothing_kept(name: str, source: Source, snapshot: Snapshot) -> RecipeError:
    """The error for a source of which no row is kept."""
    message, place = f"'{source.where}' keeps none of the {snapshot.num_rows:,} rows", f"sources.{name}.where"
    if snapshot.kept_rows is not None:
        message, place = f"its row attributes keep none of the {snapshot.num_rows:,} rows", f"sources.{name}"
    return RecipeError(message, where=place, hint="compare with values that the source has")


def check_specials(recipe: Recipe, tokenizer: Tokenizer) -> None:
    """Raise where the recipe asks for BOS or EOS and the tokenizer has none."""
    for switch in ("bos", "eos"):
        if getattr(recipe.sequence, switch) and getattr(tokenizer, f"{switch}_id") is None:
            raise RecipeError(
                f"tokenizer {tokenizer.name} has no {switch.upper()} id",
                where=f"sequence.{switch}",
                hint=f"set `sequence.{switch}: false`, or put the tokenizer's tokenizer_config.json beside it",
            )
