"""Remote snapshots, kept and used again.

Two builds of one recipe read the same data: of the hub the commit that was pinned first, whatever happened to the
branch since; of buckets and web servers the files that were pinned, and it is an error if they are others now. `repin`
is the way to newer data.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mixer.digest import canonical_json, identity
from mixer.errors import DataError, FormatError, RecipeError
from mixer.files import publish_bytes, remove_stale
from mixer.sources.cache import PinCache
from mixer.sources.changes import file_changes
from mixer.sources.counting import OnFile
from mixer.sources.find import patterns_of
from mixer.sources.needs import Needs
from mixer.sources.remote.address import parse_address
from mixer.sources.remote.blocks import naming
from mixer.sources.remote.fetch import RemoteBase
from mixer.sources.remote.find import commit_of
from mixer.sources.remote.pin import asked_address, find_source, pin_anew, source_files
from mixer.sources.remote.retry import TransferFailed
from mixer.sources.snapshot import Snapshot

if TYPE_CHECKING:
    from mixer.recipe import Source

_UPDATE = "mixer plan RECIPE --update"


def pin_remote(source: Source, needs: Needs, cache: PinCache, on_file: OnFile | None = None) -> Snapshot:
    """The snapshot of a remote source: the one that was kept, or, the first time, a new one.

    Raises:
        RecipeError: the addresses, `where` or the columns do not fit what is there.
        DataError: a store cannot be read, or does not have what was pinned.
    """
    kept = recall(source, needs, cache)
    return repin(source, needs, cache, on_file) if kept is None else _checked(kept, source, needs)


def repin(source: Source, needs: Needs, cache: PinCache, on_file: OnFile | None = None) -> Snapshot:
    """A new snapshot of a remote source, kept in place of the one before; it has a note where it cannot be kept.

    Raises:
        RecipeError, DataError: as `pin_remote`.
    """
    snapshot = pin_anew(source, needs, cache, on_file)
    path = _path(source, needs, cache)
    try:
        remove_stale(path.parent)
        publish_bytes(path, canonical_json({"snapshot": snapshot.as_json(), "kept": snapshot.kept_json()}))
    except OSError as error:
        reason = error.strerror or error
        note = f"the snapshot cannot be kept in {path.parent} ({reason}): the next plan takes what is there by then"
        return replace(snapshot, note=note)
    return snapshot


def recall(source: Source, needs: Needs, cache: PinCache) -> Snapshot | None:
    """The snapshot that was kept; None where there is none, or none that can be read."""
    try:
        value = json.loads(_path(source, needs, cache).read_bytes())
        return remote_snapshot(value["snapshot"], cache, value["kept"])
    except (OSError, ValueError, KeyError, TypeError, FormatError):
        return None


def remote_snapshot(value: dict, cache: PinCache, kept: list[int] | None) -> Snapshot:
    """A remote snapshot back from its JSON, and the kept rows of its blocks (None: all).

    Raises:
        FormatError: the value is none.
    """
    try:
        address = parse_address(str(value["origin"]), "snapshot")
    except (KeyError, TypeError, RecipeError) as error:
        raise FormatError(f"not a remote snapshot: {error!r}", where="snapshot") from error
    return Snapshot.from_json(value, RemoteBase(address=address, cache=cache.blocks), kept)


def _checked(kept: Snapshot, source: Source, needs: Needs) -> Snapshot:
    """A kept snapshot, if its files are still there; of the hub they always are, at their commit."""
    assert not isinstance(kept.base, Path)
    if kept.base.address.scheme == "hf":
        return replace(kept, note=_whether_moved(kept.base, source, needs.place))
    with naming(needs.place):
        found = find_source(source, needs.place)
    changes = file_changes(kept.files, source_files(found))
    if changes:
        raise DataError(
            f"the files are not those that were pinned: {changes.words()}",
            where=f"{needs.place}: {kept.base}",
            hint=f"bring the pinned files back, or pin anew: {_UPDATE}",
        )
    return kept


def _whether_moved(base: RemoteBase, source: Source, place: str) -> str | None:
    """What there is to say of the branch that a kept commit came from."""
    asked, pinned = asked_address(source, place), base.address.revision
    try:
        now = commit_of(asked)
    except (TransferFailed, DataError) as error:
        reason = error.message
        return f"{asked.store} stays at {pinned}; whether '{asked.revision}' moved is not known: {reason}"
    if now == pinned:
        return None
    return f"{asked.store} stays at {pinned}, as pinned; '{asked.revision}' is at {now} now, {_UPDATE} takes it"


def _path(source: Source, needs: Needs, cache: PinCache) -> Path:
    asked = [source.hub, source.config, list(patterns_of(source)), source.format]
    read = [needs.text.list, list(needs.paths), needs.predicate.text if needs.predicate else None]
    return cache.folder / "snapshots" / f"{identity([asked, read])[:32]}.json"
