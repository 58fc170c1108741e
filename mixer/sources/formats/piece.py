"""The output of a format's reader: consecutive rows of a block, with the bad ones marked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

# Text decoded at a time: large enough that calls cost nothing, small beside a task.
PIECE_BYTES = 8 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Consecutive rows of a block, in order and without gaps, with the needed columns."""

    batch: pa.RecordBatch
    # The number of the first row in its block.
    first_row: int
    # Rows (numbered in the batch) that could not be read, and what is wrong with each; their columns are null.
    bad: Mapping[int, str] = field(default_factory=dict)
    # int64[rows]: the line of each row in its file, from 1, where the format has lines.
    lines: np.ndarray | None = None
