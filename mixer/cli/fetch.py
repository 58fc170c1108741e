"""`mixer fetch stack-v2 SRC OUT`: the text that a data set's rows refer to."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mixer.cli.options import Cache, Json, cache_dir, on_this_machine
from mixer.extras import require


class DataSet(StrEnum):
    """Data sets whose rows refer to their text."""

    STACK_V2 = "stack-v2"


class OnGone(StrEnum):
    """What to do about a blob that is missing or damaged."""

    DROP_FILE = "drop-file"
    DROP_REPO = "drop-repo"
    ERROR = "error"


def fetch(
    data_set: Annotated[DataSet, typer.Argument(metavar="DATASET", help="The data set: stack-v2.", show_default=False)],
    source: Annotated[
        str,
        typer.Argument(
            metavar="SRC", help="Parquet files of the-stack-v2-train-smol-ids; local, hf://, s3:// or https://."
        ),
    ],
    out: Annotated[
        Path,
        typer.Argument(metavar="OUT", help="The folder for the Parquet files with text.", callback=on_this_machine),
    ],
    origin: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="ADDRESS", help="The address of the blobs. Default: s3://softwareheritage/content."
        ),
    ] = None,
    signed: Annotated[bool, typer.Option("--signed", help="Sign requests with your AWS credentials.")] = False,
    language: Annotated[list[str] | None, typer.Option(help="Only files of this language; repeatable.")] = None,
    license_type: Annotated[
        list[str] | None, typer.Option(help="Only files of this license: permissive, no_license; repeatable.")
    ] = None,
    vendored: Annotated[bool, typer.Option(help="Include vendored files.")] = True,
    generated: Annotated[bool, typer.Option(help="Include generated files.")] = True,
    min_bytes: Annotated[str | None, typer.Option(metavar="SIZE", help="Only files of at least this size.")] = None,
    max_bytes: Annotated[str | None, typer.Option(metavar="SIZE", help="Only files of at most this size.")] = None,
    min_bytes_per_token: Annotated[
        float | None, typer.Option(min=0, metavar="X", help="Only files with at least this many bytes per token.")
    ] = None,
    tokenizer: Annotated[str, typer.Option(help="The tokenizer that counts tokens, as in a recipe.")] = "llama3",
    on_missing: Annotated[
        OnGone, typer.Option(help="If a blob is missing: drop its file, drop its repository, or stop.")
    ] = OnGone.DROP_FILE,
    on_damaged: Annotated[
        OnGone, typer.Option(help="If a blob's bytes do not match its digest: the same choices.")
    ] = OnGone.ERROR,
    part: Annotated[str, typer.Option(metavar="I/N", help="This host's part of the work, as in 3/16.")] = "1/1",
    workers: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Worker processes. Default: one per core.")
    ] = None,
    connections: Annotated[
        int, typer.Option(min=1, metavar="N", help="Blobs requested at once, over all workers.")
    ] = 256,
    cache: Cache = None,
    json: Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Fetch the text that a data set's rows refer to. Run it again to resume.

    The same rows, options and blobs give the same files for any number of workers, hosts and interruptions.

    Example: mixer fetch stack-v2 'ids/*.parquet' contents --part 3/16
    """
    require("build", "fetching")
    from mixer.recipe import parse_bytes
    from mixer.report.console import print_json, say
    from mixer.report.fetch import listen, report_in_words
    from mixer.stack.blobs import SOFTWARE_HERITAGE, Origin
    from mixer.stack.fetch import fetch_stack_v2
    from mixer.stack.fetch_plan import Policy, Rules, parse_part
    from mixer.stack.wanted_files import Selection

    selection = Selection(
        languages=tuple(language or ()),
        license_types=tuple(license_type or ()),
        vendored=vendored,
        generated=generated,
        min_bytes=None if min_bytes is None else parse_bytes(min_bytes),
        max_bytes=None if max_bytes is None else parse_bytes(max_bytes),
        min_bytes_per_token=min_bytes_per_token,
    )
    report = fetch_stack_v2(
        source,
        out,
        rules=Rules(selection=selection, on_missing=Policy(on_missing.value), on_damaged=Policy(on_damaged.value)),
        origin=Origin(address=origin or SOFTWARE_HERITAGE, signed=signed),
        part=parse_part(part),
        tokenizer=tokenizer,
        cache_dir=cache_dir(cache),
        workers=workers,
        connections=connections,
        listener=listen(quiet=quiet),
    )
    if json:
        print_json(report)
        return
    for line in report_in_words(report):
        print(line)
    if not quiet:
        say(f"in {out}; the outcome of each file: {out / 'report.json'}")
