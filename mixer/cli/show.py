"""`mixer show OUT --sequence N`: one sequence as text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mixer.cli.options import Build, Cache, Json, Root, build_folder, cache_dir, remembered_root
from mixer.extras import require


def show(
    out: Build,
    number: Annotated[int, typer.Option("--sequence", "-s", metavar="N", help="Which one, over all shards, from 0.")],
    full: Annotated[bool, typer.Option("--full", help="Do not shorten long texts.")] = False,
    width: Annotated[int | None, typer.Option(min=20, metavar="COLUMNS", help="Default: the terminal's.")] = None,
    root: Root = None,
    cache: Cache = None,
    json: Json = False,
) -> None:
    """Show a sequence as text, with the source and row of each segment."""
    require("build", "showing text")
    from mixer.shards.manifest import load_manifest
    from mixer.show.console import out_console, print_json
    from mixer.show.sequence import locate, print_sequence, read_sequence
    from mixer.tokens.tokenizer import load_tokenizer

    folder, manifest = build_folder(out), load_manifest(out)
    locate(number, manifest)
    tokenizer = load_tokenizer(
        manifest.recipe["tokenizer"],
        root=root or remembered_root(folder) or Path(),
        cache_dir=cache_dir(cache),
    )
    sequence = read_sequence(folder, manifest, number, tokenizer)
    if json:
        print_json(sequence.as_json())
    else:
        console = out_console(width)
        print_sequence(sequence, console, full=full, wrap=console.is_terminal or width is not None)
