"""What goes wrong with an export: the error, what is left on disk, and that the same command then ends as ever."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner
from workshop import Workshop, contents

from mixer.cli.export import ExportFormat
from mixer.cli.main import app, run
from mixer.errors import BuildStateError, DataError, IntegrityError, UsageError
from mixer.export.export import EXPORT_FORMATS, export
from mixer.shards.manifest import load_manifest
from mixer.system.progress import Advance

every_format = pytest.mark.parametrize("name", EXPORT_FORMATS)
IN_THE_MIDDLE_OF_A_FILE = """
import resource, signal, sys
from pathlib import Path
from mixer.errors import TaskError
from mixer.export.export import export

build, name, folder, death = sys.argv[1:]

def on_advance(advance):
    if advance.done == 2:  # from here on no file may grow by more than 1000 bytes
        stream = Path(folder) / ".train.bin.part"
        most = 1000 + (stream.stat().st_size if stream.exists() else 0)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL if death == "killed" else signal.SIG_IGN)

try:
    export(build, name, Path(folder), on_advance)
except TaskError as error:
    sys.exit(str(error))
"""


@pytest.fixture(scope="session")
def whole(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """The digests of each format's export, not interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    for name in EXPORT_FORMATS:
        export(finished, name, folder / name)
    return {name: contents(folder / name) for name in EXPORT_FORMATS}


class Stopped(Exception):
    """Ends an export from its progress callback, as ^C would."""


@every_format
def test_an_interrupted_export_goes_on_and_gives_the_same_files(
    finished: Path, tmp_path: Path, whole: dict, name: str
) -> None:
    """Stopped after each number of shards; nothing says that it is finished before it is."""
    num_shards = len(load_manifest(finished).shards)
    assert num_shards > 3
    for most in range(1, num_shards + 1):

        def stop(advance: Advance, most: int = most) -> None:
            assert advance.total == num_shards
            if advance.done >= most:
                raise Stopped

        with pytest.raises(Stopped):
            export(finished, name, tmp_path, stop)
        assert not (tmp_path / "export.json").exists()
    export(finished, name, tmp_path)
    assert contents(tmp_path) == whole[name]


@every_format
@pytest.mark.parametrize("death", ["killed", "full"])
def test_an_export_that_ends_in_the_middle_of_a_file_goes_on(
    finished: Path, tmp_path: Path, whole: dict, name: str, death: str
) -> None:
    """Killed by a signal that runs no code of ours, or told that no more can be written; strays are cleaned away."""
    command = [sys.executable, "-c", IN_THE_MIDDLE_OF_A_FILE, finished, name, tmp_path, death]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    left = contents(tmp_path)
    if death == "killed":
        assert done.returncode == -signal.SIGXFSZ
        assert any(path.endswith((".tmp", ".part")) for path in left)
    else:
        assert done.returncode == 1
        problem = ": cannot export: File too large\n  hint: fix that, then run the same command again to resume"
        assert re.match(re.escape(f"{tmp_path}/") + "[a-z0-9.-]+" + re.escape(problem), done.stderr), done.stderr
        assert not any(path.endswith(".tmp") for path in left)
    assert "export.json" not in left
    kept = {path for path, digest in left.items() if whole[name].get(path) == digest}
    before = {path: (tmp_path / path).stat().st_mtime_ns for path in kept}
    export(finished, name, tmp_path)
    assert contents(tmp_path) == whole[name]
    assert before == {path: (tmp_path / path).stat().st_mtime_ns for path in kept}


@every_format
def test_a_finished_export_is_left_as_it_is(finished: Path, tmp_path: Path, whole: dict, name: str) -> None:
    """Run again it writes no ids anew; a file that was lost since is written again."""
    record = export(finished, name, tmp_path)
    ids = [path for path in tmp_path.iterdir() if path.suffix != ".json"]
    before = {path: path.stat().st_mtime_ns for path in ids}
    assert export(finished, name, tmp_path) == record
    assert {path: path.stat().st_mtime_ns for path in ids} == before
    max(ids, key=lambda path: path.stat().st_size).unlink()
    assert export(finished, name, tmp_path) == record
    assert contents(tmp_path) == whole[name]


@every_format
@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        ("missing", "cannot read the shard: No such file or directory"),
        ("truncated", "bytes, the manifest says"),
        ("altered", "its digest is"),
    ],
)
def test_a_damaged_shard_stops_the_export(
    copy_of_finished: Path, tmp_path: Path, whole: dict, name: str, damage: str, problem: str
) -> None:
    """It is named, and nothing says that the export is finished; with the shard as it was, it goes on."""
    shard = copy_of_finished / load_manifest(copy_of_finished).shards[-1].path
    data = shard.read_bytes()
    if damage == "missing":
        shard.unlink()
    elif damage == "truncated":
        shard.write_bytes(data[:-1])
    else:
        shard.write_bytes(data[:5000] + bytes([data[5000] ^ 1]) + data[5001:])
    with pytest.raises(IntegrityError, match=problem) as caught:
        export(copy_of_finished, name, tmp_path / "export")
    assert caught.value.where == str(shard)
    assert not (tmp_path / "export/export.json").exists()
    shard.write_bytes(data)
    export(copy_of_finished, name, tmp_path / "export")
    assert contents(tmp_path / "export") == whole[name]


def test_a_folder_of_something_else_is_refused(finished: Path, workshop: Workshop, tmp_path: Path) -> None:
    """Another format's or build's export, or files that are no export, are left as they are."""
    export(finished, "bin", tmp_path / "taken")
    workshop.build(tmp_path / "out", workshop.recipe(seed=2))
    export(tmp_path / "out", "olmo", tmp_path / "second")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/notes.txt").write_text("mine")
    another = "another build, or one to another format"
    for folder, problem in (
        ("taken", another),
        ("second", another),
        ("other", "not an empty folder and not an export"),
    ):
        before = contents(tmp_path / folder)
        with pytest.raises(BuildStateError, match=problem):
            export(finished, "olmo", tmp_path / folder)
        assert contents(tmp_path / folder) == before
    with pytest.raises(BuildStateError, match="not an empty folder and not an export"):
        export(finished, "olmo", tmp_path / "other/notes.txt")
    with pytest.raises(UsageError, match="formats are bin, litdata, mds, megatron, nanotron, olmo"):
        export(finished, "webdataset", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_folder_inside_the_build_is_refused(copy_of_finished: Path, tmp_path: Path) -> None:
    """Also by way of a link, or with the manifest named; the build is not touched."""
    (tmp_path / "link").symlink_to(copy_of_finished, target_is_directory=True)
    before = contents(copy_of_finished)
    for folder in (copy_of_finished, copy_of_finished / "bin", tmp_path / "link/bin"):
        for build in (copy_of_finished, copy_of_finished / "manifest.json"):
            with pytest.raises(BuildStateError, match="the folder is inside the build"):
                export(build, "bin", folder)
    assert contents(copy_of_finished) == before
    assert not (copy_of_finished / "bin").exists()


def test_a_second_export_into_one_folder_is_refused_while_the_first_goes_on(
    finished: Path, tmp_path: Path, whole: dict
) -> None:
    """The second says so; the first ends as if there had been none."""
    refusals = []

    def second(advance: Advance) -> None:
        with pytest.raises(BuildStateError) as caught:
            export(finished, "bin", tmp_path)
        refusals.append(caught.value.message)

    export(finished, "bin", tmp_path, second)
    assert set(refusals) == {"another export is running in this folder"}
    assert contents(tmp_path) == whole["bin"]


@pytest.mark.parametrize("claim", [b"", b'{"format": "olm', b'{"format": "mds", "manifest": "another"}'])
def test_a_folder_with_a_claim_and_nothing_else_is_taken(
    finished: Path, tmp_path: Path, whole: dict, claim: bytes
) -> None:
    """A run that ended before its first file, or while it wrote the claim, holds nothing up."""
    (tmp_path / ".export.json").write_bytes(claim)
    export(finished, "bin", tmp_path)
    assert contents(tmp_path) == whole["bin"]


def test_a_folder_that_cannot_be_made_is_an_error(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """The command line names it, and ends with 1."""
    (tmp_path / "file").write_text("mine")
    assert run(["export", str(finished), "--to", "bin", str(tmp_path / "file/out")]) == 1
    assert capsys.readouterr().err.startswith(f"error: {tmp_path}/file/out: cannot export: Not a directory\n")


def test_a_build_without_sequences_is_refused(workshop: Workshop, tmp_path: Path) -> None:
    """Before anything is written."""
    lines = [json.dumps({"text": "a" if number == 7 else ""}) for number in range(8)]
    (tmp_path / "data").mkdir()
    (tmp_path / "data/0.jsonl").write_text("\n".join(lines))
    recipe = workshop.recipe(target={"rows": 3}, sources={"data": {"weight": 1, "path": "data/*.jsonl"}})
    workshop.build(tmp_path / "out", recipe, root=tmp_path)
    assert load_manifest(tmp_path / "out").shards == ()
    with pytest.raises(DataError, match="the build has no sequences to export"):
        export(tmp_path / "out", "bin", tmp_path / "bin")
    assert not (tmp_path / "bin").exists()


def test_the_command_line_exports(finished: Path, tmp_path: Path) -> None:
    """It knows the formats of the package, and prints the record."""
    assert sorted(ExportFormat) == sorted(EXPORT_FORMATS)
    result = CliRunner().invoke(app, ["export", str(finished), "--to", "bin", str(tmp_path / "out"), "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout) == json.loads((tmp_path / "out/export.json").read_bytes())
