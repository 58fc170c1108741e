"""What docs/training.md gives to paste for each trainer is what the modules say, and what the tests run."""

from __future__ import annotations

import ast
import importlib
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch

from mixer.feed.torch import TrainLoader

PAGE = (Path(__file__).parents[2] / "docs" / "training.md").read_text()
BLOCKS = [block.split("```")[0] for block in PAGE.split("```python\n")[1:]]
ADAPTERS = ["torch", "torchtitan", "hf", "grain", "jax"]


def block_with(words: str) -> str:
    """The one block of Python that has these words."""
    (block,) = [block for block in BLOCKS if words in block]
    return block


def test_every_block_is_looked_at_here() -> None:
    """One for each adapter, the module for Lightning, and `datasets`, which `test_hf.py` loads a build with."""
    others = [block for block in BLOCKS if not any(f"from mixer.feed.{name} import" in block for name in ADAPTERS)]
    assert [block.splitlines()[0] for block in others] == ["import datasets"]
    assert len(BLOCKS) == len(ADAPTERS) + 2
    assert "LightningDataModule" in block_with("class Mixture")


@pytest.mark.parametrize("name", ADAPTERS)
def test_the_lines_to_paste_are_those_of_the_module(name: str) -> None:
    """The import of the adapter, and then its docstring's example, which the adapter's own tests run."""
    module = importlib.import_module(f"mixer.feed.{name}")
    blocks = [block for block in BLOCKS if f"from mixer.feed.{name} import" in block and "class Mixture" not in block]
    (block,) = blocks
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


def test_a_loop_that_owns_the_checkpoints_resumes_by_three_methods(finished: Path) -> None:
    """The lines for Lightning in a plain loop: stopped after three steps of four, gone on with in steps of two."""
    names: dict[str, Any] = {}
    exec(block_with("class Mixture"), names)
    whole = torch.cat([batch["input_ids"] for batch in TrainLoader(finished, batch_size=1)])

    first = names["Mixture"](finished, 4)
    seen, saved = [], None
    for step, batch in enumerate(first.train_dataloader(), 1):
        seen.append(batch["input_ids"])
        if step == 3:
            saved = first.state_dict()
            break
    second = names["Mixture"](finished, 2)
    second.load_state_dict(saved)
    seen += [batch["input_ids"] for batch in second.train_dataloader()]
    assert torch.equal(torch.cat(seen), whole[: len(torch.cat(seen))])
    assert len(whole) - len(torch.cat(seen)) < 2


def test_the_loader_counts_the_batches_that_it_has_handed_out(finished: Path) -> None:
    """So a trainer that fetches ahead saves the cursor of its own last step, as the page says."""
    loader = TrainLoader(finished, batch_size=2)
    begin, batches = loader.cursor, iter(loader)
    next(batches), next(batches)
    assert loader.cursor == begin.advance(4)
    assert loader.state_dict() != begin.advance(2).state_dict()


def test_the_example_of_the_readme_runs(finished: Path) -> None:
    """It is the first adapter's, shorter: the same names, and a state that resumes."""
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    (block,) = [block.split("```")[0] for block in readme.split("```python\n")[1:]]
    names: dict[str, Any] = {}
    exec(block.replace('"out/my-mixture"', repr(str(finished))), names)
    assert names["batch"].keys() == {"input_ids", "labels"}
    assert names["checkpoint"] == names["loader"].state_dict()
    assert names["TrainLoader"] is TrainLoader
