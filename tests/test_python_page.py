"""The examples of docs/python.md, run one after the other as they stand, in a folder like a clone after `make demo`."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

import mixer

REPOSITORY = Path(__file__).parents[1]
PAGE = (REPOSITORY / "docs" / "python.md").read_text()
BLOCKS = [block.split("```")[0] for block in PAGE.split("```python\n")[1:]]


@pytest.fixture(scope="module")
def names(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """All names of the page after its last example."""
    folder = tmp_path_factory.mktemp("clone")
    (folder / "recipes").mkdir()
    (folder / "sample").symlink_to(sample)
    shutil.copy(REPOSITORY / "recipes" / "sample.yaml", folder / "recipes")
    found: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MIXER_CACHE", str(folder / "cache"))
        for number, block in enumerate(BLOCKS):
            exec(compile(block, f"example {number} of docs/python.md", "exec"), found)
    return found


def test_the_examples_run(names: dict[str, Any]) -> None:
    """And leave what the page says that they do."""
    assert names["manifest"].totals.tokens >= 1_000_000
    assert names["record"]["format"] == "bin"
    assert names["forecast"].tokens.value == pytest.approx(1_000_000)


def test_the_shapes_and_dtypes_in_the_comments_are_right(names: dict[str, Any]) -> None:
    """`batch.labels()  # int64[8, 8192]`: every line of that form is held against the value."""
    checked = 0
    for line in "".join(BLOCKS).splitlines():
        if found := re.match(r"([\w.()]+(?:, [\w.]+)?)  # ((?:u?int\d+|bool)\[[^\]]+\])(?:, (\w+\[[^\]]+\]))?", line):
            values = eval(found[1], names)
            for value, form in zip(values if isinstance(values, tuple) else (values,), found.groups()[1:]):
                dtype, _, shape = form.rstrip("]").partition("[")
                assert value.dtype == dtype, line
                if re.fullmatch(r"[\d, ]+", shape):
                    assert value.shape == tuple(map(int, shape.split(", "))), line
                checked += 1
    assert checked >= 6


def test_the_page_lists_every_public_name() -> None:
    """In its table or its text."""
    assert [name for name in mixer.__all__ if f"`{name}" not in PAGE] == []


def test_the_errors_of_the_page_are_all_there_are() -> None:
    """The direct children of `MixerError` in mixer/errors.py."""
    rows = re.findall(r"^\| `(\w+Error)` \|", PAGE, re.MULTILINE)
    known = {kind.__name__ for kind in mixer.MixerError.__subclasses__() if kind.__module__ == "mixer.errors"}
    assert set(rows) - {"MixerError"} == known
