"""The cache of facts about files, kept across builds: digests and rows per block."""

from __future__ import annotations

import json
import os
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from mixer.digest import canonical_json, identity
from mixer.sources.file_state import FileState
from mixer.stores.block_cache import BlockCache
from mixer.system.publish import publish_bytes, remove_stale

MAX_CACHE_BYTES = 50_000_000_000
"""Of blocks of remote files, unless the recipe's `cache` says another size."""


def default_cache_dir() -> Path:
    """$MIXER_CACHE, or `mixer` in $XDG_CACHE_HOME or ~/.cache."""
    if folder := os.environ.get("MIXER_CACHE"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mixer"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteState:
    """One version of a remote file."""

    # Its address, without a revision: a file that is the same in two commits is known in both.
    path: str
    num_bytes: int
    version: str


class PinCache:
    """A folder with one small JSON file of facts per pinned data file.

    Losing it costs time and nothing else: an entry that is missing, damaged or about another state of the file is
    as good as none, and a folder that cannot be written to is left alone.

    Args:
        folder: the cache's folder.
        blocks: where blocks of remote files are kept; None: in the same folder, of the default size.
    """

    def __init__(self, folder: Path, blocks: BlockCache | None = None) -> None:
        self.folder = folder
        self.blocks = blocks or BlockCache(folder=folder, max_bytes=MAX_CACHE_BYTES)
        self._folder = folder / "pins"
        self._cleaned: set[Path] = set()

    def recall(self, state: FileState | RemoteState) -> dict[str, Any]:
        """The facts about a file in exactly this state."""
        try:
            entry = json.loads(self._path(state).read_bytes())
        except (OSError, ValueError, RecursionError):
            return {}
        if not isinstance(entry, dict) or entry.get("state") != list(astuple(state)):
            return {}
        facts = entry.get("facts")
        return facts if isinstance(facts, dict) else {}

    def remember(self, state: FileState | RemoteState, facts: dict[str, Any]) -> None:
        """Store the facts of a file (JSON values), atomically, replacing earlier ones."""
        path = self._path(state)
        try:
            if path.parent not in self._cleaned:
                self._cleaned.add(path.parent)
                remove_stale(path.parent)
            publish_bytes(path, canonical_json({"state": list(astuple(state)), "facts": facts}), durable=False)
        except OSError:
            return  # A full or read-only home folder must not stop a build.

    def _path(self, state: FileState | RemoteState) -> Path:
        name = identity(state.path)
        return self._folder / name[:2] / f"{name[2:34]}.json"
