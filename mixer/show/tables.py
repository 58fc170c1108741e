"""A manifest -> the rows of its table, one per source, and the totals. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRow:
    """What one source was asked for and what it got.

    `share_asked` is the recipe's weight as a share, in rows or tokens as the recipe says; `row_share_asked` what it
    comes to in rows. `tokens_per_row` counts BOS and EOS and the tokens left out; it is 0.0 where nothing was drawn.
    """

    name: str
    weight: float
    share_asked: float
    row_share_asked: float
    rows: int
    row_share: float
    tokens: int
    token_share: float
    tokens_per_row: float
    bytes_per_token: float
    rows_available: int
    passes: float
    documents: int
    skipped: Mapping[str, int]
    truncated_documents: int

    @property
    def num_skipped(self) -> int:
        """Rows that were drawn and gave no document."""
        return sum(self.skipped.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A build at a glance. `weights` is `rows` or `tokens`; `checked` documents were encoded by the reference too."""

    id: str
    name: str
    tokenizer: str
    packing: str
    weights: str
    sources: tuple[SourceRow, ...]
    shards: int
    shard_bytes: int
    sequences: int
    sequence_length: int
    draws: int
    documents: int
    tokens: int
    text_bytes: int
    padding: int
    tokens_left_out: int
    truncated_documents: int
    checked: int
    different: int

    @property
    def tokens_per_row(self) -> float:
        """The mean over all sources."""
        return _ratio(self.tokens + self.tokens_left_out, self.draws)

    @property
    def bytes_per_token(self) -> float:
        """The mean over all sources, BOS and EOS counted."""
        return _ratio(self.text_bytes, self.tokens + self.tokens_left_out)

    @property
    def padding_share(self) -> float:
        """The share of all positions that hold padding."""
        return _ratio(self.padding, self.sequences * self.sequence_length)

    def as_json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return dataclasses.asdict(self) | {
            "tokens_per_row": self.tokens_per_row,
            "bytes_per_token": self.bytes_per_token,
            "padding_share": self.padding_share,
        }


def summarise(manifest: Mapping[str, Any]) -> Summary:
    """A manifest's summary."""
    recipe, totals, shards = manifest["recipe"], manifest["totals"], manifest["shards"]
    return Summary(
        id=manifest["id"],
        name=manifest["name"],
        tokenizer=manifest["tokenizer"]["name"],
        packing=recipe["sequence"]["packing"],
        weights=recipe["weights"],
        sources=tuple(sorted((_source_row(source) for source in manifest["sources"]), key=_largest_first)),
        shards=len(shards),
        shard_bytes=sum(shard["bytes"] for shard in shards),
        sequence_length=manifest["sequence_length"],
        checked=manifest["reference_check"]["documents"],
        different=manifest["reference_check"]["different"],
        **{
            name: totals[name]
            for name in (
                "sequences", "draws", "documents", "tokens", "text_bytes",
                "padding", "tokens_left_out", "truncated_documents",
            )
        },
    )  # fmt: skip


def _largest_first(row: SourceRow) -> float:
    return -row.row_share_asked


def _source_row(source: Mapping[str, Any]) -> SourceRow:
    given = source["tokens"] + source["tokens_left_out"]
    fields = (field.name for field in dataclasses.fields(SourceRow))
    return SourceRow(
        tokens_per_row=_ratio(given, source["rows"]),
        bytes_per_token=_ratio(source["text_bytes"], given),
        **{name: source[name] for name in fields if name not in ("tokens_per_row", "bytes_per_token")},
    )


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
