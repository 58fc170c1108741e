"""`mixer plan RECIPE`: a forecast of a mix before it is built."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mixer.cli.options import Cache, Json, RecipeFile, Root, Wide, cache_dir, manifests_dir
from mixer.errors import UsageError
from mixer.extras import require
from mixer.system.processes import usable_cores

if TYPE_CHECKING:
    from mixer.recipe import Recipe
    from mixer.survey.profile import SourceProfile


class Match(StrEnum):
    """The quantity that weights are matched to."""

    tokens = "tokens"


def plan(
    recipe: RecipeFile,
    facts: Annotated[
        bool, typer.Option("--facts", help="Read no source: use the published figures in manifests/facts.")
    ] = False,
    update: Annotated[
        bool, typer.Option("--update", help="Pin remote sources again first, and show what changed.")
    ] = False,
    batch_tokens: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Tokens per step over all ranks, such as 11M or 64x21x8192."),
    ] = None,
    tokens_per_second: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Tokens per second over all ranks in training, such as 800K.")
    ] = None,
    build_mb_per_second: Annotated[
        float | None, typer.Option(min=0.001, metavar="MB", help="Speed of a build, in MB of text per second.")
    ] = None,
    match: Annotated[
        Match | None, typer.Option(help="Also print the row weights that give the weights as shares of tokens.")
    ] = None,
    root: Root = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe, as in target.tokens=10M; repeatable."),
    ] = None,
    cache: Cache = None,
    wide: Wide = False,
    json: Json = False,
) -> None:
    """Forecast a mix before it is built.

    Shows rows, tokens, passes, sizes and times. Tokens per row are estimated, with an error, from a small sample.
    Nothing is built; only the cache of file facts is written.

    Example: mixer plan my-mixture.yaml --batch-tokens 11M
    """
    if not facts:  # facts are read without what reads sources
        require("build", "planning")
    from mixer.plan.forecast import forecast
    from mixer.plan.match import matching_row_weights
    from mixer.plan.training import parse_tokens, training
    from mixer.recipe import load_recipe
    from mixer.report.console import out_console, print_json, say
    from mixer.report.forecast import forecast_json, print_forecast, print_match

    batch = None if batch_tokens is None else parse_tokens(batch_tokens, option="--batch-tokens")
    speed = None if tokens_per_second is None else parse_tokens(tokens_per_second, option="--tokens-per-second")
    if facts and update:
        raise UsageError("--facts reads no source, so there is nothing to pin", hint="give --update alone")
    loaded = load_recipe(recipe, overrides or [])
    updated: dict[str, str] = {}
    if facts:
        profiles = _known(loaded, manifests_dir(recipe) / "facts")
    else:
        place = root or recipe.parent
        if update:
            updated = _updated(loaded, place, cache_dir(cache), quiet=json)
        loaded, profiles = _measured(loaded, place, cache_dir(cache), quiet=json)
    mix = forecast(loaded, profiles)
    run = training(mix, batch_tokens=batch, tokens_per_second=speed, build_mb_per_second=build_mb_per_second)
    weights = None
    if match is Match.tokens:
        asked = {name: source.weight for name, source in loaded.sources.items()}
        weights = matching_row_weights(asked, [profile.tokens_per_row.value for profile in profiles])
    if json:
        print_json(forecast_json(mix, run, weights) | ({"updated": updated} if update else {}))
        return
    for name, words in updated.items():
        say(f"{name}: {words}")
    console = out_console()
    print_forecast(mix, run, console, wide=wide)
    if weights is not None:
        console.print()
        print_match(weights, console)


def _known(recipe: Recipe, folder: Path) -> list[SourceProfile]:
    """The profiles of the sources from mixer's own facts and those beside the recipe."""
    from mixer.survey.published import PACKAGED, load_facts, profiles_of_facts

    return profiles_of_facts(recipe, load_facts(PACKAGED, folder))


def _updated(recipe: Recipe, root: Path, cache: Path, *, quiet: bool) -> dict[str, str]:
    """Pin each remote source as it is now; what changed in each."""
    from mixer.building.build import sources_cache
    from mixer.report.advance import AdvanceLines
    from mixer.survey.update import update_pins

    return update_pins(
        recipe, root=root, cache=sources_cache(recipe, root=root, cache_dir=cache), on_pin=AdvanceLines(quiet=quiet)
    )


def _measured(recipe: Recipe, root: Path, cache: Path, *, quiet: bool) -> tuple[Recipe, list[SourceProfile]]:
    """The recipe as a build numbers its sources, and the profiles of the sources from samples."""
    from mixer.building.build import sources_cache
    from mixer.report.advance import AdvanceLines
    from mixer.report.fetch import listen
    from mixer.stack.contents import Fetching
    from mixer.survey.profiles import profiles_of_sources
    from mixer.survey.survey import survey
    from mixer.tokens.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(recipe.tokenizer, root=root, cache_dir=cache)
    known = sources_cache(recipe, root=root, cache_dir=cache)
    fetching = Fetching(
        workers=usable_cores(),
        listener=lambda name: listen(quiet=quiet, about=f"{name}, a sample: "),
        sample=True,
    )
    surveyed = survey(recipe, tokenizer, root=root, cache=known, fetching=fetching, on_pin=AdvanceLines(quiet=quiet))
    return surveyed.recipe, profiles_of_sources(surveyed)
