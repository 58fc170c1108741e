"""`mixer export OUT --to FORMAT DIR`: a build in the format of another trainer."""

from __future__ import annotations

import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mixer.cli.options import Build, Json, on_this_machine


class ExportFormat(StrEnum):
    """The formats of exports."""

    BIN = "bin"
    LITDATA = "litdata"
    MDS = "mds"
    MEGATRON = "megatron"
    NANOTRON = "nanotron"
    OLMO = "olmo"


def export(
    out: Build,
    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="A folder: new, empty, or an unfinished export.", callback=on_this_machine),
    ],
    to: Annotated[
        ExportFormat, typer.Option("--to", help="bin: flat ids; litdata, mds: sequences; others: documents.")
    ],
    json: Json = False,
) -> None:
    """Write a build's tokens in another trainer's format.

    Example: mixer export out/my-mixture data --to megatron
    """
    from mixer.export.export import export
    from mixer.report.advance import AdvanceLines
    from mixer.report.console import print_json
    from mixer.report.numbers import counted, duration

    started = time.monotonic()
    record = export(out, to.value, folder, AdvanceLines())
    if json:
        print_json(record)
    else:
        seconds = duration(time.monotonic() - started)
        print(f"{counted(record['tokens'], 'token')} as {record['dtype']} in {folder} ({to.value}), in {seconds}")
