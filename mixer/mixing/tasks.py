"""Cutting the draws into tasks, and the order of documents inside one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mixer import rng

MIN_TASK_TOKENS = 1 << 20
MAX_TASK_TOKENS = 1 << 26
TASKS_WANTED = 64
"""Enough to keep many workers busy to the end, few enough that a task is worth its start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Draws [start, stop) of the build; makes shard `number`."""

    number: int
    start: int
    stop: int


def task_tokens(total_tokens: float) -> int:
    """The size of a task in tokens, chosen from the total alone: a power of two from 1 Mi to 64 Mi.

    About `TASKS_WANTED` tasks where the bounds allow.
    """
    wanted = max(total_tokens / TASKS_WANTED, 1.0)
    return min(max(1 << (int(wanted) - 1).bit_length(), MIN_TASK_TOKENS), MAX_TASK_TOKENS)


def document_slots(slots: np.ndarray, source_names: list[str], seed: int, task: int) -> np.ndarray:
    """The slot of each document of a task.

    Documents are numbered source by source, in the order they are read; the documents of a source are permuted,
    by a key, among the task's slots of that source.

    Args:
        slots: the source of each draw of the task; int16[draws].
        source_names: names of the sources, by index; they are part of the keys.
        seed: the recipe's seed.
        task: the task's number.

    Returns:
        int64[draws]: entry d is the slot of document d; a permutation of `range(draws)`.

    Example: slots [0, 1, 0], reading order = documents 0 and 1 of source 0, then document 2 of source 1:
    the result is [0, 2, 1] or [2, 0, 1].
    """
    by_source = []
    for source, name in enumerate(source_names):
        own = np.flatnonzero(slots == source)
        by_source.append(own[rng.permutation(len(own), seed, "documents", name, task)])
    return np.concatenate(by_source)
