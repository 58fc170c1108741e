"""`.mixer/run.json`: the process that builds in a folder, its tasks, and the error of an unfinished run.

It serves people who watch a build (`mixer status`): it is not in the format or in an id, and no build reads it.
A finished run removes it. A killed run leaves it; its process id and the folder's lock show that it was killed.
It is written at most twice a second and never synced, and a disk that refuses it does not stop a build.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from mixer.errors import BuildStateError, MixerError
from mixer.shards.manifest import MANIFEST
from mixer.shards.plan_file import PLAN
from mixer.system.disk import DiskFile
from mixer.system.processes import process_start
from mixer.system.publish import publish_bytes
from mixer.system.regular_files import parse_json, read_regular

if TYPE_CHECKING:
    from mixer.building.ledger import Progress
    from mixer.plan.plan import Plan

RUN = ".mixer/run.json"
_VERSION = 1
_SECONDS_BETWEEN = 0.5
_MAX_BYTES = 1 << 20
_LATEST_UNIX = 253_402_300_800
"""The year 10000."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunError:
    """The error that ended a run, and its time: the parts of a MixerError."""

    kind: str
    message: str
    where: str | None
    hint: str | None
    unix: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of `mixer build`; times are seconds since 1970.

    `phase` is `planning`, `building`, `interrupted` or `failed`. What is None is not known yet. `tokens_before` were
    finished by earlier runs; `working_on` are the tasks that the workers have.
    """

    pid: int
    host: str
    process_start: str | None
    workers: int
    started_unix: float
    updated_unix: float
    phase: str = "planning"
    building_unix: float | None = None
    expected_tokens: float | None = None
    estimated_tasks: int | None = None
    tokens_before: int = 0
    working_on: list[int] = field(default_factory=list)
    error: RunError | None = None


def read_run(out: Path) -> Run | None:
    """The notes of the last run; None if there are none that can be read."""
    try:
        value: dict[str, Any] = parse_json(read_regular(out / RUN, _MAX_BYTES))
        if value.pop("version") != _VERSION:
            return None
        error = value.pop("error")
        run = Run(**value, error=None if error is None else RunError(**error))
        return run if _has_types(run) and (run.error is None or _has_types(run.error)) else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _has_types(record: Run | RunError) -> bool:
    """Whether each value has the type of its field, and each time is one that a calendar has."""
    for one in fields(record):
        value, kinds = getattr(record, one.name), str(one.type).split(" | ")
        if value is None or isinstance(value, str):
            fits = ("None" if value is None else "str") in kinds
        elif isinstance(value, list):
            fits = all(type(item) is int for item in value) and "list[int]" in kinds
        elif isinstance(value, RunError):
            fits = True
        else:
            fits = type(value) in (int, float) and ("float" in kinds or (type(value) is int and "int" in kinds))
            fits = fits and (not one.name.endswith("unix") or 0 <= value < _LATEST_UNIX)
        if not fits:
            return False
    return True


class RunFile:
    """Notes one run in its folder, whose lock the caller holds; a context manager around the run.

    Args:
        out: the build's folder.
        workers: how many processes.
    """

    def __init__(self, out: Path, *, workers: int) -> None:
        self._out, self._path = out, out / RUN
        now, pid = time.time(), os.getpid()
        self._run = Run(
            pid=pid,
            host=socket.gethostname(),
            process_start=process_start(pid),
            workers=workers,
            started_unix=now,
            updated_unix=now,
        )
        self._next_write = 0.0
        self._before: bytes | None = None
        # By worker; None: it has none.
        self._tasks: dict[int, int | None] = {}
        self._all_began = False

    def __enter__(self) -> RunFile:
        with suppress(OSError):
            self._before = read_regular(self._path, _MAX_BYTES)
        for left in self._path.parent.glob(f".{self._path.name}.*.tmp"):
            with suppress(OSError):
                left.unlink()
        self._write()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None or (self._out / MANIFEST).exists() or not (self._out / PLAN).exists():
            with suppress(OSError):  # finished, or nothing came of the folder, which is taken away then
                self._path.unlink()
            return
        if isinstance(error, BuildStateError):  # refused: the build in the folder is as it was
            self._restore()
            return
        interrupted = not isinstance(error, Exception)
        self._change(
            phase="interrupted" if interrupted else "failed",
            working_on=[],
            error=None if interrupted else _run_error(error),
        )
        self._write(at_any_price=True)

    def on_plan(self, plan: Plan) -> None:
        """Note the plan."""
        self._change(expected_tokens=plan.expected_tokens, estimated_tasks=plan.estimated_tasks)
        self._write()

    def on_job(self, worker: int, task: int | None, progress: Progress) -> None:
        """Note the task that a worker got; `progress` covers all finished tasks."""
        if self._run.building_unix is None:
            self._change(phase="building", building_unix=time.time(), tokens_before=progress.num_tokens)
        self._tasks[worker] = task
        is_first_of_all = not self._all_began and len(self._tasks) == self._run.workers
        self._all_began |= is_first_of_all
        self._note_tasks(at_once=is_first_of_all)

    def before(self, on_progress: Callable[[Progress], None]) -> Callable[[Progress], None]:
        """A callback that first writes the notes delayed by the rate limit."""

        def noted(progress: Progress) -> None:
            self._note_tasks()
            on_progress(progress)

        return noted

    def _note_tasks(self, *, at_once: bool = False) -> None:
        if at_once or time.monotonic() >= self._next_write:
            self._change(working_on=sorted(task for task in self._tasks.values() if task is not None))
            self._write()

    def _restore(self) -> None:
        with suppress(OSError):
            if self._before is None:
                self._path.unlink()
            else:
                publish_bytes(self._path, self._before, durable=False)

    def _change(self, **changes: Any) -> None:
        self._run = replace(self._run, updated_unix=time.time(), **changes)

    def _write(self, *, at_any_price: bool = False) -> None:
        self._next_write = time.monotonic() + _SECONDS_BETWEEN
        data = json.dumps({"version": _VERSION} | asdict(self._run)).encode()
        try:
            publish_bytes(self._path, data, durable=False)
        except OSError:
            if at_any_price:
                # A full disk has no room for a new file, but the old one still has its block.
                with suppress(OSError), DiskFile(self._path, "r+") as file:
                    file.write(data)
                    file.truncate()


def _run_error(error: BaseException) -> RunError:
    known = error if isinstance(error, MixerError) else MixerError(f"{type(error).__name__}: {error}")
    return RunError(
        kind=type(error).__name__, message=known.message, where=known.where, hint=known.hint, unix=time.time()
    )
