"""What all scripts `feed_*.py` of this folder share: their two verbs, the clock, and the proof of what was read.

    python benchmarks/peers/feed_NAME.py write SEQUENCES LENGTH FOLDER
    python benchmarks/peers/feed_NAME.py read FOLDER [--mode MODE] [--prove]

SEQUENCES is a bare file of int32 ids, `LENGTH` a sequence. A script needs its library, numpy and nothing else, so that
it can run in an environment of its own. `read` prints JSON.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

BATCH = 8
"""Sequences that are handed over at a time, as one array of their own."""
SEED = 1
Read = Callable[[Path, str], tuple[Iterable[Any], Callable[[Any], Any]]]
"""Opens a folder in a mode: gives the batches, and what gives the ids of one."""


class Proof:
    """Which sequences were seen, whatever their order and the type of their ids."""

    def __init__(self) -> None:
        self._digests: list[bytes] = []
        self._sum = 0

    def add(self, ids: np.ndarray) -> None:
        """Take note of a batch: any integers, [n, length]."""
        self._sum += int(ids.sum(dtype=np.int64))
        for sequence in np.ascontiguousarray(ids, dtype=np.int32):
            self._digests.append(hashlib.blake2b(sequence, digest_size=16).digest())

    def found(self) -> dict[str, Any]:
        """Equal `sum_of_ids` and `sequences` mean: the same sequences as often; equal `order`: in the same order."""
        return {
            "sum_of_ids": self._sum,
            "sequences": hashlib.sha256(b"".join(sorted(self._digests))).hexdigest(),
            "order": hashlib.sha256(b"".join(self._digests)).hexdigest(),
        }


def stored(path: Path, length: int) -> np.ndarray:
    """The sequences to write, mapped: int32[sequences, length]."""
    return np.memmap(path, dtype=np.int32, mode="r").reshape(-1, length)


def measure(batches: Iterable[Any], ids_of: Callable[[Any], Any], *, prove: bool) -> dict[str, Any]:
    """Read to the end: the seconds from asking for the first batch until the last one is there.

    Args:
        batches: those of a data set that is already open.
        ids_of: the ids of a batch, [n, length].
        prove: note what was read, which takes time: the clock then means nothing.
    """
    proof, num_sequences, num_tokens, first, kind = Proof(), 0, 0, None, ""
    started = time.perf_counter()
    for batch in batches:
        ids = ids_of(batch)
        if first is None:
            first, kind = time.perf_counter() - started, str(ids.dtype).removeprefix("torch.")
        num_sequences += ids.shape[0]
        num_tokens += ids.shape[0] * ids.shape[1]
        if prove:
            proof.add(np.asarray(ids))
    return {
        "seconds": time.perf_counter() - started,
        "first_batch_seconds": first,
        "num_sequences": num_sequences,
        "num_tokens": num_tokens,
        "ids": kind,
        "proof": proof.found() if prove else None,
    }


def main(
    package: str,
    write: Callable[[np.ndarray, Path], None] | None,
    read: Read,
) -> None:
    """Run one of the two verbs.

    Args:
        package: whose version the report names.
        write: writes sequences into a folder with the library's own writer; None: this script has only `read`.
        read: opens a folder; its batches come in a shuffled order.
    """
    parser = argparse.ArgumentParser(description=f"Write and read sequences with {package}.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    if write is not None:
        writing = verbs.add_parser("write")
        writing.add_argument("sequences", type=Path)
        writing.add_argument("length", type=int)
        writing.add_argument("folder", type=Path)
        writing.set_defaults(run=lambda options: write(stored(options.sequences, options.length), options.folder))
    reading = verbs.add_parser("read")
    reading.add_argument("folder", type=Path)
    reading.add_argument("--mode", default="")
    reading.add_argument("--prove", action="store_true")
    reading.set_defaults(run=lambda options: _report(package, read, options))
    options = parser.parse_args()
    options.run(options)


def _report(package: str, read: Read, options: argparse.Namespace) -> None:
    batches, ids_of = read(options.folder, options.mode)
    report = measure(batches, ids_of, prove=options.prove)
    distribution = {"mixer": "mixer-data"}.get(package, package)
    print(json.dumps({**report, "versions": {package: version(distribution)}}))
