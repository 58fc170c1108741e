"""`mixer trace OUT`: the rows of a step, or the sequences of a row."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mixer.cli.options import Build, Cache, Json, Root, cache_dir, remembered_blocks, remembered_root

if TYPE_CHECKING:
    from mixer.feed.sequences import SequenceSet


def trace(
    out: Build,
    step: Annotated[int | None, typer.Option(metavar="N", help="A step of the run, from 0.")] = None,
    rank: Annotated[int, typer.Option(metavar="R", help="The rank, from 0.")] = 0,
    world: Annotated[int, typer.Option(metavar="W", help="The number of ranks.")] = 1,
    batch: Annotated[
        int, typer.Option(metavar="B", help="Sequences per rank per step, gradient accumulation included.")
    ] = 1,
    source: Annotated[str | None, typer.Option(metavar="NAME", help="A source; with --row.")] = None,
    row: Annotated[int | None, typer.Option(metavar="K", help="A row of the source, from 0.")] = None,
    epochs: Annotated[
        int | None, typer.Option(metavar="E", help="The number of epochs of the run. Default: the build's.")
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="S", help="The seed of the order. Default: the recipe's.")] = None,
    shuffle_shards: Annotated[
        int | None, typer.Option(metavar="SHARDS", help="The shuffle_shards of the run, if set.")
    ] = None,
    root: Root = None,
    cache: Cache = None,
    json: Json = False,
) -> None:
    """List the rows of a step, or the sequences of a row.

    If no sequence holds the row, print the reason; it is read from the row itself if the source is available.

    Example: mixer trace out/my-mixture --step 700 --rank 3 --world 64
    """
    from mixer.errors import UsageError
    from mixer.feed.cursor import Cursor
    from mixer.feed.sequences import open_build
    from mixer.feed.trace import trace_row, trace_step
    from mixer.report.console import out_console, print_json
    from mixer.report.trace import print_trace, trace_json

    if (step is None) == (source is None) or (source is None) != (row is None):
        raise UsageError("give --step, or --source and --row", hint="see `mixer trace --help`")
    sequences = open_build(out)
    cursor = Cursor.start(sequences, seed=seed, shuffle_shards=shuffle_shards)
    count = sequences.manifest.epochs.count if epochs is None else epochs
    if step is not None:
        found = trace_step(sequences, cursor, step=step, rank=rank, world=world, batch=batch, epochs=count)
    else:
        assert source is not None
        assert row is not None
        found = trace_row(sequences, cursor.order(sequences), source=source, row=row, epochs=count)
    words = None if found or source is None or row is None else _why_not(sequences, source, row, root, cache)
    if json:
        value = {"manifest": sequences.manifest.id, "sequences": trace_json(found)}
        print_json(value if words is None else value | {"why": words})
    elif words is not None:
        print(f"no sequence of the build holds row {row:,} of {source}: {words}")
    else:
        print_trace(found, out_console())


def _why_not(sequences: SequenceSet, source: str, row: int, root: Path | None, cache: Path | None) -> str:
    """Why a row is in no sequence, in words."""
    from mixer.errors import MixerError
    from mixer.extras import MissingPackages, require
    from mixer.report.row_fate import drawings_in_words, fate_in_words
    from mixer.shards.drawn import drawings

    folder, manifest = sequences.folder, sequences.manifest
    number = manifest.source_names.index(source)
    place = root or remembered_root(folder)
    try:
        if place is None:
            raise MissingPackages("the source is not available")
        require("build", "reading a row")
        from mixer.verify.row_fate import row_fate

        blocks = remembered_blocks(folder) if cache is None else None
        fate = row_fate(
            folder, manifest, number, row, is_in_a_sequence=False, root=place, cache_dir=cache_dir(cache), blocks=blocks
        )
        return f"{fate_in_words(fate)} ({fate.found.place.words()})"
    except MixerError as error:
        if root is not None:
            raise  # asked for, and missing
        reason = "" if isinstance(error, MissingPackages) else f" ({error.message})"
        return drawings_in_words(manifest, drawings(folder, manifest, number, row)) + reason
