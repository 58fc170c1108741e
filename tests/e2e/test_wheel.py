"""The wheel in new environments: alone it reads builds, with its `build` extra it makes them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[2]
OF_THE_WHEEL = ("LICENSE", "README.md", "manifests", "mixer", "pyproject.toml")
BUILDERS = {"awkward", "gigatoken", "llama_models", "PyYAML", "regex", "tiktoken", "tokenizers", "zstandard"}
FEED = """
import sys, mixer.feed
build = mixer.feed.open(sys.argv[1], verify="digest" if len(sys.argv) > 2 else "nothing")
assert build[[0, len(build) - 1]].input_ids.shape == (2, 8192)
print(*sorted({name.partition(".")[0] for name in sys.modules} - set(sys.stdlib_module_names)))
"""


def run(*command: object, cwd: Path | None = None) -> str:
    """What a command prints; it finds nothing of this checkout."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "MIXER_CACHE")}
    done = subprocess.run(
        [*map(str, command)], cwd=cwd, env=environment, capture_output=True, text=True, timeout=1800, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy: setuptools leaves files in the folder that it builds from."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in OF_THE_WHEEL:
        path = REPOSITORY / name
        if path.is_dir():
            shutil.copytree(path, folder / "source" / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            (folder / "source").mkdir(exist_ok=True)
            shutil.copy(path, folder / "source")
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder / "dist", folder / "source")
    (built,) = (folder / "dist").glob("*.whl")
    return built


def environment(folder: Path, *requirements: object) -> Path:
    """A new environment with some packages, in the versions of constraints.txt; its `bin`."""
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    pip(folder / "bin", "install", "--quiet", "--no-compile", "-c", REPOSITORY / "constraints.txt", *requirements)
    return folder / "bin"


def pip(bin_folder: Path, *arguments: object) -> str:
    """This environment's pip, at work in another one."""
    command = [sys.executable, "-m", "pip", "--python", bin_folder / "python", "--disable-pip-version-check"]
    return run(*command, *arguments)


@pytest.fixture(scope="module")
def alone(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`bin` of an environment with the wheel and what it asks for."""
    return environment(tmp_path_factory.mktemp("alone") / "venv", wheel)


@pytest.fixture(scope="module")
def with_build(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`bin` of an environment with the wheel and its `build` extra."""
    return environment(tmp_path_factory.mktemp("with-build") / "venv", f"{wheel}[build]")


def test_alone_it_brings_no_package_for_building(alone: Path) -> None:
    """Neither those of the extra nor what they ask for."""
    listed = json.loads(pip(alone, "list", "--format", "json"))
    names = {package["name"].replace("-", "_") for package in listed}
    assert names >= {"mixer_data", "numpy", "pyarrow", "rich", "typer", "xxhash"}
    assert names & BUILDERS == set()


def test_alone_it_reads_a_build(alone: Path, built: Path) -> None:
    """The verbs of a training node, and the feed with digests checked."""
    assert run(alone / "mixer", "--version")
    assert json.loads(run(alone / "mixer", "inspect", built, "--json"))
    for arguments in (["verify", built], ["inspect", built], ["trace", built, "--step", "0"]):
        assert run(alone / "mixer", *arguments)
    assert set(run(alone / "python", "-c", FEED, built, "digest").split()) >= {"mixer", "numpy", "pyarrow"}


def test_its_feed_needs_numpy_and_pyarrow_alone(alone: Path, built: Path, tmp_path: Path) -> None:
    """Nothing else that is installed is to be found, and no command line is imported."""
    (site,) = alone.parent.glob("lib/python3*/site-packages")
    for path in site.iterdir():
        if path.name.split(".")[0] in ("mixer", "numpy", "pyarrow"):
            (tmp_path / path.name).symlink_to(path)
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{FEED}"
    loaded = set(run(alone / "python", "-I", "-S", "-c", code, built).split())
    assert loaded >= {"mixer", "numpy", "pyarrow"}


def test_with_its_extra_it_builds_the_sample(with_build: Path, tmp_path: Path) -> None:
    """The demo of the README: sample, plan, build, verify; the facts that it ships are there."""
    (tmp_path / "recipes").mkdir()
    shutil.copy(REPOSITORY / "recipes/sample.yaml", tmp_path / "recipes")
    small = ("recipes/sample.yaml", "--set", "target.tokens=300K", "--cache", tmp_path / "cache")
    run(with_build / "mixer", "sample", "sample", "--size", "2MB", cwd=tmp_path)
    assert run(with_build / "mixer", "plan", *small, cwd=tmp_path)
    run(with_build / "mixer", "build", *small, "-o", "out/sample", cwd=tmp_path)
    assert run(with_build / "mixer", "verify", "out/sample", "--deep", "--cache", tmp_path / "cache", cwd=tmp_path)
    facts = "import mixer, pathlib; print(*pathlib.Path(mixer.__file__).parent.glob('survey/facts/*.yaml'))"
    assert len(run(with_build / "python", "-c", facts).split()) == len(
        list((REPOSITORY / "manifests/facts").glob("*.yaml"))
    )
