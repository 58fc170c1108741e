"""Every message that docs/troubleshooting.md quotes is one of mixer's."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

pytestmark = pytest.mark.quick
REPOSITORY = Path(__file__).parents[1]
PAGE = (REPOSITORY / "docs" / "troubleshooting.md").read_text()
QUOTED = re.findall(r"^### `(.*)`$", PAGE, re.MULTILINE)


def template(node: ast.AST) -> str | None:
    """A string of the source, with `...` where it has a value; None for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "..." for part in node.values)
    return None


def strings(path: Path) -> Iterator[str]:
    """The strings of a module but its docstrings."""
    tree = ast.parse(path.read_bytes())
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if id(node) not in docstrings and (text := template(node)) is not None:
            yield text


@cache
def all_strings() -> tuple[str, ...]:
    return tuple(text for path in sorted((REPOSITORY / "mixer").rglob("*.py")) for text in strings(path))


def is_of_mixer(quoted: str) -> bool:
    """Whether the parts of a message between its dots stand in one string of the source, in their order."""
    parts = [re.escape(part.strip()) for part in quoted.split("...") if part.strip()]
    pattern = re.compile(".*".join(parts), re.DOTALL)
    return any(pattern.search(text) for text in all_strings())


def test_there_are_many_and_none_twice() -> None:
    """A page of a few messages would help nobody."""
    assert len(QUOTED) >= 20
    assert len(set(QUOTED)) == len(QUOTED)


@pytest.mark.parametrize("quoted", QUOTED)
def test_a_quoted_message_is_one_of_mixer(quoted: str) -> None:
    """A message that was reworded has to be reworded here as well."""
    assert is_of_mixer(quoted)


def test_a_message_that_was_never_there_is_found_out() -> None:
    """The check above can fail: on other words, and on the right words in another order."""
    assert is_of_mixer("not a build: there is no ...json")
    assert not is_of_mixer("not a build: there was no manifest.json")
    assert not is_of_mixer("manifest.json ... not a build")


@pytest.mark.parametrize("entry", re.split(r"^### .*$", PAGE, flags=re.MULTILINE)[1:])
def test_every_entry_has_a_cause_and_a_remedy(entry: str) -> None:
    """In this order."""
    cause, remedy = entry.split("## ")[0].strip().split("\n\n")
    assert cause
    assert remedy.startswith("**Do:** ")
