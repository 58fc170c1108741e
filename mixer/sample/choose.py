"""The number of rows of each source of a sample. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import accumulate

from mixer.sample.documents import Row

# In the proportions that recipes/sample.yaml draws, 40:44:3:2:10:1, so that no source runs out long before the others;
# but more rows of the small ones, to have something to shuffle, and fewer of Stack, whose rows are 50 times longer.
ROW_SHARES = {"dclm": 80, "fineweb-edu": 88, "dolma": 6, "zyda": 6, "stack-v2": 15, "finemath": 4}


def choose_rows(found: Mapping[str, Sequence[Row]], size_bytes: int) -> dict[str, Sequence[Row]]:
    """The first rows of each source, in fixed proportions, of about `size_bytes` of text together.

    A source that has too few gives all it has and the others give more; one that has any gives at least one. The
    total is the smallest that reaches `size_bytes`, or all there is.
    """
    sums = {source: [0, *accumulate(row.num_bytes for row in found.get(source, ()))] for source in ROW_SHARES}

    def counts(scale: int) -> dict[str, int]:
        return {source: min(len(sums[source]) - 1, -(-share * scale // 100)) for source, share in ROW_SHARES.items()}

    def total_bytes(scale: int) -> int:
        return sum(sums[source][count] for source, count in counts(scale).items())

    # At the last scale every source gives all its rows.
    scales = range(1, 100 * max(map(len, sums.values())) + 1)
    scale = scales[min(bisect_left(scales, size_bytes, key=total_bytes), len(scales) - 1)]
    return {source: found.get(source, ())[:count] for source, count in counts(scale).items()}
