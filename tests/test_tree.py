"""What lies in the repository: nothing that an editor or a shell left there by accident."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path, PurePosixPath

import pytest

pytestmark = pytest.mark.quick

REPOSITORY = Path(__file__).parents[1]
AT_THE_ROOT = {
    ".ci",
    ".gitignore",
    ".pre-commit-config.yaml",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "Makefile",
    "README.md",
    "RELEASE.md",
    "SECURITY.md",
    "benchmarks",
    "constraints.txt",
    "docs",
    "examples",
    "manifests",
    "mixer",
    "pyproject.toml",
    "recipes",
    "tests",
}
"""A new one is added here on purpose."""
NAME = re.compile(r"\.?[A-Za-z0-9_][A-Za-z0-9_.-]*")
"""No spaces, no `#` and `~` of editors, nothing that a shell would read as an option."""
LEFT_BEHIND = {".orig", ".rej", ".bak", ".swp", ".tmp", ".pyc", ".log"}


@pytest.fixture(scope="module")
def tracked() -> list[PurePosixPath]:
    """Every file that git keeps."""
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, check=False
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    return [PurePosixPath(name) for name in listed.stdout.decode().split("\0") if name]


def test_only_what_is_known_lies_at_the_root(tracked: list[PurePosixPath]) -> None:
    """A file that a slip of the shell made there is noticed."""
    assert {path.parts[0] for path in tracked} <= AT_THE_ROOT


def test_names_are_plain(tracked: list[PurePosixPath]) -> None:
    """No tracked file or folder has a space, a quote, `#` or `~` in its name, or was left behind by a tool."""
    assert [str(path) for path in tracked if not all(NAME.fullmatch(part) for part in path.parts)] == []
    assert [str(path) for path in tracked if path.suffix in LEFT_BEHIND] == []


def test_everything_in_the_package_is_shipped(tracked: list[PurePosixPath]) -> None:
    """Each folder is a package, and each file that is no module is named in pyproject.toml."""
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert settings["packages"]["find"]["include"] == ["mixer*"]
    shipped = {path for pattern in settings["package-data"]["mixer"] for path in (REPOSITORY / "mixer").glob(pattern)}
    inside = [REPOSITORY / path for path in tracked if path.parts[0] == "mixer"]
    files = {file for path in inside for file in (path.iterdir() if path.is_dir() else [path])}
    modules = {path for path in files if path.suffix == ".py"}
    assert files - modules == shipped
    assert {path.parent for path in modules} == {path.parent for path in modules if path.name == "__init__.py"}
