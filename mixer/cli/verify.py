"""`mixer verify OUT`: check a build against its manifest."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mixer.cli.options import (
    Build,
    Cache,
    Json,
    Root,
    build_folder,
    cache_dir,
    known_root,
    on_this_machine,
    remembered_blocks,
)
from mixer.extras import require

if TYPE_CHECKING:
    from mixer.shards.records import Manifest


def verify(
    out: Build,
    deep: Annotated[bool, typer.Option("--deep", help="Also compare the build with its sources.")] = False,
    recipe: Annotated[
        Path | None,
        typer.Option(
            metavar="RECIPE",
            help="The build's recipe: its folder is the root for --deep.",
            callback=on_this_machine,
        ),
    ] = None,
    root: Root = None,
    cache: Cache = None,
    json: Json = False,
) -> None:
    """Check a build; list each damaged shard and record batch.

    Example: mixer verify out/my-mixture --deep
    """
    from mixer.report.console import print_json, say
    from mixer.report.verify import fine_line, print_damage
    from mixer.shards.manifest import load_manifest
    from mixer.verify.shards import find_damage

    if deep:
        require("build", "--deep")
    started = time.perf_counter()
    folder, manifest = build_folder(out), load_manifest(out)
    sources_root = known_root(folder, recipe, root, "--deep") if deep else None
    damage = []
    for error in find_damage(folder, manifest):
        damage.append(error)
        if not json:
            print_damage(error)
    report: dict[str, Any] = {
        "fine": not damage,
        "id": manifest.id,
        "shards": len(manifest.shards),
        "sequences": manifest.totals.sequences,
        "tokens": manifest.totals.tokens,
        "damage": [{"where": error.where, "message": error.message} for error in damage],
    }
    if sources_root is not None and not damage:
        report["deep"] = _check_deep(folder, manifest, sources_root, cache)
    report["seconds"] = round(time.perf_counter() - started, 3)
    if json:
        print_json(report)
    elif not damage:
        print(fine_line(report))
    elif hint := next((error.hint for error in damage if error.hint), None):
        say(f"hint: {hint}")
    if damage:
        raise typer.Exit(1)


def _check_deep(folder: Path, manifest: Manifest, root: Path, cache: Path | None) -> dict[str, int]:
    """Blocks and fetched contents are looked for where the build had them, unless a cache is given."""
    from mixer.report.advance import say_advance
    from mixer.verify.sources import check_deep

    blocks = remembered_blocks(folder) if cache is None else None
    checked = check_deep(
        folder, manifest, root=root, cache_dir=cache_dir(cache), blocks=blocks, on_progress=say_advance
    )
    return {
        "sequences": checked.num_sequences,
        "segments": checked.num_segments,
        "shards": checked.num_shards,
        "files": checked.num_files,
    }
