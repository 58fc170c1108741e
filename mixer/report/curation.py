"""What a curation did, for people and for programs: what went from which source, where and why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mixer.curate.guards import loss_warnings
from mixer.report.columns import Column, CountColumn, print_fitting
from mixer.report.console import print_line
from mixer.report.numbers import aligned_percent, exact

if TYPE_CHECKING:
    from rich.console import Console

    from mixer.curate.records import CurationRecord, SourceLosses


def curation_json(record: CurationRecord) -> dict[str, Any]:
    """The record for programs, with its warnings."""
    return record.as_json() | {"warnings": curation_warnings(record)}


def curation_warnings(record: CurationRecord) -> list[str]:
    """What to look at twice."""
    return [*loss_warnings(record), *record.warnings]


def print_curation(record: CurationRecord, console: Console, *, wide: bool = False) -> None:
    """Print what each source lost at each step, the reasons, and who lost duplicates to whom."""
    print_fitting(record.sources, lambda count: _columns(record, count), console, wide=wide)
    if lines := list(_reasons(record)):
        console.print()
    for line in lines:
        print_line(line, console)
    if record.duplicates and any(map(any, record.duplicates)):
        console.print()
        print_line("rows dropped for a row of", console)
        names = [source.name for source in record.sources]
        print_fitting(
            list(zip(names, record.duplicates, strict=True)), lambda count: _pairs(names, count), console, wide=wide
        )


def _columns(record: CurationRecord, count: CountColumn) -> Iterator[Column[SourceLosses]]:
    rows = sum(source.rows for source in record.sources)
    entered, left = (sum(getattr(one, name) for one in record.sources) for name in ("rows_entered", "rows_left"))
    yield Column(header="\nsource", footer="total", cell=lambda source: source.name)
    yield Column(header="\nrows", footer=count(rows), cell=lambda source: count(source.rows))
    if entered < rows:
        yield Column(header="by\nwhere", footer=count(entered), cell=lambda source: count(source.rows_entered), rank=2)
    for number, label in enumerate(record.steps):
        yield Column(
            header=label.replace(" ", "\n", 1),
            footer=count(sum(source.steps[number].rows for source in record.sources)),
            cell=lambda source, number=number: count(source.steps[number].rows),  # type: ignore[misc]
            rank=3,
        )
    yield Column(header="rows\nleft", footer=count(left), cell=lambda source: count(source.rows_left))
    yield Column(
        header="of rows\nleft",
        footer=aligned_percent(left / entered if entered else 0),
        cell=lambda source: aligned_percent(1 - source.share_lost),
    )
    if any(source.bytes_entered for source in record.sources):
        yield Column(
            header="of text\nleft",
            cell=lambda source: aligned_percent(
                source.bytes_left / source.bytes_entered if source.bytes_entered else 0
            ),
        )


def _reasons(record: CurationRecord) -> Iterator[str]:
    """A line for each step with more than one reason, the most frequent ones first."""
    for number, label in enumerate(record.steps):
        totals: dict[str, int] = {}
        for source in record.sources:
            for reason, rows in source.steps[number].reasons.items():
                totals[reason] = totals.get(reason, 0) + rows
        if len(totals) > 1:
            ordered = sorted(totals.items(), key=lambda item: (-item[1], item[0]))
            yield f"{label}: " + ", ".join(f"{reason} {exact(rows)}" for reason, rows in ordered)


def _pairs(names: list[str], count: CountColumn) -> Iterator[Column[tuple[str, list[int]]]]:
    yield Column(header="dropped", cell=lambda row: row[0])
    for number, name in enumerate(names):
        yield Column(header=name, cell=lambda row, number=number: count(row[1][number]))  # type: ignore[misc]
