"""`mixer build RECIPE`: from a recipe to shards and a manifest."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mixer.cli.options import Cache, Json, RecipeFile, Root, Wide, cache_dir, manifests_dir, on_this_machine
from mixer.extras import require

if TYPE_CHECKING:
    from mixer.recipe import Recipe


class Split(StrEnum):
    """What is built of a recipe."""

    train = "train"
    validation = "validation"


def build(
    recipe: RecipeFile,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="OUT",
            help="The build's folder. Default: out/<recipe name>.",
            callback=on_this_machine,
        ),
    ] = None,
    root: Root = None,
    workers: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Worker processes. Default: one per core.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe, as in target.tokens=10M; repeatable."),
    ] = None,
    cache: Cache = None,
    manifests: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder for a copy of the manifest. Default: manifests/ beside recipes/.",
            callback=on_this_machine,
        ),
    ] = None,
    wide: Wide = False,
    json: Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
    split: Annotated[
        Split, typer.Option(help="validation: build what the recipe's holdout keeps from training.")
    ] = Split.train,
    is_dry: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be built and what is finished; write nothing into OUT.")
    ] = False,
) -> None:
    """Build a recipe, or resume a build that was stopped.

    The same recipe and sources give the same shards for any number of workers and interruptions.

    Example: mixer build my-mixture.yaml -o out/my-mixture
    """
    require("build", "building")
    from mixer.building.build import build as run_build
    from mixer.building.build import copy_name
    from mixer.recipe import load_recipe
    from mixer.report.advance import AdvanceLines
    from mixer.report.console import out_console, print_json, say
    from mixer.report.fetch import listen
    from mixer.report.inspect import print_summary, summary_json
    from mixer.report.progress import BuildProgress
    from mixer.report.tables import summarise

    overrides = overrides or []
    loaded = load_recipe(recipe, overrides if split is Split.train else [*overrides, f"split={split.value}"])
    out = out or Path("out") / (loaded.name if loaded.split == "train" else f"{loaded.name}-{loaded.split}")
    if is_dry:
        _dry_run(loaded, root or recipe.parent, out, cache_dir(cache), json=json, quiet=quiet)
        return
    copies = manifests or manifests_dir(recipe)
    was_there = (out / "manifest.json").exists()
    with BuildProgress(quiet=quiet) as progress:
        manifest = run_build(
            loaded,
            root=root or recipe.parent,
            out=out,
            workers=workers,
            cache_dir=cache_dir(cache),
            copies=copies,
            on_plan=progress.on_plan,
            on_progress=progress.on_progress,
            on_pin=AdvanceLines(quiet=quiet),
            on_fetch=lambda name: listen(quiet=quiet, about=f"{name}: "),
        )
    summary, copy = summarise(manifest), copies / copy_name(manifest)
    if json:
        print_json(summary_json(summary) | {"out": str(out), "manifest": str(out / "manifest.json"), "copy": str(copy)})
        return
    print_summary(summary, out_console(), wide=wide)
    if not quiet:
        done = "built before, and every digest still matches" if was_there else "built"
        say(f"{done}: {out}, with a copy of its manifest in {copy}")


def _dry_run(recipe: Recipe, root: Path, out: Path, cache: Path, *, json: bool, quiet: bool) -> None:
    """Print what a build would do."""
    from mixer.building.dry_run import dry_run
    from mixer.report.advance import AdvanceLines
    from mixer.report.console import print_json
    from mixer.report.dry_run import dry_run_in_words, dry_run_json
    from mixer.report.fetch import listen

    found = dry_run(
        recipe,
        root=root,
        out=out,
        cache_dir=cache,
        on_pin=AdvanceLines(quiet=quiet),
        on_fetch=lambda name: listen(quiet=quiet, about=f"{name}, a sample: "),
    )
    if json:
        print_json(dry_run_json(found))
        return
    for line in dry_run_in_words(found):
        print(line)
