"""Where a build ends: the one rule for a target in tokens or sequences (format.md, section 7.6). Pure.

The target falls inside some task, the first with which the total reaches it. That task is cut to its first draws, the
fewest whose tokens fill the sequences that are still wanted, packed as any other, and its first sequences are kept.
"""

from __future__ import annotations

import numpy as np

from mixer.packing.layout import Layout
from mixer.shards.records import Limit


def limited_draws(draw_tokens: np.ndarray, limit: Limit, sequence_length: int) -> int:
    """The number of draws of a task that are kept.

    Args:
        draw_tokens: tokens of each draw, BOS and EOS included, 0 of a skipped row; int64[draws].
        limit: what is wanted.
        sequence_length: tokens of a sequence.

    Example: draws of 5, 0, 3 and 9 tokens, sequences of 4, two of them wanted: the first three draws.
    """
    sequences = limit.amount if limit.kind == "sequences" else -(-limit.amount // sequence_length)
    wanted = sequences * sequence_length
    return min(int(np.searchsorted(np.cumsum(draw_tokens), wanted)) + 1, len(draw_tokens))


def limited_sequences(layout: Layout, limit: Limit) -> int:
    """The number of sequences of the kept draws that are kept: the fewest that reach the limit."""
    if limit.kind == "sequences":
        return min(limit.amount, layout.num_sequences)
    reached = np.cumsum(layout.sequence_length - layout.num_pad())
    return min(int(np.searchsorted(reached, limit.amount)) + 1, layout.num_sequences)
