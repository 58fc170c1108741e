"""The n-grams of evaluation items in documents, and where they lie close together. Pure; compiled kernels only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from mixer.curate.item_index import ItemIndex
from mixer.curate.words import run_sums, words_of
from mixer.sources.text import text_offsets


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemMatches:
    """Each n-gram of a document once, where it is first: int64 all, by document and then n-gram."""

    document: np.ndarray
    ngram: np.ndarray
    # In bytes of the document.
    start: np.ndarray
    stop: np.ndarray


def item_matches(index: ItemIndex, text: pa.LargeStringArray) -> ItemMatches:
    """The n-grams of items in documents; a null has none. Cost: linear in the bytes; eight bytes of memory a byte."""
    words = words_of(text)
    ends = np.diff(text_offsets(text))
    empty = np.empty(0, dtype=np.int64)
    documents, ngrams, starts, stops = [empty], [empty], [empty], [empty]
    for table, (size, sums) in zip(index.tables, run_sums(words, [table.size for table in index.tables])):
        first, ngram = table.lookup(sums)
        document = np.searchsorted(words.offsets, first, "right") - 1
        after = first + size
        inside = after <= words.offsets[document + 1]
        first, ngram, document, after = first[inside], ngram[inside], document[inside], after[inside]
        is_last = after == words.offsets[document + 1]
        stop = ends[document]
        stop[~is_last] = words.starts[after[~is_last]]
        documents.append(document)
        ngrams.append(ngram)
        starts.append(words.starts[first])
        stops.append(stop)
    document, ngram = np.concatenate(documents), np.concatenate(ngrams)
    start, stop = np.concatenate(starts), np.concatenate(stops)
    order = np.lexsort((start, ngram, document))
    once = order[borders(document[order], ngram[order])]
    return ItemMatches(document=document[once], ngram=ngram[once], start=start[once], stop=stop[once])


def longest_stretches(
    start: np.ndarray, stop: np.ndarray, offsets: np.ndarray, max_gap: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Where the stretch with most places of each group starts and stops, the first of several such.

    Args:
        start: int64[places], in groups that begin at `offsets`.
        stop: int64[places].
        offsets: int64[groups + 1].
        max_gap: int64[groups]: a place that starts so many bytes after the one before it stops, or more, begins
            another stretch.
    """
    group = np.repeat(np.arange(len(max_gap)), np.diff(offsets))
    order = np.lexsort((start, group))
    start, stop = start[order], stop[order]
    is_new = np.zeros(len(start), dtype=bool)
    is_new[offsets[:-1]] = True
    is_new[1:] |= start[1:] - stop[:-1] >= max_gap[group[1:]]
    begins = np.flatnonzero(is_new)
    ends = np.append(begins[1:], len(start)) - 1
    stretch_group = group[begins]
    by_size = np.lexsort((begins - ends, stretch_group))
    best = by_size[borders(stretch_group[by_size])]
    return start[begins[best]], stop[ends[best]]


def borders(*keys: np.ndarray) -> np.ndarray:
    """Where a new group of equal keys begins: int64, rising."""
    if not len(keys[0]):
        return np.empty(0, dtype=np.int64)
    is_new = np.ones(len(keys[0]), dtype=bool)
    is_new[1:] = np.logical_or.reduce([key[1:] != key[:-1] for key in keys])
    return np.flatnonzero(is_new)
