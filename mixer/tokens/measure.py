"""Tokens per row of a source, measured on a small keyed sample: what task sizes and estimates are made from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from mixer import rng
from mixer.errors import DataError

if TYPE_CHECKING:
    from mixer.recipe import Recipe, Source
    from mixer.sources import Snapshot
    from mixer.tokens.tokenizer import Tokenizer

_WINDOWS, _WINDOW_ROWS = 8, 32
_ENOUGH_BYTES = 4 << 20
_MORE_FOR_WEIGHTS = 8
_MORE_WITHOUT_TEXT = 8


def measure_tokens_per_row(
    name: str, source: Source, snapshot: Snapshot, tokenizer: Tokenizer, recipe: Recipe
) -> float:
    """The mean tokens of a row as it would be packed: BOS and EOS counted, rows without text counted as 0.

    Deterministic: short windows of rows at places all over the source, which a key chooses. Weights in tokens are made
    from it and get a larger sample; so does a source in whose sample there is no text.

    Raises:
        DataError: no row of the source has any text.
    """
    from mixer.sources import SourceReader

    special_tokens = recipe.sequence.bos + recipe.sequence.eos
    more = _MORE_FOR_WEIGHTS if recipe.weights == "tokens" else 1
    while True:
        reader = SourceReader(name, source, snapshot, recipe.on_bad_row)
        parts: list[pa.LargeStringArray] = []
        num_rows = num_bytes = 0
        for block, start, stop in _windows(snapshot.block_kept, more * _WINDOWS, recipe.seed, name):
            for texts in reader.read(block, start, stop):
                parts.append(texts.text.drop_null())
                num_rows += len(texts.rows)
                num_bytes += parts[-1].nbytes
            if num_bytes >= more * _ENOUGH_BYTES:
                break
        lengths = np.diff(tokenizer.encode(pa.concat_arrays(parts)).offsets)
        if recipe.max_document_tokens is not None:
            lengths = lengths[lengths + special_tokens <= recipe.max_document_tokens]
        num_tokens = int(lengths.sum()) + special_tokens * int((lengths > 0).sum())
        if num_tokens:
            return num_tokens / num_rows
        if num_rows == snapshot.num_kept:
            raise DataError(
                f"none of the {num_rows:,} rows has any text",
                where=f"sources.{name}",
                hint="check `text` and `max_document_tokens`",
            )
        more *= _MORE_WITHOUT_TEXT


def _windows(block_rows: np.ndarray, count: int, seed: int, name: str) -> Iterator[tuple[int, int, int]]:
    """Windows of rows (block, start, stop), no row twice: all rows of a small source, else `count` places by a key.

    Blocks come in the order of a key, so that the first windows are a sample of the source as well; the windows of a
    block come in its order, so that it is read once.
    """
    total = int(block_rows.sum())
    if total <= count * _WINDOW_ROWS:
        for block in range(len(block_rows)):
            yield block, 0, int(block_rows[block])
        return
    places = np.sort(rng.words(rng.key(seed, "measure", name), count) % np.uint64(total)).astype(np.int64)
    stops = np.cumsum(block_rows)
    blocks = np.searchsorted(stops, places, side="right")
    seen = np.unique(blocks)
    for block in seen[rng.permutation(len(seen), seed, "measure order", name)].tolist():
        done = 0
        for place in (places[blocks == block] - (stops[block] - block_rows[block])).tolist():
            start, stop = max(done, place), min(place + _WINDOW_ROWS, int(block_rows[block]))
            if start < stop:
                yield block, start, stop
                done = stop
