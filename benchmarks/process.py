"""Run one fresh process: how long it took, what it printed, how much memory it and all its children held at once."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_SAMPLE_SECONDS = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A process that ended well. `peak_bytes` is None where memory was not watched."""

    seconds: float
    stdout: str
    peak_bytes: int | None


def run_process(command: Sequence[str], *, environment: Mapping[str, str], watch_memory: bool) -> Finished:
    """Run a command to its end.

    Watching takes time from what is watched, so a run is for the clock or for the memory.

    Raises:
        RuntimeError: the command failed; with the end of what it wrote to stderr.
    """
    with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
        started = time.perf_counter()
        # A session of its own: that is how its children are found, whoever their parent is by then.
        process = subprocess.Popen(command, stdout=stdout, stderr=stderr, env=environment, start_new_session=True)
        try:
            peak = _watch(process) if watch_memory else None
            code = process.wait()
            seconds = time.perf_counter() - started
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        for file in (stdout, stderr):
            file.seek(0)
        if code:
            raise RuntimeError(f"exit code {code}: {' '.join(command)}\n{stderr.read()[-3000:]}")
        return Finished(seconds=seconds, stdout=stdout.read(), peak_bytes=peak)


def _watch(process: subprocess.Popen) -> int:
    """The largest memory of the process's session, seen every 50 ms until it ends."""
    peak = 0
    while process.poll() is None:
        peak = max(peak, session_bytes(process.pid))
        time.sleep(_SAMPLE_SECONDS)
    return peak


def session_bytes(session: int) -> int:
    """Memory of all processes of a session, a page that several share counted once (PSS)."""
    return sum(_pss_bytes(stat.parent) for stat in Path("/proc").glob("[0-9]*/stat") if _session(stat) == session)


def _session(stat: Path) -> int | None:
    """The session of a process; None if it is gone. The command, in brackets, may hold spaces and brackets."""
    try:
        return int(stat.read_text().rpartition(")")[2].split()[3])
    except (OSError, IndexError):
        return None


def _pss_bytes(process: Path) -> int:
    try:
        lines = (process / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0  # it ended while we looked
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
