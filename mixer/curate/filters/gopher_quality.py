"""Gopher's rules of quality in columns: the verdicts of datatrove's GopherQualityFilter, words split at white space.

Rae et al., "Scaling Language Models: Methods, Analysis & Insights from Training Gopher", arXiv:2112.11446, table A1.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field, field_validator

from mixer.curate.filters.characters import LETTER, PLAIN
from mixer.curate.filters.chunk import TextChunk
from mixer.curate.filters.counting import counts_between, sums_between
from mixer.curate.filters.parameters import WordParameters
from mixer.curate.filters.verdicts import NOTHING_TO_COUNT, PASSED, first_reasons

_STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
GOPHER_REASONS = (
    PASSED,
    "gopher_short_doc",
    "gopher_long_doc",
    "gopher_below_avg_threshold",
    "gopher_above_avg_threshold",
    "gopher_too_many_hashes",
    "gopher_too_many_ellipsis",
    "gopher_too_many_bullets",
    "gopher_too_many_end_ellipsis",
    "gopher_below_alpha_threshold",
    "gopher_enough_stop_words",
    NOTHING_TO_COUNT,
)


class GopherQuality(WordParameters):
    """The parameters of datatrove's class, by its names; null or 0 leaves a rule out."""

    min_doc_words: int | None = 50
    max_doc_words: int | None = 100_000
    min_avg_word_length: float | None = 3.0
    max_avg_word_length: float | None = 10.0
    max_symbol_word_ratio: float | None = 0.1
    max_bullet_lines_ratio: float | None = 0.9
    max_ellipsis_lines_ratio: float | None = 0.3
    max_non_alpha_words_ratio: float | None = 0.8
    min_stop_words: int | None = 2
    stop_words: Annotated[tuple[str, ...] | None, Field(strict=False)] = tuple(sorted(_STOP_WORDS))

    @field_validator("stop_words")
    @classmethod
    def _as_set(cls, words: tuple[str, ...] | None) -> tuple[str, ...]:
        return tuple(sorted(set(_STOP_WORDS if words is None else words)))


def judge_gopher_quality(chunk: TextChunk, parameters: GopherQuality) -> np.ndarray:
    """Codes of GOPHER_REASONS: uint8[documents].

    Divisions are of 64-bit floats, as Python's are, so that a ratio at its threshold falls on the same side.
    """
    p = parameters
    num_words = chunk.num_words
    is_plain = (chunk.word_kinds & PLAIN) != 0
    num_plain = counts_between(is_plain, chunk.word_offsets)
    none = num_words == 0
    rules = []
    if p.min_doc_words:
        rules.append(("gopher_short_doc", num_plain < p.min_doc_words))
    if p.max_doc_words:
        rules.append(("gopher_long_doc", num_plain > p.max_doc_words))
    # Comparisons with NaN are false, in datatrove's code as here.
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_length = _plain_characters(chunk, is_plain) / num_plain
        if p.min_avg_word_length:
            rules.append(("gopher_below_avg_threshold", mean_length < p.min_avg_word_length))
        if p.max_avg_word_length:
            rules.append(("gopher_above_avg_threshold", mean_length > p.max_avg_word_length))
        if p.max_symbol_word_ratio:
            hashes = chunk.counts(np.flatnonzero(chunk.data == ord("#")))
            rules.append((NOTHING_TO_COUNT, none))
            rules.append(("gopher_too_many_hashes", hashes / num_words > p.max_symbol_word_ratio))
            rules.append(("gopher_too_many_ellipsis", _num_ellipses(chunk) / num_words > p.max_symbol_word_ratio))
        num_lines = np.diff(chunk.lines[2])
        if p.max_bullet_lines_ratio:
            rules.append((NOTHING_TO_COUNT, num_lines == 0))
            rules.append(("gopher_too_many_bullets", _num_bullets(chunk) / num_lines > p.max_bullet_lines_ratio))
        if p.max_ellipsis_lines_ratio:
            ratio = _num_end_ellipses(chunk) / num_lines
            rules.append((NOTHING_TO_COUNT, num_lines == 0))
            rules.append(("gopher_too_many_end_ellipsis", ratio > p.max_ellipsis_lines_ratio))
        if p.max_non_alpha_words_ratio:
            with_letter = counts_between((chunk.word_kinds & LETTER) != 0, chunk.word_offsets)
            rules.append((NOTHING_TO_COUNT, none))
            rules.append(("gopher_below_alpha_threshold", with_letter / num_words < p.max_non_alpha_words_ratio))
    if p.min_stop_words:
        rules.append(("gopher_enough_stop_words", _num_stop_words(chunk, p.stop_words or ()) < p.min_stop_words))
    return first_reasons(rules, GOPHER_REASONS, len(chunk))


def _plain_characters(chunk: TextChunk, is_plain: np.ndarray) -> np.ndarray:
    """The characters of all words but those of punctuation alone: int64[documents]."""
    return sums_between(chunk.characters(chunk.word_starts, chunk.word_stops) * is_plain, chunk.word_offsets)


def _num_ellipses(chunk: TextChunk) -> np.ndarray:
    """How often `...` and `…` occur, as `str.count` counts: int64[documents]."""
    found = chunk.counts(chunk.places_of("…"))
    dots = np.flatnonzero(chunk.data == ord("."))
    triples = np.flatnonzero(dots[2:] - dots[:-2] == 2)
    if not len(triples):
        return found
    dots = dots[np.unique(np.concatenate([triples, triples + 1, triples + 2]))]
    documents = chunk.document_of(dots)
    is_first = np.append(True, (np.diff(dots) != 1) | (np.diff(documents) != 0))
    first = np.flatnonzero(is_first)
    per_run = np.diff(np.append(first, len(dots))) // 3
    return found + np.bincount(documents[first], weights=per_run, minlength=len(chunk)).astype(np.int64)


def _num_bullets(chunk: TextChunk) -> np.ndarray:
    """How many lines begin with `-` or `•`, white space aside: int64[documents]."""
    starts = chunk.word_starts
    first = chunk.data[starts]
    places = np.flatnonzero((first == ord("-")) | (first == 0xE2))
    places = places[(first[places] == ord("-")) | chunk.bytes.begins_with(starts[places], "•")]
    before = starts[np.maximum(places - 1, 0)]
    opens_line = (places == 0) | (chunk.line_of(before) != chunk.line_of(starts[places]))
    return chunk.counts(starts[places[opens_line]])


def _num_end_ellipses(chunk: TextChunk) -> np.ndarray:
    """How many lines end with `...` or `…`, white space aside: int64[documents]."""
    starts, stops = chunk.word_starts, chunk.word_stops
    last = chunk.data[stops - 1]
    places = np.flatnonzero((last == ord(".")) | (last == 0xA6))
    places = places[stops[places] - starts[places] >= 3]
    ends = stops[places] - 3
    places = places[chunk.bytes.begins_with(ends, "...") | chunk.bytes.begins_with(ends, "…")]
    after = starts[np.minimum(places + 1, len(starts) - 1)]
    closes_line = (places == len(starts) - 1) | (chunk.line_of(after) != chunk.line_of(starts[places]))
    return chunk.counts(starts[places[closes_line]])


def _num_stop_words(chunk: TextChunk, stop_words: tuple[str, ...]) -> np.ndarray:
    """How many of the stop words are words of each document: int64[documents]."""
    found = np.zeros(len(chunk), dtype=np.int64)
    num_bytes = chunk.word_stops - chunk.word_starts
    by_size: dict[int, list[bytes]] = {}
    for word in stop_words:
        by_size.setdefault(len(word.encode()), []).append(word.encode())
    by_size.pop(0, None)
    for size, words in by_size.items():
        places = chunk.word_starts[num_bytes == size]
        eights = [chunk.bytes.eights(places + start) for start in range(0, size, 8)]
        eights[-1] &= np.uint64(2 ** (8 * ((size - 1) % 8 + 1)) - 1)
        for encoded in words:
            pieces = [np.uint64(int.from_bytes(encoded[start : start + 8], "little")) for start in range(0, size, 8)]
            matches = np.logical_and.reduce([eight == piece for eight, piece in zip(eights, pieces)])
            found += chunk.counts(places[matches]) > 0
    return found
