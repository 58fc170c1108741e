"""The columns in which a curation tells of each row whether it stays, why not, and what it is a copy of. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from mixer.attributes.columns import AttributeColumn
from mixer.attributes.kept_rows import KEEP
from mixer.curate.election import Election, election_columns
from mixer.curate.preference import RowOrder
from mixer.curate.steps import StepResult

WHERE = "where"
"""The step, and the reason, of rows that never entered."""

AttributeColumns = tuple[list[AttributeColumn], dict[str, pa.Array]]


def reason_columns(name: str, left: np.ndarray, results: Sequence[StepResult]) -> AttributeColumns:
    """`keep`, and of each row that went the `step` and the `reason`.

    Args:
        name: the source.
        left: bool[rows]: let in, and left by all steps.
        results: what the steps dropped.
    """
    step = np.zeros(len(left), dtype=np.uint16)
    reason = np.zeros(len(left), dtype=np.uint16)
    words = {WHERE: 0}
    for place, result in enumerate(results, start=1):
        dropped = result.dropped.get(name)
        if dropped is None:
            continue
        step[dropped] = place
        found = result.reasons[name].dictionary_encode()
        numbers = [words.setdefault(word, len(words)) for word in found.dictionary.to_pylist()]
        reason[dropped] = np.array(numbers, dtype=np.uint16)[found.indices.to_numpy(zero_copy_only=False)]
    columns = [
        AttributeColumn(name=KEEP, kind="bool"),
        AttributeColumn(name="step", kind="label", labels=(WHERE, *(result.label for result in results))),
        AttributeColumn(name="reason", kind="label", labels=tuple(words)),
    ]
    arrays = {KEEP: pa.array(left), "step": pa.array(step, mask=left), "reason": pa.array(reason, mask=left)}
    return columns, arrays


def duplicate_columns(number: int, names: Sequence[str], election: Election, order: RowOrder) -> AttributeColumns:
    """Of each row of a source its twin, and the size of its cluster.

    `twin_source`, `twin_row` and `agreement` (equal slots of the signature, 255 for equal rows) of rows that were
    dropped as duplicates; `copies` and `sources` of all: 1 where a row has no duplicate.

    Args:
        number: the source's.
        names: of all sources.
        election: all elections, chained.
        order: the order of preference.
    """
    start, stop = (int(row) for row in order.first_row[number : number + 2])
    found = election_columns(election, start, stop)
    has_none = ~found.dropped
    twin = np.maximum(found.twin, 0)
    twin_source = order.source_of_rows(twin)
    agreement = np.zeros(stop - start, dtype=np.uint8)
    here = slice(*np.searchsorted(election.dropped, (start, stop)))
    agreement[election.dropped[here] - start] = election.agreement[here]
    columns = [
        AttributeColumn(name="twin_source", kind="label", labels=tuple(names)),
        AttributeColumn(name="twin_row", kind="int64"),
        AttributeColumn(name="agreement", kind="uint8"),
        AttributeColumn(name="copies", kind="uint32"),
        AttributeColumn(name="sources", kind="uint16"),
    ]
    return columns, {
        "twin_source": pa.array(twin_source.astype(np.uint16), mask=has_none),
        "twin_row": pa.array(twin - order.first_row[twin_source], mask=has_none),
        "agreement": pa.array(agreement, mask=has_none),
        "copies": pa.array(found.copies),
        "sources": pa.array(found.num_sources),
    }
