"""The differences between two snapshots of one source. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mixer.errors import shown_names
from mixer.sources.snapshot import Snapshot, SourceFile

_MAX_NAMES_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """The changed files; paths are relative to the snapshots' base, sorted."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    # The addresses, where the sources are remote, and the rows that can be drawn: before and after.
    origins: tuple[str | None, str | None] = (None, None)
    kept_rows: tuple[int, int] = (0, 0)

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed) or len(set(self.kept_rows)) > 1

    def words(self) -> str:
        """The changes in a line, such as `2 changed ('a.parquet', 'c.parquet'), 1 added ('b.parquet')`."""
        kinds = {"changed": self.changed, "added": self.added, "removed": self.removed}
        parts = [
            f"{len(paths):,} {kind} ({shown_names(paths, _MAX_NAMES_SHOWN)})" for kind, paths in kinds.items() if paths
        ]
        if len(set(self.kept_rows)) > 1:
            parts.append(f"{self.kept_rows[0]:,} rows became {self.kept_rows[1]:,}")
        return ", ".join(parts) or "nothing differs"


def difference(old: Snapshot, new: Snapshot) -> Changes:
    """The differences between two snapshots of one source; a file with other blocks counts as changed."""
    before, after = ({entry["path"]: entry for entry in one.as_json()["files"]} for one in (old, new))
    return _compared(before, after, (old.origin, new.origin), (old.num_kept, new.num_kept))


def file_changes(old: Sequence[SourceFile], new: Sequence[SourceFile]) -> Changes:
    """The differences between the files of two snapshots, without their rows."""
    before, after = ({file.path: file for file in one} for one in (old, new))
    return _compared(before, after)


def _compared(
    before: Mapping[str, object],
    after: Mapping[str, object],
    origins: tuple[str | None, str | None] = (None, None),
    kept_rows: tuple[int, int] = (0, 0),
) -> Changes:
    return Changes(
        added=tuple(sorted(after.keys() - before.keys())),
        removed=tuple(sorted(before.keys() - after.keys())),
        changed=tuple(sorted(path for path in before.keys() & after.keys() if before[path] != after[path])),
        origins=origins,
        kept_rows=kept_rows,
    )
