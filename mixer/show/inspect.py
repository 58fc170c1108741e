"""The table of a build, for people; and the same for programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mixer.show.console import print_line, print_table
from mixer.show.numbers import aligned_percent, exact, short
from mixer.show.tables import SourceRow, Summary
from mixer.show.words import surprises, totals_in_words

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def summary_json(summary: Summary) -> dict[str, Any]:
    """The summary for programs, with the surprises as `notes`."""
    return summary.as_json() | {"notes": surprises(summary)}


def print_summary(summary: Summary, console: Console) -> None:
    """Print the table, the totals, what may surprise, and the manifest's id."""
    print_table(_fitting_table(summary, console), console)
    console.print()
    for line in totals_in_words(summary):
        print_line(line, console)
    if lines := surprises(summary):
        console.print()
    for line in lines:
        print_line(f"! {line}", console, style="yellow")
    console.print()
    print_line(f"manifest {summary.id}", console, style="dim")


_NAME_WIDTH, _NARROW_NAME_WIDTH = 28, 16


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    """A column; those of the lowest `rank` are left out first where the window is narrow."""

    header: str
    cell: Callable[[SourceRow], str]
    footer: str = ""
    rank: int = 9


def _columns(summary: Summary, count: Callable[[int], str]) -> Iterator[_Column]:
    yield _Column(header="\nsource", footer="total", cell=lambda row: row.name)
    yield _Column(header="\nweight", cell=lambda row: f"{row.weight:g}", rank=3)
    yield _Column(header="\nrows", footer=count(summary.draws), cell=lambda row: count(row.rows))
    yield _Column(header="of rows\nasked", cell=lambda row: aligned_percent(row.row_share_asked), rank=4)
    yield _Column(header="of rows\ngot", cell=lambda row: aligned_percent(row.row_share))
    yield _Column(header="\ntokens", footer=count(summary.tokens), cell=lambda row: count(row.tokens))
    if summary.weights == "tokens":
        yield _Column(header="of tokens\nasked", cell=lambda row: aligned_percent(row.share_asked))
    yield _Column(header="of tokens\ngot", cell=lambda row: aligned_percent(row.token_share))
    yield _Column(
        header="tokens\n/row",
        footer=count(round(summary.tokens_per_row)),
        cell=lambda row: count(round(row.tokens_per_row)),
    )
    yield _Column(
        header="bytes\n/token",
        footer=f"{summary.bytes_per_token:.2f}",
        cell=lambda row: f"{row.bytes_per_token:.2f}",
        rank=1,
    )
    yield _Column(header="\npasses", cell=lambda row: f"{row.passes:.2f}")
    if skipped := sum(row.num_skipped for row in summary.sources):
        yield _Column(header="rows\nskipped", footer=count(skipped), cell=lambda row: count(row.num_skipped))
    yield _Column(
        header="docs\ncut",
        footer=count(summary.truncated_documents),
        cell=lambda row: count(row.truncated_documents),
        rank=2,
    )


def _fitting_table(summary: Summary, console: Console) -> Table:
    """The fullest table that fits: first counts are rounded, then columns left out."""
    columns, gap = list(_columns(summary, exact)), 1
    unbounded = console.options.update_width(1000)
    while console.measure(table := _table(summary, columns, gap), options=unbounded).maximum > console.width:
        least = min(column.rank for column in columns)
        if gap == 1:
            columns, gap = list(_columns(summary, short)), 0
        elif least < 9:
            columns = [column for column in columns if column.rank > least]
        else:
            break
    return table


def _table(summary: Summary, columns: list[_Column], gap: int) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=(0, gap, 0, 0), show_edge=False, pad_edge=False, show_footer=True)
    for number, column in enumerate(columns):
        name = number == 0
        table.add_column(
            column.header,
            column.footer,
            justify="left" if name else "right",
            max_width=None if not name else _NAME_WIDTH if gap else _NARROW_NAME_WIDTH,
            no_wrap=True,
        )
    for row in summary.sources:
        table.add_row(*(Text(column.cell(row)) for column in columns), style="" if row.rows else "dim")
    return table
