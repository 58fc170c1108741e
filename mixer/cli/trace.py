"""`mixer trace OUT`: the rows that a step saw, or the sequences that hold a row."""

from __future__ import annotations

from typing import Annotated

import typer

from mixer.cli.options import Build, Json


def trace(
    out: Build,
    step: Annotated[int | None, typer.Option(metavar="N", help="A step of the run, from 0.")] = None,
    rank: Annotated[int, typer.Option(metavar="R", help="The rank, from 0.")] = 0,
    world: Annotated[int, typer.Option(metavar="W", help="How many ranks there were.")] = 1,
    batch: Annotated[
        int, typer.Option(metavar="B", help="Sequences of a rank in a step, gradient accumulation included.")
    ] = 1,
    source: Annotated[str | None, typer.Option(metavar="NAME", help="A source; with --row.")] = None,
    row: Annotated[int | None, typer.Option(metavar="K", help="A row of the source, from 0.")] = None,
    epochs: Annotated[
        int | None, typer.Option(metavar="E", help="How many epochs the run had. Default: the build's.")
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="S", help="Of the order. Default: the recipe's.")] = None,
    shuffle_shards: Annotated[
        int | None, typer.Option(metavar="SHARDS", help="The run's shuffle_shards, if it had any.")
    ] = None,
    json: Json = False,
) -> None:
    """List the rows that a step saw, or the sequences of a row."""
    from mixer.errors import UsageError
    from mixer.feed.cursor import Cursor
    from mixer.feed.sequences import open_build
    from mixer.feed.trace import trace_row, trace_step
    from mixer.show.console import out_console, print_json
    from mixer.show.trace import print_trace, trace_json

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
    if json:
        print_json({"manifest": sequences.manifest.id, "sequences": trace_json(found)})
    else:
        print_trace(found, out_console())
