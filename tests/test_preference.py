"""The order of preference: what sorting tuples gives."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from curate_kit import World, worlds
from hypothesis import given, settings
from hypothesis import strategies as st

from mixer.curate import preference
from mixer.curate.preference import PreferenceKeys, RowOrder, descending_key, order_rows, preferred_sources
from mixer.curate.scratch import ScratchColumn
from mixer.errors import TaskError
from mixer.system import disk

pytestmark = pytest.mark.quick


def test_the_example_of_the_module() -> None:
    """Source, then bytes, then ordinal."""
    order = World(sources=[("a", [7, 9], None), ("b", [5, 5, 6], None)], prefer=["b"]).order()
    assert order.rows.tolist() == [4, 2, 3, 1, 0]
    assert order.places.tolist() == [4, 3, 1, 2, 0]
    assert order.source_of_rows(np.arange(5)).tolist() == [0, 0, 1, 1, 1]
    assert order.source_of_places(np.arange(5)).tolist() == [1, 1, 1, 0, 0]


def test_listed_sources_come_first_and_others_by_name() -> None:
    """A name that is no source's makes no difference."""
    assert preferred_sources(["d", "b", "c", "a"], ["c", "no", "d"]) == [2, 0, 3, 1]
    assert preferred_sources([], ["c"]) == []


def test_the_column_decides_before_bytes_and_nulls_come_last() -> None:
    """Minus infinity is a value; 0 and -0 are one value."""
    scores = [None, 0.5, -0.0, -math.inf, 0.0, math.nan, math.inf]
    world = World(sources=[("a", [9, 1, 1, 1, 2, 10, 1], scores)], prefer=[])
    assert world.order().rows.tolist() == [6, 1, 4, 2, 3, 5, 0]


@given(values=st.lists(st.floats()))
def test_keys_of_floats_rise_as_floats_fall(values: list[float]) -> None:
    """Any float."""
    keys = descending_key(np.array(values, dtype=np.float64)).tolist()
    for left, key in zip(values, keys, strict=True):
        for right, other in zip(values, keys, strict=True):
            last = math.isnan(left) - math.isnan(right)
            expected = last < 0 if last else left > right
            assert (key < other) == expected


@settings(deadline=None)
@given(world=worlds())
def test_the_order_is_that_of_sorted_tuples(world: World) -> None:
    """With sources without rows or without the column."""
    order = world.order()
    assert order.rows.tolist() == world.rows_in_order()
    assert order.rows[order.places].tolist() == list(range(order.num_rows))
    sources = world.source_of_row()
    assert order.source_of_rows(np.arange(len(sources))).tolist() == sources
    assert order.source_of_places(order.places).tolist() == sources


@settings(deadline=None, max_examples=60)
@given(world=worlds(max_rows=30), chunk_rows=st.integers(1, 12))
def test_a_source_larger_than_memory_has_the_same_order(
    world: World, chunk_rows: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """And files for sorting do not stay."""
    folder = tmp_path_factory.mktemp("scratch")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preference, "_CHUNK_ROWS", chunk_rows)
        order = order_rows(world.keys(), world.prefer, scratch=folder)
    assert order.rows.tolist() == world.rows_in_order()
    assert order.rows[order.places].tolist() == list(range(order.num_rows))
    assert {path.name for path in folder.iterdir()} == {"places", "rows"}


def test_a_cut_holds_a_chunk_however_many_keys_are_equal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """10,000 rows with three keys, in chunks of 1,000."""
    monkeypatch.setattr(preference, "_CHUNK_ROWS", 1000)
    sizes = []
    slices = preference._slices

    def noted(columns: list[np.ndarray], starts: list[int]) -> list[list[slice]]:
        cuts = slices(columns, starts)
        sizes.extend(sum(piece.stop - piece.start for piece in cut) for cut in cuts)
        return cuts

    monkeypatch.setattr(preference, "_slices", noted)
    text_bytes = np.random.default_rng(4).integers(0, 3, 10_000)
    order = order_rows([PreferenceKeys(name="a", text_bytes=text_bytes)], [], scratch=tmp_path)
    assert order.rows.tolist() == [row for size in (2, 1, 0) for row in np.flatnonzero(text_bytes == size).tolist()]
    assert sum(sizes) == 10_000
    assert max(sizes) <= 1000
    assert len(sizes) < 40


def test_the_order_of_others_stays_when_rows_are_taken_out() -> None:
    """The order is total: rows that are left keep it."""
    world = World(sources=[("a", [3, 1, 3, 2], None), ("b", [1, 1], None)], prefer=[])
    fewer = World(sources=[("a", [3, 3, 2], None), ("b", [1, 1], None)], prefer=[])
    left = {0: 0, 2: 1, 3: 2, 4: 3, 5: 4}
    assert [left[row] for row in world.order().rows.tolist() if row in left] == fewer.order().rows.tolist()


def test_no_rows_have_an_order() -> None:
    """Nor sources."""
    empty: RowOrder = order_rows([], [])
    assert (empty.num_rows, empty.num_sources, empty.rows.tolist()) == (0, 0, [])


def test_a_full_disk_is_an_error_with_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Never an order with holes."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(disk, "write_at", full)
    with pytest.raises(TaskError, match="No space left") as caught:
        order_rows([PreferenceKeys(name="a", text_bytes=np.arange(3))], [], scratch=tmp_path)
    assert caught.value.where == str(tmp_path / "rows")


def test_a_column_that_was_not_written_whole_is_refused(tmp_path: Path) -> None:
    """What is read is what was written."""
    column = ScratchColumn(3, np.int64, tmp_path / "column")
    column.write(0, np.array([1, 2]))
    with pytest.raises(TaskError, match="has 16 bytes, expected 24"):
        column.array()
    column.write(2, np.array([3]))
    assert column.array().tolist() == [1, 2, 3]
