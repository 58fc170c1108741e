"""The contents of a user's data and the recipe made from it: tables, texts, and JSON for programs."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mixer.report.columns import Column, CountColumn, print_fitting
from mixer.report.console import print_line, visible
from mixer.report.numbers import counted, num_bytes, percent

if TYPE_CHECKING:
    from rich.console import Console

    from mixer.intake.begin import Beginning
    from mixer.intake.columns import ColumnProfile
    from mixer.intake.draft import DraftSource
    from mixer.intake.group import LeftOut
    from mixer.intake.heads import Head

TEXT_CHARS = 300
_MAX_SHOWN = 10


def beginning_json(beginning: Beginning) -> dict[str, Any]:
    """The sources found, for programs."""
    return {
        "sources": [
            {
                "name": source.name,
                "paths": list(source.paths),
                "hub": source.seen.found.hub,
                "format": source.seen.found.format,
                "files": len(source.seen.found.files),
                "bytes": source.seen.found.num_bytes,
                "rows": source.num_rows,
                "rows_are_exact": source.is_counted,
                "contents": source.seen.contents,
                "text": source.seen.choice.column.path if source.seen.choice else None,
                "why": source.seen.choice.why if source.seen.choice else None,
                "is_ambiguous": source.seen.choice.is_ambiguous if source.seen.choice else False,
                "columns": [_column_json(column) for column in source.seen.columns],
            }
            for source in beginning.sources
        ],
        "left_out": [{"name": one.name, "why": one.why} for one in beginning.left_out],
    }


def print_beginning(beginning: Beginning, console: Console, *, wide: bool = False) -> None:
    """Print the sources of a new recipe, and what to check."""
    print_fitting(beginning.sources, lambda count: _source_columns(beginning, count), console, wide=wide)
    lines = [
        f"{source.name}: '{source.seen.choice.others[0].path}' is about as likely the text as "
        f"'{source.seen.choice.column.path}': see `mixer head`"
        for source in beginning.sources
        if source.seen.choice is not None and source.seen.choice.is_ambiguous and source.seen.choice.others
    ]
    _print_notes([*lines, *_left_out(beginning.left_out)], console)


def heads_json(heads: tuple[Sequence[Head], Sequence[LeftOut]]) -> dict[str, Any]:
    """The heads, for programs."""
    return {
        "sources": [
            {
                "name": head.name,
                "format": head.format,
                "files": head.num_files,
                "bytes": head.num_bytes,
                "rows": head.num_rows,
                "columns": [_column_json(column) for column in head.columns],
                "text": head.text_path,
                "where": head.where,
                "looked_at": head.looked_at,
                "kept": head.kept,
                "text_bytes": _spread(head.lengths),
                "texts": list(head.texts),
            }
            for head in heads[0]
        ],
        "left_out": [{"name": one.name, "why": one.why} for one in heads[1]],
    }


def print_heads(heads: tuple[Sequence[Head], Sequence[LeftOut]], console: Console, *, wide: bool = False) -> None:
    """Print each source's columns and first texts, shortened."""
    for number, head in enumerate(heads[0]):
        if number:
            console.print()
        print_line(visible(_title(head)), console, style="bold")
        console.print()
        print_fitting(head.columns, lambda count: _columns(), console, wide=wide)
        console.print()
        print_line(visible(_about_text(head)), console)
        for text in head.texts:
            console.print()
            _print_text(text, console)
    _print_notes(_left_out(heads[1]), console)


def _title(head: Head) -> str:
    rows = "" if head.num_rows is None else f", {counted(head.num_rows, 'row')}"
    return f"{head.name}: {counted(head.num_files, 'file')} of {head.format}, {num_bytes(head.num_bytes)}{rows}"


def _about_text(head: Head) -> str:
    if head.note is not None:
        return head.note
    where = ""
    if head.where is not None:
        where = f" that `{head.where}` keeps, of {head.looked_at:,} looked at"
    text = f"text: {head.text_path} ({head.why}); of {counted(head.kept, 'row')}{where}, "
    spread = _spread(head.lengths)
    if spread is None:
        return f"{text}none has a text"
    low, middle, high = (num_bytes(spread[key]) for key in ("min", "median", "max"))
    empty = head.kept - len(head.lengths)
    span = f"{low} to {high} long, {middle} in the median" if low != high else f"{low} long"
    return text + span + (f"; {empty:,} without a text" if empty else "")


def _print_text(text: str | None, console: Console) -> None:
    from rich.text import Text

    if not text:
        console.print(Text("── no text", style="dim"))
        return
    head = Text("── ", style="cyan")
    console.print(head.append(num_bytes(len(text.encode(errors="replace")))))
    shown = Text(visible(text[:TEXT_CHARS].strip("\r\n")))
    if len(text) > TEXT_CHARS:
        shown.append(f" … {len(text) - TEXT_CHARS:,} characters more", style="dim")
    console.print(shown, soft_wrap=not console.is_terminal)


def _columns() -> list[Column[ColumnProfile]]:
    def size(column: ColumnProfile, key: str) -> str:
        spread = _spread(column.lengths)
        return "" if spread is None else num_bytes(spread[key])

    return [
        Column(header="column", cell=lambda one: visible(one.path, keep="")),
        Column(header="type", is_words=True, cell=lambda one: visible(one.type[:40], keep="")),
        Column(header="filled", cell=lambda one: percent(one.filled) if one.lengths else "", rank=2),
        Column(header="shortest", cell=lambda one: size(one, "min"), rank=1),
        Column(header="median", cell=lambda one: size(one, "median")),
        Column(header="longest", cell=lambda one: size(one, "max"), rank=1),
    ]


def _source_columns(beginning: Beginning, count: CountColumn) -> list[Column[DraftSource]]:
    sources = beginning.sources
    return [
        Column(header="source", footer="total", cell=lambda one: one.name),
        Column(header="format", is_words=True, cell=lambda one: one.seen.found.format),
        Column(
            header="files",
            footer=count(sum(len(one.seen.found.files) for one in sources)),
            cell=lambda one: count(len(one.seen.found.files)),
        ),
        Column(
            header="bytes",
            footer=num_bytes(sum(one.seen.found.num_bytes for one in sources)),
            cell=lambda one: num_bytes(one.seen.found.num_bytes),
        ),
        Column(
            header="rows",
            footer=count(sum(one.num_rows for one in sources)),
            cell=lambda one: ("" if one.is_counted else "~") + count(one.num_rows),
        ),
        Column(header="text", is_words=True, cell=lambda one: visible(_text_of(one), keep="")),
        Column(header="why", is_words=True, cell=lambda one: one.seen.choice.why if one.seen.choice else "", rank=1),
    ]


def _text_of(source: DraftSource) -> str:
    if source.seen.contents is not None:
        return f"contents: {source.seen.contents}"
    return source.seen.choice.column.path if source.seen.choice else ""


def _left_out(left_out: Sequence[LeftOut]) -> list[str]:
    more = len(left_out) - _MAX_SHOWN
    lines = [f"left out: {one.name}: {one.why}" for one in left_out[:_MAX_SHOWN]]
    return [*lines, f"and {counted(more, 'more file')} left out"] if more > 0 else lines


def _print_notes(lines: Sequence[str], console: Console) -> None:
    if lines:
        console.print()
    for line in lines:
        print_line(f"! {visible(line, keep='')}", console, style="yellow")


def _column_json(column: ColumnProfile) -> dict[str, Any]:
    spread = _spread(column.lengths)
    return {"name": column.path, "type": column.type, "filled": round(column.filled, 4), "text_bytes": spread}


def _spread(lengths: Sequence[int]) -> dict[str, int] | None:
    if not lengths:
        return None
    return {"min": min(lengths), "median": round(statistics.median(lengths)), "max": max(lengths)}
