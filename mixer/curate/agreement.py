"""How similar two rows are, as the number of slots of their signatures that are equal. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from math import ceil

import numpy as np

from mixer.curate.preference import RowOrder
from mixer.digest import decimal_text

MAX_AGREEMENT = 254
"""Slots of a signature at most: agreements are kept in a byte, and one more says that rows are equal."""


def least_agreement(similarity: float, num_slots: int = 112) -> int:
    """The least number of slots whose share is at least a similarity: 79 of 112 for 0.7."""
    return ceil(Decimal(decimal_text(similarity)) * num_slots)


def signatures_at(places: np.ndarray, signatures: Sequence[np.ndarray | None], order: RowOrder) -> np.ndarray:
    """The signatures of the rows at some places: uint8[places, slots].

    Args:
        places: int64[places], of rows whose source has signatures.
        signatures: of each source uint8[rows, slots], or None.
        order: the order of preference.
    """
    rows = order.rows[places]
    source = order.source_of_rows(rows)
    ordinal = rows - order.first_row[source]
    num_slots = max((array.shape[1] for array in signatures if array is not None), default=0)
    found = np.empty((len(places), num_slots), dtype=np.uint8)
    for number in np.unique(source).tolist():
        of_source = source == number
        array = signatures[number]
        assert array is not None
        found[of_source] = array[ordinal[of_source]]
    return found


def agreement_of(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """In how many slots two signatures agree: uint8[rows], of uint8[rows, slots] twice, at most MAX_AGREEMENT slots."""
    counts: np.ndarray = (left == right).sum(axis=1, dtype=np.uint8)
    return counts
