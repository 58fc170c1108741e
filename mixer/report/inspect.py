"""The table of a build, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mixer.report.columns import Column, CountColumn, print_fitting
from mixer.report.console import print_line
from mixer.report.numbers import aligned_percent
from mixer.report.tables import SourceRow, Summary
from mixer.report.words import surprises, totals_in_words

if TYPE_CHECKING:
    from rich.console import Console


def summary_json(summary: Summary) -> dict[str, Any]:
    """The summary for programs, with the surprises as `notes`."""
    return summary.as_json() | {"notes": surprises(summary)}


def print_summary(summary: Summary, console: Console, *, wide: bool = False) -> None:
    """Print the table, the totals, the surprises, and the manifest's id."""
    print_fitting(
        summary.sources, lambda count: _columns(summary, count), console, is_dim=lambda row: not row.rows, wide=wide
    )
    console.print()
    for line in totals_in_words(summary):
        print_line(line, console)
    if lines := surprises(summary):
        console.print()
    for line in lines:
        print_line(f"! {line}", console, style="yellow")
    console.print()
    print_line(f"manifest {summary.id}", console, style="dim")


def _columns(summary: Summary, count: CountColumn) -> Iterator[Column[SourceRow]]:
    yield Column(header="\nsource", footer="total", cell=lambda row: row.name)
    yield Column(header="\nweight", cell=lambda row: f"{row.weight:g}", rank=3)
    yield Column(header="\nrows", footer=count(summary.draws), cell=lambda row: count(row.rows))
    yield Column(header="of rows\nasked", cell=lambda row: aligned_percent(row.row_share_asked), rank=4)
    yield Column(header="of rows\ngot", cell=lambda row: aligned_percent(row.row_share))
    yield Column(header="\ntokens", footer=count(summary.tokens), cell=lambda row: count(row.tokens))
    if summary.weights == "tokens":
        yield Column(header="of tokens\nasked", cell=lambda row: aligned_percent(row.share_asked))
    yield Column(header="of tokens\ngot", cell=lambda row: aligned_percent(row.token_share))
    yield Column(
        header="tokens\n/row",
        footer=count(round(summary.tokens_per_row)),
        cell=lambda row: count(round(row.tokens_per_row)),
    )
    yield Column(
        header="bytes\n/token",
        footer=f"{summary.bytes_per_token:.2f}",
        cell=lambda row: f"{row.bytes_per_token:.2f}",
        rank=1,
    )
    yield Column(header="\npasses", cell=lambda row: f"{row.passes:.2f}")
    if skipped := sum(row.num_skipped for row in summary.sources):
        yield Column(header="rows\nskipped", footer=count(skipped), cell=lambda row: count(row.num_skipped))
    yield Column(
        header="docs\ncut",
        footer=count(summary.truncated_documents),
        cell=lambda row: count(row.truncated_documents),
        rank=2,
    )
