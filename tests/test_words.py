"""Words of documents: what a reader of the format page would count by hand."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixer.curate import words
from mixer.curate.words import Words, ngram_hashes, words_of

pytestmark = pytest.mark.quick

MASK = 2**64 - 1
SINGLES = [(0xE00, 0xEFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x3040, 0x9FFF), (0xF900, 0xFAFF), (0xFF00, 0xFFBF)]
GAPS = [(0x80, 0xBF), (0x2000, 0x2BFF), (0x3000, 0x303F), (0xFE00, 0xFE7F), (0x1F000, 0x1FFFF)]


def column(texts: list[str | None]) -> pa.LargeStringArray:
    return pa.array(texts, pa.large_string())


def kind_of(letter: str) -> str:
    point = ord(letter)
    if point < 0x80:
        return "letter" if letter.isalnum() else "gap"
    if any(first <= point <= last for first, last in [*SINGLES, (0x20000, 0x3FFFF)]):
        return "single"
    return "gap" if any(first <= point <= last for first, last in GAPS) else "letter"


def by_hand(text: str) -> list[tuple[str, int]]:
    """Words, lowered, with the byte that they begin at."""
    found: list[tuple[str, int]] = []
    place, before = 0, "gap"
    for letter in text:
        kind = kind_of(letter)
        lowered = letter.lower() if letter.isascii() else letter
        if kind == "letter" and before == "letter":
            found[-1] = (found[-1][0] + lowered, found[-1][1])
        elif kind != "gap":
            found.append((lowered, place))
        place, before = place + len(letter.encode()), kind
    return found


def mix(value: int) -> int:
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & MASK
    return value ^ (value >> 31)


def hash_of(word: str) -> int:
    base = 0x9E3779B97F4A7C15
    return mix(sum((byte + 1) * base ** (place + 1) for place, byte in enumerate(word.encode())) & MASK)


def assert_by_hand(found: Words, texts: list[str | None]) -> None:
    expected = [by_hand(text or "") for text in texts]
    assert np.diff(found.offsets).tolist() == [len(one) for one in expected]
    assert found.hashes.tolist() == [hash_of(word) for one in expected for word, _ in one]
    assert found.starts.tolist() == [start for one in expected for _, start in one]


def test_words_of_a_sentence() -> None:
    """Case, punctuation and white space make no difference; a Han character is a word."""
    assert [word for word, _ in by_hand("It's 3 p.m. 猫が\U0001f642Éa")] == ["it", "s", "3", "p", "m", "猫", "が", "Éa"]
    same = words_of(column(["It's 3 p.m. 猫が\U0001f642Éa", "IT S-3\n\nP M “猫” が. Éa"]))
    assert same.hashes[:8].tolist() == same.hashes[8:].tolist()


@settings(deadline=None)
@given(texts=st.lists(st.none() | st.text("aZ0 .é猫ก\u2019\u00ad\U0001f642\U00020000\uff21가"), max_size=8))
def test_words_are_those_found_by_hand(texts: list[str | None]) -> None:
    """With nulls, empty documents, and documents that touch."""
    assert_by_hand(words_of(column(texts)), texts)


@settings(deadline=None)
@given(texts=st.lists(st.text(max_size=30), min_size=1, max_size=4))
def test_any_text_has_the_words_found_by_hand(texts: list[str]) -> None:
    """Any code point."""
    texts = [text.encode(errors="ignore").decode() for text in texts]
    assert_by_hand(words_of(column(texts)), texts)


def test_the_pieces_that_are_worked_on_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does a slice of a column."""
    texts = [f"document {number} " * (number % 7) for number in range(50)]
    whole = words_of(column(texts))
    for size in (1, 64, 500):
        monkeypatch.setattr(words, "_CHUNK_BYTES", size)
        part = words_of(column(["before", *texts])[1:])
        assert (part.hashes.tolist(), part.offsets.tolist()) == (whole.hashes.tolist(), whole.offsets.tolist())


@settings(deadline=None)
@given(texts=st.lists(st.text("ab ", max_size=20), max_size=8), size=st.integers(1, 5))
def test_ngrams_are_runs_of_words_of_one_document(texts: list[str], size: int) -> None:
    """Equal for equal words, and for no others."""
    hashes, offsets = ngram_hashes(words_of(column(texts)), size)
    runs = []
    for text in texts:
        found = [word for word, _ in by_hand(text)]
        runs.append([tuple(found[first : first + size]) for first in range(len(found) - size + 1)])
    assert np.diff(offsets).tolist() == [len(one) for one in runs]
    flat = [run for one in runs for run in one]
    assert len(dict.fromkeys(zip(flat, hashes.tolist(), strict=True))) == len(set(flat)) == len(set(hashes.tolist()))


@settings(deadline=None)
@given(
    texts=st.lists(st.text("aZ0 .é猫\u2019\U0001f642\U00020000", max_size=12), max_size=6),
    size=st.integers(1, 20),
)
def test_words_that_pieces_cut_are_put_together(texts: list[str], size: int) -> None:
    """Also of several pieces, and not across documents."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(words, "_CHUNK_BYTES", size)
        assert_by_hand(words_of(column(["before", *texts, "after"])[1:-1]), [*texts])


def test_long_words_and_long_columns() -> None:
    """Of several pieces of the size that is used, with one-letter documents that touch."""
    texts = ["x" * 250_000 + " end", "ab" * 70_000, *["c"] * 150_000, "猫" * 40_000 + "d" * 100_000 + "猫"]
    found = words_of(column(texts))
    assert found.hashes[0] == hash_of_run("x", 250_000)
    assert np.diff(found.offsets)[[0, 1, 2, -2, -1]].tolist() == [2, 1, 1, 1, 40_002]
    assert (found.hashes[3:150_003] == hash_of("c")).all()
    assert found.hashes[-2:].tolist() == [hash_of_run("d", 100_000), hash_of("猫")]
    assert found.starts[[0, 1, 2, 3, -3, -2, -1]].tolist() == [0, 250_001, 0, 0, 119_997, 120_000, 220_000]


def hash_of_run(letter: str, count: int) -> int:
    """The hash of one letter, many times: a geometric series."""
    base, total, power = 0x9E3779B97F4A7C15, 0, 1
    for _ in range(count):
        power = power * base & MASK
        total += power
    return mix(total * (ord(letter) + 1) & MASK)


def test_a_null_that_hides_bytes_has_no_words() -> None:
    """Arrow allows any bytes there."""
    offsets, mask = pa.py_buffer(np.array([0, 3, 6, 9])), pa.py_buffer(bytes([0b101]))
    hiding = pa.LargeStringArray.from_buffers(3, offsets, pa.py_buffer(b"onetwosix"), mask)
    assert_by_hand(words_of(hiding), ["one", None, "six"])


@pytest.mark.parametrize("size", [1, 2, 7])
def test_the_runs_that_are_hashed_at_a_time_make_no_difference(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """N-grams of pieces of any size."""
    found = words_of(column(["a b c d", "", "e", "f g h i j k l m", "n o"]))
    whole = ngram_hashes(found, 3)
    monkeypatch.setattr(words, "_CHUNK_WORDS", size)
    part = ngram_hashes(found, 3)
    assert part[0].tolist() == whole[0].tolist()
    assert part[1].tolist() == whole[1].tolist() == [0, 2, 2, 2, 8, 8]
