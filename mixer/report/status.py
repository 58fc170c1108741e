"""The progress of a build, for people and for programs."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mixer.report.numbers import counted, duration, exact, num_bytes, percent, short

if TYPE_CHECKING:
    from mixer.building.status import Status

GOING_ON = ("planning", "running")
_DAY = 86400.0


def status_json(status: Status) -> dict[str, Any]:
    """The status for programs: times are seconds, those in `_unix` since 1970; what is not known is null."""
    fields = dataclasses.asdict(status)
    return fields | {
        "folder": str(status.folder),
        "tasks_running": list(status.tasks_running),
        "share": _share(status),
    }


def status_in_words(status: Status, now: float | None = None) -> list[str]:
    """The status, in lines."""
    now = time.time() if now is None else now
    labelled = [("tasks", _tasks(status)), ("tokens", _tokens(status)), ("speed", ", ".join(_speeds(status)))]
    if status.seconds_left:
        labelled.append(("time left", f"about {duration(status.seconds_left)}"))
    labelled.append(("folder", _folder(status)))
    if status.error is not None:
        labelled.append(("error", f"{moment(status.error.unix, now)}: {_error(status)}"))
        if status.error.hint:
            labelled.append(("hint", status.error.hint))
    lines = [f"{status.name or status.folder}: {_state(status, now)}"]
    lines += [f"  {label:<11}{words}" for label, words in labelled if words]
    if status.state in ("stopped", "killed"):
        lines.append("run the same `mixer build` again to resume")
    return lines


def status_line(status: Status) -> str:
    """The status in one line, for a log."""
    tokens = f"{words} tokens" if (words := _tokens(status)) else ""
    parts = [status.state, tokens, f"{counted(status.tasks_done, 'task')} finished"]
    if status.recent_speed or status.run_speed:
        parts.append(f"{short(status.recent_speed or status.run_speed or 0)} tokens/s")
    if status.seconds_left:
        parts.append(f"about {duration(status.seconds_left)} left")
    return " · ".join(part for part in parts if part)


def moment(unix: float, now: float) -> str:
    """A time of day, with the date where it is not today's or last night's: `14:03:20`, `2026-11-23 14:03:20`."""
    form = "%H:%M:%S" if 0 <= now - unix < _DAY / 2 else "%Y-%m-%d %H:%M:%S"
    return time.strftime(form, time.localtime(unix))


def _state(status: Status, now: float) -> str:
    if status.state == "finished":
        when = "" if status.last_unix is None else f" at {moment(status.last_unix, now)}"
        return f"finished{when}" + ("; a build or a repair is checking it" if status.busy else "")
    if status.state in GOING_ON:
        who = []
        if status.pid is not None:
            who.append(f"pid {status.pid} on {status.host}")
        if status.workers is not None:
            who.append(counted(status.workers, "worker"))
        if status.running_seconds is not None:
            who.append(f"for {duration(status.running_seconds)}")
        return f"{status.state} ({', '.join(who) or 'by an unknown process'})"
    last = "" if status.last_unix is None else f" at {moment(status.last_unix, now)}"
    match status.state:
        case "killed":
            return f"killed: its process is gone; last sign of life{last}"
        case "failed":
            return f"failed{last}"
    return f"stopped{last}"


def _tasks(status: Status) -> str:
    if status.name is None:  # there is no plan yet
        return ""
    parts = [f"{exact(status.tasks_done)} finished"]
    if status.tasks_running:
        shown = ", ".join(map(str, status.tasks_running[:8])) + (", ..." if len(status.tasks_running) > 8 else "")
        parts.append(f"{exact(len(status.tasks_running))} running ({shown})")
    if status.tasks_left is not None and status.state != "finished":
        parts.append(f"about {exact(status.tasks_left)} left")
    if status.remade:
        parts.append(f"{exact(status.remade)} to be rebuilt: the record or the shard is damaged")
    return ", ".join(parts)


def _tokens(status: Status) -> str:
    share = _share(status)
    if status.state == "finished":
        return short(status.tokens)
    if share is None or status.expected_tokens is None:
        return short(status.tokens) if status.tokens else ""
    about = "" if status.is_exact else "about "
    # The task in which the build ends is made whole first, and then again up to there.
    tokens = min(status.tokens, status.expected_tokens) if status.is_exact else status.tokens
    return f"{short(tokens)} of {about}{short(status.expected_tokens)} ({about}{percent(share)})"


def _speeds(status: Status) -> Iterator[str]:
    if status.run_speed is not None:
        which = "in this run" if status.state in GOING_ON else "in the last run"
        yield f"{short(status.run_speed)} tokens/s {'while it was built' if status.state == 'finished' else which}"
    if status.recent_speed is not None:
        yield f"{short(status.recent_speed)} recently"


def _folder(status: Status) -> str:
    deleted = f", {counted(status.shards_deleted, 'shard')} deleted on purpose" if status.shards_deleted else ""
    return f"{num_bytes(status.folder_bytes)} in {status.folder}{deleted}"


def _error(status: Status) -> str:
    assert status.error is not None
    return f"{status.error.where}: {status.error.message}" if status.error.where else status.error.message


def _share(status: Status) -> float | None:
    """The tokens as a share of what they will be."""
    if status.state == "finished":
        return 1.0
    return min(1.0, status.tokens / status.expected_tokens) if status.expected_tokens else None
