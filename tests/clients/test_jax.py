"""JAX, as installed, on eight devices of the CPU and in two processes, over a real build."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import mixer.feed
from mixer.feed.cursor import Cursor
from mixer.feed.features import to_features

SCRIPT = Path(__file__).with_name("on_jax.py")
TESTS, ROOT = SCRIPT.parents[1], SCRIPT.parents[2]


def start(scenario: str, build: Path, result: Path, *place: int, devices: int = 8, cwd: Path) -> subprocess.Popen[str]:
    """A process that runs a scenario and writes what it found."""
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(TESTS)]),
    }
    command = [sys.executable, "-W", "error", str(SCRIPT), scenario, str(build), str(result), *map(str, place)]
    return subprocess.Popen(command, env=environment, cwd=cwd, stderr=subprocess.PIPE, text=True)


def run(scenario: str, build: Path, folder: Path) -> dict[str, np.ndarray]:
    """What a scenario found, in one process of eight devices."""
    process = start(scenario, build, folder / "result.npz", cwd=folder)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return dict(np.load(folder / "result.npz"))


@pytest.fixture(scope="module")
def order(finished: Path) -> np.ndarray:
    """The numbers of the first epoch's sequences in training order: int64[n]."""
    sequences = mixer.feed.open(finished)
    return Cursor.start(sequences).order(sequences).sequences(0, np.arange(len(sequences)))


def test_a_run_goes_on_from_mesh_to_mesh(finished: Path, order: np.ndarray, tmp_path: Path) -> None:
    """Rows, columns or all of them on a device, other batch sizes: row i is always the i-th sequence of the stream."""
    found = run("meshes", finished, tmp_path)
    taken = 2 * (16 + 4 + 3 + 8 + 5 + 6)
    expected = to_features(mixer.feed.open(finished).batch(order[:taken]))
    assert {name: array.tolist() for name, array in found.items()} == {
        name: array.tolist() for name, array in expected.items()
    }


def test_a_model_learns_on_eight_devices(byte_build: Path, tmp_path: Path) -> None:
    """A jitted step over sharded batches; the loss falls."""
    losses = run("training", byte_build, tmp_path)["losses"]
    assert losses[-1] < losses[0] - 1


def test_two_processes_read_their_own_rows_of_one_step(finished: Path, order: np.ndarray, tmp_path: Path) -> None:
    """Of four devices each; together the one stream, and the sums that they compute together are its sums."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    results = [tmp_path / f"{process}.npz" for process in range(2)]
    running = [
        start("processes", finished, result, process, 2, port, devices=4, cwd=tmp_path)
        for process, result in enumerate(results)
    ]
    for process in running:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    expected = mixer.feed.open(finished).ids(order[:32])
    rows = np.zeros_like(expected)
    for result in map(np.load, results):
        places = np.concatenate([np.arange(start, start + count) for start, count in result["places"]])
        assert len(places) == 16
        rows[places] = result["rows"]
        assert result["sums"].tolist() == expected.reshape(2, -1).sum(axis=1).astype(np.int32).tolist()
        assert result["consumed"] == 32
    assert rows.tolist() == expected.tolist()


def test_ends_and_what_is_refused(finished: Path, tmp_path: Path) -> None:
    """The rest of an epoch is dropped or padded; what cannot be read says so before anything is read."""
    found = run("ends", finished, tmp_path)
    assert found["steps"].tolist() == [1, 2]
    divide, larger, other, moved = found["refused"].tolist()
    assert divide.startswith("UsageError: sharding: the sharding does not fit")
    assert "is larger than the one epoch" in larger
    assert "CursorError: the checkpoint belongs to another order: its seed is 9" in other
    assert "moved while it was iterated over" in moved


def test_the_example_runs_as_it_stands(finished: Path, order: np.ndarray, tmp_path: Path) -> None:
    """The lines of the module's docstring, in a folder with such a build."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out/my-mixture").symlink_to(finished)
    found = run("example", Path("out/my-mixture"), tmp_path)
    assert found["inputs"].tolist() == mixer.feed.open(finished).ids(order[: 3 * 64]).tolist()
    assert found["consumed"] == 2 * 64
