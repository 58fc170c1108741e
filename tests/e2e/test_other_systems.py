"""The verbs where the calls are missing that Linux alone has, as on macOS: nothing ends as a bug.

A stand-in, since the tests run on Linux: in the process and in those that it starts, `os` lacks these calls and the
C library lacks its own; workers are spawned instead of forked.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from servers import Server, aws_environment, serve_bucket
from stack_kit import SourceFile, expected_rows, read_rows, write_blobs, write_ids
from workshop import contents

from mixer.building.folder import BuildFolder
from mixer.cli.main import run
from mixer.errors import BuildStateError, UsageError
from mixer.system import processes as machine
from mixer.system.processes import ALWAYS_ALLOWED_WORKERS, checked_workers, usable_cores

LINUX_ONLY = [
    "copy_file_range",
    "eventfd",
    "getrandom",
    "memfd_create",
    "pidfd_open",
    "sched_getaffinity",
    "sched_setaffinity",
    "sendfile",
    "posix_fadvise",
    "posix_fallocate",
    "splice",
]
WITHOUT_THEM = f"""
import ctypes, os
for name in {LINUX_ONLY}:
    if hasattr(os, name):
        delattr(os, name)
class CDLL(ctypes.CDLL):
    def __getattr__(self, name):
        if self._name is None and name in ("prctl", "mallopt"):
            raise AttributeError(name)
        return super().__getattr__(name)
ctypes.CDLL = CDLL
"""
# The libraries would not load if `sys` itself said so; spawned workers run sitecustomize as well.
MAIN = """
import types, mixer.system.processes
mixer.system.processes.sys = types.SimpleNamespace(platform="darwin")
from mixer.cli.main import main
main()
"""
REPOSITORIES = [[SourceFile(content=f"{row} {n}\n".encode() * 50) for n in range(row % 3)] for row in range(20)]

Elsewhere = Callable[..., subprocess.CompletedProcess]


@pytest.fixture
def elsewhere(cli_environment: dict[str, str], project: Path, tmp_path: Path) -> Elsewhere:
    """Runs `mixer ARGUMENTS` in the project, on such a system."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(WITHOUT_THEM)
    path = os.pathsep.join([str(tmp_path / "site"), cli_environment["PYTHONPATH"]])

    def run_there(*arguments: object) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-c", MAIN, *map(str, arguments)],
            cwd=project,
            env=cli_environment | os.environ | {"PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run_there


@pytest.mark.parametrize(
    "arguments",
    [
        ["sample", "sample", "--size", "2MB"],
        ["plan", "recipes/sample.yaml", "--set", "target.tokens=300K"],
        ["inspect", "@"],
        ["verify", "@", "--deep"],
        ["show", "@", "--sequence", "0"],
        ["trace", "@", "--step", "0"],
        ["trace", "@", "--source", "dclm", "--row", "0"],
        ["schema"],
    ],
    ids=lambda arguments: " ".join(arguments[:1] + [word for word in arguments if word[:2] == "--"]),
)
def test_a_verb_works_without_linux(arguments: list[str], elsewhere: Elsewhere, built: Path) -> None:
    """It ends as it does on Linux."""
    done = elsewhere(*[built if word == "@" else word for word in arguments])
    assert done.returncode == 0, done.stderr


def test_an_export_works_without_linux(elsewhere: Elsewhere, built: Path, tmp_path: Path) -> None:
    """Its folder is locked there too."""
    done = elsewhere("export", built, tmp_path / "data", "--to", "bin")
    assert done.returncode == 0, done.stderr


def test_a_build_by_spawned_workers_is_the_same(elsewhere: Elsewhere, built: Path, tmp_path: Path) -> None:
    """Shards and manifest, byte for byte."""
    place = ["-o", tmp_path / "out", "--manifests", tmp_path, "--workers", "2"]
    done = elsewhere("build", "recipes/sample.yaml", "--set", "target.tokens=300K", *place)
    assert done.returncode == 0, done.stderr
    kept = ("manifest.json", "shards/")
    found = {name: digest for name, digest in contents(tmp_path / "out").items() if name.startswith(kept)}
    assert found == {name: digest for name, digest in contents(built).items() if name.startswith(kept)}


def test_a_spawned_worker_closes_no_file_of_its_own(tmp_path: Path) -> None:
    """The number of the parent's lock may be that of the worker's pipe."""
    with BuildFolder(tmp_path / "out") as folder:
        pickle.loads(pickle.dumps(folder)).release()
        with pytest.raises(BuildStateError, match="another build is running"), BuildFolder(tmp_path / "out"):
            pass


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A bucket on loopback with the blobs."""
    with serve_bucket(write_blobs(tmp_path / "buckets", REPOSITORIES)) as server:
        for name, value in aws_environment(server).items():
            monkeypatch.setenv(name, value)
        yield server


def test_a_fetch_works_without_linux(elsewhere: Elsewhere, bucket: Server, tmp_path: Path) -> None:
    """The number of workers is not asked of Linux."""
    write_ids(tmp_path / "ids.parquet", REPOSITORIES)
    done = elsewhere("fetch", "stack-v2", tmp_path / "ids.parquet", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert read_rows(tmp_path / "out") == expected_rows(REPOSITORIES)


def test_linux_is_asked_in_one_module_alone() -> None:
    """Nothing but `mixer/system/processes.py` names a call that only Linux has."""
    package = Path(machine.__file__).parent
    names = [*(f"os.{name}" for name in LINUX_ONLY), "prctl", "mallopt", "/proc/", "ctypes", "sys.platform"]
    for path in package.rglob("*.py"):
        text = path.read_text()
        found = [name for name in names if name in text]
        assert path == Path(machine.__file__) or found == [], path


def test_cores_are_those_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system does not say which, all of the machine."""
    assert usable_cores() == len(os.sched_getaffinity(0))
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_cores() == 1


def test_workers_are_bounded_by_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thirty-two on any machine, four for each core on a large one."""
    monkeypatch.setattr(machine, "usable_cores", lambda: 2)
    assert [checked_workers(None), checked_workers(1), checked_workers(32)] == [2, 1, 32]
    with pytest.raises(UsageError, match="33 workers are too many for 2 usable cores; at most 32 make sense"):
        checked_workers(ALWAYS_ALLOWED_WORKERS + 1)
    with pytest.raises(UsageError, match="at least 1"):
        checked_workers(0)
    monkeypatch.setattr(machine, "usable_cores", lambda: 256)
    assert checked_workers(1024) == 1024
    with pytest.raises(UsageError, match="1,025 workers"):
        checked_workers(1025)


@pytest.mark.parametrize("verb", ["build", "fetch"])
def test_too_many_workers_are_refused_before_anything_is_made(
    verb: str, project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--workers 99999` would otherwise try."""
    out = tmp_path / "out"
    calls = {
        "build": ["build", str(project / "recipes/sample.yaml"), "-o", str(out)],
        "fetch": ["fetch", "stack-v2", str(tmp_path / "*.parquet"), str(out)],
    }
    assert run([*calls[verb], "--workers", "99999", "--json"]) == 2
    error = json.loads(capsys.readouterr().err)
    assert error["where"] == "--workers"
    assert error["hint"] == "leave out --workers: the default is one per core"
    assert not out.exists()
