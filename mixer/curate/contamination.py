"""Documents that hold evaluation items: found once, decided as often as wanted (format.md, "Contamination").

`find_items` reads text and gives facts: which n-grams of which items each document has, and where.
`decide_contamination` takes facts alone, so that another threshold, or other n-grams to ignore, need no text. Compiled
kernels only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pyarrow as pa

from mixer.curate.item_index import ItemIndex
from mixer.curate.item_matches import borders, item_matches, longest_stretches
from mixer.sources.text import text_offsets

FLOOR = Fraction(1, 8)
"""A document with less of an item's entries is not kept as a hit."""
_GAP_BYTES = 16
"""For each word of an item: an n-gram so far from the one before it is not of the same stretch."""
_PIECE_BYTES = 1 << 19
"""Text that is worked on at a time: its arrays fit into the cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemHits:
    """The items in some documents, each with at least an eighth of its entries, by row and then item."""

    num_documents: int
    # int64[hits]: the document, from 0.
    row: np.ndarray
    # int32[hits].
    item: np.ndarray
    # int64[hits]: where the item lies, in bytes of the document's text: of that stretch which has most of its n-grams,
    # from the first n-gram to the word after the last one.
    start: np.ndarray
    stop: np.ndarray
    # int32[...]: the entries that are in the document, counted within the item, rising; int64[hits + 1]: those of each.
    entries: np.ndarray
    entry_offsets: np.ndarray
    # int64[...], rising: n-grams that any document has, and in how many documents each is. Hits or not.
    ngrams: np.ndarray
    ngram_documents: np.ndarray

    def __len__(self) -> int:
        return len(self.row)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contamination:
    """Contaminated documents with their items, by row; a row's items by falling share, then item."""

    # int64[n]: the document; int32[n]: the item.
    row: np.ndarray
    item: np.ndarray
    # int32[n]: entries of the item that are in the document, of how many that count.
    found: np.ndarray
    counted: np.ndarray
    # int64[n]: as in `ItemHits`.
    start: np.ndarray
    stop: np.ndarray

    def __len__(self) -> int:
        return len(self.row)

    @property
    def is_first(self) -> np.ndarray:
        """Whether each is the first of its row, the one with the largest share: bool[n]."""
        first = np.ones(len(self.row), dtype=bool)
        np.not_equal(self.row[1:], self.row[:-1], out=first[1:])
        return first


def find_items(index: ItemIndex, text: pa.LargeStringArray) -> ItemHits:
    """The items in documents; a null has none. Cost: linear in the bytes."""
    return concatenated_hits([_find_in_piece(index, text[first:stop]) for first, stop in _pieces(text_offsets(text))])


def concatenated_hits(parts: Sequence[ItemHits]) -> ItemHits:
    """The hits of documents that follow one another. Pure."""
    first = np.cumsum([0, *(part.num_documents for part in parts)])
    empty = np.empty(0, dtype=np.int64)
    ngrams, number = np.unique(np.concatenate([empty, *(part.ngrams for part in parts)]), return_inverse=True)
    counts = np.concatenate([empty, *(part.ngram_documents for part in parts)])
    documents = np.zeros(len(ngrams), dtype=np.int64)
    np.add.at(documents, number, counts)
    lengths = np.concatenate([empty, *(np.diff(part.entry_offsets) for part in parts)])
    return ItemHits(
        num_documents=int(first[-1]),
        row=np.concatenate([empty, *(part.row + before for part, before in zip(parts, first))]),
        item=np.concatenate([empty.astype(np.int32), *(part.item for part in parts)]),
        start=np.concatenate([empty, *(part.start for part in parts)]),
        stop=np.concatenate([empty, *(part.stop for part in parts)]),
        entries=np.concatenate([empty.astype(np.int32), *(part.entries for part in parts)]),
        entry_offsets=np.concatenate([[0], np.cumsum(lengths)]),
        ngrams=ngrams,
        ngram_documents=documents,
    )


def frequent_ngrams(index: ItemIndex, hits: ItemHits, share: Fraction, least: int) -> np.ndarray:
    """The n-grams that say little, because many documents have them: bool[n-grams of the index]. Pure.

    Args:
        index: what was looked for.
        hits: of a whole source, or of a keyed sample of it.
        share: of the documents; an n-gram in more of them is frequent,
        least: unless it is in at most so many.
    """
    frequent = np.zeros(index.num_ngrams, dtype=bool)
    limit = max(least, hits.num_documents * share.numerator // share.denominator)
    frequent[hits.ngrams[hits.ngram_documents > limit]] = True
    return frequent


def decide_contamination(
    index: ItemIndex, hits: ItemHits, threshold: Fraction, ignored: np.ndarray | None = None
) -> Contamination:
    """The contaminated documents. Pure.

    An item is in a document if at least `threshold` of its entries are, of a short item all; entries of ignored
    n-grams do not count. An item is not looked for if so many are ignored that `FLOOR` could hide it: if less than
    FLOOR / threshold of its entries count, and so of a short item less than FLOOR.

    Args:
        index: what was looked for.
        hits: what was found.
        threshold: from `FLOOR` to 1.
        ignored: bool[n-grams of the index]; None: none.

    Raises:
        ValueError: the threshold is below `FLOOR` or above 1.
    """
    if not FLOOR <= threshold <= 1:
        raise ValueError(f"the threshold has to be from {FLOOR} to 1, not {threshold}")
    counts = np.ones(len(index.entry_ngram), dtype=np.int64)
    if ignored is not None:
        counts[ignored[index.entry_ngram]] = 0
    total = np.diff(index.entry_offsets)
    counted = _sums(counts, index.entry_offsets)
    hit = np.repeat(np.arange(len(hits)), np.diff(hits.entry_offsets))
    entry = index.entry_offsets[hits.item[hit]] + hits.entries
    found = np.bincount(hit, weights=counts[entry], minlength=len(hits)).astype(np.int64)
    numerator = np.where(index.is_short, 1, threshold.numerator)
    denominator = np.where(index.is_short, 1, threshold.denominator)
    # counted / total >= FLOOR / threshold, in whole numbers.
    is_sought = (counted > 0) & (counted * numerator * FLOOR.denominator >= total * denominator * FLOOR.numerator)
    item = hits.item
    is_held = is_sought[item] & (found * denominator[item] >= counted[item] * numerator[item])
    kept = np.flatnonzero(is_held)
    share = found[kept] / counted[item[kept]]
    kept = kept[np.lexsort((item[kept], -share, hits.row[kept]))]
    return Contamination(
        row=hits.row[kept],
        item=item[kept],
        found=found[kept].astype(np.int32),
        counted=counted[item[kept]].astype(np.int32),
        start=hits.start[kept],
        stop=hits.stop[kept],
    )


def _pieces(bounds: np.ndarray) -> Iterator[tuple[int, int]]:
    """ranges of documents of about half a megabyte; a longer document is one by itself."""
    first = 0
    while first < len(bounds) - 1:
        fitting = int(np.searchsorted(bounds, bounds[first] + _PIECE_BYTES, "right")) - 1
        stop = max(first + 1, fitting)
        yield first, stop
        first = stop


def _find_in_piece(index: ItemIndex, text: pa.LargeStringArray) -> ItemHits:
    matches = item_matches(index, text)
    ngrams, documents = np.unique(matches.ngram, return_counts=True)
    # One line for each entry of an item that a document has.
    counts = index.ngram_offsets[matches.ngram + 1] - index.ngram_offsets[matches.ngram]
    match = np.repeat(np.arange(len(counts)), counts)
    within = np.arange(len(match)) - np.repeat(np.cumsum(counts) - counts, counts)
    entry = index.ngram_entries[index.ngram_offsets[matches.ngram[match]] + within]
    item, document = index.entry_item[entry], matches.document[match]
    order = np.lexsort((entry, item, document))
    match, entry, item, document = match[order], entry[order], item[order], document[order]
    begins = borders(document, item)
    lengths = np.diff(np.append(begins, len(item)))
    total = np.diff(index.entry_offsets)[item[begins]]
    is_hit = lengths * FLOOR.denominator >= total * FLOOR.numerator
    kept = np.repeat(is_hit, lengths)
    match, entry, item, document = match[kept], entry[kept], item[kept], document[kept]
    begins = borders(document, item)
    offsets = np.append(begins, len(item))
    start, stop = longest_stretches(
        matches.start[match], matches.stop[match], offsets, _GAP_BYTES * index.num_words[item[begins]]
    )
    return ItemHits(
        num_documents=len(text),
        row=document[begins],
        item=item[begins].astype(np.int32),
        start=start,
        stop=stop,
        entries=(entry - index.entry_offsets[item]).astype(np.int32),
        entry_offsets=offsets,
        ngrams=ngrams,
        ngram_documents=documents,
    )


def _sums(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """The sum of each range of values."""
    sums = np.concatenate([[0], np.cumsum(values)])
    found: np.ndarray = sums[offsets[1:]] - sums[offsets[:-1]]
    return found
