"""`mixer show OUT --sequence N`: one sequence as text; `--source S --row N`: one row of a source."""

from __future__ import annotations

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
    remembered_root,
)
from mixer.errors import UsageError
from mixer.extras import require


def show(
    out: Build,
    number: Annotated[
        int | None, typer.Option("--sequence", "-s", metavar="N", help="The sequence's number over all shards, from 0.")
    ] = None,
    source: Annotated[str | None, typer.Option(metavar="NAME", help="A source; with --row.")] = None,
    row: Annotated[int | None, typer.Option(metavar="K", help="A row of the source, from 0.")] = None,
    full: Annotated[bool, typer.Option("--full", help="Do not shorten long texts.")] = False,
    width: Annotated[
        int | None, typer.Option(min=20, metavar="COLUMNS", help="The width of the output. Default: the terminal's.")
    ] = None,
    root: Root = None,
    cache: Cache = None,
    json: Json = False,
) -> None:
    """Show a sequence as text, or a row of a source.

    Each segment is shown with its source, row and file; a row with its place in the source and its fate in the build.

    Example: mixer show out/my-mixture --sequence 5
    """
    require("build", "showing text")
    if (number is None) == (source is None) or (source is None) != (row is None):
        raise UsageError("give --sequence, or --source and --row", hint="see `mixer show --help`")
    if number is None:
        assert source is not None
        assert row is not None
        _show_row(out, source, row, root=root, cache=cache, json=json, full=full, width=width)
        return
    from mixer.report.console import out_console, print_json
    from mixer.report.sequence import locate, print_sequence, read_sequence
    from mixer.shards.manifest import load_manifest
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


def _show_row(
    out: Path,
    source: str,
    row: int,
    *,
    root: Path | None,
    cache: Path | None,
    json: bool,
    full: bool,
    width: int | None,
) -> None:
    """Read a row from its source, and print its place and its fate."""
    from mixer.feed.sequences import open_build
    from mixer.feed.trace import holding, source_number
    from mixer.report.console import out_console, print_json
    from mixer.report.row_fate import fate_in_words
    from mixer.report.sequence import print_row
    from mixer.verify.row_fate import row_fate

    sequences = open_build(out)
    folder, manifest = sequences.folder, sequences.manifest
    number = source_number(manifest, source, row)
    numbers = holding(sequences, number, row)
    fate = row_fate(
        folder,
        manifest,
        number,
        row,
        is_in_a_sequence=bool(numbers),
        root=known_root(folder, None, root, "--row"),
        cache_dir=cache_dir(cache),
        blocks=remembered_blocks(folder) if cache is None else None,
    )
    if json:
        place = {"file": fate.found.place.file, "words": fate.found.place.words()}
        print_json(
            {
                "source": source,
                "row": row,
                "place": place,
                "why": fate.why,
                "sequences": numbers,
                "text": fate.found.text,
            }
        )
        return
    console = out_console(width)
    header = f"{source} row {row:,}, {fate.found.place.words()}: {fate_in_words(fate)}"
    if numbers:
        header += f" ({', '.join(f'{one:,}' for one in numbers[:10])}{', ...' * (len(numbers) > 10)})"
    print_row(header, fate.found.text, console, full=full, wrap=console.is_terminal or width is not None)
