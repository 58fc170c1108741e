"""Errors in a predicate, marked under its text, and the spellings of other languages for its operators. Pure.

'=>' should be '>=', at position 3:
    n => 3
      ^^
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_SIGNS = {
    "=>": ">=",
    "=<": "<=",
    "<>": "!=",
    "=": "==",
    "===": "==",
    "!==": "!=",
    "=!": "!=",
    "&&": "and",
    "&": "and",
    "||": "or",
    "|": "or",
    "!": "not",
    "~": "not",
}
_WORDS = {"AND": "and", "OR": "or", "NOT": "not", "IS": "is", "IN": "in", "NULL": "null", "TRUE": "true"}
_WORDS |= {"FALSE": "false"}
_OPERATORS = ("and", "or", "not", "is", "in")
_MISSING = {"LIKE", "ILIKE", "RLIKE", "REGEXP", "BETWEEN", "CONTAINS", "STARTSWITH", "MATCHES"}
_TOKEN = re.compile(
    r"""(?P<text>'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")"""
    r"|(?P<word>[^\W\d]\w*)"
    r"|(?P<sign>[=!<>]+|&+|\|+|~)"
    r"|(?P<other>[\w.]+|\S)"
)
_MAX_SHOWN = 100


class Slip(NamedTuple):
    """A piece of a predicate's text that another language would understand."""

    start: int
    stop: int
    # What a predicate has for it; None if it has nothing.
    right: str | None


def slips_in(text: str) -> list[Slip]:
    """The slips in a predicate that cannot be read, in their order; none within strings."""
    return list(_slips(text))


def _slips(text: str) -> Iterator[Slip]:
    after_operand = False
    for match in _TOKEN.finditer(text):
        token, word = match[0], match[0].upper() if match.lastgroup == "word" else ""
        is_right = token in _OPERATORS or token in ("null", "true", "false", "True", "False")
        # A word in another place than an operator's is a column, whatever it is called.
        is_operator = word in ("NOT", "NULL", "TRUE", "FALSE") or (after_operand and word in (_WORDS.keys() | _MISSING))
        if match.lastgroup == "sign" and token in _SIGNS:
            yield Slip(*match.span(), _SIGNS[token])
        elif is_operator and not is_right:
            yield Slip(*match.span(), _WORDS.get(word))
        if match.lastgroup in ("text", "word"):
            after_operand = not is_operator and token not in _OPERATORS
        else:
            after_operand = match.lastgroup == "other" and token not in ("(", "[", ",")


def corrected(text: str, slips: list[Slip]) -> str | None:
    """The text with every slip corrected; None if one of them has no correction."""
    for slip in reversed(slips):
        if slip.right is None:
            return None
        before, after = text[: slip.start], text[slip.stop :]
        left = " " if slip.right.isalpha() and before and not before[-1].isspace() and before[-1] != "(" else ""
        right = " " if slip.right.isalpha() and after and not after[0].isspace() and after[0] != ")" else ""
        text = f"{before}{left}{slip.right}{right}{after}"
    return text


def marked(text: str, start: int, stop: int) -> str:
    """The text, or the part of it around an error, with carets under `text[start:stop]`: two lines."""
    first = max(0, start - _MAX_SHOWN // 2)
    last = min(len(text), first + _MAX_SHOWN)
    stop = min(max(stop, start + 1), max(last, start + 1))
    before, wrong, after = (_printable(text[a:b]) for a, b in ((first, start), (start, stop), (stop, last)))
    dots = "..." if first else "", "..." if last < len(text) else ""
    carets = " " * len(dots[0] + before) + "^" * max(1, len(wrong))
    return f"\n    {dots[0]}{before}{wrong}{after}{dots[1]}\n    {carets}"


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
