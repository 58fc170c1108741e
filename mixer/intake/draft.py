"""A first recipe for a mixture of new sources: YAML with comments for its editor. Pure."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mixer.intake.columns import ColumnProfile, text_of
from mixer.intake.group import LeftOut
from mixer.intake.look import SeenSource

_PLAIN = re.compile(r"[A-Za-z/_.][A-Za-z0-9/_.*@+-]*(:[A-Za-z0-9/_.*@+-]+)*")
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "~"})
_COMMENT_AT = 44
_MAX_LEFT_OUT = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftSource:
    """A source of the new recipe."""

    name: str
    seen: SeenSource
    # Relative to the recipe's folder where they can be.
    paths: tuple[str, ...]
    num_rows: int
    is_counted: bool


def draft(sources: Sequence[DraftSource], left_out: Sequence[LeftOut], *, recipe: str, made_from: str) -> str:
    """The text of a recipe.

    Weights are the sources' rows and the target is their sum, so that every row is used once.

    Args:
        sources: at least one, each with rows.
        left_out: what was found and is no part of it.
        recipe: the recipe's path, as a command line has it.
        made_from: the command line that asked for it.
    """
    return "\n".join([*_head(sources, recipe, made_from), *_sources(sources), *_left_out(left_out)]) + "\n"


def _head(sources: Sequence[DraftSource], recipe: str, made_from: str) -> Iterator[str]:
    total = sum(source.num_rows for source in sources)
    is_counted = all(source.is_counted for source in sources)
    largest = max(sources, key=lambda source: source.seen.found.num_bytes).name
    yield f"# Made by: {_one_line(made_from)}"
    yield f"#   mixer plan {_one_line(recipe)}      shows what the mix will be, before it is built"
    yield f"#   mixer build {_one_line(recipe)}     builds it"
    yield "seed: 1"
    yield _line("tokenizer: llama3", "or a tokenizer.json, or a hub id such as ORG/NAME")
    yield _line("sequence: {length: 8192}", "tokens that a model sees at once")
    yield ""
    about = "" if is_counted else "about "  # a byte of a store is not read for this
    yield "# Weights are shares of rows. Each source weighs what it has of rows, and the target is their sum, so that"
    yield f"# {about}every row is used once; the sources are mixed evenly from the first sequence to the last."
    yield "# Double a weight to see a source twice as often: rows that run out are read again."
    yield "weights: rows"
    yield _line(f"target: {{rows: {total}}}", f"or {{tokens: 10B}}, or {{passes: {{{largest}: 1}}}}")
    yield ""
    yield "sources:"


def _sources(sources: Sequence[DraftSource]) -> Iterator[str]:
    for source in sources:
        seen, found = source.seen, source.seen.found
        about = "" if source.is_counted else "about "
        rows = f"{source.num_rows:,} row" + "s" * (source.num_rows != 1)
        files = f"{len(found.files):,} file" + "s" * (len(found.files) != 1)
        yield f"  {source.name}:"
        yield _line(f"    weight: {source.num_rows}", f"{about}{rows} in {files}, {_size(found.num_bytes)}")
        if found.hub is not None:
            yield f"    hub: {scalar(found.hub)}"
        elif len(source.paths) == 1:
            yield f"    path: {scalar(source.paths[0])}"
        else:
            yield "    path:"
            yield from (f"      - {scalar(path)}" for path in source.paths)
        if found.format == "text":
            yield _line("    format: text", "a file is a document; or text-lines, text-paragraphs")
        elif not found.is_told_by_name:
            yield f"    format: {found.format}"
        yield from _text(seen)


def _text(seen: SeenSource) -> Iterator[str]:
    if seen.contents is not None:
        yield _line(f"    contents: {seen.contents}", "the rows only name files: a build fetches them first")
        return
    if seen.choice is None or seen.found.format.startswith("text"):
        return
    choice = seen.choice
    yield _line(f"    text: {_flow(text_of(choice.column.path))}", f"{choice.why}: {_lengths(choice.column)}")
    if choice.is_ambiguous:
        yield "    # another column is about as likely: look at them with mixer head"
    for other in choice.others:
        yield _line(f"    # text: {_flow(text_of(other.path))}", _lengths(other))


def _left_out(left_out: Sequence[LeftOut]) -> Iterator[str]:
    if left_out:
        yield ""
        yield "# Left out:"
    for one in left_out[:_MAX_LEFT_OUT]:
        yield f"#   {_one_line(one.name)}: {_one_line(one.why)}"
    if len(left_out) > _MAX_LEFT_OUT:
        yield f"#   and {len(left_out) - _MAX_LEFT_OUT:,} more files"


def _lengths(column: ColumnProfile) -> str:
    filled = "" if column.filled > 0.995 else f", in {100 * column.filled:.0f} % of the rows"
    return f"{_size(column.median_bytes)} in the median{filled}"


def _size(num_bytes: int) -> str:
    """Bytes in decimal units, two or three digits."""
    scaled, unit = float(num_bytes), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if scaled < 999.5:
            break
        scaled, unit = scaled / 1000, larger
    return f"{scaled:.1f} {unit}" if unit != "bytes" and scaled < 9.95 else f"{scaled:.0f} {unit}"


def scalar(text: str) -> str:
    """A text in YAML: in quotes if it could be read as another value."""
    is_plain = _PLAIN.fullmatch(text) and text.lower() not in _WORDS and not re.fullmatch(r"[.\d][\d._e+-]*", text)
    return text if is_plain else json.dumps(text, ensure_ascii=not text.isprintable())


def relative(path: str, folder: str) -> str:
    """An absolute path as seen from the recipe's folder, unless that leads up more than two folders."""
    found = os.path.relpath(path, folder)
    return path if found.startswith(os.path.join("..", "..", "..")) else found


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_quoted(one)}" for key, one in value.items()) + "}"
    return scalar(value)


def _quoted(text: str) -> str:
    return scalar(text) if "," not in text else json.dumps(text)


def _line(code: str, comment: str) -> str:
    return (
        f"{code:<{_COMMENT_AT}}# {_one_line(comment)}" if len(code) < _COMMENT_AT else f"{code}  # {_one_line(comment)}"
    )


def _one_line(text: str) -> str:
    """A text that stays in its comment."""
    return "".join(char if char.isprintable() else " " for char in text)
