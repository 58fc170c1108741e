"""mixer without any extra, as on a training node: it reads builds, and says what to install for the rest."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest

from mixer.export.export import EXPORT_FORMATS
from mixer.extras import PACKAGES, MissingPackages, extra_with, missing_package, require

REPOSITORY = Path(__file__).parents[2]
BASE = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["dependencies"]
FEED = """
import sys, mixer.feed
build = mixer.feed.open(sys.argv[1], verify="digest")
assert build[[0, len(build) - 1]].input_ids.shape == (2, 8192)
print(len(build), "torch" in sys.modules, "typer" in sys.modules)
"""
Bare = Callable[..., subprocess.CompletedProcess]


def names_of(requirements: list[str]) -> list[str]:
    """The names of the packages that are always asked for."""
    kept = [one for one in requirements if "extra ==" not in one]
    return [re.match(r"[A-Za-z0-9._-]+", one).group() for one in kept]  # type: ignore[union-attr]


def with_requirements(names: list[str]) -> dict[str, Distribution]:
    """Packages, and what they ask for, as they are installed here; what another system alone needs is not there."""
    found: dict[str, Distribution] = {}
    while names:
        name = names.pop()
        if name not in found:
            try:
                found[name] = distribution(name)
            except ImportError:
                continue
            names += names_of(found[name].requires or [])
    return found


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of modules with this mixer and its base dependencies, and nothing else."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "mixer").symlink_to(REPOSITORY / "mixer")
    for package in with_requirements(names_of(BASE)).values():
        for name in {path.parts[0] for path in package.files or [] if path.parts[0] not in ("..", "__pycache__")}:
            (folder / name).symlink_to(Path(str(package.locate_file(name))))
    return folder


@pytest.fixture(scope="session")
def bare(site: Path) -> Bare:
    """Runs Python code in a process that finds no other packages."""

    def run(code: str, *arguments: object) -> subprocess.CompletedProcess:
        there = f"import sys; sys.path.insert(0, {str(site)!r})\n{code}"
        command = [sys.executable, "-I", "-S", "-c", there, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    return run


@pytest.fixture(scope="session")
def bare_cli(bare: Bare) -> Bare:
    """Runs `mixer ARGUMENTS` there."""
    return lambda *arguments: bare("from mixer.cli.main import main; main()", *arguments)


def test_a_build_is_fed_without_extras(bare: Bare, built: Path) -> None:
    """With its digests checked; neither a framework nor the command line is imported."""
    done = bare(FEED, built)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[1:] == ["False", "False"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--version"],
        ["--help"],
        ["inspect", "@"],
        ["inspect", "@", "--json"],
        ["verify", "@"],
        ["trace", "@", "--step", "0"],
        ["trace", "@", "--source", "dclm", "--row", "0"],
    ],
    ids=" ".join,
)
def test_reading_verbs_need_no_extra(bare_cli: Bare, built: Path, arguments: list[str]) -> None:
    """The record of a build, its checks, and the rows behind a step."""
    done = bare_cli(*[built if word == "@" else word for word in arguments])
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


@pytest.mark.parametrize("to", EXPORT_FORMATS)
def test_exports_need_no_extra(bare_cli: Bare, built: Path, tmp_path: Path, to: str) -> None:
    """No trainer's package is needed to write its format."""
    done = bare_cli("export", built, tmp_path / "data", "--to", to)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "doing"),
    [
        (["build", "recipes/sample.yaml"], "building"),
        (["plan", "recipes/sample.yaml"], "planning"),
        (["init", "data"], "making a recipe"),
        (["head", "data"], "looking into data"),
        (["fetch", "stack-v2", "ids.parquet", "out"], "fetching"),
        (["sample", "sample"], "making a sample"),
        (["schema"], "the schema of recipes"),
        (["show", "@", "--sequence", "0"], "showing text"),
        (["verify", "@", "--deep"], "--deep"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value[:1]),
)
def test_other_verbs_say_what_to_install(bare_cli: Bare, built: Path, arguments: list[str], doing: str) -> None:
    """Wrong usage, not a bug: all that is missing at once, and a command that works."""
    words = [built if word == "@" else word for word in arguments]
    done = bare_cli(*words)
    assert (done.returncode, done.stdout) == (2, "")
    missing, hint = done.stderr.splitlines()
    assert missing.startswith(
        f"error: {doing} needs packages that are not installed: awkward, gigatoken, isal, llama-models"
    )
    assert hint == "  hint: pip install 'mixer-data[build]'"
    (line,) = bare_cli(*words, "--json").stderr.splitlines()
    assert json.loads(line)["error"] == "MissingPackages"


def test_an_extra_that_is_there_is_not_asked_for() -> None:
    """The tests have all of it."""
    for extra in ("build", "remote", "hf"):
        require(extra, "this")


def test_a_missing_package_is_an_import_error_with_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    """For scripts that try an import; every missing package is named."""
    monkeypatch.setitem(PACKAGES, "build", {"not_there": "not-there", "not_there.inside": "inside", "json": "json"})  # type: ignore[arg-type]
    with pytest.raises(ImportError) as missing:
        require("build", "this")
    assert isinstance(missing.value, MissingPackages)
    assert missing.value.exit_code == 2
    assert missing.value.message == "this needs packages that are not installed: not-there, inside"


def test_the_extra_of_a_failed_import_is_known() -> None:
    """By the module, one inside it, or the namespace around it."""
    assert [extra_with(name) for name in ("yaml", "google", "google.auth.transport", "torch", "googly", "")] == [
        "build",
        "remote",
        "remote",
        "torch",
        None,
        None,
    ]
    error = missing_package(ImportError(name="obstore.auth"), "remote", "fetching")
    assert str(error) == "fetching needs the package obstore\n  hint: pip install 'mixer-data[remote]'"
