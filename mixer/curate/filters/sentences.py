"""Sentences where words are split at white space: what C4's rules count with `splitter: spaces`.

A sentence ends with a word whose last character ends a sentence in any script, up to three closing quotes or brackets
after it aside, and with the text: `He said: "Go!" Then he went` has two.
"""

from __future__ import annotations

import numpy as np

from mixer.curate.filters.characters import TERMINAL_PUNCTUATION, last_code_points
from mixer.curate.filters.chunk import TextChunk

CLOSING = frozenset("\"'”’»)]}")
MAX_CLOSING = 3
_TERMINAL_POINTS = np.array(sorted(map(ord, TERMINAL_PUNCTUATION)), dtype=np.int32)
_CLOSING_POINTS = np.array(sorted(map(ord, CLOSING)), dtype=np.int32)
_ASCII_ENDS = np.array([chr(byte) in TERMINAL_PUNCTUATION for byte in range(128)] + [False] * 128)
_ASCII_OTHERS = np.array([chr(byte) in CLOSING for byte in range(128)] + [True] * 128)


def sentence_ends(chunk: TextChunk) -> np.ndarray:
    """Whether each word ends a sentence: bool[words]."""
    last = chunk.data[chunk.word_stops - 1]
    ends = _ASCII_ENDS[last]
    left = np.flatnonzero(_ASCII_OTHERS[last])
    stops = chunk.word_stops[left]
    for _ in range(MAX_CLOSING + 1):
        points = last_code_points(chunk.data, stops)
        ends[left[np.isin(points, _TERMINAL_POINTS)]] = True
        stops = stops - np.where(points < 0x80, 1, np.where(points < 0x800, 2, 3))
        goes_on = np.isin(points, _CLOSING_POINTS) & (stops > chunk.word_starts[left])
        left, stops = left[goes_on], stops[goes_on]
    return ends


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Where the sentences of a text start and stop, in characters; the same rule, for datatrove's own code."""
    spans: list[tuple[int, int]] = []
    start, place = None, 0
    for word in text.split():
        begin = text.index(word, place)
        start = begin if start is None else start
        place = begin + len(word)
        bare = word
        for _ in range(MAX_CLOSING):
            if bare[-1:] in CLOSING and len(bare) > 1:
                bare = bare[:-1]
        if bare[-1] in TERMINAL_PUNCTUATION:
            spans.append((start, place))
            start = None
    return spans if start is None else [*spans, (start, place)]
