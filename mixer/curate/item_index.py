"""The n-grams of evaluation items, for looking up those of documents (format.md, "Contamination"). Pure.

    items 0 "a b c d", 1 "b c d e", n-grams of 3 words:
    n-grams       0 "b c d"   1 "a b c"   2 "c d e"       (in the order of their sums)
    entries       0: item 0, n-gram 1   1: item 0, n-gram 0   2: item 1, n-gram 0   3: item 1, n-gram 2

An item has an entry for each distinct n-gram that says something about it: not those without a letter, nor those of
the form of a set, which very many items have.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mixer.curate.evaluation_items import EvaluationItems
from mixer.curate.words import Words, run_sums, words_of
from mixer.digest import identity

SHORT_NGRAM = 8
"""Words in an n-gram of a short item."""
MAX_ITEMS_OF_NGRAM = 256
"""An n-gram that more items have is of the form of their set, such as the instructions before each question."""
_VERSION = 1
_LEAST_SLOT_BITS, _MOST_SLOT_BITS = 16, 31
_SLOTS_OF_NGRAM = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class NgramTable:
    """The n-grams of one length, found by their sums (`run_sums`)."""

    # Words in each.
    size: int
    # uint64[n-grams], rising.
    sums: np.ndarray
    # The number of the first one.
    first: int
    # uint8[2^(64 - shift - 3)]: a bit for each value of a sum's first bits, set if an n-gram has it.
    slots: np.ndarray
    shift: int

    def lookup(self, sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which of these sums (uint64[n]) are in the table: their places, and n-gram numbers, int64 both."""
        slot = sums >> np.uint64(self.shift)
        bits = self.slots.take((slot >> np.uint64(3)).view(np.int64))
        bits >>= (slot & np.uint64(7)).astype(np.uint8)
        bits &= 1
        likely = np.flatnonzero(bits.view(bool))
        likely = likely[np.argsort(sums[likely])]  # the search is then one walk through memory
        wanted = sums[likely]
        number = np.searchsorted(self.sums, wanted)
        equal = self.sums[np.minimum(number, len(self.sums) - 1)] == wanted
        return likely[equal], number[equal] + self.first


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ItemIndex:
    """The entries of items, item by item, and n-gram by n-gram. Equal to any of the same id."""

    # identity of the items' words and of the sizes of n-grams: what the facts of a document depend on.
    id: str
    tables: tuple[NgramTable, ...]
    # int64[items + 1], rising: where each item's entries begin, in the order of the n-grams in its text.
    entry_offsets: np.ndarray
    # int64[entries]: the n-gram of each, and its item.
    entry_ngram: np.ndarray
    entry_item: np.ndarray
    # int64[n-grams + 1], rising: where each n-gram's entries are in `ngram_entries`, int64[entries].
    ngram_offsets: np.ndarray
    ngram_entries: np.ndarray
    # bool[items]: whether all of the item has to be found.
    is_short: np.ndarray
    # int64[items]: words of each.
    num_words: np.ndarray

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ItemIndex) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    @property
    def num_items(self) -> int:
        """Items, those without entries too."""
        return len(self.num_words)

    @property
    def num_ngrams(self) -> int:
        """Distinct n-grams of all sizes."""
        return len(self.ngram_offsets) - 1


def index_items(items: EvaluationItems, ngram: int = 13) -> ItemIndex:
    """The index of items. Cost: a sort of their n-grams.

    An item of at least `ngram` + 7 words is cut into runs of `ngram` words. A shorter one is short: it is cut into runs
    of 8 words (`ngram`, if that is less), or is one run if it has fewer.
    """
    words = words_of(items.text)
    num_words = np.diff(words.offsets)
    short = min(SHORT_NGRAM, ngram)
    is_short = num_words < ngram + SHORT_NGRAM - 1
    size = np.where(is_short, np.minimum(num_words, short), ngram)
    empty = np.empty(0, dtype=np.int64)
    tables, items_of, ngrams_of, entries_of = [], [empty], [empty], [empty]
    num_ngrams = num_entries = 0
    for one in np.unique(size).tolist():
        rows = np.flatnonzero(size == one)
        part = _entries(items.text.take(pa.array(rows)), one)
        if len(part.sums):
            tables.append(_table(one, part.sums, num_ngrams))
        items_of.append(rows[part.item])
        ngrams_of.append(part.ngram + num_ngrams)
        entries_of.append(part.by_ngram + num_entries)
        num_ngrams, num_entries = num_ngrams + len(part.sums), num_entries + len(part.item)
    # The parts are of different sizes of n-grams: put their items in order.
    item, ngram_number = np.concatenate(items_of), np.concatenate(ngrams_of)
    order = np.argsort(item, kind="stable")
    item, ngram_number = item[order], ngram_number[order]
    place = np.empty(num_entries, dtype=np.int64)
    place[order] = np.arange(num_entries)
    return ItemIndex(
        id=identity(["evaluation items", _VERSION, items.digest, ngram, short, MAX_ITEMS_OF_NGRAM]),
        tables=tuple(tables),
        entry_offsets=_offsets(np.bincount(item, minlength=len(num_words))),
        entry_ngram=ngram_number,
        entry_item=item,
        ngram_offsets=_offsets(np.bincount(ngram_number, minlength=num_ngrams)),
        ngram_entries=place[np.concatenate(entries_of)],
        is_short=is_short,
        num_words=num_words,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entries:
    """The entries of texts, by text and place."""

    # int64[entries]: the text, and the number of the n-gram.
    item: np.ndarray
    ngram: np.ndarray
    # uint64[n-grams], rising.
    sums: np.ndarray
    # int64[entries]: entries in the order of their n-grams.
    by_ngram: np.ndarray


def _entries(text: pa.LargeStringArray, size: int) -> _Entries:
    """The entries of texts that are cut into n-grams of this size."""
    words = words_of(text)
    ((_, runs),) = run_sums(words, [size])
    counts = np.diff(words.offsets) - (size - 1)  # no text has fewer words
    item = np.repeat(np.arange(len(text)), counts)
    begin = np.arange(len(item)) + (size - 1) * item
    letters = _offsets(_has_letter(text, words))
    kept = np.flatnonzero(letters[begin + size] > letters[begin])
    item, sums = item[kept], runs[begin[kept]]
    # Equal n-grams one after the other, and those of one text by place: each text keeps its first.
    order = np.argsort(sums, kind="stable")
    is_new = _differs(sums[order])
    number = np.cumsum(is_new) - 1
    is_entry = is_new | _differs(item[order])
    is_telling = np.bincount(number[is_entry]) <= MAX_ITEMS_OF_NGRAM
    is_entry &= is_telling[number]
    by_ngram = order[is_entry]
    ngram = np.full(len(item), -1)
    ngram[by_ngram] = (np.cumsum(is_telling) - 1)[number[is_entry]]
    is_kept = ngram >= 0
    return _Entries(
        item=item[is_kept],
        ngram=ngram[is_kept],
        sums=sums[order[is_new]][is_telling],
        by_ngram=(np.cumsum(is_kept) - 1)[by_ngram],
    )


def _differs(values: np.ndarray) -> np.ndarray:
    """Whether each value is another one than that before it: bool[values]."""
    differs = np.ones(len(values), dtype=bool)
    np.not_equal(values[1:], values[:-1], out=differs[1:])
    return differs


def _has_letter(text: pa.LargeStringArray, words: Words) -> np.ndarray:
    """Whether each word is more than ASCII digits: bool[words]. Something is left of it where digits are gaps."""
    left = words_of(pc.replace_substring_regex(text, "[0-9]", " "))
    document = np.repeat(np.arange(len(text)), np.diff(left.offsets))
    keys = _keys(np.repeat(np.arange(len(text)), np.diff(words.offsets)), words.starts)
    found = np.zeros(len(words), dtype=bool)
    found[np.searchsorted(keys, _keys(document, left.starts), "right") - 1] = True
    return found


def _keys(document: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Numbers that rise with the document, and within it with the place."""
    keys: np.ndarray = (document << 40) + start
    return keys


def _table(size: int, sums: np.ndarray, first: int) -> NgramTable:
    bits = min(max((len(sums) * _SLOTS_OF_NGRAM).bit_length(), _LEAST_SLOT_BITS), _MOST_SLOT_BITS)
    shift = 64 - bits
    slot = (sums >> np.uint64(shift)).astype(np.int64)
    begins = np.flatnonzero(np.diff(slot >> 3, prepend=-1))
    slots = np.zeros(1 << (bits - 3), dtype=np.uint8)
    slots[slot[begins] >> 3] = np.bitwise_or.reduceat(np.left_shift(1, slot & 7).astype(np.uint8), begins)
    return NgramTable(size=size, sums=sums, first=first, slots=slots, shift=shift)


def _offsets(counts: np.ndarray) -> np.ndarray:
    offsets: np.ndarray = np.concatenate([[0], np.cumsum(counts)])
    return offsets
