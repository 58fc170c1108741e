"""Tokens per row of a source, measured on a small keyed sample: what task sizes and estimates are made from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from mixer import rng
from mixer.errors import DataError
from mixer.tokens.measurement import Measurement, measurement

if TYPE_CHECKING:
    from mixer.recipe import Recipe, Source
    from mixer.sources import Snapshot, SourceReader, Texts
    from mixer.tokens.tokenizer import Tokenizer

_WINDOWS, _WINDOW_ROWS = 8, 32
_ENOUGH_BYTES = 4 << 20
_MORE_FOR_WEIGHTS = 8
_MORE_WITHOUT_TEXT = 8
_BLOCKS_AHEAD = 3
"""Blocks of a remote source that are fetched before it is known whether they will be needed."""


def measure_tokens_per_row(
    name: str, source: Source, snapshot: Snapshot, tokenizer: Tokenizer, recipe: Recipe
) -> float:
    """The mean tokens of a row that a plan records: that of `measure_rows`.

    Raises:
        DataError: no row of the source has any text.
    """
    return measure_rows(name, source, snapshot, tokenizer, recipe).tokens_per_row


def measure_rows(
    name: str,
    source: Source,
    snapshot: Snapshot,
    tokenizer: Tokenizer,
    recipe: Recipe,
    *,
    thorough: bool = False,
) -> Measurement:
    """The tokens of a row as it would be packed: BOS and EOS counted, rows without text counted as 0.

    Deterministic: short windows of rows at places all over the source, which a key chooses. Weights in tokens are made
    from it and get a larger sample, as does who asks for a thorough one; so does a source in whose sample there is no
    text.

    Raises:
        DataError: no row of the source has any text.
    """
    from mixer.sources import SourceReader

    more = _MORE_FOR_WEIGHTS if thorough or recipe.weights == "tokens" else 1
    while True:
        reader = SourceReader(name, source, snapshot, recipe.on_bad_row)
        parts: list[Texts] = []
        window_rows: list[int] = []
        num_bytes = 0
        windows = list(_windows(snapshot.block_kept, more * _WINDOWS, recipe.seed, name))
        with _fetching_ahead(reader, [block for block, _, _ in windows]) as expect:
            for number, (block, start, stop) in enumerate(windows):
                expect(number)
                window_rows.append(stop - start)
                for texts in reader.read(block, start, stop):
                    parts.append(texts)
                    num_bytes += texts.text.drop_null().nbytes
                if num_bytes >= more * _ENOUGH_BYTES:
                    break
        tokens, text_bytes = _tokens_of_rows(parts, tokenizer, recipe)
        if tokens.any():
            return measurement(tokens, _runs(window_rows), num_bytes=text_bytes, total_rows=snapshot.num_kept)
        if len(tokens) == snapshot.num_kept:
            raise DataError(
                f"none of the {len(tokens):,} rows has any text",
                where=f"sources.{name}",
                hint="check `text` and `max_document_tokens`",
            )
        more *= _MORE_WITHOUT_TEXT


@contextmanager
def _fetching_ahead(reader: SourceReader, blocks: list[int]) -> Iterator[Callable[[int], None]]:
    """What to call with the number of a block's turn: it is fetched, and the next few behind it, if it is remote."""
    remote = reader.remote
    if remote is None:
        yield lambda number: None
        return
    from mixer.sources.remote.blocks import FetchAhead

    ahead = FetchAhead()
    remote.use(ahead)

    def expect(number: int) -> None:
        coming = dict.fromkeys(blocks[number:])
        ahead.expect((remote, block) for block in [*coming][:_BLOCKS_AHEAD] if block != reader.open_block)

    try:
        yield expect
    finally:
        ahead.close()


def _tokens_of_rows(parts: list[Texts], tokenizer: Tokenizer, recipe: Recipe) -> tuple[np.ndarray, int]:
    """Tokens of each row, 0 where it makes no document: int64[rows]; and the bytes of the rows that make one."""
    from mixer.sources.text import text_offsets

    text = pa.concat_arrays([part.text for part in parts])
    has_text = np.asarray(text.is_valid())
    documents = text.drop_null()
    lengths = np.diff(tokenizer.encode(documents).offsets)
    packed = np.where(lengths > 0, lengths + recipe.sequence.bos + recipe.sequence.eos, 0)
    if recipe.max_document_tokens is not None:
        packed[packed > recipe.max_document_tokens] = 0
    tokens = np.zeros(len(text), dtype=np.int64)
    tokens[has_text] = packed
    return tokens, int(np.diff(text_offsets(documents))[packed > 0].sum())


def _runs(window_rows: list[int]) -> np.ndarray:
    """The number of each row's run of at most 32 rows: windows of a small source are whole blocks. int64[rows]."""
    lengths = [min(_WINDOW_ROWS, rows - begin) for rows in window_rows for begin in range(0, rows, _WINDOW_ROWS)]
    return np.repeat(np.arange(len(lengths)), lengths)


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
