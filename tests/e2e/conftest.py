"""A small project of the sample, built once by the real command line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from workshop import shared

from mixer.shards.manifest import load_manifest
from mixer.shards.records import Manifest

REPOSITORY = Path(__file__).parents[2]
Cli = Callable[..., subprocess.CompletedProcess]


@pytest.fixture(scope="session")
def cli_environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of the command line: its own cache, and this mixer."""
    cache = tmp_path_factory.mktemp("cache")
    unset = {"COLUMNS", "FORCE_COLOR", "NO_COLOR"}
    kept = {name: value for name, value in os.environ.items() if name not in unset}
    return kept | {"MIXER_CACHE": str(cache), "PYTHONPATH": str(REPOSITORY), "TERM": "xterm-256color"}


@pytest.fixture(autouse=True)
def _own_cache(cli_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs in this process keeps out of the user's cache as well."""
    monkeypatch.setenv("MIXER_CACHE", cli_environment["MIXER_CACHE"])


@pytest.fixture(scope="session")
def cli(cli_environment: dict[str, str]) -> Cli:
    """Runs `mixer ARGUMENTS` in a process of its own."""

    def run(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "mixer.cli.main", *map(str, arguments)]
        return subprocess.run(
            command, cwd=cwd, env=cli_environment, capture_output=True, text=True, timeout=120, check=False
        )

    return run


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> Path:
    """A folder with `sample/` of 2 MB and `recipes/sample.yaml`."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "recipes").mkdir()
    shutil.copy(REPOSITORY / "recipes" / "sample.yaml", folder / "recipes")
    done = cli("sample", "sample", "--size", "2MB", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def first_build(project: Path, cli: Cli) -> subprocess.CompletedProcess:
    """The run of `mixer build` that made `out/sample` in the project."""
    done = cli("build", "recipes/sample.yaml", "--set", "target.tokens=300K", cwd=project)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="session")
def built(project: Path, first_build: subprocess.CompletedProcess) -> Path:
    """The folder of a finished build; not to be changed."""
    return shared(project / "out" / "sample")


@pytest.fixture
def copied(built: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of the build that a test may damage."""
    folder = tmp_path / "copy"
    shutil.copytree(built, folder)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def manifest(built: Path) -> Manifest:
    """The build's manifest."""
    return load_manifest(built)
