"""A mean and its error, from a sample of short clusters of rows. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """The statistics of a source's rows from a sample.

    `tokens_per_row` is the mean, rows without text counted as 0; `standard_error` is that of the mean, with
    `degrees_of_freedom` behind it: 0.0 where every row was read, infinite where one row was read of many. The mean of
    any n rows that are read together has an error of about `row_deviation / sqrt(n)`: that is the spread of single
    rows, or what it would have to be to explain the spread of clusters. `num_bytes` of UTF-8 text were read.
    """

    tokens_per_row: float
    standard_error: float
    row_deviation: float
    degrees_of_freedom: int
    num_rows: int
    num_bytes: int

    @property
    def bytes_per_row(self) -> float:
        """The mean of UTF-8 bytes of a row's text."""
        return self.num_bytes / self.num_rows


def measurement(tokens: np.ndarray, clusters: np.ndarray, *, num_bytes: int, total_rows: int) -> Measurement:
    """The mean of a sample and its error.

    Neighbours resemble one another, so a cluster counts as one observation and not as its rows: the error is that of a
    ratio estimated from clusters (W. G. Cochran, "Sampling Techniques", 3rd ed., 1977, section 9A.1), less what
    the share of the source that was read takes away. A sample of one cluster falls back to its rows.

    Args:
        tokens: of each row read; int64[rows], at least one.
        clusters: the number of each row's cluster; int64[rows], rising.
        num_bytes: of text in all these rows.
        total_rows: rows of the source.

    Example: 4 tokens in cluster 0 and 8 in cluster 1, of two rows each, of 8 rows in all: the mean is 3, the clusters'
    residuals are -2 and 2, the variance 2 x 8 / 4^2 = 1, of which half is left since half of the rows were read.
    """
    num_rows = len(tokens)
    mean = int(tokens.sum()) / num_rows
    if len(clusters) and clusters[0] == clusters[-1]:
        clusters = np.arange(num_rows)
    _, starts = np.unique(clusters, return_index=True)
    residuals = np.add.reduceat(tokens - mean, starts)
    count = len(residuals)
    variance = count / (count - 1) * float(residuals @ residuals) / num_rows**2 if count > 1 else math.inf
    spread = float(tokens.var(ddof=1)) if num_rows > 1 else math.inf
    unread = 1 - num_rows / total_rows
    return Measurement(
        tokens_per_row=mean,
        standard_error=math.sqrt(variance * unread) if unread else 0.0,
        row_deviation=math.sqrt(max(variance * num_rows, spread)),
        degrees_of_freedom=max(1, count - 1),
        num_rows=num_rows,
        num_bytes=num_bytes,
    )
