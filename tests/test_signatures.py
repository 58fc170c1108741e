"""Signatures: slots that a reader of the format page would fill by hand, and what they say of similarity."""

from __future__ import annotations

import random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_words import by_hand, column, hash_of, mix

from mixer.curate import signatures
from mixer.curate.signatures import Signatures, band_keys, equal_slots, estimate, signatures_of
from mixer.curate.words import Words, words_of

pytestmark = pytest.mark.quick

MASK = 2**64 - 1
B = 0x9E3779B97F4A7C15


def slots_by_hand(hashes: set[int], num_slots: int) -> list[int]:
    """The slots of a document with these hashes of n-grams."""
    ranks: dict[int, int] = {}
    for number in range(4):
        for shift in (48, 32):
            falling: dict[int, list[int]] = {}
            for one in hashes:
                drawn = mix((one + number * B) & MASK) if number else one
                slot = num_slots * (drawn >> shift & 0xFFFF) >> 16
                if slot not in ranks and drawn & 0xFFFFFFFF != 0xFFFFFFFF:
                    falling.setdefault(slot, []).append(drawn & 0xFFFFFFFF)
            ranks |= {slot: min(some) for slot, some in falling.items()}
    if not ranks:
        return [0] * num_slots
    found = [ranks.get(slot) for slot in range(num_slots)]
    for slot in range(num_slots):
        if found[slot] is None:
            found[slot] = ranks[min(ranks, key=lambda other: mix((slot << 16) + other))]
    return [rank & 0xFF for rank in found if rank is not None]


def ngrams_by_hand(text: str, size: int) -> set[tuple[str, ...]]:
    """The word n-grams of a text."""
    words = [word for word, _ in by_hand(text)]
    return {tuple(words[first : first + size]) for first in range(len(words) - size + 1)}


def hash_of_ngram(words: tuple[str, ...]) -> int:
    total = 0
    for word in words:
        total = (total * 0xD6E8FEB86659FD93 + hash_of(word)) & MASK
    return mix(total)


def signed(texts: list[str | None], ngrams: int = 5, bands: int = 14, rows: int = 8) -> Signatures:
    return signatures_of(words_of(column(texts)), ngrams=ngrams, bands=bands, rows=rows)


def prose(length: int, seed: int) -> list[str]:
    """Words of which few are frequent."""
    chosen = random.Random(seed)
    return [f"w{int(chosen.paretovariate(0.7)) % 5000}" for _ in range(length)]


def test_the_signature_of_the_format_page() -> None:
    """Its first two bands."""
    assert signed(["a b c d e f g"]).slots[0, :16].tobytes().hex() == "f6f62ff1c1b3e1fdfdabe0fdf6f6b32f"


@settings(deadline=None)
@given(
    sizes=st.lists(st.integers(0, 40) | st.integers(100, 300), max_size=6),
    num_slots=st.sampled_from([1, 8, 112, 286]),
    seed=st.integers(0, 2**32 - 1),
)
def test_slots_are_those_filled_by_hand(sizes: list[int], num_slots: int, seed: int) -> None:
    """For documents with few n-grams, where slots stay empty, and with many; with n-grams that come twice."""
    drawn = random.Random(seed)
    documents = [[drawn.getrandbits(64) for _ in range(size)] for size in sizes]
    documents = [one + one[:3] for one in documents]
    hashes = np.array([number for one in documents for number in one], dtype=np.uint64)
    offsets = np.concatenate([[0], np.cumsum([len(one) for one in documents], dtype=np.int64)])
    words = Words(hashes=hashes, offsets=offsets, starts=np.zeros(len(hashes), dtype=np.int64))
    found = signatures_of(words, ngrams=1, bands=num_slots, rows=1)
    assert found.slots.tolist() == [slots_by_hand({mix(one) for one in some}, num_slots) for some in documents]
    assert found.signed.tolist() == [len(one) > 0 for one in documents]
    assert found.num_words.tolist() == [len(one) for one in documents]
    assert (found.slots.dtype, found.num_words.dtype) == (np.uint8, np.uint32)


@settings(deadline=None, max_examples=30)
@given(
    texts=st.lists(st.none() | st.text("abC 猫\u2019\x00\U0001f642", max_size=40), max_size=6), size=st.integers(1, 5)
)
def test_signatures_of_texts_are_those_made_by_hand(texts: list[str | None], size: int) -> None:
    """From the text: words, their n-grams, slots. Fewer words than an n-gram has, and nulls, give no signature."""
    found = signed(texts, ngrams=size)
    for number, text in enumerate(texts):
        ngrams = ngrams_by_hand(text or "", size)
        assert found.num_words[number] == len(by_hand(text or ""))
        assert found.signed[number] == bool(ngrams)
        assert found.slots[number].tolist() == slots_by_hand({hash_of_ngram(one) for one in ngrams}, 112)


def test_odd_documents() -> None:
    """Empty, of one word, of control characters, of characters next to forbidden ones, of Han, of one run."""
    texts = ["", "word", "\x00\x01\ufffd" * 50, "\ud7ff\ue000\U0010ffff x" * 9, "猫がいる家の前で待つ", "ab" * 9000]
    found = signed([*texts, None])
    assert found.num_words.tolist() == [0, 1, 50, 10, 10, 1, 0]
    assert found.signed.tolist() == [False, False, True, True, True, False, False]
    for number, text in enumerate(texts):
        ngrams = {hash_of_ngram(one) for one in ngrams_by_hand(text, 5)}
        assert found.slots[number].tolist() == slots_by_hand(ngrams, 112)


def test_the_highest_rank_fills_no_slot() -> None:
    """An n-gram with it falls in the throws with other ranks."""
    hashes = np.array([0x1234567890ABCDEF, 0xFEDCBA98FFFFFFFF], dtype=np.uint64)
    for some in (hashes, hashes[1:]):
        found = signatures._slots(some, np.array([len(some)]), 16)
        assert found.tolist() == [slots_by_hand(set(some.tolist()), 16)]


def test_the_pieces_that_are_signed_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does a slice of a column, nor what else is in it, nor when documents that are done are left out."""
    texts = [" ".join(prose(length, length)) for length in (3, 5, 900, 40, 6, 7, 300, 8, 2000, 9, 90)]
    whole = signed(texts)
    for ngrams, documents, share in ((1, 1, 0.0), (50, 3, 1.0), (1 << 20, 2, 0.5)):
        monkeypatch.setattr(signatures, "_PIECE_NGRAMS", ngrams)
        monkeypatch.setattr(signatures, "_PIECE_DOCUMENTS", documents)
        monkeypatch.setattr(signatures, "_WORTH_LEAVING_OUT", share)
        part = signatures_of(words_of(column(["before", *texts, "after it " * 9])[1:-1]))
        assert part.slots.tolist() == whole.slots.tolist()
        assert part.signed.tolist() == whole.signed.tolist()


def test_enormous_documents_are_signed_by_their_first_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the words that begin there; all words are counted."""
    words = prose(400, 1)
    text = " ".join(words)
    begins = len(" ".join(words[:100])) + 1
    texts = [text, "x " * 20, "y" * (begins + 50) + text]
    for num_bytes, num_words in ((begins, 100), (begins + 1, 101)):
        expected = signed([" ".join(words[:num_words])]).slots[0].tolist()
        monkeypatch.setattr(signatures, "MAX_SIGNED_BYTES", num_bytes)
        found = signed([*texts])
        assert found.slots[0].tolist() == expected
        monkeypatch.undo()
    assert found.num_words.tolist() == [400, 20, 400]
    assert found.signed.tolist() == [True, True, False]


def test_case_punctuation_and_white_space_make_no_difference() -> None:
    """Nor does an n-gram that comes again."""
    found = signed(["The cat, it's out. The cat!", "the  CAT\nit-s (out) the cat"], ngrams=2).slots
    assert found[0].tolist() == found[1].tolist()
    assert signed(["a b a b a b"], ngrams=2).slots.tolist() == signed(["a b a"], ngrams=2).slots.tolist()


def test_too_many_slots_are_refused() -> None:
    with pytest.raises(ValueError, match="more than 1024 slots"):
        signed(["a"], bands=129, rows=8)


def test_keys_are_the_bytes_of_bands() -> None:
    """The first byte lowest; of arrays that are not contiguous too."""
    slots = np.arange(32, dtype=np.uint8).reshape(2, 16)
    expected = [[int.from_bytes(bytes(row[at : at + 8]), "little") for at in (0, 8)] for row in slots]
    assert band_keys(slots).tolist() == expected
    assert band_keys(np.asfortranarray(slots)).tolist() == expected


def test_an_estimate_is_corrected_for_chance() -> None:
    """Equal in all slots, in the share that chance gives, in none."""
    left = np.zeros((3, 256), dtype=np.uint8)
    right = np.ones_like(left)
    right[0] = 0
    right[1, 7] = 0
    assert equal_slots(left, right).tolist() == [256, 1, 0]
    assert estimate(left, right).tolist() == [1, 0, 0]


def test_no_document_gives_no_signature() -> None:
    empty = signatures_of(words_of(pa.array([], pa.large_string())))
    assert (empty.slots.shape, len(empty)) == ((0, 112), 0)
