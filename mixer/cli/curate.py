"""`mixer curate RECIPE`: which rows stay, and what went and why."""

from __future__ import annotations

from typing import Annotated

import typer

from mixer.cli.options import Cache, Json, RecipeFile, Root, Wide, cache_dir
from mixer.errors import UsageError
from mixer.extras import require


def curate(
    recipe: RecipeFile,
    root: Root = None,
    workers: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Worker processes. Default: one per core.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe, as in seed=2; repeatable."),
    ] = None,
    cache: Cache = None,
    wide: Wide = False,
    json: Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Find out which rows a recipe's curate steps keep.

    The facts of each text are computed once and kept in the cache; another threshold, another order of preference or
    another step uses them again. mixer plan and mixer build use the result.

    Example: mixer curate my-mixture.yaml
    """
    require("build", "curating")
    from mixer.building.build import silent_listener, sources_cache
    from mixer.recipe import load_recipe
    from mixer.report.advance import AdvanceLines
    from mixer.report.console import out_console, print_json, say
    from mixer.report.curation import curation_json, curation_warnings, print_curation
    from mixer.stack.contents import Fetching
    from mixer.survey.curated import Curating
    from mixer.survey.survey import survey
    from mixer.system.processes import checked_workers
    from mixer.tokens.tokenizer import load_tokenizer

    loaded = load_recipe(recipe, overrides or [])
    if loaded.curate is None:
        raise UsageError("the recipe has no `curate`", where=str(recipe), hint="docs/curation.md shows how to begin")
    folder, known = root or recipe.parent, cache_dir(cache)
    count, lines = checked_workers(workers), AdvanceLines(quiet=quiet)
    surveyed = survey(
        loaded,
        load_tokenizer(loaded.tokenizer, root=folder, cache_dir=known),
        root=folder,
        cache=sources_cache(loaded, root=folder, cache_dir=known),
        fetching=Fetching(workers=count, listener=silent_listener),
        curating=Curating(workers=count, on_advance=lines),
        on_pin=lines,
    )
    assert surveyed.curation is not None
    if json:
        print_json(curation_json(surveyed.curation))
        return
    print_curation(surveyed.curation, out_console(), wide=wide)
    for warning in curation_warnings(surveyed.curation):
        say(f"warning: {warning}")
