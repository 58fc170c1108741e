"""`mixer cache dir|size|prune`: the cache that builds share: its place, its size, and removing old entries."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from mixer.cli.options import Cache, Json, Wide, cache_dir
from mixer.errors import UsageError
from mixer.extras import require

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}

cache_app = typer.Typer(rich_markup_mode=None, help="Show the cache that builds share, or remove old entries.")


@cache_app.command("dir")
def show_dir(cache: Cache = None, json: Json = False) -> None:
    """Print the path of the cache.

    Example: du -sh $(mixer cache dir)
    """
    from mixer.report.console import print_json

    folder = cache_dir(cache)
    if json:
        print_json({"dir": str(folder)})
    else:
        print(folder)


@cache_app.command("size")
def size(cache: Cache = None, wide: Wide = False, json: Json = False) -> None:
    """Show the contents and the size of the cache.

    A recipe's `cache: {dir}` is a separate cache: give it with --cache.

    Example: mixer cache size
    """
    from mixer.report.cache import cache_json, print_cache
    from mixer.report.console import out_console, print_json
    from mixer.survey.cache_contents import cache_entries

    folder = cache_dir(cache)
    entries = cache_entries(folder)
    if json:
        print_json(cache_json(folder, entries))
    else:
        print_cache(folder, entries, out_console(), wide=wide)


@cache_app.command("prune")
def prune(
    older_than: Annotated[
        str | None, typer.Option(metavar="AGE", help="Remove entries unused for this long, such as 30d, 12h or 2w.")
    ] = None,
    max_size: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Remove the least recently used entries until the rest fits, such as 50GB."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Remove nothing; show what would be removed.")] = False,
    cache: Cache = None,
    json: Json = False,
) -> None:
    """Remove old entries, by age or until the rest fits a size.

    Files that running builds have open stay. Only files that mixer made are removed. With --max-size, blocks
    of remote files go first, then tokenizers, then fetched contents; row counts, digests and measurements stay.

    Example: mixer cache prune --older-than 30d --max-size 50GB --dry-run
    """
    if older_than is None and max_size is None:
        raise UsageError("no age and no size was given", hint="give --older-than 30d, --max-size 50GB, or both")
    seconds = None if older_than is None else parse_age(older_than)
    max_bytes = None
    if max_size is not None:
        require("build", "--max-size")
        from mixer.recipe import parse_bytes

        max_bytes = parse_bytes(max_size)
    import time

    from mixer.report.cache import pruned_in_words, pruned_json
    from mixer.report.console import print_json
    from mixer.survey.cache_contents import Pruned, cache_entries, choose, remove_entries

    folder = cache_dir(cache)
    entries = cache_entries(folder)
    chosen = choose(entries, now=time.time(), older_than_seconds=seconds, max_bytes=max_bytes)
    removed = chosen if dry_run else remove_entries(folder, chosen)
    gone = {entry.path for entry in removed}
    pruned = Pruned(
        removed=removed,
        in_use=[entry for entry in chosen if entry.path not in gone],
        left_bytes=sum(entry.bytes for entry in entries if entry.path not in gone),
    )
    if json:
        print_json(pruned_json(folder, pruned, dry_run=dry_run))
        return
    for line in pruned_in_words(folder, pruned, dry_run=dry_run):
        print(line)


def parse_age(text: str) -> float:
    """Seconds of an age such as `30d`, `12h`, `2w`.

    Raises:
        UsageError: the text is not an age.
    """
    match = re.fullmatch(r"(\d{1,6}(?:\.\d{1,6})?) ?([smhdw])", text.strip().lower(), re.ASCII)
    if match is None:
        raise UsageError(
            f"{text[:40]!r} is not an age: a number and s, m, h, d or w, such as 30d", where="--older-than"
        )
    return float(match[1]) * _UNITS[match[2]]
