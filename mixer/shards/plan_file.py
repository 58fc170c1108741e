"""`plan.json` and `tasks/NNNNN.json`: the records of a build in progress, which stay when it is finished."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mixer.digest import canonical_json
from mixer.errors import FormatError, IntegrityError
from mixer.shards.decode import ShapeError, decode, encode
from mixer.shards.ids import plan_id, record_digest
from mixer.shards.manifest import check_version
from mixer.shards.records import FORMAT_VERSION, PlanRecord, TaskRecord, record_path
from mixer.shards.shard import REBUILD_HINT
from mixer.system.publish import publish_bytes
from mixer.system.regular_files import parse_json, read_regular

PLAN = "plan.json"


def plan_json(record: PlanRecord) -> dict[str, Any]:
    """The JSON value of a plan, with the id that its content has."""
    value = {"format": "mixer-plan", "format_version": FORMAT_VERSION, **encode(record)}
    return {**value, "id": plan_id(value)}


def publish_plan_record(out: Path, value: dict[str, Any]) -> None:
    """Write `plan.json`, whole or not at all."""
    publish_bytes(out / PLAN, canonical_json(value))


def read_plan_json(out: Path) -> dict[str, Any]:
    """The JSON value of `plan.json`, of this version and with its own id.

    Raises:
        IntegrityError: it is missing or damaged.
        FormatError: it is not a plan, or has another version.
    """
    path = out / PLAN
    try:
        value: dict[str, Any] = parse_json(read_regular(path))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise IntegrityError(f"the plan is damaged: {reason}", where=str(path), hint=REBUILD_HINT) from error
    check_version(value, "mixer-plan", "a plan", str(path))
    try:
        found = plan_id(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise FormatError(f"not a plan of mixer: {error!r:.200}", where=str(path)) from error
    if found != value.get("id"):
        raise IntegrityError(
            "the plan is damaged: its id does not match its content", where=str(path), hint=REBUILD_HINT
        )
    return value


def load_plan_record(out: Path) -> PlanRecord:
    """The plan of a build.

    Raises:
        IntegrityError: it is missing or damaged.
        FormatError: it is not a plan, or has another version.
    """
    try:
        return decode(PlanRecord, read_plan_json(out))
    except ShapeError as error:
        raise FormatError(f"not a plan of mixer: {error}", where=str(out / PLAN)) from error


def publish_task_record(out: Path, record: TaskRecord) -> None:
    """Record a finished task; its shard is in place. Damage by a power cut is found and repaired."""
    value = {"format_version": FORMAT_VERSION, **encode(record)}
    value["digest"] = record_digest(value)
    publish_bytes(out / record_path(record.task), canonical_json(value), durable=False)


def load_task_record(out: Path, task: int) -> TaskRecord:
    """The record of a task.

    Raises:
        IntegrityError: it is missing, damaged, or of another task or version.
    """
    path = out / record_path(task)
    try:
        value: dict[str, Any] = parse_json(read_regular(path))
        if not isinstance(value, dict) or value.get("format_version") != FORMAT_VERSION:
            raise ValueError(f"not a record of format version {FORMAT_VERSION}")
        if record_digest(value) != value.get("digest"):
            raise ValueError("its digest does not match its content")
        record = decode(TaskRecord, value)
        if record.task != task:
            raise ValueError(f"it belongs to task {record.task}")
    except OSError as error:
        raise IntegrityError(f"cannot read the record: {error.strerror}", where=str(path), hint=REBUILD_HINT) from error
    except (ShapeError, ValueError, TypeError, RecursionError) as error:
        raise IntegrityError(f"the record is damaged: {error}", where=str(path), hint=REBUILD_HINT) from error
    return record
