"""A small part of `make fuzz`: damages of a build through every reader."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz_builds import fuzz


@pytest.mark.slow
def test_no_damage_of_a_build_is_accepted_or_breaks_a_reader(tmp_path: Path) -> None:
    """No crash, no hang, no traceback, no damage that `verify` accepts, no other ids under a checked digest."""
    found = fuzz(range(120), tmp_path, jobs=2)
    assert not found, next(iter(found.items()))
