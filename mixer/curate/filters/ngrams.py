"""Runs of words that documents repeat, as Gopher's rules count them. Compiled kernels only, but for suspects.

Two n-grams of datatrove's are the same in the rules of the most frequent one if their words are, and in the rules of
repeated ones if their letters are: `data set of` and `dataset of` differ as words, not as letters.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from mixer.curate.filters.characters import SPACE
from mixer.curate.filters.chunk import Chunk
from mixer.curate.filters.padded import PaddedBytes
from mixer.curate.filters.repeats import keys_in, repeated_places
from mixer.curate.words import mixed

_BASE = np.uint64(0xD6E8FEB86659FD93)
_WINDOW_BYTES = 16


class Ngrams:
    """The n-grams of some documents.

    Args:
        chunk: the documents.
        wanted: bool[documents]: those that are looked at; of the others nothing is repeated.
    """

    def __init__(self, chunk: Chunk, wanted: np.ndarray) -> None:
        self._chunk = chunk
        self._wanted = wanted[chunk.word_documents]
        # Groups of repeated n-grams by n: int64 places of words, and where each group starts.
        self._by_words: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._by_letters: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def top_characters(self, size: int) -> np.ndarray:
        """The characters of all occurrences of each document's most frequent n-gram: int64[documents].

        Its words are joined by a space. Of several the one that comes first; 0 for a document without n-grams.
        """
        chunk = self._chunk
        places, starts = self._repeated_words(size)
        # One number for count and place, so that the maximum is the most frequent and of those the first one.
        factor = len(chunk.word_starts) + 1
        firsts = places[starts[:-1]]
        best = np.where(chunk.num_words >= size, factor + factor - 1 - chunk.word_offsets[:-1], 0)
        np.maximum.at(best, chunk.word_documents[firsts], np.diff(starts) * factor + (factor - 1 - firsts))
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
        places, starts = self._repeated_letters(size)
        later = np.sort(np.delete(places, starts[:-1]))
        if not len(later):
            return np.zeros(len(chunk), dtype=np.int64)
        stops = np.minimum(later + size, np.append(later[1:], len(chunk.word_starts)))
        covered = self._characters_before[stops] - self._characters_before[later]
        documents = chunk.word_documents[later]
        return np.bincount(documents, weights=covered, minlength=len(chunk)).astype(np.int64)

    def repeated_characters(self, size: int, documents: np.ndarray) -> np.ndarray:
        """The characters of n-grams that occurred before in each of some documents: int64[documents].

        After a repeated n-gram the next one that counts begins behind it; those that begin inside are not known later.
        """
        found = np.zeros(len(documents), dtype=np.int64)
        if not len(documents):
            return found
        places, starts = self._repeated_letters(size)
        groups = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
        order = np.argsort(places)
        places, groups = places[order], groups[order]
        bounds = np.searchsorted(places, self._chunk.word_offsets)
        characters = self._characters(places, size)
        for number, document in enumerate(documents.tolist()):
            part = slice(bounds[document], bounds[document + 1])
            known: set[int] = set()
            free = 0
            for place, group, count in zip(places[part].tolist(), groups[part].tolist(), characters[part].tolist()):
                if place < free:
                    continue
                if group in known:
                    found[number] += count
                    free = place + size
                else:
                    known.add(group)
        return found

    def _repeated_words(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """n-grams of the same words in a document, by their first words: as `repeated_places`."""
        if size not in self._by_words:
            is_candidate = self._begins(size)
            for known, (repeated, _) in self._by_words.items():
                # Each shorter n-gram in a repeated one is repeated.
                if known < size:
                    is_repeated = np.zeros(len(is_candidate), dtype=bool)
                    is_repeated[repeated] = True
                    last = size - known
                    is_candidate[:-last] &= is_repeated[:-last] & is_repeated[last:]
            candidates = np.flatnonzero(is_candidate)
            hashes = self._word_hashes[candidates]
            for place in range(1, size):  # Horner's rule
                hashes *= _BASE
                hashes += self._word_hashes[candidates + place]
            places, starts = repeated_places(keys_in(self._chunk.word_documents[candidates], mixed(hashes)))
            self._by_words[size] = candidates[places], starts
        return self._by_words[size]

    def _repeated_letters(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """n-grams of the same letters in a document, by their first words: as `repeated_places`."""
        if size not in self._by_letters:
            bounds = self._letters_before
            num_words = len(bounds) - 1
            is_candidate = self._begins(size)
            full = max(num_words - size + 1, 0)
            is_short = bounds[size : size + full] - bounds[:full] < _WINDOW_BYTES
            is_candidate[:full] &= is_short | self._is_window_repeated[:full]
            candidates = np.flatnonzero(is_candidate)
            hashes = self._letters.range_hashes(bounds[candidates], bounds[candidates + size])
            places, starts = repeated_places(keys_in(self._chunk.word_documents[candidates], hashes))
            self._by_letters[size] = candidates[places], starts
        return self._by_letters[size]

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
        return np.append(0, np.cumsum(chunk.characters(chunk.word_starts, chunk.word_stops)))

    @cached_property
    def _word_hashes(self) -> np.ndarray:
        """uint64[words]."""
        return self._chunk.bytes.range_hashes(self._chunk.word_starts, self._chunk.word_stops)

    @cached_property
    def _letters(self) -> PaddedBytes:
        """The bytes of all words, end to end."""
        spaced = np.where(self._chunk.kinds & SPACE, np.uint8(0x20), self._chunk.data)
        return PaddedBytes(np.frombuffer(spaced.tobytes().translate(None, b" "), dtype=np.uint8))

    @cached_property
    def _letters_before(self) -> np.ndarray:
        """int64[words + 1]: the bytes of all words before each."""
        return np.append(0, np.cumsum(self._chunk.word_stops - self._chunk.word_starts))

    @cached_property
    def _is_window_repeated(self) -> np.ndarray:
        """bool[words]: whether the first 16 letters from a word on are those from another word of its document on.

        n-grams of so many letters can only be the same where these are: one search in place of one for every n.
        """
        starts = self._letters_before[:-1]
        first = mixed(self._letters.eights(starts))
        first ^= self._letters.eights(np.minimum(starts + 8, len(self._letters.data)))
        places, _ = repeated_places(keys_in(self._chunk.word_documents, mixed(first)))
        is_repeated = np.zeros(len(starts), dtype=bool)
        is_repeated[places] = True
        return is_repeated
