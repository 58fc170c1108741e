"""FineWeb's rules of quality in columns: the verdicts of datatrove's FineWebQualityFilter, words split at white space.

Penedo et al., "The FineWeb Datasets: Decanting the Web for the Finest Text Data at Scale", arXiv:2406.17557.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated

import numpy as np
from pydantic import Field, StringConstraints

from mixer.curate.filters.characters import TERMINAL_PUNCTUATION, last_code_points
from mixer.curate.filters.chunk import TextChunk
from mixer.curate.filters.counting import counts_between
from mixer.curate.filters.parameters import WordParameters
from mixer.curate.filters.repeats import keys_in, later_places
from mixer.curate.filters.verdicts import NOTHING_TO_COUNT, PASSED, first_reasons

FINEWEB_REASONS = (PASSED, NOTHING_TO_COUNT, "line_punct_ratio", "short_line_ratio", "char_dup_ratio", "list_ratio")

_Character = Annotated[str, StringConstraints(min_length=1, max_length=1)]


class FineWebQuality(WordParameters):
    """The parameters of datatrove's class, by its names."""

    line_punct_thr: float = 0.12
    line_punct_exclude_zero: bool = False
    stop_chars: Annotated[tuple[_Character, ...] | None, Field(strict=False)] = None
    short_line_thr: float = 0.67
    short_line_length: int = 30
    char_duplicates_ratio: float = 0.01
    new_line_ratio: float = 0.3


def judge_fineweb_quality(chunk: TextChunk, parameters: FineWebQuality) -> np.ndarray:
    """Codes of FINEWEB_REASONS: uint8[documents]. Divisions are of 64-bit floats, as Python's are."""
    p = parameters
    starts, stops, offsets = lines_with_words(chunk)
    num_lines = np.diff(offsets)
    characters = chunk.characters(starts, stops)
    ends = np.isin(last_code_points(chunk.data, stops), _stop_points(p.stop_chars))
    documents = np.repeat(np.arange(len(chunk)), num_lines)
    repeated = later_places(keys_in(documents, chunk.bytes.range_hashes(starts, stops)))
    num_repeated = np.bincount(documents[repeated], weights=characters[repeated], minlength=len(chunk))
    num_breaks = chunk.counts(chunk.line_feeds)
    # A document without words is empty, and what its divisions give is not looked at.
    with np.errstate(invalid="ignore", divide="ignore"):
        closed = counts_between(ends, offsets) / num_lines
        short = counts_between(characters <= p.short_line_length, offsets) / num_lines
        repeated_share = num_repeated / (chunk.num_characters - num_breaks)
        breaks_per_word = num_breaks / chunk.num_words
    few_closed = closed < p.line_punct_thr
    if p.line_punct_exclude_zero:
        few_closed &= closed != 0
    rules = [
        (NOTHING_TO_COUNT, num_lines == 0),
        ("line_punct_ratio", few_closed),
        ("short_line_ratio", short > p.short_line_thr),
        ("char_dup_ratio", repeated_share > p.char_duplicates_ratio),
        ("list_ratio", breaks_per_word > p.new_line_ratio),
    ]
    return first_reasons(rules, FINEWEB_REASONS, len(chunk))


def lines_with_words(chunk: TextChunk) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The lines between line feeds that have more than white space.

    Returns:
        int64[lines] twice: where each starts and stops, in bytes; and int64[documents + 1]: where each document's
        lines start.
    """
    feeds = chunk.line_feeds
    starts, stops, offsets = chunk.pieces_between(feeds, feeds + 1, chunk.begins[:-1], chunk.begins[1:])
    word = np.searchsorted(chunk.word_starts, starts)
    filled = np.append(chunk.word_starts, len(chunk.data))[word] < stops
    return starts[filled], stops[filled], np.append(0, np.cumsum(counts_between(filled, offsets)))


@lru_cache(maxsize=8)
def _stop_points(characters: tuple[str, ...] | None) -> np.ndarray:
    """int32: code points that end a sentence."""
    return np.array(sorted(map(ord, TERMINAL_PUNCTUATION if characters is None else characters)), dtype=np.int32)
