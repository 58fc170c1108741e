"""The text of sources whose rows refer to it: fetched into the cache once, before planning.

    CACHE/fetched/<id of the fetch>/     as `mixer fetch` writes it
    CACHE/fetched/<id of the fetch>.lock       held by the process that fetches it
    CACHE/fetched/<id of the fetch>.reading    shared by its readers, which keeps `mixer cache prune` from removing it

The rows are pinned as those of any source are, so a fetch reads them at one commit, and `mixer plan --update` takes a
newer one. What is read, tokenized and pinned by the build is the fetched files. A forecast fetches a sample alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mixer.digest import xxh3_file
from mixer.errors import BuildStateError, DataError, TaskError, UsageError
from mixer.recipe import Source, TextSpec
from mixer.sources.pin import pin
from mixer.sources.pin_cache import PinCache
from mixer.sources.snapshot import Snapshot
from mixer.stack.cells import CellSample, FileRows, sample_cells
from mixer.stack.fetched import FETCHED, keep_while_running
from mixer.system.locks import lock_file
from mixer.tokens.tokenizer import Tokenizer

if TYPE_CHECKING:
    from mixer.stack.fetch import Listener
    from mixer.stack.fetch_folder import WrittenFile
    from mixer.stack.fetch_plan import FetchPlan, Rules

CONNECTIONS = 256
"""Blobs on their way at once, as `mixer fetch` has them."""
_IDS = TextSpec(list="files", field="blob_id")
_CELLS = (8, 64, 512)
"""Cells of a sample: few, as each may be a row group to download; about ten thousand blobs of Stack v2. More where none
of their rows is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetching:
    """Settings for fetching missing contents."""

    # Processes.
    workers: int
    # What is told of how far the fetch for a source is.
    listener: Callable[[str], Listener]
    # Whether a sample is enough where they are not all there: for a forecast.
    sample: bool = False


def pin_read(
    name: str,
    source: Source,
    *,
    tokenizer: Tokenizer,
    root: Path,
    cache: PinCache,
    trusting: bool = True,
    only: Sequence[str] | None = None,
) -> Snapshot:
    """The snapshot of the files that a source's text is read from: its own, or its fetched contents.

    Args:
        name: the source's name.
        source: its part of the recipe.
        tokenizer: the recipe's tokenizer, which counts tokens where the selection asks for them.
        root: the folder that relative paths start from.
        cache: what is known of files, and where fetched ones are kept.
        trusting: whether a local file whose size and times are those of before is taken to have its bytes.
        only: see `pin`; fetched contents are what they are.

    Raises:
        RecipeError: the paths, `where` or the columns do not fit the data.
        DataError: a file or store cannot be read, or contents are missing or changed.
    """
    if source.contents is None:
        return pin(name, source, root, cache if trusting else None, only=only)
    return Contents(name, source, tokenizer=tokenizer, root=root, cache=cache).pinned(trusting=trusting)


def rows_of(source: Source) -> Source:
    """A source as its own files are: where contents are fetched, they have ids where the text will be."""
    if source.contents is None:
        return source
    return source.model_copy(update={"contents": None, "text": _IDS, "where": None})


class Contents:
    """The contents of one source: its rows are pinned, its text is not fetched yet.

    Raises:
        RecipeError: the paths or columns do not fit the data.
        DataError: the rows cannot be read.
    """

    def __init__(self, name: str, source: Source, *, tokenizer: Tokenizer, root: Path, cache: PinCache) -> None:
        assert source.contents is not None
        self._name, self._source, self._spec = name, source, source.contents
        self._root, self._cache = root, cache
        # The rows without text.
        self.ids = pin(name, rows_of(source), root, cache)
        if self.ids.format != "parquet":
            raise DataError(
                f"rows that refer to contents are in Parquet files; these are {self.ids.format}",
                where=f"sources.{name}",
                hint="give the Parquet files of the-stack-v2-train-smol-ids",
            )
        with self._naming():
            self._plan = _fetch_plan(source, self.ids, tokenizer)

    @property
    def is_whole(self) -> bool:
        """Whether all contents are fetched."""
        return _written(self._folder(self._plan), self._plan) is not None

    def fetch(self, fetching: Fetching) -> None:
        """Fetch the missing contents.

        Raises:
            MixerError: it cannot be fetched or written, or another build is fetching it; the same call resumes.
        """
        if not self.is_whole:
            self._run(self._plan, fetching)

    def pinned(self, *, trusting: bool = True) -> Snapshot:
        """The snapshot of the files with the text.

        Raises:
            DataError: some are missing, or changed since they were fetched.
        """
        snapshot = self._pinned(self._plan, trusting=trusting)
        notes = [note for note in (self.ids.note, _left_out(self._folder(self._plan))) if note is not None]
        return replace(snapshot, note="; ".join(notes) or None)

    def sample(self, fetching: Fetching, seed: int) -> CellSample:
        """Some rows with their text, at places that a key chooses.

        Raises:
            DataError: no row of them has any text.
            MixerError: as `fetch`.
        """
        for count in _CELLS:
            cells = sample_cells([file.num_rows for file in self._plan.files], count, seed, self._name)
            plan = replace(self._plan, row_ranges=tuple(row_range for cell in cells for row_range in cell))
            if _written(self._folder(plan), plan) is None:
                self._run(plan, fetching)
            snapshot = self._pinned(plan)
            cell_rows = np.array([sum(stop - start for _, start, stop in cell) for cell in cells], np.int64)
            if snapshot.num_kept or cell_rows.sum() == self.ids.num_kept:
                break
        if snapshot.num_kept == 0:
            raise DataError(
                f"none of {cell_rows.sum():,} rows fetched as a sample has any text, or is kept",
                where=f"sources.{self._name}",
                hint="check `contents` and `where`; if they keep very few rows, run `mixer build`, which fetches all",
            )
        return CellSample(
            snapshot=snapshot,
            block_cell=self._block_cells(plan, cells, snapshot),
            cell_rows=cell_rows,
            num_rows=self.ids.num_kept,
        )

    def _block_cells(self, plan: FetchPlan, cells: list[list[FileRows]], snapshot: Snapshot) -> np.ndarray:
        """The cell of each block: int64[blocks]. A fetched file has the rows of one range of rows."""
        cell_of_row_range = np.repeat(np.arange(len(cells)), [len(cell) for cell in cells])
        cell_of_file = {chunk.name: int(cell) for chunk, cell in zip(plan.chunks, cell_of_row_range, strict=True)}
        names = _names_in(self._folder(plan), snapshot)
        return np.array([cell_of_file[names[file]] for file in snapshot.block_file.tolist()], np.int64)

    def _run(self, plan: FetchPlan, fetching: Fetching) -> None:
        from mixer.stack.blobs import Origin
        from mixer.stack.fetch import run_fetch
        from mixer.stack.fetch_plan import HostPart

        folder = self._folder(plan)
        with self._naming(), _alone(folder):
            run_fetch(
                plan,
                folder,
                origin=Origin(address=self._spec.blobs, signed=self._spec.signed),
                part=HostPart(),
                workers=fetching.workers,
                connections=CONNECTIONS,
                listener=fetching.listener(self._name),
            )

    def _pinned(self, plan: FetchPlan, *, trusting: bool = True) -> Snapshot:
        folder = self._folder(plan)
        written = _written(folder, plan)
        if written is None:
            raise DataError(
                "its contents are not fetched yet",
                where=f"sources.{self._name}.contents",
                hint="run `mixer build` on the recipe: it fetches them first",
            )
        paths = tuple(str(folder / name) for name in written)
        read = self._source.model_copy(update={"contents": None, "hub": None, "config": None, "path": paths})
        snapshot = pin(self._name, read, self._root, self._cache if trusting else None)
        _check_written(snapshot, folder, written, trusting=trusting)
        return snapshot

    @contextmanager
    def _naming(self) -> Iterator[None]:
        """Errors of a fetch that name its arguments name the source, and those of its folder what to do about it."""
        try:
            yield
        except (UsageError, DataError) as error:
            if error.where is None or error.where.startswith("sources."):
                raise
            where = f"sources.{self._name}" + ("" if error.where == "SRC" else f": {error.where}")
            raise DataError(error.message, where=where, hint=error.hint) from error
        except (BuildStateError, TaskError) as error:
            if "choose another OUT" not in str(error.hint):
                raise
            hint = "make room, or remove that folder: the next build fetches it again"
            raise type(error)(error.message, where=error.where, hint=hint) from error

    def _folder(self, plan: FetchPlan) -> Path:
        # Absolute: a relative path of a source starts from the recipe's folder, and that of a cache does not.
        folder = self._cache.blocks.folder.resolve() / FETCHED / plan.id[:32]
        keep_while_running(folder)
        return folder


def _fetch_plan(source: Source, ids: Snapshot, tokenizer: Tokenizer) -> FetchPlan:
    from mixer.stack.fetch_plan import IdsStore, make_fetch_plan
    from mixer.stack.ids import pinned_ids

    rules = _rules(source)
    store = None if ids.origin is None else IdsStore(asked=ids.origin, found=ids.origin)
    counter = tokenizer if rules.selection.min_bytes_per_token is not None else None
    return make_fetch_plan(pinned_ids(ids, rules.selection), rules, counter, store)


def _rules(source: Source) -> Rules:
    from mixer.stack.fetch_plan import Policy, Rules
    from mixer.stack.wanted_files import Selection

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


def _left_out(folder: Path) -> str | None:
    """A note on missing and damaged blobs: they stay left out, whatever mirror is used later."""
    try:
        report = json.loads((folder / "report.json").read_bytes())
        missing, damaged = report["totals"]["files_missing"], report["totals"]["files_damaged"]
    except (OSError, ValueError, KeyError):
        return None
    if not missing + damaged:
        return None
    return f"{missing:,} files were missing and {damaged:,} damaged when it was fetched; remove {folder} to try again"


def _written(folder: Path, plan: FetchPlan) -> Mapping[str, WrittenFile] | None:
    """Each fetched file by its name; None if some are missing."""
    from mixer.stack.fetch_folder import FetchFolder

    return FetchFolder(folder, plan).whole()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder so that no other build fetches into it."""
    lock = folder.with_name(f"{folder.name}.lock")
    try:
        descriptor = lock_file(lock)
    except OSError as error:
        raise TaskError(
            f"cannot be written: {error.strerror}", where=str(lock), hint="make room, or give --cache"
        ) from error
    if descriptor is None:
        raise BuildStateError(
            "another build is fetching the same contents", where=str(folder), hint="wait for it, then build again"
        )
    try:
        yield
    finally:
        os.close(descriptor)


def _check_written(snapshot: Snapshot, folder: Path, written: Mapping[str, WrittenFile], *, trusting: bool) -> None:
    """Compare the files with their digests from the fetch: of their footers, or else of all their bytes.

    What a footer does not show is noticed when it is read: pages have checksums.
    """
    for file, name in zip(snapshot.files, _names_in(folder, snapshot), strict=True):
        whole = trusting or xxh3_file(folder / name) == written[name].xxh3
        if not whole or file.footer_sha256 != written[name].footer_sha256:
            raise DataError(
                "the file changed since it was fetched",
                where=str(folder / name),
                hint="remove it; the next build fetches it again",
            )


def _names_in(folder: Path, snapshot: Snapshot) -> list[str]:
    """The files of a snapshot as the folder of the fetch has them."""
    assert isinstance(snapshot.base, Path)
    above = snapshot.base.relative_to(folder)
    return [(above / file.path).as_posix() for file in snapshot.files]
