"""The choice of the text column, from some rows. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_NAMES = {
    **dict.fromkeys(("text", "content", "contents"), 10.0),
    **dict.fromkeys(("body", "raw_content", "document", "article", "code", "markdown", "full_text"), 6.0),
    **dict.fromkeys(("passage", "story", "transcript", "page", "completion", "message"), 3.0),
    **dict.fromkeys(("title", "name", "headline", "prompt", "question", "html", "metadata"), 0.3),
    **dict.fromkeys(("id", "url", "uri", "link", "path", "hash", "sha", "digest", "date", "timestamp", "uuid"), 0.01),
}
"""How much likelier a name makes it that a column is the text."""
_MIN_SHARE_WITH_SPACES = 0.1
_MAX_OTHERS = 6
_AMBIGUOUS = 0.5
_ONE_WORD = 0.02
"""What a column of single words counts beside one of sentences."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnProfile:
    """The values of some rows in a column."""

    # With dots into structs and [] for lists: text, meta.lang, files[].text
    path: str
    type: str
    # Bytes of text in each row that has some: those of a list's items together.
    lengths: tuple[int, ...]
    # Of the rows that were looked at, those with a text that is not empty.
    filled: float
    # Of these, those with white space in it.
    with_spaces: float

    @property
    def median_bytes(self) -> int:
        """The median length of a text."""
        return round(statistics.median(self.lengths)) if self.lengths else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TextChoice:
    """The column chosen as the text."""

    column: ColumnProfile
    why: str
    # Other columns of text, the likeliest first.
    others: tuple[ColumnProfile, ...]
    # Whether another one is about as likely.
    is_ambiguous: bool


def profile_columns(types: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> list[ColumnProfile]:
    """A profile of each column, in the order of the types.

    Args:
        types: paths and types of the columns.
        rows: some rows, as JSON has them.
    """
    found = []
    for path, kind in types.items():
        texts = [text for text in (_text_at(row, path) for row in rows) if text]
        found.append(
            ColumnProfile(
                path=path,
                type=kind,
                lengths=tuple(len(text.encode(errors="replace")) for text in texts),
                filled=len(texts) / len(rows) if rows else 0.0,
                with_spaces=sum(any(map(str.isspace, text)) for text in texts) / len(texts) if texts else 0.0,
            )
        )
    return found


def choose_text(columns: Sequence[ColumnProfile]) -> TextChoice | None:
    """The likeliest column of text; None if no column has text. Ties go to the first."""
    scored = sorted(((_score(one), -number) for number, one in enumerate(columns)), reverse=True)
    scored = [(score, -number) for score, number in scored if score > 0]
    if not scored:
        return None
    best, others = columns[scored[0][1]], [columns[number] for _, number in scored[1:]]
    others = [one for one in others if one.with_spaces >= _MIN_SHARE_WITH_SPACES]
    is_ambiguous = len(scored) > 1 and scored[1][0] >= _AMBIGUOUS * scored[0][0]
    return TextChoice(
        column=best, why=_why(best, others), others=tuple(others[:_MAX_OTHERS]), is_ambiguous=is_ambiguous
    )


def text_of(path: str) -> str | dict[str, str]:
    """A column in the spelling of a recipe's `text`; items of a list are joined with an empty line between them."""
    if "[]" not in path:
        return path
    name, _, field = path.partition("[]")
    return {"list": name} | ({"field": field[1:]} if field else {}) | {"separator": "\n\n"}


def text_at(row: Mapping[str, Any], path: str) -> str | None:
    """The text of a row at a path, as a build would join it; None where there is none."""
    texts = [value for value in _values(row, path) if isinstance(value, str)]
    return "\n\n".join(texts) if texts else None


def _text_at(row: Mapping[str, Any], path: str) -> str | None:
    return "".join(value for value in _values(row, path) if isinstance(value, str)) or None


def _values(node: Any, path: str) -> Iterator[Any]:
    """The values at a path of a row."""
    if not path:
        yield node
        return
    if path.startswith("[]"):
        for item in node if isinstance(node, list) else ():
            yield from _values(item, path[2:].removeprefix("."))
        return
    if not isinstance(node, Mapping):
        return
    if path in node:  # a name may have dots in it
        yield node[path]
        return
    stops = [place for place in range(len(path)) if path[place] == "." or path.startswith("[]", place)]
    for stop in stops:
        if path[:stop] in node:
            yield from _values(node[path[:stop]], path[stop:].removeprefix("."))
            return


def _score(column: ColumnProfile) -> float:
    if not column.lengths or column.path.count("[]") > 1:
        return 0.0
    name = column.path.replace("[]", "").rpartition(".")[2].lower()
    factor = _NAMES.get(name) or max(
        (0.01 for end in ("_id", "_url", "_path", "_hash") if name.endswith(end)), default=1
    )
    words = 1.0 if column.with_spaces >= _MIN_SHARE_WITH_SPACES else _ONE_WORD
    return column.median_bytes * column.filled * factor * words


def _why(best: ColumnProfile, others: Sequence[ColumnProfile]) -> str:
    name = best.path.replace("[]", "").rpartition(".")[2].lower()
    if not others:
        return "the only column of text"
    if all(best.median_bytes * best.filled >= other.median_bytes * other.filled for other in others):
        return "the longest texts"
    return "by its name" if _NAMES.get(name, 0) > 1 else "the longest texts that are in most rows"
