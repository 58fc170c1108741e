"""The kept rows of a snapshot: the selection of a stage (format.md, "A selection"). Pure."""

from __future__ import annotations

from typing import Any

from mixer.sources.snapshot import Snapshot


def selection_json(snapshot: Snapshot, where: str | None) -> dict[str, Any]:
    """The selection of a predicate over a snapshot, as JSON.

    `kept` has the kept rows of each block, one list for each pass of a cycle (there is one); null where all are kept.
    """
    kept = snapshot.kept_json()
    by_attributes = {} if snapshot.kept_rows is None else snapshot.kept_rows.as_json()
    return {"where": where, "kept": None if kept is None else [kept], **by_attributes}


def kept_of(selection: dict[str, Any]) -> list[int] | None:
    """The kept rows of each block in the first pass; None where all are kept.

    Raises:
        KeyError, TypeError, ValueError: it is not a selection.
    """
    kept = selection["kept"]
    if kept is None:
        return None
    (counts,) = kept
    return [int(count) for count in counts]
