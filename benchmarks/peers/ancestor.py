"""The ancestor's loop: `interleave_datasets` by row weights, a buffer shuffle, tiktoken, cut every 8193 ids.

    python benchmarks/peers/ancestor.py SOURCES_FOLDER BUFFER_ROWS NAME=SHARE ...

One process, as in a rank of the ancestor's training job. The sources are parquet with nothing but the text. Sources
that run out start again until all have run out, so the bytes of text are counted here.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import datasets
import llama_models
import numpy as np
import tiktoken
from tiktoken.load import load_tiktoken_bpe

_BOS, _EOS = 128_000, 128_001
_CUT = 8193
# Of its own accord `datasets` sleeps for 5 seconds whenever a parquet source has run out: here that would be most of
# the time, over a real corpus it is nothing.
datasets.config.SLEEP_TIME_ON_THREADS_SHUTDOWN = 0
_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def main(folder: Path, buffer_rows: int, shares: dict[str, float]) -> None:
    sources = [
        datasets.load_dataset("parquet", data_files=str(folder / f"{name}.parquet"), split="train", streaming=True)
        for name in shares
    ]
    mixed = datasets.interleave_datasets(
        sources, probabilities=list(shares.values()), seed=1, stopping_strategy="all_exhausted"
    ).shuffle(seed=1, buffer_size=buffer_rows)
    ranks = load_tiktoken_bpe(str(Path(llama_models.__file__).parent / "llama3" / "tokenizer.model"))
    encoding = tiktoken.Encoding("llama3", pat_str=_PATTERN, mergeable_ranks=ranks, special_tokens={})
    num_bytes = num_sequences = 0
    waiting: list[int] = []
    for row in mixed:
        num_bytes += len(row["text"].encode())
        waiting += [_BOS, *encoding.encode_ordinary(row["text"]), _EOS]
        for sequence in _cut(waiting):
            num_sequences += len(sequence) == _CUT
    versions = {name: version(name) for name in ("datasets", "tiktoken")}
    print(json.dumps({"text_bytes": num_bytes, "num_sequences": num_sequences, "versions": versions}))


def _cut(waiting: list[int]) -> Iterator[np.ndarray]:
    """Whole sequences off the front of the ids that wait."""
    stop = len(waiting) // _CUT * _CUT
    for start in range(0, stop, _CUT):
        yield np.array(waiting[start : start + _CUT])
    del waiting[:stop]


if __name__ == "__main__":
    shares = dict(item.rsplit("=", 1) for item in sys.argv[3:])
    main(Path(sys.argv[1]), int(sys.argv[2]), {name: float(share) for name, share in shares.items()})
