"""Launches of a training script by torchrun: start, watch, signal, kill; and what their ranks traced."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

_PATIENCE_SECONDS = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What all ranks together did in one step; `sequences` are digests of ids, in the order of the stream."""

    number: int
    loss: float
    cursor: dict[str, Any]
    sequences: tuple[str, ...]

    @property
    def seen(self) -> tuple[int, dict[str, Any], tuple[str, ...]]:
        """All but the loss, which is rounded."""
        return self.number, self.cursor, self.sequences


class Launch:
    """One torchrun with its processes; leaving it kills what is left of them.

    Args:
        script: what each of them runs.
        arguments: its arguments.
        world: how many processes.
        folder: where the output and the trace go.
    """

    def __init__(self, script: Path, arguments: Sequence[str], *, world: int, folder: Path) -> None:
        folder.mkdir()
        self.world = world
        self._trace, self._log = folder / "trace", folder / "log"
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={world}"]
        launcher += ["--signals-to-handle=SIGTERM,SIGUSR1"]
        # One thread a process in every world: a sum over two threads may round otherwise than over one.
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*launcher, str(script), *arguments, "--trace", str(self._trace)],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
            )

    def __enter__(self) -> Launch:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._process.poll() is None:
            self.kill()

    def wait_for_step(self, number: int) -> None:
        """Until the first rank has traced a step."""
        give_up = time.monotonic() + _PATIENCE_SECONDS
        while not any(record["step"] >= number for record in self._records(rank=0)):
            assert self._process.poll() is None, self.output()
            assert time.monotonic() < give_up, self.output()
            time.sleep(0.05)

    def stop(self, number: signal.Signals) -> None:
        """Send a signal to torchrun, as a scheduler does, and wait until all is over."""
        self._process.send_signal(number)
        assert self._process.wait(_PATIENCE_SECONDS) != 0, "torchrun fails when it is stopped by a signal"

    def kill(self) -> None:
        """End all processes at once, without a chance to do anything: a power cut."""
        everyone = [*psutil.Process(self._process.pid).children(recursive=True), psutil.Process(self._process.pid)]
        for one in everyone:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        psutil.wait_procs(everyone, _PATIENCE_SECONDS)
        self._process.wait(_PATIENCE_SECONDS)

    def finish(self) -> None:
        """Wait for its end, which is to be a good one."""
        assert self._process.wait(_PATIENCE_SECONDS) == 0, self.output()

    def output(self) -> str:
        """What it said."""
        return self._log.read_text()

    def steps(self) -> list[Step]:
        """The steps that all ranks have traced."""
        ranks = [self._records(rank) for rank in range(self.world)]
        # The ranks of a killed launch may be a step apart.
        return [_together(records) for records in zip(*ranks)]

    def _records(self, rank: int) -> list[dict[str, Any]]:
        path = self._trace / f"rank-{rank}.jsonl"
        text = path.read_text() if path.exists() else ""
        # A line that is being written has no end yet.
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def _together(records: Sequence[dict[str, Any]]) -> Step:
    first = records[0]
    for record in records:
        assert {**record, "sequences": first["sequences"]} == first
    # Ranks take turns in the stream.
    turns = zip(*(record["sequences"] for record in records), strict=True)
    return Step(
        number=first["step"],
        loss=first["loss"],
        cursor=first["cursor"],
        sequences=tuple(digest for turn in turns for digest in turn),
    )
