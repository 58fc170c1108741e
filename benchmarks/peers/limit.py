"""The limit: gigatoken alone on all cores, over text that is in memory as Arrow already; the ids are thrown away.

    python benchmarks/peers/limit.py threads|processes TEXT_ARROW TOKENIZER_JSON CALLS

`threads` is one call with `parallel=True`; `processes` gives every core a process and an equal part of the text.
Inside figure `warm`: the calls after the first, without start-up. By then the engine has seen every word of the text,
which no real corpus allows: a build cannot reach it.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
from importlib.metadata import version
from itertools import pairwise
from multiprocessing.synchronize import Barrier
from pathlib import Path

import awkward
import numpy as np
import pyarrow as pa
from gigatoken import Tokenizer


def main(mode: str, text_path: str, tokenizer_path: str, num_calls: int) -> None:
    tokenizer = Tokenizer.from_json(Path(tokenizer_path).read_bytes())
    text = pa.ipc.open_file(pa.memory_map(text_path)).read_all()["text"].combine_chunks()
    ends = np.frombuffer(text.buffers()[1], dtype=np.int64)[: len(text) + 1]
    if mode == "threads":
        seconds = [_seconds_in_threads(tokenizer, text) for _ in range(num_calls)]
    else:
        num_processes = len(os.sched_getaffinity(0))
        borders = np.searchsorted(ends, np.linspace(0, ends[-1], num_processes + 1))
        parts = [text[start:stop] for start, stop in pairwise(borders)]
        seconds = _seconds_in_processes(tokenizer, parts, num_calls)
    num_bytes = int(ends[-1])
    warm = {"seconds": sum(seconds[1:]), "text_bytes": num_bytes * (num_calls - 1)}
    print(
        json.dumps(
            {
                "text_bytes": num_bytes * num_calls,
                "versions": {"gigatoken": version("gigatoken")},
                "inside": {"warm": warm} if num_calls > 1 else {},
            }
        )
    )


def _seconds_in_threads(tokenizer: Tokenizer, text: pa.LargeStringArray) -> float:
    started = time.perf_counter()
    tokenizer.encode_batch(awkward.from_arrow(text), parallel=True)
    return time.perf_counter() - started


def _seconds_in_processes(tokenizer: Tokenizer, parts: list[pa.LargeStringArray], num_calls: int) -> list[float]:
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(len(parts) + 1)
    workers = [context.Process(target=_encode, args=(tokenizer, part, num_calls, barrier)) for part in parts]
    for worker in workers:
        worker.start()
    seconds = []
    for _ in range(num_calls):
        barrier.wait()
        started = time.perf_counter()
        barrier.wait()
        seconds.append(time.perf_counter() - started)
    for worker in workers:
        worker.join()
    return seconds


def _encode(tokenizer: Tokenizer, part: pa.LargeStringArray, num_calls: int, barrier: Barrier) -> None:
    for _ in range(num_calls):
        barrier.wait()
        tokenizer.encode_batch(awkward.from_arrow(part), parallel=False)
        barrier.wait()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
