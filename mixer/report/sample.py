"""The table of a sample, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mixer.report.console import print_table
from mixer.report.numbers import exact, num_bytes

if TYPE_CHECKING:
    from rich.console import Console

    from mixer.sample import SampleReport


def print_sample(report: SampleReport, console: Console) -> None:
    """Print what each source of a sample holds."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_footer=True)
    table.add_column("source", "total")
    table.add_column("files", exact(len(report.files)), justify="right")
    table.add_column("rows", exact(sum(source.num_rows for source in report.sources.values())), justify="right")
    table.add_column("text", num_bytes(report.text_bytes), justify="right")
    for name, source in report.sources.items():
        table.add_row(name, exact(source.num_files), exact(source.num_rows), num_bytes(source.text_bytes))
    print_table(table, console)
