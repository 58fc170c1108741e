"""`mixer head SOURCE|RECIPE`: the columns and first texts of data, before a build."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mixer.cli.options import Cache, Json, Root, Wide, cache_dir
from mixer.errors import UsageError
from mixer.extras import require


def head(
    data: Annotated[
        str, typer.Argument(metavar="DATA|RECIPE", help="A file, folder, glob or address; or a recipe (a YAML file).")
    ],
    source: Annotated[str | None, typer.Option(metavar="NAME", help="Only this source.")] = None,
    number: Annotated[int, typer.Option("-n", min=0, max=100, metavar="N", help="How many texts to show.")] = 3,
    root: Root = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe, as in sources.web.where='n > 3'."),
    ] = None,
    cache: Cache = None,
    wide: Wide = False,
    json: Json = False,
) -> None:
    """Show the columns and the first texts of data.

    For a recipe, show the first rows of each source that its `where` keeps. Only the start of each file is read.

    Example: mixer head 'web/*.parquet' -n 5
    """
    require("build", "looking into data")
    from mixer.intake.heads import heads_of_data, heads_of_recipe
    from mixer.recipe import load_recipe
    from mixer.report.console import out_console, print_json
    from mixer.report.intake import heads_json, print_heads
    from mixer.sources.pin_cache import PinCache

    if data.lower().endswith((".yaml", ".yml")):
        path = Path(data)
        heads = heads_of_recipe(
            load_recipe(path, overrides or []),
            source,
            root=root or path.parent,
            cache=PinCache(cache_dir(cache)),
            num_texts=number,
        )
    elif overrides:
        raise UsageError("--set changes a recipe, and this is data", where=data, hint="give a recipe, a YAML file")
    else:
        heads = heads_of_data(data, source, folder=root or Path.cwd(), num_texts=number)
    if json:
        print_json(heads_json(heads))
    else:
        print_heads(heads, out_console(), wide=wide)
