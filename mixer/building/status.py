"""The progress of a build, read from its folder alone: also during the build, after a kill, and on a read-only disk.

Finished tasks are those with records (format.md, section 4); the working process and the last run's end are in
`.mixer/run.json`. Nothing is written, and no lock is held that a build could wait for.
"""

from __future__ import annotations

import json
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mixer.building.run_file import Run, RunError, read_run
from mixer.building.status_estimates import FinishedTask, Noted, expected_tokens, recent_speed, tasks_left
from mixer.errors import IntegrityError
from mixer.shards.manifest import MANIFEST, load_manifest
from mixer.shards.plan_file import PLAN, load_plan_record
from mixer.shards.records import Manifest, PlanRecord, record_path, shard_path
from mixer.system.locks import is_locked
from mixer.system.processes import is_alive
from mixer.system.regular_files import parse_json, read_regular
from mixer.system.walk import walk_files

State = Literal["planning", "running", "stopped", "killed", "failed", "finished"]
_LOCK = ".mixer/lock"
_BUILD_LOG = "build-log.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """A build at a moment.

    `tasks_left` and `expected_tokens` are estimates unless the target says them (`is_exact`); None if unknown.
    `tokens` may be above them until the task in which the target is met was cut. `remade` are tasks with a record whose
    shard is missing or of another size: they will be rebuilt. Speeds are in tokens a second. `last_unix` is when the
    builder, or a finished task, was last heard of.
    """

    folder: Path
    name: str | None
    state: State
    # Whether somebody works in the folder, and who; also a repair, of which nothing else is known.
    busy: bool
    pid: int | None
    host: str | None
    workers: int | None
    running_seconds: float | None
    last_unix: float | None
    tasks_done: int
    tasks_running: tuple[int, ...]
    tasks_left: int | None
    remade: int
    tokens: int
    expected_tokens: float | None
    is_exact: bool
    run_speed: float | None
    recent_speed: float | None
    seconds_left: float | None
    error: RunError | None
    folder_bytes: int
    shards_deleted: int


class StatusReader:
    """Reads the status of one folder repeatedly; each record is read once.

    Args:
        out: the folder.
    """

    def __init__(self, out: Path) -> None:
        self._out = out
        # By task: time and size of the record's file, and what it says.
        self._known: dict[int, tuple[tuple[int, int], FinishedTask | None]] = {}

    def read(self) -> Status:
        """The progress of the build now.

        Raises:
            IntegrityError: the folder has no build, or its manifest or plan is damaged.
            FormatError: the build has another format version.
            OSError: the folder cannot be read.
        """
        noted = {} if (self._out / MANIFEST).exists() else self._records()
        # After the records: a shard is there before its record.
        sizes = {name: state.st_size for name, state in walk_files(self._out)}
        run = read_run(self._out)
        if not any(name in sizes for name in (MANIFEST, PLAN, _LOCK)) and run is None:
            raise IntegrityError(
                "no build in this folder",
                where=str(self._out),
                hint="give the folder that `mixer build -o` wrote",
            )
        busy, run = _at_work(self._out, run)
        folder_bytes = sum(sizes.values())
        if MANIFEST in sizes:
            return _finished(self._out, load_manifest(self._out), run if busy else None, busy, folder_bytes)
        plan = load_plan_record(self._out) if PLAN in sizes else None
        held = {} if plan is None else {task: one for task, one in noted.items() if _holds(task, one[1], plan, sizes)}
        return _unfinished(
            self._out, plan, run, busy, done=held, remade=len(noted) - len(held), folder_bytes=folder_bytes
        )

    def _records(self) -> Noted:
        noted: Noted = {}
        try:
            files = list(walk_files(self._out / "tasks"))
        except FileNotFoundError:
            return {}
        for name, state in files:
            stem, _, suffix = name.partition(".")
            if suffix != "json" or not stem.isdigit():
                continue
            task = int(stem)
            key = (state.st_mtime_ns, state.st_size)
            if task not in self._known or self._known[task][0] != key:
                self._known[task] = (key, _load(self._out / record_path(task)))
            noted[task] = (state.st_mtime, self._known[task][1])
        return noted


def _load(path: Path) -> FinishedTask | None:
    """The content of a record; None if it cannot be read. A build checks its digest."""
    try:
        value = parse_json(read_regular(path))
        file = value["file"]
        return FinishedTask(
            plan=str(value["plan"]), tokens=int(value["tokens"]), shard_bytes=None if file is None else file["bytes"]
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _holds(task: int, found: FinishedTask | None, plan: PlanRecord, sizes: dict[str, int]) -> bool:
    """Whether a task is finished, as far as its record and shard size show."""
    if found is None or found.plan != plan.id:
        return False
    return found.shard_bytes is None or sizes.get(shard_path(task)) == found.shard_bytes


def _finished(out: Path, manifest: Manifest, run: Run | None, busy: bool, folder_bytes: int) -> Status:
    log = _build_log(out)
    seconds, planned = log.get("seconds"), log.get("plan_seconds")
    speed = None
    if isinstance(seconds, float) and isinstance(planned, float) and not log.get("tasks_resumed") and seconds > planned:
        speed = manifest.totals.tokens / (seconds - planned)
    started = log.get("started_unix")
    return Status(
        folder=out,
        name=manifest.name,
        state="finished",
        busy=busy,
        pid=None if run is None else run.pid,
        host=None if run is None else run.host,
        workers=None if run is None else run.workers,
        running_seconds=None if run is None else time.time() - run.started_unix,
        last_unix=started + seconds if isinstance(started, float) and isinstance(seconds, float) else None,
        tasks_done=sum(stage.tasks[1] - stage.tasks[0] for stage in manifest.counts),
        tasks_running=(),
        tasks_left=0,
        remade=0,
        tokens=manifest.totals.tokens,
        expected_tokens=manifest.totals.tokens,
        is_exact=True,
        run_speed=speed,
        recent_speed=None,
        seconds_left=0.0,
        error=None,
        folder_bytes=folder_bytes,
        shards_deleted=sum(shard.file.state == "deleted" for shard in manifest.shards),
    )


def _unfinished(
    out: Path,
    plan: PlanRecord | None,
    run: Run | None,
    busy: bool,
    *,
    done: Noted,
    remade: int,
    folder_bytes: int,
) -> Status:
    now = time.time()
    tokens = sum(record.tokens for _, record in done.values() if record)
    expected, is_exact = expected_tokens(plan, run)
    working_on = tuple(task for task in (run.working_on if run else []) if task not in done) if busy else ()
    run_speed = None
    if run is not None and run.building_unix is not None:
        stopped = now if busy else max([run.updated_unix, *(noted for noted, _ in done.values())])
        seconds = stopped - run.building_unix
        run_speed = (tokens - run.tokens_before) / seconds if seconds > 0 and tokens > run.tokens_before else None
    recent = recent_speed(done, run, now) if busy else None
    speed = recent or run_speed
    wanted = None if expected is None else max(0.0, expected - tokens)
    return Status(
        folder=out,
        name=None if plan is None else plan.name,
        state=_state(run, busy, has_plan=plan is not None),
        busy=busy,
        pid=run.pid if run and busy else None,
        host=run.host if run and busy else None,
        workers=run.workers if run and busy else None,
        running_seconds=now - run.started_unix if run and busy else None,
        last_unix=max(
            [*(noted for noted, _ in done.values()), *([] if run is None else [run.updated_unix])], default=None
        ),
        tasks_done=len(done),
        tasks_running=working_on,
        tasks_left=tasks_left(plan, run, tokens, len(done), len(working_on), wanted),
        remade=remade,
        tokens=tokens,
        expected_tokens=expected,
        is_exact=is_exact,
        run_speed=run_speed,
        recent_speed=recent,
        seconds_left=wanted / speed if busy and wanted is not None and speed else None,
        error=None if run is None or busy else run.error,
        folder_bytes=folder_bytes,
        shards_deleted=0,
    )


def _state(run: Run | None, busy: bool, *, has_plan: bool) -> State:
    if busy:
        planning = not has_plan or (run is not None and run.phase == "planning")
        return "planning" if planning else "running"
    if run is None:
        return "stopped"
    match run.phase:
        case "failed":
            return "failed"
        case "interrupted":
            return "stopped"
    return "killed"


def _at_work(out: Path, run: Run | None) -> tuple[bool, Run | None]:
    """Whether a process works in the folder, and the notes of that run or of the last one."""
    going_on = run is not None and run.phase in ("planning", "building")
    here = run is not None and run.host == socket.gethostname()
    if run is not None and going_on and here and is_alive(run.pid, run.process_start):
        return True, run
    locked = is_locked(out / _LOCK)
    if locked is None:  # then a builder of another host is taken at its word
        return going_on and not here, run
    # Whoever has the lock here is not the process of the note.
    return (True, None) if locked and here else (locked, run)


def _build_log(out: Path) -> dict[str, Any]:
    try:
        log = json.loads((out / _BUILD_LOG).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return log if isinstance(log, dict) else {}
