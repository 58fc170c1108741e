"""The folders are the data flow: a module imports only from rows above it."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import mixer

pytestmark = pytest.mark.quick

PACKAGE = Path(mixer.__file__).parent
ROWS = [
    {"errors"},
    {"extras", "system"},
    {"engines"},
    {"digest"},
    {"rng"},
    {"recipe"},
    {"attributes"},
    {"stores"},
    {"sources"},
    {"mixing", "packing", "tokens"},
    {"shards"},
    {"stack"},
    {"curate"},
    {"survey", "intake"},
    {"plan"},
    {"building"},
    {"verify"},
    {"sample", "feed"},
    {"export"},
    {"api"},
    {"report"},
    {"cli"},
]
PURE = ("mixing", "packing", "plan")
IMPURE = {
    "concurrent",
    "datetime",
    "io",
    "logging",
    "multiprocessing",
    "os",
    "pathlib",
    "random",
    "shutil",
    "socket",
    "subprocess",
    "tempfile",
    "threading",
    "time",
}
MODULES = sorted(PACKAGE.rglob("*.py"))


def row_of(place: str) -> int:
    return next(number for number, names in enumerate(ROWS) if place in names)


def place_of(path: Path) -> str:
    """The row's name of a module: its folder, or its file at the root."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


def test_every_module_has_its_row() -> None:
    """A new folder has to be put into the table."""
    assert {place_of(path) for path in MODULES} - {"__init__", "__main__"} <= set().union(*ROWS)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_module_imports_only_from_rows_above_it(path: Path) -> None:
    """Its own folder, rows above, and nothing else of mixer."""
    place = place_of(path)
    for name in imports(path):
        parts = name.split(".")
        if place in ("__init__", "__main__") or parts[0] != "mixer" or len(parts) < 2:
            continue
        if not any(parts[1] in names for names in ROWS):
            continue  # `from mixer import __version__`
        same = parts[1] == place
        assert same or row_of(parts[1]) < row_of(place), f"{path} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_only_the_command_line_knows_typer(path: Path) -> None:
    """Nothing else depends on how the commands are parsed."""
    roots = {name.split(".")[0] for name in imports(path)}
    assert place_of(path) == "cli" or "typer" not in roots


@pytest.mark.parametrize("place", PURE)
def test_what_decides_touches_no_file_and_no_clock(place: str) -> None:
    """Mixing, packing and planning are pure."""
    for path in (PACKAGE / place).rglob("*.py"):
        names = set(imports(path))
        assert not {name.split(".")[0] for name in names} & IMPURE, path
        assert not {name for name in names if name.startswith(("mixer.system", "mixer.stores"))}, path
        calls = {node.id for node in ast.walk(ast.parse(path.read_bytes())) if isinstance(node, ast.Name)}
        assert not calls & {"open", "print", "input"}, path


def test_no_module_imports_itself_by_way_of_others() -> None:
    """No circle, inside a folder neither; imports inside functions and for types alone count."""
    names = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path for path in MODULES}
    graph = {name: {one for one in imports(path) if one in names} for name, path in names.items()}
    TopologicalSorter(graph).prepare()  # raises CycleError


def test_a_plan_takes_the_result_of_a_survey_and_nothing_that_reads() -> None:
    """A new step of the survey touches no file of `plan/` but those that take its result."""
    allowed = {"mixer.survey.result", "mixer.survey.profile", "mixer.survey.estimate"}
    for path in (PACKAGE / "plan").glob("*.py"):
        modules = {".".join(name.split(".")[:3]) for name in imports(path) if name.startswith("mixer.survey.")}
        assert modules <= allowed, path


def test_loading_the_plan_loads_no_reader_no_store_and_no_tokenizer() -> None:
    """Also not by way of what it imports."""
    modules = [f"mixer.plan.{path.stem}" for path in (PACKAGE / "plan").glob("*.py") if path.stem != "__init__"]
    script = f"import sys; import {', '.join(modules)}; print(*sys.modules)"
    loaded = set(subprocess.check_output([sys.executable, "-c", script], text=True).split())
    readers = {"mixer.sources.reader", "mixer.sources.pin", "mixer.sources.opening", "mixer.system.threads"}
    tokenizers = {"gigatoken", "tiktoken", "tokenizers"}
    assert "mixer.plan.plan" in loaded
    assert not loaded & (readers | tokenizers)
    assert not {
        name for name in loaded if name.startswith(("mixer.stores.", "mixer.tokens.", "mixer.sources.formats."))
    }
