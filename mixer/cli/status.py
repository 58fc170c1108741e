"""`mixer status OUT`: the progress of a build."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from mixer.cli.options import Build, Json

if TYPE_CHECKING:
    from mixer.building.status import Status

SECONDS_BETWEEN_LOOKS = 2.0
WATCH_SECONDS = 10.0


def status(
    out: Build,
    watch: Annotated[
        bool, typer.Option("--watch", help="Refresh every two seconds until the build ends; ^C stops watching.")
    ] = False,
    json: Json = False,
) -> None:
    """Show the progress of a build, and which processes work on it.

    Works during a build, without disturbing it, and after a build failed or was killed. With --watch the exit
    code is 1 if the build ends unfinished.

    Example: mixer status out/my-mixture --watch
    """
    from mixer.building.status import StatusReader
    from mixer.report.console import print_json, visible
    from mixer.report.status import status_in_words, status_json

    is_manifest = out.name == "manifest.json" and out.is_file()
    reader = StatusReader(out.parent if is_manifest else out)
    if watch:
        raise typer.Exit(_watch(reader.read, as_json=json))
    found = reader.read()
    if json:
        print_json(status_json(found))
        return
    for line in status_in_words(found):
        print(visible(line))


def _watch(read: Callable[[], Status], *, as_json: bool) -> int:
    """Show the status repeatedly until no process works on the build; the exit code.

    A terminal shows one changing view; other outputs get a line every ten seconds, `--json` an object per look.
    """
    import json

    from mixer.report.console import out_console, visible
    from mixer.report.status import GOING_ON, status_in_words, status_json, status_line

    console, shown, said = out_console(), 0, -WATCH_SECONDS
    try:
        while True:
            found = read()
            ended = found.state not in GOING_ON
            if as_json:
                print(json.dumps(status_json(found)), flush=True)
            elif console.is_terminal:
                shown = _draw([visible(line) for line in status_in_words(found)], console.width, shown)
            elif ended:
                print(*map(visible, status_in_words(found)), sep="\n", flush=True)
            elif time.monotonic() - said >= WATCH_SECONDS:
                said = time.monotonic()
                print(visible(status_line(found)), flush=True)
            if ended:
                return 0 if found.state == "finished" else 1
            time.sleep(SECONDS_BETWEEN_LOOKS)
    except KeyboardInterrupt:
        return 0


def _draw(lines: list[str], width: int, before: int) -> int:
    """Draw lines over those drawn before; the number of screen lines that they take."""
    up = f"\x1b[{before}F\x1b[J" if before else ""
    sys.stdout.write(up + "".join(f"{line}\n" for line in lines))
    sys.stdout.flush()
    return sum(max(1, -(-len(line) // width)) for line in lines)
