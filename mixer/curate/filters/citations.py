"""Documents without citations, `[12]` and the like in Wikipedia, as C4's rules see them. Compiled kernels only."""

from __future__ import annotations

import numpy as np

from mixer.curate.filters.characters import DIGIT
from mixer.curate.filters.chunk import TextChunk

_KELVIN = "\u212a"
"""The one character but K whose lower case is k."""


def without_citations(
    chunk: TextChunk, starts: np.ndarray, stops: np.ndarray
) -> tuple[TextChunk, np.ndarray, np.ndarray]:
    """Documents without `[]`, `[12]`, `[edit]` and `[citation needed]`, and the places that some ranges then have.

    The sign for kelvin becomes a k, so that lower case is a matter of ASCII alone.

    Args:
        chunk: the documents.
        starts: int64[ranges]: where ranges start, in bytes; none starts or stops within a citation.
        stops: int64[ranges]: where they stop.
    """
    firsts, ends = _citations(chunk)
    kelvins = chunk.places_of(_KELVIN)
    if not len(firsts) and not len(kelvins):
        return chunk, starts, stops
    data = chunk.data.copy()
    data[kelvins] = ord("k")
    firsts, ends = np.append(firsts, kelvins + 1), np.append(ends, kelvins + len(_KELVIN.encode()))
    order = np.argsort(firsts)
    firsts, sizes = firsts[order], (ends - firsts)[order]
    gone = np.repeat(firsts - np.cumsum(sizes) + sizes, sizes) + np.arange(sizes.sum())
    kept = np.ones(len(data), dtype=bool)
    kept[gone] = False
    removed = np.append(0, np.cumsum(sizes))

    def moved(places: np.ndarray) -> np.ndarray:
        return places - removed[np.searchsorted(firsts, places)]

    return TextChunk(data[kept], moved(chunk.begins)), moved(starts), moved(stops)


def _citations(chunk: TextChunk) -> tuple[np.ndarray, np.ndarray]:
    """Where citations start and stop: int64[citations] twice, rising."""
    places = np.flatnonzero(chunk.data == ord("["))
    ends = _behind_digits(chunk, places + 1)
    closed = chunk.bytes.begins_with(ends, "]")
    ends += 1
    edits = chunk.bytes.begins_with(places, "[edit]")
    needed = chunk.bytes.begins_with(places, "[citatio") & (
        chunk.bytes.begins_with(np.minimum(places + 8, len(chunk.data)), "n needed")
        & chunk.bytes.begins_with(np.minimum(places + 16, len(chunk.data)), "]")
    )
    ends = np.where(closed, ends, np.where(edits, places + 6, places + 17))
    inside = ends <= chunk.begins[chunk.document_of(places) + 1]
    found = (closed | edits | needed) & inside
    return places[found], ends[found]


def _behind_digits(chunk: TextChunk, places: np.ndarray) -> np.ndarray:
    """The first byte from each place on that is not of a decimal digit: int64[places]."""
    kinds = np.append(chunk.kinds, np.uint8(0))
    if not (kinds[places] & DIGIT).any():
        return places
    others = np.flatnonzero(((kinds & DIGIT) == 0) & (np.append(chunk.data, np.uint8(0)) & 0xC0 != 0x80))
    return others[np.searchsorted(others, places)]
