"""What `make quick` leaves out and what it does not."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from test_imports import PACKAGE, imports

TESTS = Path(__file__).parent

pytestmark = pytest.mark.quick


def marked(marker: str) -> list[Path]:
    """The test files that use a marker."""
    uses, files = f"pytest.mark.{marker}", sorted(TESTS.rglob("test_*.py"))
    return [path for path in files if uses in map(_attribute, ast.walk(ast.parse(path.read_bytes())))]


def _attribute(node: ast.AST) -> str:
    return ast.unparse(node) if isinstance(node, ast.Attribute) else ""


def test_quick_tests_touch_every_room() -> None:
    """A new folder of the package has a quick test, too: each is imported by a file that has some."""
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    touched = {name.split(".")[1] for path in marked("quick") for name in imports(path) if name.startswith("mixer.")}
    assert rooms - touched == set()


def test_no_test_is_left_out_of_every_command() -> None:
    """`make test` and `make check` leave out these two alone, which are run by name."""
    lines = (TESTS.parent / "Makefile").read_text().splitlines()
    chosen = [line.partition(" -m ")[2].strip("'") for line in lines if "$(PYTEST)" in line]
    assert chosen == [
        "quick",
        "not slow and not cluster and not browser",
        "not slow and not cluster and not browser",
        "slow and not cluster and not browser",
    ]
