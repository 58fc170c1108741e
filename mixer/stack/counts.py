"""Counts of the outcomes of all repositories and files; they add up. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

NUMBERS = (
    "repositories_read",
    "repositories_written",
    # Without a file that is left.
    "repositories_emptied",
    # With a file that was missing or damaged, where that drops the repository.
    "repositories_dropped",
    # With more text than a row may have.
    "repositories_too_large",
    "files_read",
    "files_written",
    "files_missing",
    "files_damaged",
    # Files of these two kinds of repositories that were not missing or damaged themselves.
    "files_dropped",
    # Bytes of UTF-8 text that were written.
    "text_bytes",
)


class Counts:
    """Numbers by name, files left out by reason, and how files were decoded."""

    def __init__(self) -> None:
        self.numbers: Counter[str] = Counter()
        self.left_out: Counter[str] = Counter()
        self.decoded: Counter[str] = Counter()

    def as_json(self) -> dict[str, Any]:
        """All counts as JSON values; reasons appear only if they occurred."""
        return {
            **{name: self.numbers[name] for name in NUMBERS},
            "left_out": {name: count for name, count in sorted(self.left_out.items()) if count},
            "decoded": {name: count for name, count in sorted(self.decoded.items()) if count},
        }


def total_counts(counts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The sum of several results of `Counts.as_json`."""
    summed = Counts()
    for one in counts:
        summed.numbers.update({name: one[name] for name in NUMBERS})
        summed.left_out.update(one["left_out"])
        summed.decoded.update(one["decoded"])
    return summed.as_json()
