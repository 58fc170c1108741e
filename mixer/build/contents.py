"""The text of sources whose rows only point at it: fetched once, before anything is planned, into the cache.

    CACHE/fetched/<id of the fetch>/     as `mixer fetch` leaves it
    CACHE/fetched/<id of the fetch>.lock

The rows are pinned as those of any source are, so a fetch reads them at one commit, and `mixer plan --update` takes a
newer one. What is read, tokenized and pinned by the build is the fetched files. A forecast fetches a sample alone.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mixer import rng
from mixer.errors import BuildStateError, DataError, TaskError
from mixer.recipe import Source, TextSpec
from mixer.sources import PinCache, Snapshot, pin
from mixer.tokens.tokenizer import Tokenizer

if TYPE_CHECKING:
    from mixer.fetch import FetchPlan, Listener, Rules

CONNECTIONS = 256
"""Blobs on their way at once, as `mixer fetch` has them."""
_IDS = TextSpec(list="files", field="blob_id")
_WINDOWS, _WINDOW_ROWS = 8, 64
"""Of a sample: few, as each may be a row group to download; about ten thousand blobs of Stack v2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetching:
    """How contents are fetched that are not there yet."""

    # Processes.
    workers: int
    # What is told of how far the fetch for a source is.
    listener: Callable[[str], Listener]
    # Whether a sample is enough where they are not all there: for a forecast.
    sample: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentsSample:
    """Some rows of a source with their text, where not all are fetched."""

    # Of the files with the text: the rows that are kept of those that were read.
    snapshot: Snapshot
    # Rows that were read, and that there are.
    num_read: int
    num_rows: int

    @property
    def num_kept(self) -> int:
        """The rows that the source will probably have with its text."""
        return max(1, round(self.num_rows * self.snapshot.num_kept / self.num_read))


def pin_read(
    name: str, source: Source, *, tokenizer: Tokenizer, root: Path, cache: PinCache, trusting: bool = True
) -> Snapshot:
    """The snapshot of the files that a source's text is read from: its own, or those that its contents came into.

    Args:
        name: the source's name.
        source: its part of the recipe.
        tokenizer: the recipe's tokenizer, which counts tokens where the selection asks for them.
        root: the folder that relative paths start from.
        cache: what is known of files, and where fetched ones are kept.
        trusting: whether a local file whose size and times are those of before is taken to have its bytes.

    Raises:
        RecipeError: the paths, `where` or the columns do not fit what is there.
        DataError: a file or store cannot be read, contents are not there, or are not as they were fetched.
    """
    if source.contents is None:
        return pin(name, source, root, cache if trusting else None)
    return Contents(name, source, tokenizer=tokenizer, root=root, cache=cache).pinned(trusting=trusting)


def rows_of(source: Source) -> Source:
    """A source as its own files are: where contents are fetched, they have ids where the text will be."""
    if source.contents is None:
        return source
    return source.model_copy(update={"contents": None, "text": _IDS, "where": None})


class Contents:
    """The contents of one source: its rows are pinned, and nothing is fetched yet.

    Raises:
        RecipeError: the paths or columns do not fit what is there.
        DataError: the rows cannot be read.
    """

    def __init__(self, name: str, source: Source, *, tokenizer: Tokenizer, root: Path, cache: PinCache) -> None:
        assert source.contents is not None
        self._name, self._source, self._spec = name, source, source.contents
        self._root, self._cache = root, cache
        # The rows without text.
        self.ids = pin(name, rows_of(source), root, cache)
        self._plan = _fetch_plan(source, self.ids, tokenizer)

    @property
    def is_whole(self) -> bool:
        """Whether all of it is fetched."""
        return _digests(self._folder(self._plan), self._plan) is not None

    def fetch(self, fetching: Fetching) -> None:
        """Fetch what is not there yet.

        Raises:
            MixerError: it cannot be fetched or written, or another build does so; the same call goes on.
        """
        if not self.is_whole:
            self._run(self._plan, fetching)

    def pinned(self, *, trusting: bool = True) -> Snapshot:
        """The snapshot of the files with the text.

        Raises:
            DataError: they are not all there, or not as they were fetched.
        """
        return replace(self._pinned(self._plan, trusting=trusting), note=self.ids.note)

    def sample(self, fetching: Fetching, seed: int) -> ContentsSample:
        """Some rows with their text, at places that a key chooses.

        Raises:
            DataError: no row of them has any text.
            MixerError: as `fetch`.
        """
        windows = _windows([file.num_rows for file in self._plan.files], seed, self._name)
        plan = replace(self._plan, windows=tuple(windows))
        if _digests(self._folder(plan), plan) is None:
            self._run(plan, fetching)
        num_read = sum(stop - start for _, start, stop in windows)
        snapshot = self._pinned(plan)
        if snapshot.num_kept == 0:
            raise DataError(
                f"none of the {num_read:,} rows of a sample has any text, or is kept",
                where=f"sources.{self._name}",
                hint="check `contents` and `where`",
            )
        return ContentsSample(snapshot=snapshot, num_read=num_read, num_rows=self.ids.num_kept)

    def _run(self, plan: FetchPlan, fetching: Fetching) -> None:
        from mixer.fetch import Origin, Part, run_fetch

        folder = self._folder(plan)
        with _alone(folder):
            run_fetch(
                plan,
                folder,
                origin=Origin(address=self._spec.blobs, signed=self._spec.signed),
                part=Part(),
                workers=fetching.workers,
                connections=CONNECTIONS,
                listener=fetching.listener(self._name),
            )

    def _pinned(self, plan: FetchPlan, *, trusting: bool = True) -> Snapshot:
        folder = self._folder(plan)
        digests = _digests(folder, plan)
        if digests is None:
            raise DataError(
                "its contents are not fetched",
                where=f"sources.{self._name}.contents",
                hint="`mixer build` of the recipe fetches them first",
            )
        paths = tuple(str(folder / name) for name in digests)
        read = self._source.model_copy(update={"contents": None, "hub": None, "config": None, "path": paths})
        snapshot = pin(self._name, read, self._root, self._cache if trusting else None)
        _check_digests(snapshot, folder, digests)
        return snapshot

    def _folder(self, plan: FetchPlan) -> Path:
        # Absolute: a relative path of a source starts from the recipe's folder, and that of a cache does not.
        return self._cache.blocks.folder.resolve() / "fetched" / plan.id[:32]


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


def _windows(file_rows: list[int], seed: int, name: str) -> list[tuple[int, int, int]]:
    """Windows of rows (file, start, stop), in their order, no row twice: all of few rows, else at places by a key."""
    total = sum(file_rows)
    stops = np.cumsum(file_rows)
    if total <= _WINDOWS * _WINDOW_ROWS:
        return [(file, 0, rows) for file, rows in enumerate(file_rows) if rows]
    places = np.sort(rng.words(rng.key(seed, "contents", name), _WINDOWS) % np.uint64(total)).astype(np.int64)
    windows, done = [], 0
    for place in places.tolist():
        file = int(np.searchsorted(stops, place, side="right"))
        first = int(stops[file]) - file_rows[file]
        start, stop = max(done, place), min(place + _WINDOW_ROWS, int(stops[file]))
        if start < stop:
            windows.append((file, start - first, stop - first))
            done = stop
    return windows


def _digests(folder: Path, plan: FetchPlan) -> Mapping[str, str] | None:
    """The xxh3-128 (hex) of each fetched file by its name; None where not all are there."""
    from mixer.fetch import FetchFolder

    return FetchFolder(folder, plan).whole()


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
