"""Globs over listed names, as `glob` reads them on a disk: `*` within a folder, `**` across folders. Pure."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable
from glob import has_magic


def fixed_folder(pattern: str) -> str:
    """The folder of a pattern up to its first glob: `a/b/*/c` -> `a/b`."""
    parts = pattern.split("/")
    first = next((number for number, part in enumerate(parts) if has_magic(part)), len(parts) - 1)
    return "/".join(parts[:first])


def fixed_prefix(pattern: str) -> str:
    """The prefix of everything that matches: `a/b/part.*` -> `a/b/part.`; of a plain path, the path."""
    match = re.search(r"[*?[]", pattern)
    return pattern[: match.start()] if match else pattern


def matching(pattern: str, names: Iterable[str]) -> list[str]:
    """The names that match a pattern; a name spelt exactly like the pattern matches too.

    As on a disk, a `*` or `?` does not match a leading dot.
    """
    names = list(names)
    if pattern in names:
        return [pattern]
    compiled = _compiled(pattern)
    return [name for name in names if compiled.fullmatch(name)]


def _compiled(pattern: str) -> re.Pattern[str]:
    parts = pattern.split("/")
    text = ""
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        if part == "**":
            text += r"(?:(?!\.)[^/]+/)*" + (r"(?!\.)[^/]+" if last else "")
        else:
            # fnmatch has no folders: `.` of its `.*` and `.` for `?` must not cross them.
            inner = "".join(_translated(part))
            text += (r"(?!\.)" if part[:1] in "*?[" else "") + inner + ("" if last else "/")
    return re.compile(text, re.DOTALL)


def _translated(part: str) -> Iterable[str]:
    """A part of a pattern between slashes, as a regular expression."""
    for piece in re.split(r"(\*+|\?|\[[!]?\]?[^\]]*\])", part):
        if piece.startswith("*"):
            yield "[^/]*"
        elif piece == "?":
            yield "[^/]"
        elif piece.startswith("[") and piece.endswith("]") and len(piece) > 2:
            # What is within the brackets is left to fnmatch; it wraps the set in anchors.
            yield re.sub(r"^\(\?s:|\)\\[Zz]$", "", fnmatch.translate(piece))
        else:
            yield re.escape(piece)
