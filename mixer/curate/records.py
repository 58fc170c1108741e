"""The record of a curation: what went from which source, at which step, and why. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLosses:
    """What a source lost at a step."""

    rows: int
    # Bytes of text.
    bytes: int
    # Reason -> rows; they sum up to `rows`.
    reasons: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceLosses:
    """What became of the rows of a source."""

    name: str
    # All rows; those that `where` and other row attributes let in; those that all steps left.
    rows: int
    rows_entered: int
    rows_left: int
    bytes_entered: int
    bytes_left: int
    # One entry a step.
    steps: tuple[StepLosses, ...]

    @property
    def share_lost(self) -> float:
        """The share of the rows that entered and are gone."""
        return 1 - self.rows_left / self.rows_entered if self.rows_entered else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CurationRecord:
    """What a curation did."""

    # Labels of the steps, such as `2 exact text`.
    steps: tuple[str, ...]
    sources: tuple[SourceLosses, ...]
    # Rows of each source (first index) that were dropped for a row of each source; None without steps for duplicates.
    duplicates: list[list[int]] | None
    warnings: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The record as JSON."""
        return asdict(self)

    def as_json_bytes(self, sets: Mapping[str, str]) -> bytes:
        """The record and the digests of the sets of row attributes, as a file."""
        return json.dumps({"record": self.as_json(), "sets": dict(sets)}, indent=1).encode()

    @classmethod
    def from_json_bytes(cls, data: bytes) -> tuple[CurationRecord, dict[str, str]]:
        """The record and the digests of a file.

        Raises:
            ValueError, KeyError, TypeError: it is another file.
        """
        value = json.loads(data)
        record = value["record"]
        sources = tuple(
            SourceLosses(**{**one, "steps": tuple(StepLosses(**step) for step in one["steps"])})
            for one in record["sources"]
        )
        found = cls(
            steps=tuple(record["steps"]),
            sources=sources,
            duplicates=record["duplicates"],
            warnings=tuple(record["warnings"]),
        )
        return found, dict(value["sets"])
