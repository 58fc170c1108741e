"""The witness of what is left behind sees what it is for."""

from __future__ import annotations

import multiprocessing
import threading
from pathlib import Path

import numpy as np
import pytest
from leftovers import assert_nothing_is_left, holdings


def test_what_began_since_is_left_and_what_ended_since_is_not(tmp_path: Path) -> None:
    """A thread, a map and a child process."""
    np.arange(1000).tofile(tmp_path / "file")
    over = threading.Event()
    first = threading.Thread(target=over.wait)
    first.start()
    mapped = np.memmap(tmp_path / "file")
    before = holdings(tmp_path)
    over.set()
    first.join()
    del mapped
    assert_nothing_is_left(tmp_path, before)

    before = holdings(tmp_path)
    mapped = np.memmap(tmp_path / "file")
    with pytest.raises(AssertionError, match="file"):
        assert_nothing_is_left(tmp_path, before, patience_seconds=0)
    del mapped
    wait = threading.Event()
    thread = threading.Thread(target=wait.wait)
    thread.start()
    with pytest.raises(AssertionError, match="threads"):
        assert_nothing_is_left(tmp_path, before, patience_seconds=0)
    wait.set()
    thread.join()
    child = multiprocessing.get_context("fork").Process(target=threading.Event().wait)
    child.start()
    with pytest.raises(AssertionError, match="children"):
        assert_nothing_is_left(tmp_path, before, patience_seconds=0)
    child.kill()
    child.join()
    assert_nothing_is_left(tmp_path, before)
