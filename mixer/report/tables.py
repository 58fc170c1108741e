"""A manifest -> the rows of its table, one per source, and the totals. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from mixer.shards.records import Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRow:
    """The requested and the actual share of one source.

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


def summarise(manifest: Manifest) -> Summary:
    """A manifest's summary."""
    recipe, totals, shards = manifest.recipe, manifest.totals, manifest.shards
    return Summary(
        id=manifest.id,
        name=manifest.name,
        tokenizer=manifest.tokenizer.name,
        packing=manifest.sequence.packing,
        weights=recipe["weights"],
        sources=tuple(sorted(_source_rows(manifest), key=_largest_first)),
        shards=len(shards),
        shard_bytes=sum(shard.file.bytes for shard in shards),
        sequences=totals.sequences,
        sequence_length=manifest.sequence.length,
        draws=totals.draws,
        documents=totals.documents,
        tokens=totals.tokens,
        text_bytes=totals.text_bytes,
        padding=totals.padding,
        tokens_left_out=totals.tokens_left_out,
        truncated_documents=totals.truncated_documents,
        checked=manifest.reference_check.documents,
        different=manifest.reference_check.different,
    )


def _largest_first(row: SourceRow) -> float:
    return -row.row_share_asked


def _source_rows(manifest: Manifest) -> Iterator[SourceRow]:
    """A row for each source of the last stage, counted over all stages."""
    stage, totals = manifest.stages[-1], manifest.totals
    asked = {name: Fraction(source["weight"]) for name, source in manifest.recipe["sources"].items()}
    all_counts = manifest.source_counts
    for entry in stage.sources:
        name, counts = manifest.sources[entry.source].name, all_counts[entry.source]
        given = counts.tokens + counts.tokens_left_out
        # Rows of one pass, where passes differ their mean.
        rows_available = sum(entry.pass_rows) / len(entry.pass_rows)
        yield SourceRow(
            name=name,
            weight=float(asked[name]),
            share_asked=float(asked[name] / sum(asked.values())),
            row_share_asked=entry.weight / stage.period_draws,
            rows=counts.rows,
            row_share=_ratio(counts.rows, totals.draws),
            tokens=counts.tokens,
            token_share=_ratio(counts.tokens, totals.tokens),
            tokens_per_row=_ratio(given, counts.rows),
            bytes_per_token=_ratio(counts.text_bytes, given),
            rows_available=round(rows_available),
            passes=counts.rows / rows_available,
            documents=counts.documents,
            skipped=counts.skipped,
            truncated_documents=counts.truncated_documents,
        )


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
