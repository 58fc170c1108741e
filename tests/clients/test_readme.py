"""What the README gives to paste for each trainer is what the modules say, and what the tests run."""

from __future__ import annotations

import ast
import importlib
import textwrap
from pathlib import Path

import pytest

README = (Path(__file__).parents[2] / "README.md").read_text()
SECTION = README.split("<!-- feed:start -->")[1].split("<!-- feed:end -->")[0]
BLOCKS = [block.split("```")[0] for block in SECTION.split("```python\n")[1:]]


@pytest.mark.parametrize("name", ["torch", "torchtitan", "hf", "grain", "jax"])
def test_the_lines_to_paste_are_those_of_the_module(name: str) -> None:
    """The import of the adapter, and then its docstring's example, which the adapter's own tests run."""
    module = importlib.import_module(f"mixer.feed.{name}")
    (block,) = [block for block in BLOCKS if f"from mixer.feed.{name} import" in block]
    lines = [line for line in (module.__doc__ or "").splitlines() if line.startswith("    ")]
    example = textwrap.dedent("\n".join(lines))
    assert lines
    pasted = [ast.dump(node) for node in ast.parse(block).body]
    assert [ast.dump(node) for node in ast.parse(example).body] == [
        node for node in pasted if "module='mixer.feed" not in node
    ]
    imported = ast.parse(block).body[0]
    assert isinstance(imported, ast.ImportFrom)
    assert all(hasattr(module, alias.name) for alias in imported.names)
