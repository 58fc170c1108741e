"""The note of a run, and probes of locks and processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from mixer.building import run_file
from mixer.building.folder import BuildFolder
from mixer.building.ledger import Progress
from mixer.building.run_file import RUN, RunFile, read_run
from mixer.errors import BuildStateError, DataError
from mixer.system.locks import is_locked, lock_despite_probes, lock_file
from mixer.system.processes import is_alive, process_start


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A folder that has a plan."""
    (tmp_path / "plan.json").write_text("{}")
    return tmp_path


def test_the_note_of_a_failure_has_its_error(out):
    """All parts of it, and no tasks."""
    during = []

    def fail(note: RunFile) -> None:
        note.on_job(0, 7, Progress(estimated_tasks=3, num_tokens=5))
        note.on_job(1, 8, Progress(estimated_tasks=3, num_tokens=5))
        during.append(read_run(out))
        raise DataError("no text", where="sources.a", hint="look")

    with pytest.raises(DataError), RunFile(out, workers=2) as note:
        fail(note)
    (found,) = during
    assert found is not None
    assert (found.phase, found.working_on, found.tokens_before, found.pid) == ("building", [7, 8], 5, os.getpid())
    found = read_run(out)
    assert found is not None
    assert found.error is not None
    assert (found.phase, found.working_on) == ("failed", [])
    assert (found.error.kind, found.error.message) == ("DataError", "no text")
    assert (found.error.where, found.error.hint) == ("sources.a", "look")


def test_the_note_goes_when_the_run_is_finished(out):
    """And where there is no plan, with whatever ended it; what a killed process half wrote goes first."""
    (out / ".mixer").mkdir()
    (out / ".mixer" / ".run.json.1-1-host.tmp").write_text("{")
    with RunFile(out, workers=1):
        assert [path.name for path in (out / ".mixer").iterdir()] == ["run.json"]
    assert list((out / ".mixer").iterdir()) == []
    (out / "plan.json").unlink()
    with pytest.raises(KeyboardInterrupt), RunFile(out, workers=1):
        raise KeyboardInterrupt
    assert list((out / ".mixer").iterdir()) == []


def test_a_refused_run_puts_the_note_back(out):
    """Byte for byte."""
    (out / ".mixer").mkdir()
    (out / RUN).write_bytes(b"before")
    with pytest.raises(BuildStateError), RunFile(out, workers=1):
        raise BuildStateError("another plan's")
    assert (out / RUN).read_bytes() == b"before"


def test_notes_are_written_at_a_bounded_rate(out, monkeypatch):
    """Ten thousand quick tasks cost some writes a second; what was held back is written with the next news."""
    written = []
    publish = run_file.publish_bytes

    def counted(*arguments: Any, **named: Any) -> None:
        written.append(time.monotonic())
        publish(*arguments, **named)

    monkeypatch.setattr(run_file, "publish_bytes", counted)
    progress = Progress(estimated_tasks=10_000)
    with RunFile(out, workers=2) as note:
        started = time.monotonic()
        for task in range(10_000):
            note.on_job(task % 2, task, progress)
        seconds = time.monotonic() - started
        time.sleep(0.6)
        note.before(lambda progress: None)(progress)
        found = read_run(out)
    assert len(written) <= 4 + 2 * seconds
    assert found is not None
    assert found.working_on == [9_998, 9_999]


def test_a_disk_that_refuses_the_note_stops_nothing(out):
    """The folder of the note is a file here."""
    (out / ".mixer").write_text("")
    with RunFile(out, workers=1) as note:
        note.on_job(0, 1, Progress(estimated_tasks=1))
    assert read_run(out) is None


def test_a_full_disk_still_takes_the_last_note(out, monkeypatch):
    """No new file can be made, but the old one can be written over."""

    def full(*arguments: Any, **named: Any) -> None:
        raise OSError(28, "No space left on device")

    note = RunFile(out, workers=1)
    note.__enter__()
    monkeypatch.setattr(run_file, "publish_bytes", full)
    note.__exit__(DataError, DataError("the disk is full"), None)
    found = read_run(out)
    assert found is not None
    assert found.error is not None
    assert found.error.message == "the disk is full"


def test_a_probe_tells_a_lock_and_makes_no_file(tmp_path):
    """Free, held, not there."""
    path = tmp_path / "lock"
    assert is_locked(path) is False
    assert not path.exists()
    descriptor = lock_file(path)
    assert descriptor is not None
    assert is_locked(path) is True
    os.close(descriptor)
    assert is_locked(path) is False


def test_no_probe_can_refuse_a_builder(tmp_path):
    """Four processes probe without a pause; a builder takes its folder a hundred times."""
    lock = tmp_path / "o" / ".mixer" / "lock"
    code = "from pathlib import Path; from mixer.system.locks import is_locked\n"
    code += f"while True: is_locked(Path({str(lock)!r}))"
    probes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(4)]
    try:
        time.sleep(1.0)
        for _ in range(100):
            with BuildFolder(tmp_path / "o"):
                pass
    finally:
        for probe in probes:
            probe.kill()
            probe.wait()


def test_a_lock_that_is_held_is_refused_soon(tmp_path):
    """The second builder learns of the first within a second."""
    held = lock_file(tmp_path / "lock")
    assert held is not None
    started = time.monotonic()
    assert lock_despite_probes(tmp_path / "lock") is None
    assert time.monotonic() - started < 1.0
    os.close(held)


def test_a_process_is_told_from_another_of_its_number():
    """By when it began, where the system says."""
    own = process_start(os.getpid())
    assert is_alive(os.getpid(), own)
    assert is_alive(os.getpid(), None)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert not is_alive(gone.pid, None)
    if own is not None:
        assert not is_alive(os.getpid(), own + "1")


def test_a_note_is_json_for_anybody(out):
    """With its version."""
    with RunFile(out, workers=3):
        value = json.loads((out / RUN).read_bytes())
    assert (value["version"], value["workers"], value["phase"]) == (1, 3, "planning")


@pytest.mark.parametrize(
    "changes",
    [
        {"pid": "x"},
        {"pid": True},
        {"updated_unix": None},
        {"started_unix": "now"},
        {"started_unix": 1e300},
        {"expected_tokens": "many"},
        {"tokens_before": None},
        {"building_unix": []},
        {"working_on": [1.5]},
        {"phase": None},
        {"error": {"kind": "A", "message": "b", "where": None, "hint": None, "unix": "x"}},
        {"error": {"kind": "A", "message": "b", "where": None, "hint": None, "unix": 1e300}},
    ],
)
def test_a_note_with_other_types_is_no_note(out, changes):
    """Whoever wrote it: `mixer status` shows the folder without it."""
    with RunFile(out, workers=1):
        note = json.loads((out / RUN).read_text())
        assert read_run(out) is not None
        (out / RUN).write_text(json.dumps(note | changes))
        assert read_run(out) is None


@pytest.mark.parametrize("pid", [0, -1, 10**30])
def test_numbers_that_are_no_process_are_not_alive(pid):
    """The system takes 0 and -1 for groups of processes."""
    assert not is_alive(pid, None)
