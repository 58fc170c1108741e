"""`mixer sample DIR`: six small sources to try everything on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mixer.cli.options import Json, Wide, on_this_machine
from mixer.extras import require


def sample(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A new folder, or one that has a sample.", callback=on_this_machine)
    ],
    size: Annotated[str, typer.Option(help="The amount of text, such as 200MB.")] = "50MB",
    wide: Wide = False,
    json: Json = False,
) -> None:
    """Make six small sources to try everything on; no network needed.

    Example: mixer sample sample --size 200MB
    """
    require("build", "making a sample")
    from dataclasses import asdict

    from mixer.recipe import parse_bytes
    from mixer.report.console import out_console, print_json, say
    from mixer.report.sample import print_sample
    from mixer.sample import make_sample

    report = make_sample(folder, parse_bytes(size))
    if json:
        print_json(asdict(report))
        return
    print_sample(report, out_console(), wide=wide)
    say(f"in {folder}; recipes/sample.yaml mixes them: mixer build recipes/sample.yaml")
