"""What a task leaves behind: counts per source and the entry of its shard."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """The build ends inside this task, with the first whole sequence that reaches this amount."""

    kind: Literal["tokens", "sequences"]
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceCounts:
    """One source in some tasks.

    rows = documents + all skipped; `tokens` are in the sequences, `tokens_left_out` came after the build's end;
    `truncated` documents have their tokens in more than one sequence; `num_bytes` of UTF-8 text of the documents.
    """

    rows: int = 0
    documents: int = 0
    skipped: dict[str, int] = dataclasses.field(default_factory=dict)
    num_bytes: int = 0
    tokens: int = 0
    tokens_left_out: int = 0
    truncated: int = 0

    def __add__(self, other: SourceCounts) -> SourceCounts:
        reasons = sorted(self.skipped.keys() | other.skipped.keys())
        return SourceCounts(
            rows=self.rows + other.rows,
            documents=self.documents + other.documents,
            skipped={reason: self.skipped.get(reason, 0) + other.skipped.get(reason, 0) for reason in reasons},
            num_bytes=self.num_bytes + other.num_bytes,
            tokens=self.tokens + other.tokens,
            tokens_left_out=self.tokens_left_out + other.tokens_left_out,
            truncated=self.truncated + other.truncated,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskResult:
    """A finished task. `shard` is None where it made no sequence; `start`, `stop` are the draws that it holds."""

    task: int
    start: int
    stop: int
    limit: Limit | None
    num_sequences: int
    num_tokens: int
    num_pad: int
    shard: dict | None
    sources: tuple[SourceCounts, ...]
    checked: int
    different: int

    def with_shard(self, shard: dict) -> TaskResult:
        """The same with its shard's path, bytes and digests."""
        return dataclasses.replace(self, shard=shard)

    def reached(self, kind: Literal["tokens", "sequences"]) -> int:
        """How much of a target this task brings."""
        return self.num_tokens if kind == "tokens" else self.num_sequences

    def as_json(self) -> dict:
        """JSON for the build's state."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, fields: dict) -> TaskResult:
        """The result that `as_json` gave.

        Raises:
            KeyError, TypeError: the fields are not those of a result.
        """
        limit = Limit(**fields["limit"]) if fields["limit"] else None
        sources = tuple(SourceCounts(**counts) for counts in fields["sources"])
        return cls(**{**fields, "limit": limit, "sources": sources})
