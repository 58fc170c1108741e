"""The contents of the cache and the result of a pruning, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mixer.report.columns import Column, CountColumn, print_fitting
from mixer.report.console import print_line
from mixer.report.numbers import counted, num_bytes

if TYPE_CHECKING:
    from rich.console import Console

    from mixer.survey.cache_contents import Entry, Pruned

WORDS = {
    "pins": ("row counts and digests", "reads JSON lines whole, and the footers of other files"),
    "measured": ("measurements of tokens per row", "reads and tokenizes some MB of each source"),
    "curation": ("facts of texts, and what curations decided", "reads every text of the curated sources"),
    "tokenizers": ("tokenizers, ready to load", "some seconds each"),
    "blocks": ("blocks of remote files", "downloads them again"),
    "fetched": ("fetched contents of Stack v2", "fetches every file again: hours or days"),
    "other": ("locks, and files that mixer did not make", "is never removed"),
}
"""By kind: what it is, and the cost of making it again."""
_FIRST_SHOWN = 10


def cache_json(folder: Path, entries: Sequence[Entry]) -> dict[str, Any]:
    """The contents of a cache, for programs."""
    kinds = {
        kind: {
            "what": what,
            "entries": sum(entry.kind == kind for entry in entries),
            "bytes": sum(entry.bytes for entry in entries if entry.kind == kind),
            "again": again,
        }
        for kind, (what, again) in WORDS.items()
    }
    return {"dir": str(folder), "bytes": sum(entry.bytes for entry in entries), "kinds": kinds}


def print_cache(folder: Path, entries: Sequence[Entry], console: Console, *, wide: bool = False) -> None:
    """Print the contents of a cache: a line per kind."""
    kinds = cache_json(folder, entries)["kinds"]
    rows = [(kind, facts) for kind, facts in kinds.items() if facts["entries"]]
    if not rows:
        print(f"nothing in {folder}")
        return
    total, in_all = num_bytes(sum(entry.bytes for entry in entries)), len(entries)

    def columns(count: CountColumn) -> Iterator[Column[tuple[str, dict[str, Any]]]]:
        yield Column(header="kind", footer="total", cell=lambda row: row[0])
        yield Column(header="entries", footer=count(in_all), cell=lambda row: count(row[1]["entries"]))
        yield Column(header="size", footer=total, cell=lambda row: num_bytes(row[1]["bytes"]))
        yield Column(header="what it is", cell=lambda row: row[1]["what"], rank=2, is_words=True)
        yield Column(header="making it again", cell=lambda row: row[1]["again"], rank=1, is_words=True)

    print_fitting(rows, columns, console, wide=wide)
    console.print()
    print_line(f"in {folder}", console)


def pruned_json(folder: Path, pruned: Pruned, *, dry_run: bool) -> dict[str, Any]:
    """The result of a pruning, for programs."""
    return {
        "dir": str(folder),
        "dry_run": dry_run,
        "removed": [_entry_json(folder, entry) for entry in pruned.removed],
        "in_use": [_entry_json(folder, entry) for entry in pruned.in_use],
        "removed_bytes": sum(entry.bytes for entry in pruned.removed),
        "left_bytes": pruned.left_bytes,
    }


def pruned_in_words(folder: Path, pruned: Pruned, *, dry_run: bool) -> list[str]:
    """The result of a pruning, a line per kind."""
    done = "would remove" if dry_run else "removed"
    lines = []
    for kind, (what, again) in WORDS.items():
        gone = [entry for entry in pruned.removed if entry.kind == kind]
        if gone:
            size = num_bytes(sum(entry.bytes for entry in gone))
            lines.append(f"{done} {size} of {what} ({counted(len(gone), 'file')}); making it again: {again}")
            if kind == "fetched":
                lines += [f"  {entry.path}" for entry in gone[:_FIRST_SHOWN]]
    if pruned.in_use:
        size = num_bytes(sum(entry.bytes for entry in pruned.in_use))
        lines.append(f"left {counted(len(pruned.in_use), 'file')} in use, {size}")
    if not pruned.removed:
        lines.append("nothing to remove")
    return [*lines, f"{num_bytes(pruned.left_bytes)} {'would be' if dry_run else 'is'} left in {folder}"]


def _entry_json(folder: Path, entry: Entry) -> dict[str, Any]:
    return {
        "kind": entry.kind,
        "path": entry.path.relative_to(folder).as_posix(),
        "bytes": entry.bytes,
        "used_unix": entry.used_unix,
    }
