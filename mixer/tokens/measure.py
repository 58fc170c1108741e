"""Tokens per row of a source, measured on a small keyed sample: what task sizes and estimates are made from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mixer import rng
from mixer.errors import DataError

if TYPE_CHECKING:
    from mixer.recipe import Recipe, Source
    from mixer.sources import Snapshot
    from mixer.tokens.tokenizer import Tokenizer

_ROWS_A_BLOCK = 32
_MAX_ROWS = 256
_ENOUGH_BYTES = 1 << 20


def measure_tokens_per_row(
    name: str, source: Source, snapshot: Snapshot, tokenizer: Tokenizer, recipe: Recipe
) -> float:
    """The mean tokens of a row as it would be packed: BOS and EOS counted, rows without text counted as 0.

    Deterministic: the first rows of some blocks, which a key chooses. Weights in tokens are made from it and get a
    sample 16 times larger.

    Raises:
        DataError: none of the rows seen has any text.
    """
    from mixer.sources import SourceReader

    more = 16 if recipe.weights == "tokens" else 1
    special_tokens = recipe.sequence.bos + recipe.sequence.eos
    reader = SourceReader(name, source, snapshot, recipe.on_bad_row)
    num_rows = num_bytes = num_tokens = 0
    for block in rng.permutation(len(snapshot.block_kept), recipe.seed, "measure", name).tolist():
        stop = min(int(snapshot.block_kept[block]), _ROWS_A_BLOCK * more)
        for texts in reader.read(block, 0, stop):
            present = texts.text.drop_null()
            lengths = np.diff(tokenizer.encode(present).offsets)
            if recipe.max_document_tokens is not None:
                lengths = lengths[lengths + special_tokens <= recipe.max_document_tokens]
            num_rows += len(texts.rows)
            num_bytes += present.nbytes
            num_tokens += int(lengths.sum()) + special_tokens * int((lengths > 0).sum())
        if num_rows >= _MAX_ROWS * more or (num_rows >= _ROWS_A_BLOCK and num_bytes >= _ENOUGH_BYTES * more):
            break
    if num_tokens == 0:
        raise DataError(
            f"none of the {num_rows:,} rows looked at has any text",
            where=f"sources.{name}",
            hint="check `text` and `max_document_tokens`",
        )
    return num_tokens / num_rows
