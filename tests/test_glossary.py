"""One word, one meaning: the glossary's words are used, and public names of the modules are unique."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

import mixer

pytestmark = pytest.mark.quick
REPOSITORY = Path(__file__).parents[1]
PACKAGE = Path(mixer.__file__).parent
WORDS = re.findall(r"^\| ([a-z, ]+) \|", (REPOSITORY / "docs" / "glossary.md").read_text(), re.MULTILINE)
SHARED = {
    "a verb of the command line, the function of the library, and what both call": "build export repair",
    "one class for each framework, under the name that its users know": "StepDataset TrainLoader",
    "one function for each format, and the reader picks the module": "count_blocks read_block",
}
"""Reason -> public names that several modules define."""


def public_names(path: Path) -> set[str]:
    """What a module defines at its top without an underscore; imports do not count."""
    names = set()
    for node in ast.parse(path.read_bytes()).body:
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
            case ast.Assign(targets=targets):
                names |= {one.id for target in targets for one in ast.walk(target) if isinstance(one, ast.Name)}
            case ast.AnnAssign(target=ast.Name(id=name)):
                names.add(name)
    return {name for name in names if not name.startswith("_")}


def defined_in() -> dict[str, set[str]]:
    """Public name -> the modules that define it."""
    found = defaultdict(set)
    for path in PACKAGE.rglob("*.py"):
        for name in public_names(path):
            found[name].add(path.relative_to(PACKAGE).with_suffix("").as_posix())
    return found


def test_public_names_are_unique_or_listed_with_a_reason() -> None:
    """A new name that another module has already is noticed, and so is a reason that has gone."""
    several = {name: sorted(modules) for name, modules in defined_in().items() if len(modules) > 1}
    listed = {name for names in SHARED.values() for name in names.split()}
    assert {name: modules for name, modules in several.items() if name not in listed} == {}
    assert listed - several.keys() == set()


def test_names_are_found_however_they_are_defined(tmp_path: Path) -> None:
    """Functions, classes, constants with and without types, several at once; nothing private or imported."""
    module = tmp_path / "module.py"
    module.write_text(
        "from a import b\nA, B = 1, 2\nC: int = 3\n_D = 4\ndef f(): E = 5\nclass G: H = 6\nasync def _i(): pass\n"
    )
    assert public_names(module) == {"A", "B", "C", "f", "G"}


def test_words_are_defined_once() -> None:
    """And there are enough of them."""
    words = [word for cell in WORDS for word in cell.split(", ") if word != "word"]
    assert len(words) > 40
    assert len(set(words)) == len(words)


@pytest.mark.parametrize("word", [word for cell in WORDS for word in cell.split(", ") if word != "word"])
def test_a_word_of_the_glossary_is_used(word: str) -> None:
    """In the code and its docstrings, and on another page."""
    pattern = re.compile(rf"\b{word}(?:s|es|ed)?\b", re.IGNORECASE)
    code = [path for path in PACKAGE.rglob("*.py") if pattern.search(path.read_text().replace("_", " "))]
    assert len(code) > 1
    pages = [*(REPOSITORY / "docs").rglob("*.md"), REPOSITORY / "README.md", PACKAGE / "format.md"]
    assert any(pattern.search(page.read_text()) for page in pages if page.name != "glossary.md")
