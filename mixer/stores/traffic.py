"""Counts of this process's network traffic, for the build log.

One tally per process: transfers run in many threads and do not belong to one task.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping

_lock = threading.Lock()
_tally: Counter[str] = Counter()


def count(**amounts: float) -> None:
    """Add to the tally, as in `count(requests=1)`."""
    with _lock:
        for name, amount in amounts.items():
            if amount:
                _tally[name] += amount  # type: ignore[assignment]  # seconds are no integers


def take() -> dict[str, float]:
    """Take the tally since the last call, and reset it.

    `requests`; `bytes` that came; `retries_<kind>`; `wait_seconds` between attempts, over all threads; `cache_hits` and
    `cache_misses` of blocks; `cache_evicted` entries; `cache_damaged` entries, which were fetched again;
    `cache_bypassed` blocks, which went through temporary files because the cache could not be written to.
    """
    with _lock:
        taken: dict[str, float] = dict(_tally)
        _tally.clear()
    return taken


def added(one: Mapping[str, float], other: Mapping[str, float]) -> dict[str, float]:
    """Two tallies as one. Pure."""
    return {name: one.get(name, 0) + other.get(name, 0) for name in sorted(one.keys() | other.keys())}
