"""`mixer repair OUT`: rebuild the damaged files of a build."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from mixer.cli.options import (
    Build,
    Cache,
    Json,
    Root,
    build_folder,
    cache_dir,
    known_root,
    remembered_blocks,
)
from mixer.extras import require


def repair(
    out: Build,
    recipe: Annotated[
        Path | None, typer.Option(metavar="RECIPE", help="The build's recipe: its folder is the root of the sources.")
    ] = None,
    root: Root = None,
    cache: Cache = None,
    json: Json = False,
) -> None:
    """Rebuild the damaged or missing files of a build, and no others.

    A rebuilt file must match its digest in the manifest, so a repair cannot change a build.

    Example: mixer repair out/my-mixture
    """
    require("build", "repairing")
    from mixer.report.advance import say_advance
    from mixer.report.console import print_json
    from mixer.report.numbers import counted, duration
    from mixer.verify.repair import repair as run_repair

    started = time.perf_counter()
    folder = build_folder(out)
    done = run_repair(
        folder,
        root=known_root(folder, recipe, root, "rebuilding shards"),
        cache_dir=cache_dir(cache),
        blocks=remembered_blocks(folder) if cache is None else None,
        on_progress=say_advance,
    )
    if json:
        print_json({"shards": done.shards, "records": done.records, "others": done.others})
        return
    for path in (*done.shards, *done.records, *done.others):
        print(f"{path} rebuilt")
    seconds = duration(time.perf_counter() - started)
    print(f"{counted(done.num_files, 'file')} rebuilt, in {seconds}" if done.num_files else "nothing is damaged")
