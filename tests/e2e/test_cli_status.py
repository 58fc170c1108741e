"""`mixer status` from outside: builds that run, were killed, stopped or failed, are finished, or are none."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from workshop import contents

from mixer.building.folder import BuildFolder
from mixer.cli.main import run
from mixer.shards.manifest import load_manifest, publish_manifest

REPOSITORY = Path(__file__).parents[2]
LONG = ["--set", "target.tokens=25M", "--set", "task_tokens=1Mi", "--workers", "1", "--quiet"]


def status_of(out: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """What `status --json` says."""
    assert run(["status", str(out), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def words_of(out: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What `status` says to people."""
    assert run(["status", str(out)]) == 0
    return capsys.readouterr().out


@contextmanager
def building(project: Path, environment: dict[str, str], out: Path, *options: str) -> Iterator[subprocess.Popen]:
    """A build of many small tasks, in a process of its own."""
    arguments = ["build", "recipes/sample.yaml", "-o", str(out), "--manifests", str(out.parent), *(options or LONG)]
    with subprocess.Popen(
        [sys.executable, "-m", "mixer.cli.main", *arguments],
        cwd=project,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(condition: Callable[[], object]) -> None:
    """Wait up to 60 s for something to become true."""
    stop = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < stop
        time.sleep(0.02)


def has_a_task(out: Path) -> bool:
    """Whether a task is finished."""
    return any((out / "tasks").glob("[!.]*"))


def pause(process: subprocess.Popen) -> None:
    """Stop a build where it is, so that it can be looked at; its worker finishes a task and waits."""
    process.send_signal(signal.SIGSTOP)
    time.sleep(0.2)


@pytest.fixture(scope="module")
def killed(project, cli_environment, tmp_path_factory) -> Path:
    """The folder of a build that was killed after some tasks; not to be changed."""
    out = tmp_path_factory.mktemp("killed") / "o"
    with building(project, cli_environment, out) as process:
        wait_for(lambda: has_a_task(out))
        process.kill()
        process.wait()
    return out


def test_a_running_build_tells_how_far_it_is(project, cli_environment, tmp_path, capsys):
    """Who runs, tasks and tokens, from planning on; and looking at it again and again disturbs nothing."""
    out, states = tmp_path / "o", []
    with building(project, cli_environment, out) as process:
        wait_for((out / ".mixer" / "run.json").exists)
        states.append(status_of(out, capsys)["state"])
        wait_for(lambda: has_a_task(out))
        pause(process)
        found, words = status_of(out, capsys), words_of(out, capsys)
        process.send_signal(signal.SIGCONT)
        while process.poll() is None:
            states.append(status_of(out, capsys)["state"])
        assert process.stderr is not None
        assert process.returncode == 0, process.stderr.read()
    assert states[0] in ("planning", "running")
    assert (found["state"], found["pid"], found["host"]) == ("running", process.pid, socket.gethostname())
    assert (found["workers"], found["busy"], found["error"]) == (1, True, None)
    assert found["tasks_done"] >= 1
    assert found["tokens"] >= 900_000
    assert (found["expected_tokens"], found["is_exact"]) == (25e6, True)
    assert found["share"] == pytest.approx(found["tokens"] / 25e6)
    assert 0 < found["run_speed"] < 1e9
    assert 0 < found["recent_speed"] < 1e9
    assert found["seconds_left"] > 0
    assert 10 < found["tasks_done"] + len(found["tasks_running"]) + found["tasks_left"] < 40
    assert f"sample: running (pid {process.pid} on {socket.gethostname()}, 1 worker, for " in words
    assert re.search(r"tokens +\d[\d.]+[KM] of 25\.0M \(\d+\.\d %\)\n", words)
    assert "left\n" in words
    assert set(states) <= {"planning", "running", "finished"}
    done = status_of(out, capsys)
    assert (done["state"], done["tasks_left"], done["share"]) == ("finished", 0, 1.0)
    assert done["run_speed"] > 0
    assert not (out / ".mixer" / "run.json").exists()


def test_watching_a_build_ends_with_it(project, cli_environment, cli, tmp_path):
    """Lines while it goes on, and 0 at its end; JSON comes as one object a line."""
    out = tmp_path / "o"
    with building(project, cli_environment, out) as process:
        wait_for((out / ".mixer" / "run.json").exists)
        watched = cli("status", out, "--watch", "--json")
        assert process.wait(timeout=60) == 0
    assert watched.returncode == 0, watched.stderr
    looks = [json.loads(line) for line in watched.stdout.splitlines()]
    assert looks[-1]["state"] == "finished"
    assert {look["state"] for look in looks[:-1]} <= {"planning", "running"}
    tokens = [min(look["tokens"], 25_000_000) for look in looks[:-1]]  # tasks behind the end are made, and dropped
    assert tokens == sorted(tokens)


def test_a_killed_build_is_told_from_a_running_one(killed, cli, capsys):
    """Its note says that it runs; that its process is gone says more. Watching it ends at once, with 1."""
    found, words = status_of(killed, capsys), words_of(killed, capsys)
    assert (found["state"], found["busy"], found["pid"], found["tasks_running"]) == ("killed", False, None, [])
    assert found["tasks_done"] >= 1
    assert found["run_speed"] > 0
    assert found["seconds_left"] is None
    assert "killed: its process is gone" in words
    assert words.endswith("run the same `mixer build` again to resume\n")
    assert cli("status", killed, "--watch").returncode == 1


def test_another_process_of_the_same_number_is_not_the_builder(killed, tmp_path, capsys):
    """As after a restart of the machine: the number is there again, the start is another."""
    out = shutil.copytree(killed, tmp_path / "o")
    path = out / ".mixer" / "run.json"
    note = json.loads(path.read_bytes())
    path.write_text(json.dumps(note | {"pid": os.getpid()}))
    assert status_of(out, capsys)["state"] == "killed"


def test_a_build_of_another_host_is_known_by_the_lock(killed, tmp_path, capsys):
    """Processes of other hosts cannot be seen; on a shared disk the lock can."""
    out = shutil.copytree(killed, tmp_path / "o")
    path = out / ".mixer" / "run.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"host": "elsewhere"}))
    assert status_of(out, capsys)["state"] == "killed"
    with BuildFolder(out):
        found = status_of(out, capsys)
    assert (found["state"], found["host"]) == ("running", "elsewhere")


def test_a_builder_without_a_note_is_not_taken_for_the_killed_one(killed, tmp_path, capsys):
    """The lock says that there is one, and nothing says who: a repair, or an earlier mixer."""
    out = shutil.copytree(killed, tmp_path / "o")
    with BuildFolder(out):
        found, words = status_of(out, capsys), words_of(out, capsys)
    assert (found["state"], found["busy"], found["pid"]) == ("running", True, None)
    assert "running (by an unknown process)" in words


@pytest.mark.parametrize("note", ["", "{}", "[1]", '{"version": 9}', '{"version": 1, "pid": 1, "error": 7}'])
def test_a_note_that_cannot_be_read_is_as_good_as_none(killed, tmp_path, capsys, note):
    """The records say what is finished; how it ended is not known then."""
    out = shutil.copytree(killed, tmp_path / "o")
    (out / ".mixer" / "run.json").write_text(note)
    found = status_of(out, capsys)
    assert (found["state"], found["expected_tokens"]) == ("stopped", 25e6)
    assert found["tasks_done"] >= 1


def test_a_damaged_record_and_a_missing_shard_are_not_counted(killed, tmp_path, capsys):
    """They will be made again, as the builder does."""
    out = shutil.copytree(killed, tmp_path / "o")
    before = status_of(out, capsys)
    first = min((out / "shards").glob("[!.]*.arrow"))
    first.unlink()
    (out / "tasks" / "00099.json").write_text("{}")
    found = status_of(out, capsys)
    assert (found["tasks_done"], found["remade"]) == (before["tasks_done"] - 1, 2)
    assert "2 to be rebuilt" in words_of(out, capsys)


def test_an_interrupted_build_goes_on_and_counts_from_there(project, cli_environment, tmp_path, capsys):
    """^C leaves `stopped`; the speed of the next run leaves out what was there before."""
    out = tmp_path / "o"
    with building(project, cli_environment, out) as process:
        wait_for(lambda: has_a_task(out))
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
    found = status_of(out, capsys)
    assert (found["state"], found["error"], found["busy"]) == ("stopped", None, False)
    assert re.search(r"sample: stopped at \d\d:\d\d:\d\d\n", words_of(out, capsys))
    with building(project, cli_environment, out) as process:
        wait_for(lambda: status_of(out, capsys)["tasks_done"] > found["tasks_done"])
        pause(process)
        note = json.loads((out / ".mixer" / "run.json").read_bytes())
        again = status_of(out, capsys)
    assert note["tokens_before"] == found["tokens"]
    seconds = again["last_unix"] - note["building_unix"]
    assert 0 < again["run_speed"] < 1.5 * (again["tokens"] - found["tokens"]) / seconds


def test_a_failed_build_tells_its_last_error(tmp_path, capsys):
    """Bad data that the survey does not meet: where, what and when; a build that goes on clears it."""
    rows = [json.dumps({"text": f"row {n}"}) for n in range(30_000)]
    rows[17_777] = '{"text": 7}'
    (tmp_path / "data.jsonl").write_text("\n".join(rows) + "\n")
    recipe, out = tmp_path / "r.yaml", tmp_path / "out"
    recipe.write_text("name: bad\nwhen_exhausted: stop\nsources: {s: {weight: 1, path: data.jsonl}}\n")
    command = ["build", str(recipe), "-o", str(out), "--quiet"]
    assert run(command) == 1
    said = capsys.readouterr().err
    found, words = status_of(out, capsys), words_of(out, capsys)
    assert found["state"] == "failed"
    assert found["error"]["kind"] == "DataError"
    assert found["error"]["message"] in said
    assert abs(found["error"]["unix"] - time.time()) < 60
    assert "bad: failed at " in words
    assert f": {found['error']['where']}: {found['error']['message']}\n" in words
    assert run([*command, "--set", "on_bad_row=skip"]) == 0
    capsys.readouterr()
    assert status_of(out, capsys)["state"] == "finished"


def test_a_refused_build_leaves_the_note_of_the_one_before(killed, project, tmp_path, capsys):
    """Another recipe into the folder of a killed build changes nothing that `status` says, be it of one task alone."""
    out = shutil.copytree(killed, tmp_path / "o")
    for record in (out / "tasks").glob("*.json"):
        if record.name != "00000.json":
            record.unlink()
    before = status_of(out, capsys)
    note = (out / ".mixer" / "run.json").read_bytes()
    recipe = str(project / "recipes" / "sample.yaml")
    assert run(["build", recipe, "-o", str(out), "--quiet", "--set", "target.tokens=300K"]) == 1
    assert "another plan's build" in capsys.readouterr().err
    assert (out / ".mixer" / "run.json").read_bytes() == note
    assert status_of(out, capsys) == before


def test_a_build_that_fails_before_its_plan_leaves_nothing(tmp_path, capsys):
    """Its folder is taken away, as before there were notes."""
    (tmp_path / "x.parquet").write_bytes(b"PAR1 but not really")
    recipe = tmp_path / "r.yaml"
    recipe.write_text("target: {tokens: 1M}\nsources: {a: {weight: 1, path: x.parquet}}\n")
    assert run(["build", str(recipe), "-o", str(tmp_path / "o")]) == 1
    assert not (tmp_path / "o").exists()


def test_a_finished_build_is_finished(built, manifest, capsys):
    """From the folder and from the manifest; nothing is written."""
    before = contents(built)
    found = status_of(built, capsys)
    assert (found["state"], found["name"], found["busy"]) == ("finished", "sample", False)
    assert (found["tokens"], found["tasks_done"], found["tasks_left"]) == (manifest.totals.tokens, 1, 0)
    assert found["folder_bytes"] == sum(path.stat().st_size for path in built.rglob("*") if path.is_file())
    assert status_of(built / "manifest.json", capsys) == found
    assert contents(built) == before


def test_shards_that_were_deleted_on_purpose_are_counted(copied, manifest, capsys):
    """The build stays finished."""
    (first,) = manifest.shards
    deleted = replace(first, file=replace(first.file, state="deleted"))
    publish_manifest(copied, replace(load_manifest(copied), shards=(deleted,)))
    (copied / first.path).unlink()
    assert status_of(copied, capsys)["shards_deleted"] == 1
    assert "1 shard deleted on purpose" in words_of(copied, capsys)


@pytest.mark.parametrize("name", ["concat", "best-fit"])
def test_a_build_of_an_earlier_mixer_has_a_status(capsys, name):
    """Without a note, a log or a lock."""
    folder = REPOSITORY / "tests" / "golden" / "v2" / name
    before = contents(folder)
    found = status_of(folder, capsys)
    assert (found["state"], found["run_speed"], found["last_unix"]) == ("finished", None, None)
    assert contents(folder) == before


def test_a_folder_without_a_build_is_1(tmp_path, capsys):
    """A folder with other things, an empty one, none at all, and a file."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x").write_text("")
    (tmp_path / "empty").mkdir()
    expected = {"other": "no build", "empty": "no build", "none": "No such file", "other/x": "Not a directory"}
    for name, words in expected.items():
        assert run(["status", str(tmp_path / name)]) == 1
        assert words in capsys.readouterr().err


def as_nobody(out: Path, environment: dict[str, str]) -> subprocess.CompletedProcess:
    """`mixer status` as a user without rights: as root none would be denied. What it imports is loaded before."""
    golden = str(REPOSITORY / "tests" / "golden" / "v2" / "concat")
    code = "import os, sys; from mixer.cli.main import run; "
    code += f"run(['status', {golden!r}]); os.getuid() or (os.setgroups([]), os.setuid(65534)); "
    code += f"sys.exit(run(['status', {str(out)!r}]))"
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """A folder that others may enter: those of pytest are its user's alone."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


def test_a_folder_that_may_not_be_read_is_an_error(killed, cli_environment, open_to_all):
    """The error names what cannot be read, and nothing is taken for an empty build."""
    out = shutil.copytree(killed, open_to_all / "o")
    for folder, code, words in ((out / "tasks", 1, "Permission denied"), (out, 2, "is not readable")):
        os.chmod(folder, 0)
        done = as_nobody(out, cli_environment)
        os.chmod(folder, 0o755)
        assert (done.returncode, words in done.stderr, str(folder) in done.stderr) == (code, True, True), done.stderr


def test_a_read_only_folder_is_read(killed, cli_environment, open_to_all):
    """By somebody who may not write there."""
    out = shutil.copytree(killed, open_to_all / "o")
    for path in [out, *out.rglob("*")]:
        os.chmod(path, 0o555 if path.is_dir() else 0o444)
    done = as_nobody(out, cli_environment)
    assert done.returncode == 0, done.stderr
    assert "killed" in done.stdout


def test_status_needs_no_builder(cli_environment, killed):
    """What tokenizes and reads recipes is not even imported, so a training node can look."""
    blocked = ("gigatoken", "tokenizers", "tiktoken", "awkward", "zstandard", "yaml")  # typer has pydantic
    code = f"import sys; sys.modules.update(dict.fromkeys({blocked})); from mixer.cli.main import run; "
    done = subprocess.run(
        [sys.executable, "-c", code + f"sys.exit(run(['status', {str(killed)!r}]))"],
        env=cli_environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_dry_run_writes_nothing_and_says_what_is_finished(cli, project, killed, built, tmp_path):
    """New, killed and finished folders; a folder that the build would refuse is refused."""
    command = ["build", "recipes/sample.yaml", "--dry-run", "-o"]
    before = contents(project), contents(killed)
    new = cli(*command, tmp_path / "new", "--set", "target.tokens=300K", cwd=project)
    assert (new.returncode, (tmp_path / "new").exists()) == (0, False), new.stderr
    assert new.stdout.splitlines()[0].startswith("sample: 6 sources, about 300K tokens in about 1 task of ")
    assert "are free there\nnothing is finished yet\n" in new.stdout
    again = cli(*command, built, "--set", "target.tokens=300K", cwd=project)
    assert "all of it is finished: 1 task, 303K tokens\n" in again.stdout
    part = ["--set", "target.tokens=25M", "--set", "task_tokens=1Mi"]
    found = json.loads(cli(*command, killed, *part, "--json", cwd=project).stdout)
    assert found["tasks_finished"] >= 1
    assert found["tokens"] == 25e6
    assert 10 < found["tasks"] < 40
    assert found["shard_bytes"] == pytest.approx(100e6, rel=0.1)
    assert found["plan"] == json.loads((killed / "plan.json").read_bytes())["id"]
    assert found["status"]["state"] == "killed"
    refused = cli(*command, killed, cwd=project)
    assert (refused.returncode, "another plan's build" in refused.stderr) == (1, True)
    assert (contents(project), contents(killed)) == before
