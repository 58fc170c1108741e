"""Tables that fit: what is left out is named, and `--wide` leaves out nothing."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from mixer.report.columns import Column, CountColumn, print_fitting

ROWS = [("books", 1_234_567), ("a-source-with-a-name-that-is-long", 7)]


def columns(count: CountColumn) -> list[Column]:
    return [
        Column(header="\nsource", footer="total", cell=lambda row: row[0]),
        Column(header="\nrows", cell=lambda row: count(row[1])),
        Column(header="bytes\n/token", cell=lambda row: "4.00", rank=1),
        Column(header="\n95 %", title="95 % of tokens", cell=lambda row: "51.6-60.9 %", rank=2),
    ]


def printed(width: int, *, wide: bool = False) -> str:
    out = io.StringIO()
    print_fitting(ROWS, columns, Console(file=out, width=width), wide=wide)
    return out.getvalue()


@pytest.mark.parametrize(
    ("width", "left_out"),
    [(80, ""), (38, "bytes/token"), (30, "bytes/token, 95 % of tokens"), (10, "bytes/token, 95 % of tokens")],
)
def test_columns_that_are_left_out_are_named(capsys, width, left_out):
    """On stderr, in the order of the table."""
    table = printed(width)
    assert capsys.readouterr().err == (f"columns left out: {left_out}; --wide shows them\n" if left_out else "")
    assert ("4.00" in table) is ("bytes" not in left_out)
    assert ("51.6" in table) is ("95 %" not in left_out)


@pytest.mark.parametrize("width", [10, 30, 80])
def test_wide_shows_all_whatever_the_width(capsys, width):
    """Every column, counts to the last digit, and no name cut."""
    for whole in ("1,234,567", "a-source-with-a-name-that-is-long", "4.00", "51.6-60.9 %"):
        assert whole in printed(width, wide=True)
    assert capsys.readouterr().err == ""
