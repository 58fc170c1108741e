"""One word, one meaning: the glossary's words are used, and public names of the modules are unique."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

import mixer

REPOSITORY = Path(__file__).parents[1]
PACKAGE = Path(mixer.__file__).parent
WORDS = re.findall(r"^\| ([a-z, ]+) \|", (REPOSITORY / "docs" / "glossary.md").read_text(), re.MULTILINE)
SHARED = {
    # A verb of the command line, the function of the library, and what both call.
    "build": "cli/build building/build api",
    "repair": "cli/repair verify/repair",
    "export": "cli/export export/export",
    # One class for each framework, under the name that its users know.
    "StepDataset": "feed/grain feed/torch",
    "TrainLoader": "feed/jax feed/torch",
    # One function for each format: the reader picks the module.
    "count_blocks": "sources/formats/arrow sources/formats/jsonl sources/formats/parquet",
    "read_block": "sources/formats/arrow sources/formats/jsonl sources/formats/parquet",
    # Still to be told apart: two things under one name. Take a line out when one of them is renamed.
    "Count": "recipe/fields report/columns",
    "Documents": "building/documents export/documents",
    "Epochs": "feed/epochs shards/records",
    "FORMATS": "export/export sources/formats/__init__",
    "PACKAGED": "survey/published tokens/known",
    "PIECE_BYTES": "sources/formats/piece stores/http",
    "Part": "export/samples sample/collect stack/fetch_plan",
    "Place": "feed/sequences shards/locate",
    "Row": "report/columns sample/documents",
    "RowRange": "mixing/blocks stack/cells",
    "SECONDS_BETWEEN_LINES": "cli/export report/fetch report/pinning report/progress",
    "check_schema": "shards/shard sources/scan",
    "counted": "report/numbers sources/pin_progress",
    "decode": "shards/decode stack/decoding",
    "is_whole": "export/samples feed/integers",
    "make_plan": "plan/plan stack/fetch_plan",
    "pin_anew": "sources/pin sources/remote_pin",
    "read_footer": "sources/formats/footer sources/remote_copies",
    "read_ids": "shards/shard stack/ids",
    "short": "recipe/problems report/numbers",
    "total": "stack/counts survey/estimate",
}
"""Public names that several modules define, and where."""


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
    several = {name: modules for name, modules in defined_in().items() if len(modules) > 1}
    assert several == {name: set(modules.split()) for name, modules in SHARED.items()}


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
