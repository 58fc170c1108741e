"""`mixer attach RECIPE SOURCE FILE`: a table made elsewhere as row attributes of a source."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mixer.cli.options import Cache, Json, RecipeFile, Root, cache_dir, on_this_machine
from mixer.errors import UsageError, shown_names
from mixer.extras import require


class MissingEntry(StrEnum):
    """What a row without an entry gets."""

    null = "null"
    drop = "drop"
    error = "error"


def attach(
    recipe: RecipeFile,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="The name of a source of the recipe.")],
    table: Annotated[
        Path, typer.Argument(metavar="FILE", help="A Parquet file with the columns.", callback=on_this_machine)
    ],
    key: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="A column that both have, such as id. Default: FILE has file and row."),
    ] = None,
    missing: Annotated[
        MissingEntry, typer.Option(help="What a row without an entry gets: nulls, nulls and keep false, or an error.")
    ] = MissingEntry.error,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="DIR", help="Where the set goes. Default: beside FILE.", callback=on_this_machine
        ),
    ] = None,
    root: Root = None,
    cache: Cache = None,
    json: Json = False,
) -> None:
    """Join a table of row attributes to a source.

    Its columns can be used in the source's where, row by row.

    The set is of the source's files as they are now. Name it under the source's attributes: a column of kind bool
    called keep leaves rows out by itself, others are for where, as in "quality.score > 0.4".

    Example: mixer attach my-mixture.yaml dclm scores.parquet --key id
    """
    require("build", "attaching")
    from mixer.building.build import sources_cache
    from mixer.recipe import load_recipe
    from mixer.report.console import print_json
    from mixer.sources.pin import pin
    from mixer.survey.curated import before_curation
    from mixer.survey.join import join_table, read_table

    loaded = load_recipe(recipe)
    if source not in loaded.sources:
        raise UsageError(
            f"there is no source {source!r}; there are {shown_names(list(loaded.sources))}", where="SOURCE"
        )
    folder = root or recipe.parent
    part = before_curation(source, loaded.sources[source])
    snapshot = pin(source, part, folder, sources_cache(loaded, root=folder, cache_dir=cache_dir(cache)))
    joined = join_table(
        source,
        part,
        snapshot,
        read_table(table),
        path=table,
        key=key,
        on_missing=missing.value,
        folder=out or table.parent,
    )
    path = joined.attributes.folder / f"{joined.attributes.digest}.json"
    counts = {"matched": joined.num_matched, "missing": joined.num_missing, "unused": joined.num_unused}
    if json:
        print_json({"path": str(path), "rows": snapshot.num_rows, **counts})
        return
    print(
        f"{joined.num_matched:,} of {snapshot.num_rows:,} rows have an entry; {joined.num_unused:,} entries have no row"
    )
    print(f"sources: {{{source}: {{attributes: {{NAME: {path}}}}}}}")
