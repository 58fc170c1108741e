"""The share of a source's rows that is kept, from a sample of cells of neighbouring rows. Pure."""

from __future__ import annotations

import numpy as np

from mixer.stack.cells import CellSample
from mixer.survey.measurement import Measurement, measurement


def kept_share(sample: CellSample) -> Measurement:
    """The share of rows with text that are kept, and its error: neighbours are alike, so a cell is one observation.

    The mean of `tokens_per_row` is the share: a kept row counts 1, another one 0.
    """
    kept = np.bincount(sample.block_cell, sample.snapshot.block_kept, len(sample.cell_rows)).astype(np.int64)
    cells = np.repeat(np.arange(len(kept)), sample.cell_rows)
    first_of_cell = np.repeat(np.cumsum(sample.cell_rows) - sample.cell_rows, sample.cell_rows)
    number_in_cell = np.arange(len(cells)) - first_of_cell
    is_kept = (number_in_cell < kept[cells]).astype(np.int64)
    return measurement(is_kept, cells, num_bytes=0, total_rows=sample.num_rows)
