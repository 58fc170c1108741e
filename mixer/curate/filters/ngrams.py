"""Runs of words that documents repeat, as Gopher's rules count them. Compiled kernels only, but for suspects.

Two n-grams of datatrove's are the same in the rules of the most frequent one if their words are, and in the rules of
repeated ones if their letters are: `data set of` and `dataset of` differ as words, not as letters.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from mixer.curate.filters.characters import SPACE
from mixer.curate.filters.chunk import TextChunk
from mixer.curate.filters.letters import Letters
from mixer.curate.filters.padded import PaddedBytes
from mixer.curate.filters.repeats import first_places, keys_in
from mixer.curate.words import mixed

_BASE = np.uint64(0xD6E8FEB86659FD93)
_WINDOW_BYTES = 16


class Ngrams:
    """The n-grams of some documents.

    Args:
        chunk: the documents.
        wanted: bool[documents]: those that are looked at; of the others nothing is repeated.
    """

    def __init__(self, chunk: TextChunk, wanted: np.ndarray) -> None:
        self._chunk = chunk
        self._wanted = wanted[chunk.word_documents]
        self._letters = Letters(chunk)
        # By n: bool[words], whether the n-gram from each word on occurs more than once in its document.
        self._is_repeated: dict[int, np.ndarray] = {}
        # By n: int64 places of repeated n-grams, rising, and the place where each occurs first.
        self._repeated: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def top_characters(self, size: int) -> np.ndarray:
        """The characters of all occurrences of each document's most frequent n-gram: int64[documents].

        Its words are joined by a space. Of several the one that comes first; 0 for a document without n-grams.
        """
        chunk = self._chunk
        first, counts = self._counted_words(size)
        # One number for count and place, so that the maximum is the most frequent one and of those the first.
        factor = len(chunk.word_starts) + 1
        best = np.where(chunk.num_words >= size, factor + factor - 1 - chunk.word_offsets[:-1], 0)
        np.maximum.at(best, chunk.word_documents[first], counts * factor + (factor - 1 - first))
        has_ngrams = np.flatnonzero(best)
        counts, first = best[has_ngrams] // factor, factor - 1 - best[has_ngrams] % factor
        found = np.zeros(len(chunk), dtype=np.int64)
        found[has_ngrams] = counts * (self._characters(first, size) + size - 1)
        return found

    def repeated_characters_at_most(self, size: int) -> np.ndarray:
        """At least as many characters as `repeated_characters`: int64[documents].

        Those of all words in n-grams that occurred before in the document.
        """
        chunk = self._chunk
        places, first = self._repeated_letters(size)
        later = places[places != first]
        stops = np.minimum(later + size, np.append(later[1:], len(chunk.word_starts))[: len(later)])
        covered = self._characters_before[stops] - self._characters_before[later]
        documents = chunk.word_documents[later]
        return np.bincount(documents, weights=covered, minlength=len(chunk)).astype(np.int64)

    def repeated_characters(self, size: int, documents: np.ndarray) -> np.ndarray:
        """The characters of n-grams that occurred before in each of some documents: int64[documents].

        After a repeated n-gram the next one that counts begins behind it; those that begin inside are not known later.
        """
        places, first = self._repeated_letters(size)
        bounds = np.searchsorted(places, self._chunk.word_offsets)
        found = np.zeros(len(documents), dtype=np.int64)
        for number, document in enumerate(documents.tolist()):
            part = slice(bounds[document], bounds[document + 1])
            known: set[int] = set()
            counted: list[int] = []
            free = 0
            for place, group in zip(places[part].tolist(), first[part].tolist()):
                if place < free:
                    continue
                if group in known:
                    counted.append(place)
                    free = place + size
                else:
                    known.add(group)
            found[number] = self._characters(np.array(counted, dtype=np.int64), size).sum()
        return found

    def _counted_words(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Where n-grams of the same words in a document occur first, and how often: int64[repeated n-grams] twice."""
        is_candidate = self._begins(size)
        for known, is_repeated in self._is_repeated.items():
            # Each shorter n-gram in a repeated one is repeated.
            if known < size:
                last = size - known
                is_candidate[:-last] &= is_repeated[:-last] & is_repeated[last:]
        candidates = np.flatnonzero(is_candidate)
        hashes = self._word_hashes[candidates]
        for place in range(1, size):  # Horner's rule
            hashes *= _BASE
            hashes += self._word_hashes[candidates + place]
        first = first_places(keys_in(self._chunk.word_documents[candidates], mixed(hashes)))
        counts = np.bincount(first, minlength=len(candidates))
        is_repeated = np.zeros(len(is_candidate), dtype=bool)
        is_repeated[candidates] = counts[first] > 1
        self._is_repeated[size] = is_repeated
        repeated = np.flatnonzero(counts > 1)
        return candidates[repeated], counts[repeated]

    def _repeated_letters(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """n-grams of the same letters in a document: places of words, rising, and where each occurs first."""
        if size not in self._repeated:
            before = self._letters.before
            full = max(len(before) - size, 0)
            is_candidate = self._begins(size)
            is_candidate[:full] &= self._is_window_repeated[:full] | (
                before[size : size + full] - before[:full] < _WINDOW_BYTES
            )
            candidates = np.flatnonzero(is_candidate)
            hashes = self._letters.hashes(candidates, candidates + size)
            first = first_places(keys_in(self._chunk.word_documents[candidates], hashes))
            is_repeated = first != np.arange(len(candidates))
            is_repeated[first[is_repeated]] = True
            self._repeated[size] = candidates[is_repeated], candidates[first[is_repeated]]
        return self._repeated[size]

    def _begins(self, size: int) -> np.ndarray:
        """bool[words]: whether a wanted document's n-gram begins with each word."""
        begins = self._wanted.copy()
        ends = self._chunk.word_offsets[1:]
        short = np.minimum(self._chunk.num_words, size - 1)
        for back in range(1, size):
            begins[ends[short >= back] - back] = False
        return begins

    def _characters(self, places: np.ndarray, size: int) -> np.ndarray:
        """The characters of the n-grams that begin with some words, white space aside: int64[places]."""
        return self._characters_before[places + size] - self._characters_before[places]

    @cached_property
    def _characters_before(self) -> np.ndarray:
        """int64[words + 1]: the characters of all words before each."""
        chunk = self._chunk
        if chunk.is_ascii:
            return self._letters.before
        return np.append(0, np.cumsum(chunk.characters(chunk.word_starts, chunk.word_stops)))

    @cached_property
    def _word_hashes(self) -> np.ndarray:
        """uint64[words]."""
        return self._letters.word_hashes()

    @cached_property
    def _is_window_repeated(self) -> np.ndarray:
        """bool[words]: whether the first 16 letters from a word on are those from another word of its document on.

        n-grams of so many letters can only be the same where these are: one search in place of one for every n.
        """
        chunk = self._chunk
        spaced = np.where((chunk.kinds & SPACE) != 0, np.uint8(0x20), chunk.data)
        letters = PaddedBytes(np.frombuffer(spaced.tobytes().translate(None, b" "), dtype=np.uint8))
        starts = self._letters.before[:-1]
        windows = letters.eights(starts) * _BASE
        windows += letters.eights(np.minimum(starts + 8, len(letters.data)))
        first = first_places(keys_in(chunk.word_documents, mixed(windows)))
        is_repeated = first != np.arange(len(first))
        is_repeated[first[is_repeated]] = True
        return is_repeated & self._wanted
