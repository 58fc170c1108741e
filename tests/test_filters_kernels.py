"""What the filters in columns are made of, against a few lines of Python each."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mixer.curate.filters.characters import (
    BREAK,
    DIGIT,
    LETTER,
    PLAIN,
    PUNCTUATION,
    SPACE,
    code_points,
    kinds_of,
    last_code_points,
)
from mixer.curate.filters.chunk import TextChunk
from mixer.curate.filters.citations import without_citations
from mixer.curate.filters.counting import Ranks, counts_between, sums_between
from mixer.curate.filters.letters import Letters
from mixer.curate.filters.padded import PaddedBytes
from mixer.curate.filters.repeats import first_places, keys_in, later_places
from mixer.curate.words import mixed

PIECES = st.sampled_from(
    ["a", "ab", "é", "猫", "\U0001f642", " ", "\n", "\r\n", "\r", "\u2028", "\x85", ".", "\x1f", "ba"]
)
DOCUMENTS = st.lists(st.lists(PIECES, max_size=12).map("".join), min_size=1, max_size=6)
SIZES = st.lists(st.integers(0, 5), min_size=1, max_size=40)


def bytes_of(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), dtype=np.uint8)


def chunk_of(documents: list[str]) -> TextChunk:
    begins = np.cumsum([0, *(len(document.encode()) for document in documents)])
    return TextChunk(bytes_of("".join(documents)), begins)


def text_at(chunk: TextChunk, start: int, stop: int) -> str:
    return chunk.data[start:stop].tobytes().decode()


def test_kinds_and_code_points_are_those_of_python() -> None:
    """Every seventh character that there is, and those around each power of two."""
    around = {2**power + more for power in range(21) for more in range(-3, 4)} | set(range(0xC0))
    points = sorted(point for point in around | set(range(0, 0x110000, 7)) if 0 <= point < 0x110000)
    characters = [chr(point) for point in points if not 0xD800 <= point < 0xE000]
    data = bytes_of("".join(characters))
    kinds = kinds_of(data)
    sizes = np.array([len(character.encode()) for character in characters])
    starts = np.cumsum(sizes) - sizes
    for bit, expected in (
        (SPACE, [one.isspace() for one in characters]),
        (BREAK, [len(f"a{one}b".splitlines()) == 2 for one in characters]),
        (LETTER, [one.isalpha() for one in characters]),
        (DIGIT, [one.isdecimal() for one in characters]),
        (PLAIN, [one not in PUNCTUATION and not one.isspace() for one in characters]),
    ):
        assert ((kinds[starts] & bit) != 0).tolist() == expected
    rest = np.ones(len(data), dtype=bool)
    rest[starts] = False
    assert (kinds[rest] == np.where(np.repeat(kinds[starts] & SPACE, sizes)[rest], SPACE, 0)).all()
    several = sizes > 1
    ords = np.array([ord(one) for one in characters])
    assert (code_points(data, starts[several]) == ords[several]).all()
    assert (last_code_points(data, starts + sizes) == ords).all()


@settings(deadline=None)
@given(documents=DOCUMENTS)
def test_words_and_lines_are_those_of_str(documents: list[str]) -> None:
    """Also where documents touch."""
    chunk = chunk_of(documents)
    words = [text_at(chunk, *edges) for edges in zip(chunk.word_starts, chunk.word_stops)]
    assert words == [word for document in documents for word in document.split()]
    assert chunk.num_words.tolist() == [len(document.split()) for document in documents]
    starts, stops, offsets = chunk.lines
    assert [text_at(chunk, *edges) for edges in zip(starts, stops)] == [
        line for document in documents for line in document.splitlines()
    ]
    assert np.diff(offsets).tolist() == [len(document.splitlines()) for document in documents]
    assert chunk.num_characters.tolist() == [len(document) for document in documents]
    lines = chunk.line_of(chunk.word_starts).tolist()
    expected = [
        (number, row)
        for number, document in enumerate(documents)
        for row, line in enumerate(document.splitlines())
        for _ in line.split()
    ]
    assert [a == b for a, b in pairwise(lines)] == [a == b for a, b in pairwise(expected)]


@settings(deadline=None)
@given(flags=st.lists(st.booleans(), max_size=300), sizes=SIZES)
def test_counts_are_sums_of_parts(flags: list[bool], sizes: list[int]) -> None:
    """Of empty parts, too."""
    ranks = Ranks(np.array(flags, dtype=bool))
    assert ranks.before(np.arange(len(flags) + 1)).tolist() == [sum(flags[:place]) for place in range(len(flags) + 1)]
    offsets = np.cumsum([0, *sizes])
    values = np.arange(offsets[-1]) ** 2
    parts = [values[start:stop] for start, stop in pairwise(offsets)]
    assert sums_between(values, offsets).tolist() == [part.sum() for part in parts]
    assert counts_between(values % 3 == 0, offsets).tolist() == [(part % 3 == 0).sum() for part in parts]


@settings(deadline=None)
@given(
    text=st.text("ab", max_size=600), ranges=st.lists(st.tuples(st.integers(0, 600), st.integers(0, 600)), max_size=30)
)
def test_ranges_have_the_same_hash_if_their_bytes_are_the_same(text: str, ranges: list[tuple[int, int]]) -> None:
    """And only then; of up to 256 bytes, and of more."""
    padded = PaddedBytes(bytes_of(text))
    edges = [tuple(sorted(min(place, len(text)) for place in one)) for one in ranges]
    starts, stops = np.array(edges, dtype=np.int64).reshape(-1, 2).T
    hashes = padded.range_hashes(starts, stops).tolist()
    parts = [text[start:stop] for start, stop in edges]
    assert len(set(zip(parts, hashes))) == len(set(parts)) == len(set(hashes))


def test_eight_bytes_are_read_from_any_place() -> None:
    """Zeros follow the last one."""
    padded = PaddedBytes(np.arange(1, 12, dtype=np.uint8))
    for place in range(12):
        expected = (bytes(range(1, 12)) + bytes(8))[place : place + 8]
        assert padded.eights(np.array([place]))[0] == int.from_bytes(expected, "little")
    assert PaddedBytes(bytes_of("abcab")).begins_with(np.arange(5), "ab").tolist() == [True, False, False, True, False]


@pytest.mark.parametrize("high_bits", [0, 8, 63])
def test_keys_lead_to_where_they_occur_first(high_bits: int) -> None:
    """Also keys that differ in their lowest bits alone, which share a slot for long."""
    drawn = np.random.default_rng(high_bits).integers(0, 400, 1000).astype(np.uint64)
    keys = drawn << np.uint64(high_bits) if high_bits < 60 else mixed(drawn.copy())
    seen: dict[int, int] = {}
    expected = [seen.setdefault(key, place) for place, key in enumerate(keys.tolist())]
    assert first_places(keys).tolist() == expected
    assert later_places(keys).tolist() == [place for place, first in enumerate(expected) if first != place]
    assert first_places(keys[:0]).tolist() == []


def test_keys_of_two_documents_differ() -> None:
    """The same hash is another key there."""
    keys = keys_in(np.array([0, 0, 1, 1]), np.array([5, 5, 5, 6], dtype=np.uint64))
    assert later_places(keys).tolist() == [1]


@settings(deadline=None)
@given(words=st.lists(st.sampled_from(["a", "aa", "b", "ab", "aab", "é", "a" * 300]), min_size=1, max_size=12))
def test_runs_of_words_have_the_same_hash_if_their_letters_are_the_same(words: list[str]) -> None:
    """Wherever spaces part them, and wherever the run begins."""
    chunk = chunk_of([" ".join(words[:5]), "  ".join(words[5:])])
    runs = [(first, stop) for stop in range(len(words) + 1) for first in range(stop + 1)]
    hashes = Letters(chunk).hashes(np.array([one[0] for one in runs]), np.array([one[1] for one in runs]))
    of_letters = defaultdict(set)
    for (first, stop), found in zip(runs, hashes.tolist()):
        of_letters["".join(words[first:stop])].add(found)
    assert all(len(found) == 1 for found in of_letters.values())
    assert len(set().union(*of_letters.values())) == len(of_letters)


@settings(deadline=None)
@given(
    documents=st.lists(
        st.lists(
            st.sampled_from(["[", "]", "1", "٣", "[1]", "[edit]", "[citation needed]", "K", "\u212a", " x", "\n"])
        ).map("".join),
        min_size=1,
        max_size=4,
    )
)
@example(documents=["[1", "2]", "[", "]", "[edi", "t]", "[citation ", "needed]"])
def test_citations_are_those_of_datatrove(documents: list[str]) -> None:
    """And the sign for kelvin is a k."""
    from datatrove.pipeline.filters.c4_filters import CITATION_REGEX

    chunk = chunk_of(documents)
    left, starts, stops = without_citations(chunk, *chunk.lines[:2])
    lines = [line for document in documents for line in document.splitlines()]
    for places, texts in ((left.begins, documents), (None, lines)):
        edges = zip(starts, stops) if places is None else pairwise(places)
        expected = [CITATION_REGEX.sub("", text).replace("\u212a", "k") for text in texts]
        assert [text_at(left, *edge) for edge in edges] == expected
