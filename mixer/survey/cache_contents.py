"""The contents of the cache and their removal: only files with mixer's names are touched."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mixer.errors import MixerError
from mixer.stack.fetched import FETCHED, remove_fetched, remove_halves
from mixer.stores.block_cache import is_entry, remove_blocks
from mixer.system.publish import remove_stale
from mixer.system.walk import walk_files

Kind = Literal["pins", "measured", "curation", "tokenizers", "blocks", "fetched", "other"]
CACHE_KINDS: tuple[Kind, ...] = ("pins", "measured", "curation", "tokenizers", "blocks", "fetched", "other")
NOTES = ("pins", "measured", "curation")
"""Kinds that save much work: a bound on the cache's size does not remove them."""
_LARGE_FIRST: tuple[Kind, ...] = ("blocks", "tokenizers", "fetched")
"""The order of removal for room: the cheapest to get again first."""
_NAMES = {
    "pins": re.compile(r"[0-9a-f]{2}/[0-9a-f]{32}\.json"),
    "measured": re.compile(r"[0-9a-f]{64}\.json"),
    "tokenizers": re.compile(r"(?:[0-9a-f]{32}|ranks-[0-9a-f]+-\d+)\.json"),
}
_CURATION = re.compile(
    r"facts/[0-9a-f]{64}/(?:\d{5,}\.(?:arrow|json)|about\.json)|edges/[0-9a-f]{64}\.arrow|curations/[0-9a-f]{64}\.json"
    r"|attributes/(?:[0-9a-f]{64}\.(?:arrow|json)|(?:selection|exclude)-[0-9a-f]{64})"
)
"""Facts of texts, edges of duplicates, results, and the row attributes made from them."""
_FETCH = re.compile(r"[0-9a-f]{32}")
_IN_USE_SECONDS = 3600.0
"""A tokenizer, or a fact of a text, is read by its path within minutes after it was found there, without a lock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A part of the cache that is removed as a whole: a file, or a folder of fetched contents.

    `bytes` are those on the disk, holes not counted; `used_unix` is when it was last written or read, as far as the
    file system notes that.
    """

    kind: Kind
    path: Path
    bytes: int
    used_unix: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """The result of a pruning: removed entries, entries left because they are in use, and the bytes of the rest."""

    removed: list[Entry]
    in_use: list[Entry]
    left_bytes: int


def cache_entries(folder: Path) -> list[Entry]:
    """All entries of a cache; none if the cache does not exist.

    Raises:
        OSError: it cannot be read.
    """
    parts: dict[tuple[Kind, Path], Entry] = {}
    for name, state in _files(folder):
        kind, path = _part(folder, name)
        before = parts.get((kind, path))
        used = max(state.st_mtime, state.st_atime)
        parts[kind, path] = Entry(
            kind=kind,
            path=folder / path,
            bytes=state.st_blocks * 512 + (before.bytes if before else 0),
            used_unix=max(used, before.used_unix if before else 0.0),
        )
    return list(parts.values())


def choose(
    entries: Sequence[Entry], *, now: float, older_than_seconds: float | None, max_bytes: int | None
) -> list[Entry]:
    """Choose entries to remove: those unused for so long, then the least recently used until the rest fits. Pure.

    Of kinds that are had again with little work all goes before any of others.
    """
    ours = [entry for entry in entries if entry.kind != "other" and not _just_used(entry, now)]
    old = [entry for entry in ours if older_than_seconds is not None and now - entry.used_unix >= older_than_seconds]
    chosen = {entry.path for entry in old}
    if max_bytes is not None:
        left = sum(entry.bytes for entry in entries if entry.path not in chosen)
        rest = [entry for entry in ours if entry.path not in chosen and entry.kind not in NOTES]
        for entry in sorted(rest, key=lambda one: (_LARGE_FIRST.index(one.kind), one.used_unix, one.path)):
            if left <= max_bytes:
                break
            left -= entry.bytes
            chosen.add(entry.path)
    return [entry for entry in ours if entry.path in chosen]


def remove_entries(folder: Path, chosen: Sequence[Entry]) -> list[Entry]:
    """Remove entries of a cache while processes use it; returns the removed ones.

    Entries that a process is reading or writing stay.

    Raises:
        MixerError: an entry cannot be removed; those before it are removed.
    """
    try:
        gone = remove_blocks(folder, [entry.path for entry in chosen if entry.kind == "blocks"])
        remove_halves(folder / FETCHED)
        for name in ("measured", "tokenizers"):
            remove_stale(folder / name)
        for entry in chosen:
            if entry.kind == "fetched" and remove_fetched(entry.path):
                gone.add(entry.path)
            elif entry.kind in _NAMES or entry.kind == "curation":
                entry.path.unlink(missing_ok=True)  # read in one go, and made again where it is missing
                gone.add(entry.path)
    except OSError as error:
        raise MixerError(
            f"cannot be removed: {error.strerror}", where=str(error.filename or folder), hint="check its permissions"
        ) from error
    return [entry for entry in chosen if entry.path in gone]


def _files(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    if folder.is_dir():
        yield from walk_files(folder)


def _part(folder: Path, name: str) -> tuple[Kind, Path]:
    """The entry that a file belongs to, by its path in the cache."""
    top, _, rest = name.partition("/")
    if top in _NAMES and _NAMES[top].fullmatch(rest):
        return top, Path(name)  # type: ignore[return-value]
    if _CURATION.fullmatch(name):
        return "curation", Path(name)
    for part in (rest.removesuffix(".json"), rest):  # the facts beside an entry go with it
        if top == "blocks" and is_entry(part):
            return "blocks", Path(top, part)
    if top == FETCHED:
        fetch = rest.partition("/")[0]
        is_ours = (folder / FETCHED / fetch / ".mixer/fetch.json").is_file()
        if _FETCH.fullmatch(fetch) and fetch != rest and is_ours:
            return "fetched", Path(top, fetch)
    return "other", Path(name)


def _just_used(entry: Entry, now: float) -> bool:
    return entry.kind in ("tokenizers", "curation") and now - entry.used_unix < _IN_USE_SECONDS
