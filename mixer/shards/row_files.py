"""The file of a row in its source, from the build's own snapshot: no source is read."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from mixer.errors import IntegrityError
from mixer.shards.manifest import SNAPSHOTS, load_named
from mixer.shards.records import Manifest


class RowFiles:
    """Files of the rows of a build's sources; a snapshot is read when it is first asked for.

    Args:
        folder: the build.
        manifest: its manifest.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self._folder, self._manifest = folder, manifest
        self._of_source = lru_cache(maxsize=None)(self._load)

    def place(self, source: int, row: int) -> tuple[str, int]:
        """The path of a row's file in the snapshot, and its number among the file's rows, from 0.

        Raises:
            IntegrityError: the snapshot is missing or damaged, or has no such row.
        """
        paths, stops = self._of_source(source)
        file = int(np.searchsorted(stops, row, side="right"))
        if not row >= 0 or file >= len(paths):
            name = self._manifest.sources[source].name
            raise IntegrityError(f"the snapshot of {name} has no row {row}", where=str(self._folder))
        return paths[file], row - (int(stops[file - 1]) if file else 0)

    def _load(self, source: int) -> tuple[list[str], np.ndarray]:
        """Paths of the files of a source, and the row behind the last of each: int64[files]."""
        snapshot: Any = load_named(self._folder, SNAPSHOTS, self._manifest.sources[source].snapshot)
        try:
            files = snapshot["files"]
            paths = [str(file["path"]) for file in files]
            return paths, np.cumsum([sum(file["rows"]) for file in files], dtype=np.int64)
        except (KeyError, TypeError, OverflowError) as error:
            raise IntegrityError(f"not a snapshot: {error!r}", where=str(self._folder / SNAPSHOTS)) from error
