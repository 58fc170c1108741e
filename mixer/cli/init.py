"""`mixer init DATA...`: a recipe for a user's own data."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from mixer.cli.options import Cache, Json, Wide, cache_dir, on_this_machine
from mixer.errors import UsageError
from mixer.extras import require


def init(
    data: Annotated[
        list[str], typer.Argument(metavar="DATA", help="Files, folders, globs, hf://, s3://, gs:// or https://.")
    ],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="RECIPE", help="The recipe to write.", callback=on_this_machine),
    ] = Path("recipe.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Replace the recipe if it exists.")] = False,
    cache: Cache = None,
    wide: Wide = False,
    json: Json = False,
) -> None:
    """Write a recipe for your own data.

    Looks at the files, groups them into sources, chooses each text column and counts rows. The recipe uses every row
    once; its comments say what to change.

    Example: mixer init books/ 'web/*.parquet' notes.csv -o my.yaml
    """
    require("build", "making a recipe")
    if out.is_dir():
        raise UsageError("is a folder", where=str(out), hint=f"give the recipe's name: -o {out / 'recipe.yaml'}")
    if out.exists() and not force:
        raise UsageError("already exists", where=str(out), hint="give another name with -o, or --force to replace it")
    from mixer.intake.begin import begin
    from mixer.report.advance import AdvanceLines
    from mixer.report.console import out_console, print_json, say
    from mixer.report.intake import beginning_json, print_beginning
    from mixer.sources.pin_cache import PinCache
    from mixer.system.publish import publish_bytes

    words = ["mixer", "init", *data] + (["-o", str(out)] if out != Path("recipe.yaml") else [])
    beginning = begin(
        data,
        folder=Path.cwd(),
        recipe=out,
        cache=PinCache(cache_dir(cache)),
        made_from=shlex.join(words),
        on_pin=AdvanceLines(quiet=json),
    )
    publish_bytes(out, beginning.text.encode())
    if json:
        print_json(beginning_json(beginning) | {"recipe": str(out)})
        return
    print_beginning(beginning, out_console(), wide=wide)
    say(f"written: {out}; next: mixer plan {shlex.quote(str(out))}")
