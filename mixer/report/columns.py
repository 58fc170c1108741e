"""A table that fits its terminal: counts are rounded first, then the least of its columns left out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from mixer.report.numbers import exact, short

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

Row = TypeVar("Row")
Count = Callable[[int], str]
"""How counts are written: to the last digit, or rounded."""

ALWAYS = 9
"""The rank of a column that is never left out."""
_NAME_WIDTH, _NARROW_NAME_WIDTH = 28, 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Column(Generic[Row]):
    """A column; those of the lowest `rank` are left out first where the terminal is narrow."""

    header: str
    cell: Callable[[Row], str]
    footer: str = ""
    rank: int = ALWAYS
    # Words stand on the left.
    is_words: bool = False

    @property
    def title(self) -> str:
        """The header in one line."""
        return " ".join(self.header.split())


@dataclass(frozen=True, slots=True, kw_only=True)
class FittingTable:
    """A table, and the titles of the columns that it leaves out."""

    table: Table
    hidden: tuple[str, ...]


def fitting_table(
    rows: Sequence[Row],
    columns: Callable[[Count], Iterable[Column[Row]]],
    console: Console,
    *,
    is_dim: Callable[[Row], bool] = lambda row: False,
    wide: bool = False,
) -> FittingTable:
    """The fullest table that fits the console's width.

    Args:
        rows: one a line.
        columns: the columns, given how to write counts; the first one has names.
        console: where it goes.
        is_dim: whether a row is of less interest.
        wide: whether to leave out no column, whatever the width.
    """
    everything = shown = list(columns(exact))
    gap = 1
    unbounded = console.options.update_width(1000)
    table = _table(rows, shown, gap, is_dim)
    while not wide and console.measure(table, options=unbounded).maximum > console.width:
        least = min(column.rank for column in shown)
        if gap == 1:
            shown, gap = list(columns(short)), 0
        elif least < ALWAYS:
            shown = [column for column in shown if column.rank > least]
        else:
            break
        table = _table(rows, shown, gap, is_dim)
    ranks = {column.rank for column in shown}
    return FittingTable(table=table, hidden=tuple(one.title for one in everything if one.rank not in ranks))


def _table(rows: Sequence[Row], columns: Sequence[Column[Row]], gap: int, is_dim: Callable[[Row], bool]) -> Table:
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
            max_width=None if not name else _NAME_WIDTH if gap else _NARROW_NAME_WIDTH,
            no_wrap=True,
        )
    for row in rows:
        table.add_row(*(Text(column.cell(row)) for column in columns), style="dim" if is_dim(row) else "")
    return table
