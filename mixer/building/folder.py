"""The output folder of a build: its lock, its plan, and the records of finished tasks (format.md, section 4)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from mixer.attributes.set_file import ATTRIBUTES
from mixer.errors import BuildStateError, FormatError, IntegrityError, TaskError
from mixer.plan.plan import Plan
from mixer.shards.files import file_damage
from mixer.shards.manifest import MANIFEST, SELECTIONS, SNAPSHOTS, load_manifest, publish_named
from mixer.shards.plan_file import (
    PLAN,
    load_task_record,
    publish_plan_record,
    publish_task_record,
    read_plan_json,
)
from mixer.shards.records import TaskRecord, record_path
from mixer.system.locks import lock_despite_probes
from mixer.system.publish import sync_file
from mixer.system.threads import map_in_threads

STATE = ".mixer"
_NUMBER = r"(\d{5}|[1-9]\d{5,})"
_OURS = {"shards": re.compile(rf"{_NUMBER}\.arrow"), "tasks": re.compile(rf"{_NUMBER}\.json")}
_NAMED = re.compile(r"[0-9a-f]{64}\.(json|arrow)")
_TEMPORARY = re.compile(r"\..+\.tmp")


class BuildFolder:
    """Exclusive use of an output folder; a context manager. `adopt` sets its plan later.

    Args:
        out: the folder; created if it is missing, and removed again if the build does not start.

    Raises:
        BuildStateError: another build is running in it, or it holds other files.
        TaskError: it cannot be created.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self._state = out / STATE
        self._lock: int | None = None
        self._adopted = False

    def __enter__(self) -> BuildFolder:
        self.check_free()
        self._make(self._state)
        self._lock = lock_despite_probes(self._state / "lock")
        if self._lock is None:
            raise BuildStateError(
                "another build is running in this folder", where=str(self.out), hint="wait for it, or choose another -o"
            )
        return self

    def __exit__(self, *exc: object) -> None:
        if not self._adopted and not (self.out / PLAN).exists():
            (self._state / "lock").unlink(missing_ok=True)
            with suppress(OSError):  # something else has come into it
                self._state.rmdir()
                self.out.rmdir()
        self.release()

    def release(self) -> None:
        """Release the lock; workers call it too, since they inherit it."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __getstate__(self) -> dict[str, Any]:
        # A spawned worker inherits no lock, and the descriptor's number names another file there.
        return self.__dict__ | {"_lock": None}

    def _make(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TaskError(
                f"cannot make the folder: {error.strerror}", where=str(folder), hint="choose another -o"
            ) from error

    def check_free(self) -> None:
        """Refuse a folder with files that mixer did not make; nothing is written.

        Raises:
            BuildStateError: it holds other files.
        """
        if os.path.lexists(self.out) and not self.out.is_dir():
            raise BuildStateError("not a folder", where=str(self.out), hint="choose another -o")
        if not self.out.is_dir():
            return
        if (self.out / PLAN).exists() or (self.out / MANIFEST).exists():
            self.check_no_strangers()
            return
        if not all(_left_before_plan(item) for item in self.out.iterdir()):
            raise BuildStateError(
                "the folder is not empty and holds no build of mixer", where=str(self.out), hint="choose another -o"
            )

    def check_no_strangers(self) -> None:
        """Refuse files among shards and records without mixer's names: readers of the folder would read them.

        Raises:
            BuildStateError: there is one.
        """
        for name, pattern in _OURS.items():
            for path in sorted((self.out / name).glob("*")):
                if not pattern.fullmatch(path.name) and not _TEMPORARY.fullmatch(path.name):
                    raise BuildStateError(
                        "not a file of the build, but in the place of one",
                        where=str(path),
                        hint="move it away, then run the same command again to resume",
                    )

    def adopt(self, plan: Plan) -> None:
        """Use the folder for a plan: a new one, or its earlier one.

        A folder in which nothing was finished yet is taken over from another plan.

        Raises:
            BuildStateError: it holds another plan's work, or its plan is damaged.
            FormatError: it holds a build of another format version.
        """
        self.check_plan(plan)
        for name in _OURS:
            self._make(self.out / name)
        for snapshot in plan.snapshots:
            publish_named(self.out, SNAPSHOTS, snapshot.as_json())
        for selection in plan.selections:
            publish_named(self.out, SELECTIONS, selection)
        for snapshot in plan.snapshots:
            for attributes in () if snapshot.kept_rows is None else snapshot.kept_rows.sets:
                attributes.copy_to(self.out / ATTRIBUTES)
        if self._plan_id() != plan.id:
            publish_plan_record(self.out, plan.json)
        self._adopted = True

    def check_plan(self, plan: Plan) -> None:
        """Refuse a plan where the folder holds another one's work; nothing is written.

        Raises:
            BuildStateError: it does, or its plan is damaged.
            FormatError: it holds a build of another format version.
        """
        has_manifest = (self.out / MANIFEST).exists()
        if has_manifest:
            known: dict[str, Any] = {"id": load_manifest(self.out).plan}
            with suppress(IntegrityError, FormatError):
                found = read_plan_json(self.out)
                if found["id"] == known["id"]:
                    known = found  # which says more of what differs
        elif (self.out / PLAN).exists() and next(self._numbered("tasks"), None) is not None:
            known = self._known_plan()
        else:
            known = plan.json
        if known["id"] != plan.id:
            raise BuildStateError(
                f"the folder holds another plan's build; it differs in {', '.join(_differences(known, plan.json))}",
                where=str(self.out),
                hint="choose another -o, or delete the folder if its build is not needed",
            )

    def _known_plan(self) -> dict[str, Any]:
        try:
            return read_plan_json(self.out)
        except (IntegrityError, FormatError) as error:
            raise BuildStateError(
                error.message,
                where=error.where,
                hint="choose another -o, or delete the folder and build again",
            ) from error

    def _plan_id(self) -> str | None:
        try:
            return str(read_plan_json(self.out)["id"])
        except (IntegrityError, FormatError):
            return None

    def finished(self, plan: Plan) -> list[TaskRecord]:
        """Records of the plan's tasks whose shard matches; other tasks are deleted and built again."""
        self._remove_strays()
        tasks = sorted(self._numbered("tasks"))
        records = map_in_threads(partial(self._load, plan), tasks)
        for task, record in zip(tasks, records):
            if record is None:
                (self.out / record_path(task)).unlink()
        return [record for record in records if record is not None]

    def _load(self, plan: Plan, task: int) -> TaskRecord | None:
        try:
            record = load_task_record(self.out, task)
        except IntegrityError:
            return None
        whole = plan.task(task)
        if record.plan != plan.id or whole is None or record.stage or len(record.counts) != len(plan.stage.sources):
            return None
        if record.draws[0] != whole.start or not whole.start < record.draws[1] <= whole.stop:
            return None
        shard = record.shard
        return None if shard is not None and file_damage(self.out, shard) is not None else record

    def keep(self, record: TaskRecord) -> None:
        """Record a finished task; its shard is in place and durable."""
        publish_task_record(self.out, record)

    def _numbered(self, name: str) -> Iterator[int]:
        """The numbers of the tasks with a file of this kind."""
        for path in (self.out / name).glob("*"):
            if _OURS[name].fullmatch(path.name):
                yield int(path.stem)

    def _remove_strays(self) -> None:
        """Delete unfinished files of a killed build; the lock excludes other writers."""
        for folder in (self.out, *(self.out / name for name in (*_OURS, SNAPSHOTS, SELECTIONS, ATTRIBUTES))):
            for stray in folder.glob(".*.tmp"):
                stray.unlink(missing_ok=True)

    def drop_after(self, last: int) -> None:
        """Delete the files of tasks after the build's last, and unfinished files."""
        self._remove_strays()
        for name, suffix in (("tasks", "json"), ("shards", "arrow")):
            for task in self._numbered(name):
                if task > last:
                    (self.out / name / f"{task:05d}.{suffix}").unlink()

    def sync_entries(self) -> None:
        """Make the names of all shards and records durable; their bytes already are."""
        for name in _OURS:
            sync_file(self.out / name)


def _left_before_plan(item: Path) -> bool:
    """Whether a build killed before it had a plan may have left this file in its folder."""
    if item.name in _OURS:
        return not any(item.glob("*"))
    if item.name in (SNAPSHOTS, SELECTIONS, ATTRIBUTES):
        return all(_NAMED.fullmatch(path.name) or _TEMPORARY.fullmatch(path.name) for path in item.glob("*"))
    return item.name == STATE or item.match(f".{PLAN}.*.tmp")


def _differences(found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Dotted keys in which two plans differ; the innermost ones."""
    keys = []
    for key in sorted(found.keys() | wanted.keys()):
        if key in ("id", "stages") or found.get(key) == wanted.get(key):
            continue
        if isinstance(found.get(key), dict) and isinstance(wanted.get(key), dict):
            keys += [f"{key}.{inner}" for inner in _differences(found[key], wanted[key])]
        else:
            keys.append(key)
    return keys or [key for key in ("stages",) if found.get(key) != wanted.get(key)] or ["its id"]
