"""Inspection of sources: columns, some rows, and the choice of the text column."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from mixer.errors import MixerError
from mixer.intake.columns import ColumnProfile, TextChoice, choose_text, profile_columns
from mixer.intake.find import FoundSource
from mixer.intake.group import LeftOut, globs_of
from mixer.intake.peek import Peek, peek

SAMPLE_ROWS = 100
_ROWS_OF_OTHERS = 20
_MAX_FILES = 16
"""Files of a source that are looked into."""
_MAX_TEXT_FILES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenSource:
    """An inspected source."""

    found: FoundSource
    columns: tuple[ColumnProfile, ...]
    # The first rows of the files that were looked into.
    rows: tuple[dict[str, Any], ...]
    choice: TextChoice | None
    # What of the rows has to be fetched before a build: stack-v2, or None.
    contents: str | None
    num_rows: int
    # Whether all rows were counted; else their number is an estimate.
    is_counted: bool


def look(found: FoundSource) -> tuple[list[SeenSource], list[LeftOut]]:
    """Inspect a source; files with their text in another column than most become a separate source.

    Opens 16 files and reads the beginning of each (and the footer where there is one).

    Returns:
        What was seen, and what cannot be used.
    """
    peeks: dict[int, Peek] = {}
    left_out: list[LeftOut] = []
    for number in range(min(len(found.files), _MAX_TEXT_FILES if found.format == "text" else _MAX_FILES)):
        try:
            max_rows = SAMPLE_ROWS if not peeks else _ROWS_OF_OTHERS
            peeks[number] = peek(found.files[number], found.format, max_rows)
        except MixerError as error:
            left_out.append(LeftOut(name=found.files[number].name, why=error.message))
    if not peeks:
        return [], left_out
    broken = set(range(len(found.files))) & {n for n in range(_MAX_TEXT_FILES) if n not in peeks} if left_out else set()
    kinds: dict[str | None, list[int]] = {}
    choices = {number: _choice(one) for number, one in peeks.items() if one.rows}
    common = _commonest([choice.column.path for choice in choices.values() if choice])
    for number, choice in choices.items():
        path = common if common in peeks[number].columns or choice is None else choice.column.path
        kinds.setdefault(path, []).append(number)
    if len(kinds) < 2:
        whole = found if not broken else _part(found, [n for n in range(len(found.files)) if n not in broken])
        return [_seen(whole, list(peeks.values()))], left_out
    unseen = [number for number in range(len(found.files)) if number not in choices and number not in broken]
    seen = []
    for path, numbers in kinds.items():
        chosen = sorted(numbers + (unseen if path == common else []))
        seen.append(_seen(_part(found, chosen), [peeks[number] for number in numbers]))
    return seen, left_out


def _part(found: FoundSource, numbers: Sequence[int]) -> FoundSource:
    """Some of the files of a source, by their numbers."""
    files = tuple(found.files[number] for number in numbers)
    if not found.file_names:
        return replace(found, files=files)
    names = [found.file_names[number] for number in numbers]
    paths = tuple(os.path.join(found.base, pattern) for pattern in globs_of(names, found.beside))
    return replace(found, files=files, file_names=tuple(names), paths=paths)


def _choice(one: Peek) -> TextChoice | None:
    return choose_text(profile_columns(one.columns, one.rows))


def _commonest(paths: Sequence[str]) -> str | None:
    return max(paths, key=paths.count) if paths else None


def _seen(found: FoundSource, peeks: Sequence[Peek]) -> SeenSource:
    columns: dict[str, str] = {}
    for one in peeks:
        columns |= {path: kind for path, kind in one.columns.items() if path not in columns}
    rows = [row for one in peeks for row in one.rows]
    profiles = profile_columns(columns, rows)
    contents = None
    choice = choose_text(profiles)
    if "files[].blob_id" in columns and not {"files[].text", "files[].content"} & columns.keys():
        choice, contents = None, "stack-v2"
    num_rows, is_counted = _num_rows(found, peeks)
    return SeenSource(
        found=found,
        columns=tuple(profiles),
        rows=tuple(rows),
        choice=choice,
        contents=contents,
        num_rows=num_rows,
        is_counted=is_counted,
    )


def _num_rows(found: FoundSource, peeks: Sequence[Peek]) -> tuple[int, bool]:
    """The rows of all files, and whether they were counted or estimated by their bytes."""
    if found.format == "text":
        return len(found.files), True
    if len(peeks) == len(found.files) and all(one.num_rows is not None for one in peeks):
        return sum(one.num_rows or 0 for one in peeks), True
    rows, num_bytes = sum(len(one.rows) for one in peeks), sum(one.row_bytes for one in peeks)
    estimate = round(found.num_bytes * rows / max(1, num_bytes))
    return max(estimate, rows), False
