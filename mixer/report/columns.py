"""A table that fits its terminal: counts are rounded first, then the least of its columns left out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from mixer.report.console import print_table, say
from mixer.report.numbers import exact, short

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

TableRow = TypeVar("TableRow")
CountColumn = Callable[[int], str]
"""How counts are written: to the last digit, or rounded."""

ALWAYS = 9
"""The rank of a column that is never left out."""
_NAME_WIDTH, _NARROW_NAME_WIDTH = 28, 16
_UNBOUNDED = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Column(Generic[TableRow]):
    """A column; those of the lowest `rank` are left out first if the terminal is narrow."""

    header: str
    cell: Callable[[TableRow], str]
    footer: str = ""
    rank: int = ALWAYS
    # Words stand on the left.
    is_words: bool = False

    # What it is called where it is left out; the header unless given.
    title: str = ""

    @property
    def name(self) -> str:
        """The column's name in a sentence."""
        return self.title or " ".join(self.header.replace("\n/", "/").split())


def print_fitting(
    rows: Sequence[TableRow],
    columns: Callable[[CountColumn], Iterable[Column[TableRow]]],
    console: Console,
    *,
    is_dim: Callable[[TableRow], bool] = lambda row: False,
    wide: bool = False,
) -> None:
    """Print the fullest table that fits the console's width, and say on stderr which columns it leaves out.

    Args:
        rows: one a line.
        columns: the columns, given how to write counts; the first one has names.
        console: where it goes.
        is_dim: whether a row is of less interest.
        wide: whether to leave out no column, whatever the width.
    """
    everything = shown = list(columns(exact))
    gap = 1
    table = _table(rows, shown, gap, is_dim, name_width=None if wide else _NAME_WIDTH)
    while not wide and _width(table, console) > console.width:
        least = min(column.rank for column in shown)
        if gap == 1:
            shown, gap = list(columns(short)), 0
        elif least < ALWAYS:
            shown = [column for column in shown if column.rank > least]
        else:
            break
        table = _table(rows, shown, gap, is_dim, name_width=_NARROW_NAME_WIDTH)
    print_table(table, console, width=_width(table, console) if wide else None)
    ranks = {column.rank for column in shown}
    if hidden := [column.name for column in everything if column.rank not in ranks]:
        say(f"columns left out: {', '.join(hidden)}; --wide shows them")


def _width(table: Table, console: Console) -> int:
    return console.measure(table, options=console.options.update_width(_UNBOUNDED)).maximum


def _table(
    rows: Sequence[TableRow],
    columns: Sequence[Column[TableRow]],
    gap: int,
    is_dim: Callable[[TableRow], bool],
    *,
    name_width: int | None,
) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=(0, gap, 0, 0), show_edge=False, pad_edge=False, show_footer=True)
    for number, column in enumerate(columns):
        name = number == 0
        table.add_column(
            column.header,
            column.footer,
            justify="left" if name or column.is_words else "right",
            max_width=name_width if name else None,
            no_wrap=True,
        )
    for row in rows:
        table.add_row(*(Text(column.cell(row)) for column in columns), style="dim" if is_dim(row) else "")
    return table
