"""Gopher's rules of repetition in columns: the verdicts of datatrove's GopherRepetitionFilter, words split at spaces.

Rae et al., "Scaling Language Models: Methods, Analysis & Insights from Training Gopher", arXiv:2112.11446, table A1.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from mixer.curate.filters.chunk import TextChunk
from mixer.curate.filters.ngrams import Ngrams
from mixer.curate.filters.parameters import WordParameters
from mixer.curate.filters.repeats import keys_in, later_places
from mixer.curate.filters.verdicts import NOTHING_TO_COUNT, PASSED

_Pair = Annotated[tuple[Annotated[int, Field(ge=1)], float], Field(strict=False)]
_Pairs = Annotated[tuple[_Pair, ...], Field(strict=False)]


class GopherRepetition(WordParameters):
    """The parameters of datatrove's class, by its names; null or 0 leaves a rule about lines or paragraphs out."""

    dup_line_frac: float | None = 0.3
    dup_para_frac: float | None = 0.3
    dup_line_char_frac: float | None = 0.2
    dup_para_char_frac: float | None = 0.2
    top_n_grams: _Pairs = ((2, 0.2), (3, 0.18), (4, 0.16))
    dup_n_grams: _Pairs = ((5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.10))


def repetition_reasons(parameters: GopherRepetition) -> tuple[str, ...]:
    """Code -> name."""
    top = [f"top_{size}_gram" for size, _ in parameters.top_n_grams]
    repeated = [f"duplicated_{size}_n_grams" for size, _ in parameters.dup_n_grams]
    pieces = ["dup_para_frac", "dup_para_char_frac", "dup_line_frac", "dup_line_char_frac"]
    return tuple(dict.fromkeys([PASSED, NOTHING_TO_COUNT, *pieces, *top, *repeated]))


def judge_gopher_repetition(chunk: TextChunk, parameters: GopherRepetition) -> np.ndarray:
    """Codes of the parameters' reasons: uint8[documents]. Divisions are of 64-bit floats, as Python's are."""
    p = parameters
    codes = {name: code for code, name in enumerate(repetition_reasons(p))}
    reason = np.where(chunk.num_characters == 0, np.uint8(codes[NOTHING_TO_COUNT]), np.uint8(0))
    # Of a document without characters, which has its reason, no ratio is looked at.
    num_characters = np.maximum(chunk.num_characters, 1)

    def drop(name: str, broken: np.ndarray) -> None:
        reason[broken & (reason == 0)] = codes[name]

    for kind, pieces, limit, character_limit in (
        ("para", _paragraphs(chunk), p.dup_para_frac, p.dup_para_char_frac),
        ("line", _lines(chunk), p.dup_line_frac, p.dup_line_char_frac),
    ):
        num_repeated, repeated_characters = _repeated(chunk, *pieces)
        if limit:
            drop(f"dup_{kind}_frac", num_repeated / np.diff(pieces[2]) > limit)
        if character_limit:
            drop(f"dup_{kind}_char_frac", repeated_characters / num_characters > character_limit)
    ngrams = Ngrams(chunk, reason == 0)
    for size, limit in p.top_n_grams:
        drop(f"top_{size}_gram", ngrams.top_characters(size) / num_characters > limit)
    for size, limit in p.dup_n_grams:
        bound = ngrams.repeated_characters_at_most(size)
        suspects = np.flatnonzero((bound / num_characters > limit) & (reason == 0))
        repeated = ngrams.repeated_characters(size, suspects)
        dropped = suspects[repeated / num_characters[suspects] > limit]
        reason[dropped] = codes[f"duplicated_{size}_n_grams"]
    return reason


def _paragraphs(chunk: TextChunk) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What two and more line feeds part, white space at both ends of the document aside: as `pieces_between`."""
    has_words = chunk.num_words > 0
    firsts, lasts = chunk.begins[:-1].copy(), chunk.begins[:-1].copy()
    firsts[has_words] = chunk.word_starts[chunk.word_offsets[:-1][has_words]]
    lasts[has_words] = chunk.word_stops[chunk.word_offsets[1:][has_words] - 1]
    starts, stops = _runs_of_feeds(chunk)
    document = chunk.document_of(starts)
    inside = (stops - starts >= 2) & (starts > firsts[document]) & (stops < lasts[document])
    return chunk.pieces_between(starts[inside], stops[inside], firsts, lasts)


def _lines(chunk: TextChunk) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What line feeds part, as `pieces_between`; one feed or several make no difference."""
    return chunk.pieces_between(*_runs_of_feeds(chunk), chunk.begins[:-1], chunk.begins[1:])


def _runs_of_feeds(chunk: TextChunk) -> tuple[np.ndarray, np.ndarray]:
    """Where longest runs of line feeds start and stop: int64[runs] twice."""
    feeds = chunk.line_feeds
    opens = np.append(True, np.diff(feeds) != 1)[: len(feeds)]
    opens |= np.isin(feeds, chunk.begins)
    first = np.flatnonzero(opens)
    return feeds[first], feeds[np.append(first, len(feeds))[1:] - 1] + 1


def _repeated(
    chunk: TextChunk, starts: np.ndarray, stops: np.ndarray, offsets: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """How many pieces of each document occurred in it before, and their characters: int64[documents] twice."""
    documents = np.repeat(np.arange(len(chunk)), np.diff(offsets))
    later = later_places(keys_in(documents, chunk.bytes.range_hashes(starts, stops)))
    sizes = chunk.characters(starts[later], stops[later])
    characters = np.bincount(documents[later], weights=sizes, minlength=len(chunk))
    return np.bincount(documents[later], minlength=len(chunk)), characters.astype(np.int64)
