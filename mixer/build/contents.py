"""The text of sources whose rows only point at it: fetched once, before anything is planned, into the cache.

    CACHE/fetched/<id of the fetch>/     as `mixer fetch` leaves it
    CACHE/fetched/<id of the fetch>.lock

The rows are pinned as those of any source are, so a fetch reads them at one commit, and `mixer plan --update` takes a
newer one. What is read, tokenized and pinned by the build is the fetched files.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mixer.errors import BuildStateError, DataError, TaskError
from mixer.recipe import Source, TextSpec
from mixer.sources import PinCache, Snapshot, pin
from mixer.tokens.tokenizer import Tokenizer

if TYPE_CHECKING:
    from mixer.fetch import FetchPlan, Listener, Rules

CONNECTIONS = 256
"""Blobs on their way at once, as `mixer fetch` has them."""
_IDS = TextSpec(list="files", field="blob_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetching:
    """How contents are fetched that are not there yet."""

    # Processes.
    workers: int
    # What is told of how far the fetch for a source is.
    listener: Callable[[str], Listener]


def pin_read(
    name: str,
    source: Source,
    *,
    tokenizer: Tokenizer,
    root: Path,
    cache: PinCache,
    fetching: Fetching | None = None,
    trusting: bool = True,
) -> Snapshot:
    """The snapshot of the files that a source's text is read from: its own, or those that its contents came into.

    Args:
        name: the source's name.
        source: its part of the recipe.
        tokenizer: the recipe's tokenizer, which counts tokens where the selection asks for them.
        root: the folder that relative paths start from.
        cache: what is known of files, and where fetched ones are kept.
        fetching: how contents are fetched that are not there; None: they are not.
        trusting: whether a local file whose size and times are those of before is taken to have its bytes.

    Raises:
        RecipeError: the paths, `where` or the columns do not fit what is there.
        DataError: a file or store cannot be read, contents are not there, or are not as they were fetched.
        BuildStateError: another build fetches the same contents.
        TaskError: they cannot be written.
    """
    if source.contents is None:
        return pin(name, source, root, cache if trusting else None)
    ids = pin(name, rows_of(source), root, cache)
    plan = _fetch_plan(source, ids, tokenizer)
    folder = cache.blocks.folder / "fetched" / plan.id[:32]
    digests = _fetched(name, source, plan, folder, fetching)
    read = source.model_copy(
        update={"contents": None, "hub": None, "config": None, "path": tuple(str(folder / one) for one in digests)}
    )
    snapshot = pin(name, read, root, cache if trusting else None)
    _check_digests(snapshot, folder, digests)
    return replace(snapshot, note=ids.note)


def rows_of(source: Source) -> Source:
    """A source as its own files are: where contents are fetched, they have ids where the text will be."""
    if source.contents is None:
        return source
    return source.model_copy(update={"contents": None, "text": _IDS, "where": None})


def _fetch_plan(source: Source, ids: Snapshot, tokenizer: Tokenizer) -> FetchPlan:
    from mixer.fetch import IdsStore, make_plan, pinned_ids

    rules = _rules(source)
    store = None if ids.origin is None else IdsStore(asked=ids.origin, found=ids.origin)
    counter = tokenizer if rules.selection.min_bytes_per_token is not None else None
    return make_plan(pinned_ids(ids, rules.selection), rules, counter, store)


def _rules(source: Source) -> Rules:
    from mixer.fetch import Policy, Rules, Selection

    spec = source.contents
    assert spec is not None
    selection = Selection(
        languages=spec.languages,
        license_types=spec.license_types,
        vendored=spec.vendored,
        generated=spec.generated,
        min_bytes=spec.min_bytes,
        max_bytes=spec.max_bytes,
        min_bytes_per_token=spec.min_bytes_per_token,
    )
    return Rules(selection=selection, on_missing=Policy(spec.on_missing), on_damaged=Policy(spec.on_damaged))


def _fetched(name: str, source: Source, plan: FetchPlan, folder: Path, fetching: Fetching | None) -> Mapping[str, str]:
    """The xxh3-128 (hex) of each fetched file by its name; what is not there is fetched."""
    from mixer.fetch import FetchFolder, Origin, Part, run_fetch

    found = FetchFolder(folder, plan).whole()
    if found is not None:
        return found
    if fetching is None:
        raise DataError(
            "its contents are not fetched yet",
            where=f"sources.{name}.contents",
            hint="`mixer build` fetches them before anything else; `mixer plan --facts` needs none",
        )
    spec = source.contents
    assert spec is not None
    with _alone(folder):
        report = run_fetch(
            plan,
            folder,
            origin=Origin(address=spec.blobs, signed=spec.signed),
            part=Part(),
            workers=fetching.workers,
            connections=CONNECTIONS,
            listener=fetching.listener(name),
        )
        found = FetchFolder(folder, plan).whole()
    assert report["whole"]
    assert found is not None
    return found


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """No other build fetches into the folder meanwhile."""
    lock = folder.with_name(f"{folder.name}.lock")
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    except OSError as error:
        raise TaskError(
            f"cannot be written: {error.strerror}", where=str(lock), hint="make room, or give --cache"
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BuildStateError(
                "another build fetches the same contents", where=str(folder), hint="wait for it, then build again"
            ) from error
        yield
    finally:
        os.close(descriptor)


def _check_digests(snapshot: Snapshot, folder: Path, digests: Mapping[str, str]) -> None:
    """Hold the files against what was written when they were fetched."""
    assert isinstance(snapshot.base, Path)
    above = snapshot.base.relative_to(folder.resolve())
    for file in snapshot.files:
        path = (above / file.path).as_posix()
        if file.xxh3 != digests[path]:
            raise DataError(
                "the file is not as it was fetched",
                where=str(folder / path),
                hint="remove it; the next build fetches it again",
            )
