"""Lengths to layouts to columns, on small literal inputs."""

from __future__ import annotations

import numpy as np
import pytest

from mixer.packing.best_fit import lay_best_fit
from mixer.packing.columns import build_columns, documents_stream
from mixer.packing.layout import Layout, lay_end_to_end

pytestmark = pytest.mark.quick


def segments(layout: Layout) -> list[list[tuple[int, int, int]]]:
    """(document, start, tokens) of each sequence."""
    found: list[list[tuple[int, int, int]]] = [[] for _ in range(layout.num_sequences)]
    for document, start, length, sequence in zip(
        layout.document.tolist(), layout.start.tolist(), layout.length.tolist(), layout.sequence.tolist()
    ):
        found[sequence].append((document, start, length))
    return found


def lengths(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def test_end_to_end_cuts_at_every_length() -> None:
    """Lengths 3 and 2 in sequences of 4."""
    layout = lay_end_to_end(lengths(3, 2), 4)
    assert segments(layout) == [[(0, 0, 3), (1, 0, 1)], [(1, 1, 1)]]
    assert layout.num_pad().tolist() == [0, 3]


def test_end_to_end_leaves_empty_documents_out_and_spans_long_ones() -> None:
    """A document of 9 tokens lies in three sequences of 4; one of 0 in none."""
    layout = lay_end_to_end(lengths(0, 1, 9, 0, 2), 4)
    assert segments(layout) == [[(1, 0, 1), (2, 0, 3)], [(2, 3, 4)], [(2, 7, 2), (4, 0, 2)]]
    assert layout.num_pad().tolist() == [0, 0, 0]


def test_nothing_packs_to_nothing() -> None:
    """No documents, or none with tokens: no sequences."""
    for lay in (lay_end_to_end, lay_best_fit):
        assert lay(lengths(), 4).num_sequences == 0
        assert lay(lengths(0, 0), 4).num_sequences == 0


def test_best_fit_takes_the_fullest_sequence_with_room() -> None:
    """Lengths 3, 2, 2, 1 in sequences of 4: (3, 1) and (2, 2)."""
    assert segments(lay_best_fit(lengths(3, 2, 2, 1), 4)) == [[(0, 0, 3), (3, 0, 1)], [(1, 0, 2), (2, 0, 2)]]


def test_best_fit_cuts_long_documents_first() -> None:
    """9 tokens are two whole sequences and a rest, which shares its sequence."""
    assert segments(lay_best_fit(lengths(9, 3), 4)) == [[(0, 0, 4)], [(0, 4, 4)], [(0, 8, 1), (1, 0, 3)]]


def test_best_fit_breaks_ties_by_the_sequence_that_came_last_to_its_room() -> None:
    """Two sequences with room 2, made by documents 0 and 1: document 2 joins document 1."""
    assert segments(lay_best_fit(lengths(3, 3, 2), 5)) == [[(0, 0, 3)], [(1, 0, 3), (2, 0, 2)]]


def test_the_first_sequences_of_a_layout_are_a_layout() -> None:
    """Whole sequences alone; asking for more than there are gives all."""
    layout = lay_end_to_end(lengths(3, 2, 5), 4)
    assert segments(layout.first(1)) == [[(0, 0, 3), (1, 0, 1)]]
    assert segments(layout.first(9)) == segments(layout)


@pytest.mark.parametrize(
    ("bos", "eos", "expected"),
    [
        (8, 9, [8, 3, 9, 8, 1, 2, 9, 8, 9]),
        (0, None, [0, 3, 0, 1, 2, 0]),
        (None, 0, [3, 0, 1, 2, 0, 0]),
        (None, None, [3, 1, 2]),
    ],
)
def test_documents_are_laid_in_order_with_their_specials(bos: int | None, eos: int | None, expected: list[int]) -> None:
    """Documents (1, 2), () and (3) in the order 2, 0, 1; id 0 is an id like any other."""
    ids = np.array([1, 2, 3, bos or 0, eos or 0], dtype=np.uint32)
    ids.flags.writeable = False
    with_bos, with_eos = bos is not None, eos is not None
    stream = documents_stream(ids, lengths(0, 2, 2, 3), lengths(2, 0, 1), with_bos=with_bos, with_eos=with_eos)
    assert stream.tolist() == expected


@pytest.mark.parametrize("end_to_end", [True, False])
def test_columns_of_two_documents(end_to_end: bool) -> None:
    """Ids, next ids, padding, borders and provenance, by hand."""
    lay = lay_end_to_end if end_to_end else lay_best_fit
    sizes = lengths(3, 2)
    columns = build_columns(
        lay(sizes, 4),
        np.array([10, 11, 12, 20, 21], dtype=np.int32),
        sizes,
        end_to_end=end_to_end,
        pad_id=7,
        source=np.array([1, 0], dtype=np.int16),
        row=lengths(100, 200),
        pass_number=np.array([0, 5], dtype=np.int32),
    )
    if end_to_end:
        assert columns.input_ids.tolist() == [[10, 11, 12, 20], [21, 7, 7, 7]]
        assert columns.next_id.tolist() == [21, -100]
        assert columns.run_stop.tolist() == [3, 4, 1, 4]
        assert columns.segment_start.tolist() == [0, 0, 1, 0]
        assert columns.segment_source.tolist() == [1, 0, 0, -1]
        assert columns.segment_pass.tolist() == [0, 5, 5, -1]
    else:
        assert columns.input_ids.tolist() == [[10, 11, 12, 7], [20, 21, 7, 7]]
        assert columns.next_id.tolist() == [-100, -100]
        assert columns.run_stop.tolist() == [3, 4, 2, 4]
        assert columns.segment_row.tolist() == [100, -1, 200, -1]
    assert columns.run_offsets.tolist() == [0, 2, 4]
    assert columns.num_pad.tolist() == ([0, 3] if end_to_end else [1, 2])
