"""The output folder while a build is going on: its lock, its plan, and the results of finished tasks.

Everything here lives in `OUT/.mixer/` and is not needed to read the data.
"""

from __future__ import annotations

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from mixer.build.plan import Plan
from mixer.build.result import TaskResult
from mixer.build.task import shard_path
from mixer.digest import canonical_json, xxh3_file
from mixer.errors import BuildStateError, TaskError
from mixer.files import lock_file, publish_bytes, sync_file
from mixer.shards.manifest import MANIFEST, load_manifest

STATE = ".mixer"


class BuildFolder:
    """Exclusive use of an output folder; a context manager. What it is used for is told later, by `adopt`.

    Args:
        out: the folder; made if it is not there, and taken away again if nothing comes of it.

    Raises:
        BuildStateError: another build is running in it, or it holds something else.
        TaskError: it cannot be made.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self._state = out / STATE
        self._results = self._state / "tasks"
        self._lock: int | None = None
        self._adopted = False

    def __enter__(self) -> BuildFolder:
        self._check_free()
        self._make(self._state)
        self._lock = lock_file(self._state / "lock")
        if self._lock is None:
            raise BuildStateError(
                "another build is running in this folder", where=str(self.out), hint="wait for it, or choose another -o"
            )
        return self

    def __exit__(self, *exc: object) -> None:
        if not self._adopted and not (self._state / "plan.json").exists():
            (self._state / "lock").unlink(missing_ok=True)
            with suppress(OSError):  # something else has come into it
                self._state.rmdir()
                self.out.rmdir()
        self.release()

    def release(self) -> None:
        """Give the lock back; workers call it too, since they inherit it."""
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

    def _check_free(self) -> None:
        """Refuse a folder with files that no build of ours made."""
        if os.path.lexists(self.out) and not self.out.is_dir():
            raise BuildStateError("not a folder", where=str(self.out), hint="choose another -o")
        if not self.out.is_dir() or (self._state / "plan.json").exists() or (self.out / MANIFEST).exists():
            return
        others = {item.name for item in self.out.iterdir()} - {STATE, "shards"}
        if others or any(self.out.glob("shards/*")):  # else nothing, or a build that was killed before its plan
            raise BuildStateError(
                "the folder is not empty and holds no build of mixer", where=str(self.out), hint="choose another -o"
            )

    def adopt(self, plan: Plan) -> None:
        """Use the folder for a plan: a new one, or the one that it was used for before.

        A folder in which nothing was finished yet is taken over from another plan.

        Raises:
            BuildStateError: it holds another plan's work, or its plan is damaged.
        """
        path = self._state / "plan.json"
        wanted = {"id": plan.id, **plan.as_json()}
        if not path.exists() and (self.out / MANIFEST).exists():
            found = {"id": load_manifest(self.out)["plan"]}  # a build that was copied without its state
        elif not path.exists() or not ((self.out / MANIFEST).exists() or any(self._results.glob("*.json"))):
            found = wanted
        else:
            found = _load_plan(path)
        if found.get("id") != plan.id:
            raise BuildStateError(
                f"the folder holds another plan's build; it differs in {', '.join(_differences(found, wanted))}",
                where=str(self.out),
                hint="choose another -o, or delete the folder if its build is not needed",
            )
        for folder in (self._results, self.out / "shards"):
            self._make(folder)
        if not path.exists() or path.read_bytes() != canonical_json(wanted):
            publish_bytes(path, canonical_json(wanted))
        self._adopted = True

    def finished(self) -> dict[int, TaskResult]:
        """Results of the tasks whose shard is there and has the digest that was noted; others are cleaned away."""
        self._remove_strays()
        records = sorted(self._results.glob("*.json"))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            results = list(pool.map(self._load, records))
        for record, result in zip(records, results):
            if result is None:
                record.unlink()
        return {result.task: result for result in results if result is not None}

    def _load(self, record: Path) -> TaskResult | None:
        try:
            result = TaskResult.from_json(json.loads(record.read_bytes()))
            if result.shard is not None:
                path = self.out / shard_path(result.task)
                if xxh3_file(path) != result.shard["file_xxh3"]:
                    return None
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return result

    def keep(self, result: TaskResult) -> None:
        """Note a finished task; its shard is in place. What a power cut destroys is found and made again."""
        publish_bytes(self._results / f"{result.task:05d}.json", canonical_json(result.as_json()), durable=False)

    def _remove_strays(self) -> None:
        for stray in [*self.out.rglob(".*.[0-9]*.tmp")]:
            stray.unlink(missing_ok=True)

    def drop_after(self, last: int) -> None:
        """Delete what was made of tasks after the build's last, and what was not finished."""
        self._remove_strays()
        for record in self._results.glob("*.json"):
            if int(record.stem) > last:
                record.unlink()
        for shard in self.out.glob("shards/*.arrow"):
            if int(shard.stem) > last:
                shard.unlink()

    def sync_shards(self) -> None:
        """Make all shards durable; before the manifest says that they are there."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(sync_file, [*self.out.glob("shards/*.arrow"), self.out / "shards"]))

    def forget_tasks(self) -> None:
        """The manifest is there: the state of tasks is not needed any more."""
        shutil.rmtree(self._results, ignore_errors=True)


def _load_plan(path: Path) -> dict:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        found = error
    if not isinstance(found, dict):
        raise BuildStateError(
            "the plan is damaged", where=str(path), hint="choose another -o, or delete the folder and build again"
        )
    return found


def _differences(found: dict, wanted: dict) -> list[str]:
    """Dotted keys in which two plans differ; the innermost that tell."""
    keys = []
    for key in sorted(found.keys() | wanted.keys()):
        if key == "id" or found.get(key) == wanted.get(key):
            continue
        if isinstance(found.get(key), dict) and isinstance(wanted.get(key), dict):
            keys += [f"{key}.{inner}" for inner in _differences(found[key], wanted[key])]
        else:
            keys.append(key)
    return keys or ["its id"]
