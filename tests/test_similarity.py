"""What signatures say of similarity, held against the exact similarity of many pairs of documents."""

from __future__ import annotations

import random

import numpy as np
import pytest
from test_signatures import ngrams_by_hand, prose, signed

from mixer.curate.signatures import band_keys, equal_slots, estimate


def similarity_by_hand(one: str, other: str, size: int = 5) -> float:
    """The Jaccard similarity of the sets of n-grams."""
    left, right = ngrams_by_hand(one, size), ngrams_by_hand(other, size)
    return len(left & right) / len(left | right)


def edited(words: list[str], share: float, seed: int) -> list[str]:
    """The words, a share of them replaced by others."""
    chosen = random.Random(seed)
    return [f"new{chosen.randrange(10**6)}" if chosen.random() < share else word for word in words]


@pytest.mark.parametrize("length", [15, 40, 120, 600])
@pytest.mark.parametrize("share", [0, 0.05, 0.1, 0.2])
def test_estimates_err_no_more_than_independent_slots_would(length: int, share: float) -> None:
    """Their mean is the similarity, and their variance at most the binomial one, but for chance."""
    originals = [prose(length, number) for number in range(300)]
    copies = [edited(words, share, number) for number, words in enumerate(originals)]
    texts = [" ".join(words) for words in originals], [" ".join(words) for words in copies]
    left, right = (signed(list(some)).slots for some in texts)
    similarity = np.array([similarity_by_hand(*pair) for pair in zip(*texts, strict=True)])
    chance = similarity + (1 - similarity) / 256
    variance = chance * (1 - chance) / 112
    errors = equal_slots(left, right) / 112 - chance
    if not share:
        assert (estimate(left, right) == 1).all()
        return
    assert abs(errors.sum()) < 4 * np.sqrt(variance.sum())
    assert (errors**2).sum() < 1.2 * variance.sum()
    assert (np.abs(errors) < 5 * np.sqrt(variance) + 0.02).all()
    assert np.abs(estimate(left, right) - similarity).mean() < 0.05


def test_bands_find_similar_documents() -> None:
    """As many pairs of each similarity as 14 bands of 8 promise, 1 - (1 - s^8)^14: by brute force over all pairs."""
    texts = []
    for number in range(30):
        words = prose(250, 10_000 + number)
        copies = [edited(words, 0.003 * copy, 100 * number + copy) for copy in range(10)]
        texts += [" ".join(words) for words in copies]
    keys = band_keys(signed(list(texts)).slots)
    ngrams = [ngrams_by_hand(text, 5) for text in texts]
    pairs = np.stack(np.triu_indices(len(texts), 1), axis=1)
    similarity = np.array([len(ngrams[a] & ngrams[b]) / len(ngrams[a] | ngrams[b]) for a, b in pairs.tolist()])
    is_found = (keys[pairs[:, 0]] == keys[pairs[:, 1]]).any(axis=1)
    equal = similarity + (1 - similarity) / 256
    promised = 1 - (1 - equal**8) ** 14
    is_near = similarity >= 0.8
    assert is_near.sum() > 400
    assert is_found[is_near].mean() > promised[is_near].mean() - 0.02
    assert is_found[is_near].mean() > 0.95
    assert abs(is_found.sum() - promised.sum()) < 0.1 * promised.sum()
    assert not is_found[similarity < 0.2].any()
