"""Output: results to stdout, messages to stderr, and control characters of texts as escapes."""

from __future__ import annotations

import json
import sys
import textwrap
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

PIPE_WIDTH = 200
"""Columns where stdout is not a terminal: wide enough that no table is squeezed."""
SECONDS_BETWEEN_LINES = 5.0
"""Where stderr is not a terminal, progress is a line now and then."""
_NO_BREAK = "\N{NO-BREAK SPACE}"


def out_console(width: int | None = None) -> Console:
    """A console on stdout: colours and the terminal's width on a terminal, plain and wide otherwise."""
    return _console(sys.stdout, width)


def err_console() -> Console:
    """A console on stderr."""
    return _console(sys.stderr, None)


def _console(file: Any, width: int | None) -> Console:
    from rich.console import Console

    terminal = file.isatty()
    return Console(
        file=file,
        width=width or (None if terminal else PIPE_WIDTH),
        no_color=None if terminal else True,
        force_terminal=terminal,
        highlight=False,
        markup=False,
        emoji=False,
    )


def print_table(table: Table, console: Console, *, width: int | None = None) -> None:
    """Print a table without the blanks that fill its lines; in so many columns, or those of the console."""
    own_width = console.width
    if width is not None:
        console.width = width
    with console.capture() as captured:
        console.print(table)
    console.width = own_width
    lines = [line.rstrip() for line in captured.get().splitlines()]
    console.file.write("\n".join(lines).strip("\n") + "\n")


def print_line(line: str, console: Console, *, style: str = "") -> None:
    """Print a message to a console: wrapped with an indent on a terminal, one long line elsewhere."""
    if console.is_terminal:
        whole = line.replace(" %", _NO_BREAK + "%")
        line = textwrap.fill(whole, console.width, subsequent_indent="  ").replace(_NO_BREAK, " ")
    console.print(line, style=style, soft_wrap=True)


def print_json(value: Any) -> None:
    """Print a JSON value to stdout, in ASCII: no terminal obeys it and every locale can write it."""
    sys.stdout.write(json.dumps(value, indent=1) + "\n")


def say(words: str) -> None:
    """Print a message to stderr."""
    print(words, file=sys.stderr, flush=True)


def visible(text: str, keep: str = "\n\t") -> str:
    r"""Text without control characters: those not in `keep` become escapes such as `\x1b` or `\u202e`.

    Also escaped is what changes the direction or order of what stands around it. Spaces of every width and the
    joiners that scripts and emoji need stay.
    """
    return "".join(char if _harmless(char) or char in keep else _escape(char) for char in text)


def _harmless(char: str) -> bool:
    return (
        char.isprintable()
        or char in "\u200c\u200d"
        or (char.isspace() and char > "\x9f" and char not in "\u2028\u2029")
    )


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode()
