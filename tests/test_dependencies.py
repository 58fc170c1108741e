"""Every import of another's package is declared where it belongs, and everything that is declared is used."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from mixer.extras import DISTRIBUTION, PACKAGES, install_command

pytestmark = pytest.mark.quick

REPOSITORY = Path(__file__).parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
BASE = {"numpy", "pyarrow", "rich", "typer", "xxhash"}
OTHER_NAMES = {
    "absl": "absl-py",
    "fasttext": "fasttext-predict",
    "google": "google-auth",
    "megatron": "megatron-core",
    "olmo-core": "ai2-olmo-core",
    "streaming": "mosaicml-streaming",
    "tiktoken-ext": "tiktoken",
    "yaml": "pyyaml",
}
"""Modules whose package is called something else."""
NOT_IMPORTED = {
    "hf": {"accelerate", "datasets", "transformers"},  # Trainer, what it needs to start, and the rows it is given
    "test": {"codespell", "flask", "flask-cors", "mypy", "pytest-xdist", "ruff"},  # of moto's server; of `make check`
}
"""Extra -> packages that it has for what is used beside mixer."""


def plain(name: str) -> str:
    """The name of a package as an index compares it: `PyYAML>=6.0` is `pyyaml`."""
    found = re.match(r"[A-Za-z0-9._-]+", name)
    assert found is not None, name
    return re.sub(r"[-_.]+", "-", found.group()).lower()


def declared(extra: str) -> set[str]:
    """The packages of an extra, with those of the extras that it takes in."""
    packages: set[str] = set()
    for requirement in PROJECT["optional-dependencies"][extra]:
        if taken_in := re.fullmatch(rf"{DISTRIBUTION}\[(.*)\]", requirement):
            packages |= {package for name in taken_in[1].split(",") for package in declared(name)}
        else:
            packages.add(plain(requirement))
    return packages


def own(extra: str) -> set[str]:
    """The packages that an extra lists itself."""
    return {plain(one) for one in PROJECT["optional-dependencies"][extra] if not one.startswith(DISTRIBUTION)}


@cache
def imported(folder: str) -> tuple[tuple[Path, str], ...]:
    """Files of a folder, and the packages of others that each imports, also inside functions."""
    return tuple(_iter_imported(folder))


def _iter_imported(folder: str) -> Iterator[tuple[Path, str]]:
    ours = {"mixer", "examples", "servers"}
    if folder != "mixer":  # scripts and tests import one another by their bare names
        ours |= {
            path.stem for name in ("tests", "benchmarks", "examples") for path in (REPOSITORY / name).rglob("*.py")
        }
    for path in sorted((REPOSITORY / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_bytes())):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for root in {name.partition(".")[0] for name in names}:
                if root not in sys.stdlib_module_names and root not in ours:
                    yield path.relative_to(REPOSITORY), OTHER_NAMES.get(plain(root), plain(root))


def test_the_distribution_is_called_what_the_hints_say() -> None:
    """The command and the import name are mixer; a package of that name on the index is somebody else's."""
    assert PROJECT["name"] == DISTRIBUTION == "mixer-data"
    assert install_command("build") == "pip install 'mixer-data[build]'"


def test_the_base_is_what_reading_needs() -> None:
    """Nothing else, so that a training node stays as it is."""
    assert {plain(one) for one in PROJECT["dependencies"]} == BASE


@pytest.mark.parametrize("extra", PACKAGES)
def test_hints_and_pyproject_agree(extra: str) -> None:
    """What `require` looks for is what the extra installs."""
    assert {plain(one) for one in PACKAGES[extra].values()} == own(extra) - ({"accelerate"} if extra == "hf" else set())


def test_every_import_of_the_package_is_declared() -> None:
    """In the base or in an extra that hints know."""
    known = BASE | set().union(*(own(extra) for extra in PACKAGES))
    assert {f"{path}: {name}" for path, name in imported("mixer") if name not in known} == set()


@pytest.mark.parametrize("extra", PACKAGES)
def test_every_declared_package_is_imported(extra: str) -> None:
    """What nothing imports is not asked for."""
    used = {name for _, name in imported("mixer")}
    assert own(extra) - used - NOT_IMPORTED.get(extra, set()) == set()
    assert BASE - used == set()


@pytest.mark.parametrize(
    ("folder", "extra"), [("tests", "test"), ("benchmarks", "bench"), ("benchmarks", "test"), ("examples", "test")]
)
def test_every_import_of_tests_and_benchmarks_is_declared(folder: str, extra: str) -> None:
    """In their extra, in the base, or in the list of trainers that are installed without what they ask for."""
    lines = (REPOSITORY / "tests/clients/requirements.txt").read_text().splitlines()
    trainers = {plain(line) for line in lines if line and not line.startswith("#")}
    known = BASE | declared(extra) | trainers
    assert {f"{path}: {name}" for path, name in imported(folder) if name not in known} == set()


@pytest.mark.parametrize(("extra", "folder"), [("test", "tests"), ("bench", "benchmarks")])
def test_every_package_of_tests_and_benchmarks_is_used(extra: str, folder: str) -> None:
    """What nothing there imports is not asked for."""
    used = {name for _, name in imported(folder)}
    assert own(extra) - used - NOT_IMPORTED.get(extra, set()) == set()


@pytest.mark.parametrize("path", ["README.md", *sorted(one.name for one in (REPOSITORY / "docs").glob("*.md"))])
def test_every_installation_in_the_documentation_works(path: str) -> None:
    """It names this distribution, or the checkout, and an extra that there is."""
    text = (REPOSITORY / ("" if path == "README.md" else "docs") / path).read_text()
    extras = PROJECT["optional-dependencies"]
    for command in re.findall(r"pip install [^\n`]*", text):
        names = re.findall(r"(?:mixer[\w-]*|\.)(?=\[|'|\s|$)(?:\[([\w,]+)\])?", command)
        assert "mixer[" not in command, command
        assert all(name in extras for one in names if one for name in one.split(",")), command
