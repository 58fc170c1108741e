"""C4's rules of quality in columns: the verdict of datatrove's C4QualityFilter, sentences as sentences.py has them.

Raffel et al., "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer", arXiv:1910.10683.

datatrove's class also rewrites a document to the lines that pass. Here the text stays as it is, all lines of it: lines
that fail count for nothing, and a document passes if those left have enough sentences.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from mixer.curate.filters.chunk import TextChunk
from mixer.curate.filters.citations import without_citations
from mixer.curate.filters.counting import Ranks, sums_between
from mixer.curate.filters.parameters import WordParameters
from mixer.curate.filters.sentences import sentence_ends
from mixer.curate.filters.verdicts import PASSED

C4_REASONS = (PASSED, "lorem_ipsum", "curly_bracket", "too_few_sentences")
_POLICIES = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")
_END_PUNCTUATION = np.isin(np.arange(256), [ord(mark) for mark in ".?!\"'"])
_LOWERED = bytes(range(256)).lower()


class C4Quality(WordParameters):
    """The parameters of datatrove's class, by its names; `filter_no_terminal_punct` as FineWeb sets it."""

    split_paragraph: bool = True
    remove_citations: bool = True
    filter_no_terminal_punct: bool = False
    min_num_sentences: int = 5
    min_words_per_line: int = 3
    max_word_length: int = 1000
    filter_lorem_ipsum: bool = True
    filter_javascript: bool = True
    filter_curly_bracket: bool = True
    filter_policy: bool = True

    @property
    def is_columnar(self) -> bool:
        """Whether lines are parted by line breaks; sentences are left to datatrove's code."""
        return self.split_paragraph and super().is_columnar


def judge_c4(chunk: TextChunk, parameters: C4Quality) -> np.ndarray:
    """Codes of C4_REASONS: uint8[documents]; only for parameters that split at line breaks.

    datatrove's code takes a line after the other and stops at the first one that drops the document.
    """
    p = parameters
    line_starts, _, offsets = chunk.lines
    first_word = np.searchsorted(chunk.word_starts, line_starts)
    stop_word = np.append(first_word[1:], len(chunk.word_starts))[: len(first_word)]
    has_words = stop_word > first_word
    # Of a line without words: nothing, at its start.
    starts, stops = line_starts.copy(), line_starts.copy()
    starts[has_words] = chunk.word_starts[first_word[has_words]]
    stops[has_words] = chunk.word_stops[stop_word[has_words] - 1]
    left = np.ones(len(starts), dtype=bool)
    if p.max_word_length != -1:
        long_words = np.flatnonzero(chunk.word_stops - chunk.word_starts > p.max_word_length)
        sizes = chunk.characters(chunk.word_starts[long_words], chunk.word_stops[long_words])
        long_words = long_words[sizes > p.max_word_length]
        left[np.searchsorted(line_starts, chunk.word_starts[long_words], "right") - 1] = False
    text = chunk
    if p.remove_citations:
        text, starts, stops = without_citations(chunk, starts, stops)
    if p.filter_no_terminal_punct:
        last = text.data[np.maximum(stops - 1, 0)] if len(text.data) else np.zeros(len(stops), dtype=np.uint8)
        left &= _END_PUNCTUATION[last] & (stops > starts)
        left &= ~(text.bytes.begins_with(np.maximum(stops - 3, 0), "...") & (stops - starts >= 3))
    left &= stop_word - first_word >= p.min_words_per_line
    lowered = text.data.tobytes().translate(_LOWERED)
    drops = np.zeros(len(starts), dtype=np.uint8)
    if p.filter_lorem_ipsum:
        drops[left & _lines_with(lowered, ["lorem ipsum"], starts, stops)] = 1
        left &= drops == 0
    if p.filter_javascript:
        left &= ~_lines_with(lowered, ["javascript"], starts, stops)
    if p.filter_curly_bracket:
        drops[left & _lines_with(lowered, ["{"], starts, stops)] = 2
        left &= drops == 0
    if p.filter_policy:
        left &= ~_lines_with(lowered, _POLICIES, starts, stops)
    reason = np.zeros(len(chunk), dtype=np.uint8)
    if p.min_num_sentences != -1:
        sentences = sums_between(_num_sentences(text, starts, stops) * left, offsets)
        reason[sentences < p.min_num_sentences] = 3
    dropping = np.flatnonzero(drops)
    documents, first = np.unique(np.searchsorted(offsets, dropping, "right") - 1, return_index=True)
    reason[documents] = drops[dropping[first]]
    return reason


def _num_sentences(text: TextChunk, starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
    """The number of sentences of each line, at least 1: int64[lines]."""
    first = np.searchsorted(text.word_starts, starts)
    stop = np.searchsorted(text.word_starts, stops)
    ends = sentence_ends(text)
    before = Ranks(ends)
    is_open = np.append(~ends, True)[np.where(stop > first, stop - 1, len(ends))]
    return before.before(stop) - before.before(first) + is_open


def _lines_with(lowered: bytes, phrases: Sequence[str], starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
    """Whether each line has one of some phrases, none of which begins with white space: bool[lines]."""
    found = np.zeros(len(starts), dtype=bool)
    for phrase in phrases:
        places = np.fromiter(_places(lowered, phrase.encode()), dtype=np.int64)
        lines = np.searchsorted(starts, places, "right") - 1
        found[lines[places + len(phrase) <= stops[lines]]] = True
    return found


def _places(data: bytes, wanted: bytes) -> Iterator[int]:
    """Where a phrase stands."""
    place = data.find(wanted)
    while place >= 0:
        yield place
        place = data.find(wanted, place + 1)
