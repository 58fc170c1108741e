"""Laws of packing: equal to the naive packers, and no token lost, made, or moved inside its document."""

from __future__ import annotations

from collections import Counter

import numpy as np
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixer.packing.best_fit import lay_best_fit
from mixer.packing.columns import build_columns
from mixer.packing.layout import Layout, lay_end_to_end

pytestmark = pytest.mark.quick

sizes = st.lists(st.one_of(st.integers(0, 12), st.integers(0, 40)), max_size=60)
capacities = st.integers(2, 17)


def segments(layout: Layout) -> list[list[tuple[int, int, int]]]:
    found: list[list[tuple[int, int, int]]] = [[] for _ in range(layout.num_sequences)]
    columns = (layout.document, layout.start, layout.length, layout.sequence)
    for document, start, length, sequence in zip(*(column.tolist() for column in columns)):
        found[sequence].append((document, start, length))
    return found


@settings(deadline=None, max_examples=60)
@given(sizes, capacities)
def test_best_fit_equals_the_naive_best_fit(lengths: list[int], capacity: int) -> None:
    """Handling equal lengths and equal rooms together changes nothing."""
    layout = lay_best_fit(np.array(lengths, dtype=np.int64), capacity)
    assert segments(layout) == oracle.best_fit_pieces(lengths, capacity)


@settings(deadline=None, max_examples=60)
@given(sizes, capacities)
def test_end_to_end_equals_the_naive_packing(lengths: list[int], capacity: int) -> None:
    """Token by token."""
    documents = [oracle.Document(0, 0, 0, [0] * length) for length in lengths]
    layout = lay_end_to_end(np.array(lengths, dtype=np.int64), capacity)
    assert segments(layout) == [packed for packed, _ in oracle.end_to_end(documents, capacity)]


@pytest.mark.parametrize("end_to_end", [True, False])
@settings(deadline=None, max_examples=60)
@given(lengths=sizes, capacity=capacities, kept=st.integers(0, 50))
def test_columns_equal_the_naive_columns(end_to_end: bool, lengths: list[int], capacity: int, kept: int) -> None:
    """All columns, also where only the first sequences are kept."""
    numbered = iter(range(10**6))
    documents = [
        oracle.Document(n % 3, n * 7, n % 2, [next(numbered) for _ in range(size)]) for n, size in enumerate(lengths)
    ]
    length = np.array(lengths, dtype=np.int64)
    layout = (lay_end_to_end if end_to_end else lay_best_fit)(length, capacity).first(kept)
    columns = build_columns(
        layout,
        np.array([token for document in documents for token in document.tokens], dtype=np.int32),
        length,
        end_to_end=end_to_end,
        pad_id=oracle.PAD,
        source=np.array([document.source for document in documents], dtype=np.int16),
        row=np.array([document.row for document in documents], dtype=np.int64),
        pass_number=np.array([document.pass_number for document in documents], dtype=np.int32),
    )
    pack = oracle.end_to_end if end_to_end else oracle.best_fit
    expected = [oracle.as_row(documents, *packed, capacity) for packed in pack(documents, capacity)][:kept]
    offsets = columns.run_offsets.tolist()
    assert len(columns.input_ids) == len(expected)
    for number, row in enumerate(expected):
        runs = slice(offsets[number], offsets[number + 1])
        assert columns.input_ids[number].tolist() == row["input_ids"]
        assert columns.next_id[number] == row["next_id"]
        assert columns.num_pad[number] == row["num_pad"]
        assert [0, *columns.run_stop[runs].tolist()] == row["cu_seqlens"]
        for name in ("segment_source", "segment_row", "segment_pass", "segment_start"):
            assert getattr(columns, name)[runs].tolist() == row[name]


@pytest.mark.parametrize("lay", [lay_end_to_end, lay_best_fit])
@settings(deadline=None, max_examples=60)
@given(lengths=sizes, capacity=capacities)
def test_every_token_stands_once(lay, lengths: list[int], capacity: int) -> None:
    """Conservation: each token of each document in exactly one place, within the capacity."""
    packed = segments(lay(np.array(lengths, dtype=np.int64), capacity))
    places = Counter((doc, start + n) for held in packed for doc, start, count in held for n in range(count))
    assert places == Counter((doc, n) for doc, length in enumerate(lengths) for n in range(length))
    assert all(0 < sum(count for _, _, count in held) <= capacity for held in packed)
