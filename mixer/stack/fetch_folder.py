"""The folder of a fetch: its plan, its finished chunks and the report.

    OUT/
      train-00000-of-00064-00000.parquet     a chunk: rows with text
      report.json                            what became of all files, and a line for each chunk that is there
      .mixer/fetch.json                      what is fetched, and by which rules
      .mixer/chunks/*.json                   what there is to know of each finished chunk

Everything appears whole or not at all, so that several hosts can work in one folder of a shared disk.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mixer.digest import canonical_json, xxh3_file
from mixer.errors import BuildStateError, TaskError
from mixer.stack.counts import total_counts
from mixer.stack.fetch_plan import Chunk, FetchPlan, IdsStore
from mixer.system.publish import publish_bytes

REPORT = "report.json"
_STATE, _FETCH = ".mixer", "fetch.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenFile:
    """The file of a chunk as it was written."""

    # sha256 (hex) of its footer, and xxh3-128 (hex) of all its bytes.
    footer_sha256: str
    xxh3: str


class FetchFolder:
    """A folder that a plan is fetched into.

    Args:
        out: the folder; made if it is not there.
        plan: the fetch.
    """

    def __init__(self, out: Path, plan: FetchPlan) -> None:
        self._out = out
        self._plan = plan
        self._state = out / _STATE

    def adopt(self) -> None:
        """Claim the folder for this fetch.

        Raises:
            BuildStateError: it belongs to another fetch, or holds other files.
            TaskError: it cannot be written to.
        """
        path, content = self._state / _FETCH, canonical_json(self._plan.as_json())
        try:
            if path.exists():
                self._check_same(json.loads(path.read_bytes()))
            elif self._out.exists() and any(entry.name != _STATE for entry in self._out.iterdir()):
                raise BuildStateError(
                    "the folder holds something else", where=str(self._out), hint="choose another OUT"
                )
            else:
                publish_bytes(path, content)
        except ValueError as error:
            raise BuildStateError(
                f"the record of the fetch is damaged: {path}", where=str(self._out), hint="choose another OUT"
            ) from error
        except OSError as error:
            hint = "choose another OUT"
            raise TaskError(f"cannot be used: {error.strerror}", where=str(self._out), hint=hint) from error

    def _check_same(self, before: dict[str, Any]) -> None:
        now = json.loads(canonical_json(self._plan.as_json()))
        different = sorted(name for name in now.keys() | before.keys() if now.get(name) != before.get(name))
        if different:
            hint = "choose another OUT, or the options of before"
            if "store" in different and before.get("store"):
                hint += f": SRC was {before['store']['asked']}, found at {before['store']['found']}"
            raise BuildStateError(
                f"the folder belongs to a fetch with other {', '.join(different)}", where=str(self._out), hint=hint
            )

    def path(self, chunk: Chunk) -> Path:
        """The path of a chunk's file."""
        return self._out / chunk.name

    def keep(self, chunk: Chunk, record: dict[str, Any]) -> None:
        """Keep the record of a finished chunk."""
        # Nothing is named by it, and it has seconds: canonical JSON has no fractions.
        publish_bytes(self._record(chunk), json.dumps(record, sort_keys=True).encode())

    def finished(self, chunk: Chunk) -> dict[str, Any] | None:
        """The record of a chunk if its file is unchanged; None if it has to be fetched."""
        record, path = self._read(chunk), self.path(chunk)
        if record is None or not path.is_file() or path.stat().st_size != record["bytes"]:
            return None
        return record if xxh3_file(path) == record["xxh3"] else None

    def whole(self) -> dict[str, WrittenFile] | None:
        """Every chunk's file by its name, if all exist with their sizes."""
        if not (self._state / _FETCH).is_file():
            return None
        written = {}
        for chunk in self._plan.chunks:
            record, path = self._read(chunk), self.path(chunk)
            if record is None or not path.is_file() or path.stat().st_size != record["bytes"]:
                return None
            written[chunk.name] = WrittenFile(footer_sha256=record["footer_sha256"], xxh3=record["xxh3"])
        return written

    def report(self) -> dict[str, Any]:
        """Write the report on all chunks that are finished by now, and return it."""
        while True:
            records = self._records()
            report = _report(self._plan, records)
            publish_bytes(self._out / REPORT, (json.dumps(report, indent=1) + "\n").encode())
            if len(self._records()) == len(records):
                return report
            # Another host has finished a chunk meanwhile, and its report, too, may have been written before this one.

    def _records(self) -> list[dict[str, Any]]:
        return [record for chunk in self._plan.chunks if (record := self._read(chunk)) is not None]

    def _read(self, chunk: Chunk) -> dict[str, Any] | None:
        try:
            record: dict[str, Any] = json.loads(self._record(chunk).read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        return record

    def _record(self, chunk: Chunk) -> Path:
        return self._state / "chunks" / f"{chunk.number:07d}.json"


def recorded_store(out: Path) -> IdsStore | None:
    """The store of the rows of a folder's fetch; None if they are local, or if the folder has no fetch."""
    try:
        return IdsStore(**json.loads((out / _STATE / _FETCH).read_bytes())["store"])
    except (OSError, KeyError):
        return None


def _report(plan: FetchPlan, records: list[dict[str, Any]]) -> dict[str, Any]:
    """The report on some chunks: JSON values."""
    traffic: Counter[str] = Counter()
    for record in records:
        traffic.update(record["traffic"])
    return {
        "fetch": plan.id,
        **({"store": plan.store.as_json()} if plan.store else {}),
        "whole": len(records) == len(plan.chunks),
        "chunks": {"finished": len(records), "all": len(plan.chunks)},
        "totals": total_counts(record["counts"] for record in records),
        "bytes": sum(record["bytes"] for record in records),
        "traffic": dict(sorted(traffic.items())),
        "files": records,
    }
