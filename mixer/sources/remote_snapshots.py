"""Remote snapshots, kept and reused.

Two builds of one recipe read the same data: of the hub the commit that was pinned first, whatever happened to the
branch since; of buckets and web servers the files that were pinned, and it is an error if they are others now. `repin`
is the way to newer data.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mixer.digest import canonical_json, identity
from mixer.errors import DataError, FormatError, RecipeError
from mixer.sources.find import patterns_of
from mixer.sources.pin_cache import PinCache
from mixer.sources.prefetch import naming
from mixer.sources.remote_copies import RemoteBase
from mixer.sources.remote_pin import asked_address, find_source, pin_remote_anew, source_files
from mixer.sources.scan import ScanSpec
from mixer.sources.snapshot import Snapshot
from mixer.sources.snapshot_changes import file_changes
from mixer.stores.address import parse_address
from mixer.stores.listing import commit_of
from mixer.stores.retry import TransferFailed
from mixer.system.progress import OnAdvance, silent
from mixer.system.publish import publish_bytes, remove_stale

if TYPE_CHECKING:
    from mixer.recipe import Source

_UPDATE = "mixer plan RECIPE --update"


def pin_remote(source: Source, scan: ScanSpec, cache: PinCache, on_advance: OnAdvance = silent) -> Snapshot:
    """The snapshot of a remote source: the kept one, or a new one the first time.

    Raises:
        RecipeError: the addresses, `where` or the columns do not fit the data.
        DataError: a store cannot be read, or the pinned files are missing there.
    """
    kept = recall(source, scan, cache)
    return repin(source, scan, cache, on_advance) if kept is None else _checked(kept, source, scan)


def repin(source: Source, scan: ScanSpec, cache: PinCache, on_advance: OnAdvance = silent) -> Snapshot:
    """A new snapshot of a remote source, kept in place of the old one; a note says if it cannot be kept.

    Raises:
        RecipeError, DataError: as `pin_remote`.
    """
    snapshot = pin_remote_anew(source, scan, cache, on_advance)
    path = _path(source, scan, cache)
    try:
        remove_stale(path.parent)
        publish_bytes(path, canonical_json({"snapshot": snapshot.as_json(), "kept": snapshot.kept_json()}))
    except OSError as error:
        reason = error.strerror or error
        note = f"the snapshot cannot be kept in {path.parent} ({reason}): the next plan pins the source again"
        return replace(snapshot, note=note)
    return snapshot


def recall(source: Source, scan: ScanSpec, cache: PinCache) -> Snapshot | None:
    """The kept snapshot; None if there is none that can be read."""
    try:
        value = json.loads(_path(source, scan, cache).read_bytes())
        return remote_snapshot(value["snapshot"], cache, value["kept"])
    except (OSError, ValueError, KeyError, TypeError, FormatError):
        return None


def remote_snapshot(value: dict[str, Any], cache: PinCache, kept: list[int] | None) -> Snapshot:
    """A remote snapshot from its JSON, and the kept rows of its blocks (None: all).

    Raises:
        FormatError: the value is not a remote snapshot.
    """
    try:
        address = parse_address(str(value["origin"]), "snapshot")
    except (KeyError, TypeError, RecipeError) as error:
        raise FormatError(f"not a remote snapshot: {error!r}", where="snapshot") from error
    return Snapshot.from_json(value, RemoteBase(address=address, cache=cache.blocks), kept)


def _checked(kept: Snapshot, source: Source, scan: ScanSpec) -> Snapshot:
    """A kept snapshot, if its files still exist; on the hub they always do, at their commit."""
    assert not isinstance(kept.base, Path)
    if kept.base.address.scheme == "hf":
        return replace(kept, note=_whether_moved(kept.base, source, scan.place))
    with naming(scan.place):
        found = find_source(source, scan.place)
    changes = file_changes(kept.files, source_files(found))
    if changes:
        raise DataError(
            f"the files changed since they were pinned: {changes.words()}",
            where=f"{scan.place}: {kept.base}",
            hint=f"restore the pinned files, or pin again: {_UPDATE}",
        )
    return kept


def _whether_moved(base: RemoteBase, source: Source, place: str) -> str | None:
    """A note if the branch of a kept commit moved, or if that is unknown."""
    asked, pinned = asked_address(source, place), base.address.revision
    try:
        now = commit_of(asked)
    except (TransferFailed, DataError) as error:
        reason = error.message
        return f"{asked.store} stays at {pinned}; whether '{asked.revision}' moved is unknown: {reason}"
    if now == pinned:
        return None
    return f"{asked.store} stays at {pinned}, as pinned; '{asked.revision}' is now at {now}; {_UPDATE} moves to it"


def _path(source: Source, scan: ScanSpec, cache: PinCache) -> Path:
    asked = [source.hub, source.config, list(patterns_of(source)), source.format]
    read = [scan.text.list, list(scan.paths), scan.predicate.text if scan.predicate else None]
    return cache.folder / "snapshots" / f"{identity([asked, read])[:32]}.json"
