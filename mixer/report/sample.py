"""The table of a sample, for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mixer.report.columns import Column, CountColumn, print_fitting
from mixer.report.numbers import exact, num_bytes

if TYPE_CHECKING:
    from rich.console import Console

    from mixer.sample import SampleReport
    from mixer.sample.make import SourceReport


def print_sample(report: SampleReport, console: Console, *, wide: bool = False) -> None:
    """Print what each source of a sample holds."""
    num_rows = sum(source.num_rows for source in report.sources.values())

    def columns(count: CountColumn) -> Iterator[Column[tuple[str, SourceReport]]]:
        yield Column(header="source", footer="total", cell=lambda row: row[0])
        yield Column(header="files", footer=exact(len(report.files)), cell=lambda row: exact(row[1].num_files), rank=1)
        yield Column(header="rows", footer=count(num_rows), cell=lambda row: count(row[1].num_rows))
        yield Column(header="text", footer=num_bytes(report.text_bytes), cell=lambda row: num_bytes(row[1].text_bytes))

    print_fitting(list(report.sources.items()), columns, console, wide=wide)
