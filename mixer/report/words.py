"""Sentences on surprises in the table of a build. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from mixer.report.numbers import counted, exact, percent
from mixer.report.tables import SourceRow, Summary

FAR_FACTOR = 1.5
FAR_SHARE = 0.02
"""A share of tokens is far from the share of rows when it differs by this factor AND by this much of the whole."""

_REASONS = {
    "null_text": "without a text",
    "empty_text": "with an empty text",
    "bad_row": "unreadable",
    "too_long": "longer than max_document_tokens",
    "held_out": "held out of training",
    "not_held_out": "of the training split",
}


def surprises(summary: Summary) -> list[str]:
    """Sentences on differences from the weights: shares of tokens, repeated sources, skipped rows, other ids."""
    far = sorted(filter(_far, summary.sources), key=lambda row: -abs(row.token_share - row.row_share))
    return [
        *(share_in_words(row, summary) for row in far),
        *map(repeats_in_words, sorted((row for row in summary.sources if row.passes > 1), key=lambda row: -row.passes)),
        *(skipped_in_words(row) for row in summary.sources if row.num_skipped),
        *_different(summary),
    ]


def _far(row: SourceRow) -> bool:
    low, high = sorted((row.row_share, row.token_share))
    return high > FAR_FACTOR * low and high - low > FAR_SHARE


def share_in_words(row: SourceRow, summary: Summary) -> str:
    """`stack-v2 is 10.0 % of the rows and 79.8 % of the tokens: a row of it is 11,978 tokens, 8.0 times the mean`."""
    share = f"{row.name} is {percent(row.row_share)} of the rows and {percent(row.token_share)} of the tokens"
    if row.tokens_per_row == 0 or summary.tokens_per_row == 0:
        return f"{share}: its rows hold no tokens"
    times = row.tokens_per_row / summary.tokens_per_row
    shown = f"{times:.1f}" if times >= 1 else f"{times:.2f}" if times >= 0.095 else f"{times:.1g}"
    return f"{share}: a row of it is {counted(round(row.tokens_per_row), 'token')}, {shown} times the mean"


def repeats_in_words(row: SourceRow) -> str:
    """`finemath was read 3.2 times: 3,200 draws from 1,000 rows`."""
    times = f"{row.passes:,.1f} times" if row.passes >= 1.05 else "a little more than once"
    return f"{row.name} was read {times}: {exact(row.rows)} draws from {exact(row.rows_available)} rows"


def skipped_in_words(row: SourceRow) -> str:
    """`dolma: 12 of the 3,000 rows drawn were skipped: 10 with empty text, 2 unreadable`."""
    reasons = ", ".join(
        f"{exact(count)} {_REASONS.get(reason, reason.replace('_', ' '))}"
        for reason, count in row.skipped.items()
        if count
    )
    return f"{row.name}: {exact(row.num_skipped)} of the {exact(row.rows)} rows drawn were skipped: {reasons}"


def _different(summary: Summary) -> Iterator[str]:
    if summary.different:
        yield (
            f"{exact(summary.different)} of the {exact(summary.checked)} documents that the reference tokenizer "
            "checked got other ids from it"
        )


def totals_in_words(summary: Summary) -> list[str]:
    """The totals, in lines."""
    cut = summary.truncated_documents / summary.documents if summary.documents else 0.0
    return [
        f"{counted(summary.sequences, 'sequence')} of {exact(summary.sequence_length)} "
        f"in {counted(summary.shards, 'shard')} ({summary.tokenizer}, {summary.packing})",
        f"{exact(summary.tokens)} tokens, {exact(summary.padding)} of padding ({percent(summary.padding_share)}), "
        f"{exact(summary.tokens_left_out)} left out at the end",
        f"{exact(summary.documents)} documents, {exact(summary.truncated_documents)} cut at the end of a sequence "
        f"({percent(cut)})",
        f"{exact(summary.checked)} documents checked against the reference tokenizer, "
        f"{exact(summary.different)} different",
    ]
