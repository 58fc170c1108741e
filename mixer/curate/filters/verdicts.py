"""What a filter is and what it says of documents."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

PASSED = "passed"
"""The name of code 0."""
NOTHING_TO_COUNT = "empty"
"""The reason of a document without anything to count, on which datatrove divides by zero."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdicts:
    """Which documents pass a filter, and why the others do not."""

    # uint8[documents]: a place in `reasons`; 0 for a document that passes.
    reason: np.ndarray
    # Code -> name, the first `passed`. Codes hold within these verdicts alone, names across all.
    reasons: tuple[str, ...]
    # Values by document, such as a score: name -> Array[documents].
    columns: Mapping[str, pa.Array] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.reason)

    @property
    def passed(self) -> np.ndarray:
        """bool[documents]."""
        return self.reason == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """A filter with its parameters.

    The verdict on a document depends on its text and on `identity` alone: not on the documents around it.
    """

    # As the recipe names it.
    name: str
    # JSON without floats: everything that the verdicts depend on beside the text.
    identity: Mapping[str, Any]
    # Verdicts on documents, none of them null.
    judge: Callable[[pa.LargeStringArray], Verdicts]

    def evaluate(self, text: pa.LargeStringArray) -> Verdicts:
        """The verdicts on documents. A null passes, and has null in all columns.

        Raises:
            RecipeError: a function of the user's failed.
            DataError: datatrove's code failed on a document.
        """
        if not text.null_count:
            return self.judge(text)
        rows = np.flatnonzero(text.is_valid().to_numpy(zero_copy_only=False))
        found = self.judge(text.drop_null())
        reason = np.zeros(len(text), dtype=np.uint8)
        reason[rows] = found.reason
        places = np.zeros(len(text), dtype=np.int64)
        places[rows] = np.arange(len(rows))
        taken = pa.array(places, mask=text.is_null().to_numpy(zero_copy_only=False))
        columns = {name: column.take(taken) for name, column in found.columns.items()}
        return Verdicts(reason=reason, reasons=found.reasons, columns=columns)


def first_reasons(rules: Sequence[tuple[str, np.ndarray]], reasons: tuple[str, ...], count: int) -> np.ndarray:
    """The first rule that each document breaks.

    Args:
        rules: reason and bool[documents]: whether the document breaks the rule; in the order of datatrove's code.
        reasons: code -> name.
        count: the number of documents.

    Returns:
        uint8[documents]: codes; 0 where no rule is broken.
    """
    codes = {name: code for code, name in enumerate(reasons)}
    found = np.zeros(count, dtype=np.uint8)
    for name, broken in reversed(rules):
        found[broken] = codes[name]
    return found
