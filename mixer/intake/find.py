"""The sources that paths, globs, folders and addresses stand for: lists folders and stores."""

from __future__ import annotations

import glob
import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from mixer.errors import DataError, RecipeError, UsageError
from mixer.intake.group import Group, LeftOut, grouped, unique_name
from mixer.intake.peek import InputFile
from mixer.sources.find import data_suffix, find_files, format_of, saved_files
from mixer.stores.address import Address, is_remote, parse_address
from mixer.stores.store import RemoteFile

_MAX_FILES = 1_000_000
_SNIFFED_BYTES = 1 << 16
_HINT = (
    "mixer reads .parquet, .arrow, .jsonl, .csv, .tsv and .txt; other text with format: text, "
    "as in sources: {notes: {weight: 1, path: notes/*.md, format: text}}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundSource:
    """Files that make one source, and how a recipe names them."""

    name: str
    format: str
    # Absolute paths and globs, or addresses.
    paths: tuple[str, ...]
    # Of a data set of the hub that its card describes: ORG/NAME; then there are no paths.
    hub: str | None = None
    files: tuple[InputFile, ...]
    # Whether the files' names tell their format.
    is_told_by_name: bool = True
    # The names of the files, and of all data files there, relative to `base`; to name fewer of them.
    base: str = ""
    file_names: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()

    @property
    def is_remote(self) -> bool:
        """Whether the files are in a store."""
        return self.hub is not None or is_remote(self.paths[0])

    @property
    def num_bytes(self) -> int:
        """Bytes of all files."""
        return sum(file.num_bytes for file in self.files)


def find_sources(data: Sequence[str], folder: Path) -> tuple[list[FoundSource], list[LeftOut]]:
    """The sources that arguments stand for, each with a name of its own, and the files that are left out.

    Args:
        data: files, folders, globs and addresses; files of one folder are looked at together.
        folder: where relative paths start.

    Raises:
        RecipeError: one names nothing, or no file that mixer reads.
        UsageError: one is a build.
        DataError: a store cannot be listed.
    """
    found: list[FoundSource] = []
    left_out: list[LeftOut] = []
    named: dict[Path, list[str]] = {}
    for one in data:
        if is_remote(one):
            sources, others = _remote_sources(one)
            found, left_out = found + sources, left_out + others
            continue
        path = folder / Path(one).expanduser()
        if path.is_file():
            named.setdefault(Path(os.path.abspath(path)).parent, []).append(path.name)
        elif path.is_dir():
            sources, others = _folder_sources(Path(os.path.abspath(path)))
            found, left_out = found + sources, left_out + others
        else:
            found += _glob_sources(one, folder)
    for parent, names in named.items():
        found += _named_sources(parent, names)
    taken: set[str] = set()
    return [replace(one, name=unique_name(one.name, one.format, taken)) for one in found], left_out


def _folder_sources(folder: Path) -> tuple[list[FoundSource], list[LeftOut]]:
    if (folder / "manifest.json").exists() and (folder / "shards").is_dir():
        raise UsageError(
            "is the folder of a build, not data", where=str(folder), hint=f"`mixer inspect {folder}` shows it"
        )
    saved = saved_files(folder, str(folder))
    if saved is not None:
        files = tuple(local_file(path) for path in saved)
        source = FoundSource(name=folder.name, format="arrow", paths=(glob.escape(str(folder)),), files=files)
        return [source], []
    names = _names_below(folder)
    if not names:
        raise RecipeError("the folder holds no file that mixer reads", where=str(folder), hint=_HINT)
    groups, left_out = grouped(names, folder.name or "data")
    if not groups:
        raise RecipeError(
            f"the folder holds only files that are no data by their names, such as '{left_out[0].name}'",
            where=str(folder),
            hint="name the files themselves",
        )
    return [_local_source(folder, group, names) for group in groups], [
        replace(one, name=str(folder / one.name)) for one in left_out
    ]


def _names_below(folder: Path) -> list[str]:
    """The data files below a folder that a glob would match, relative to it."""
    found: list[str] = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        relative = Path(parent).relative_to(folder)
        found += [(relative / name).as_posix() for name in names if not name.startswith(".") and data_suffix(name)]
        if len(found) > _MAX_FILES:
            raise RecipeError(
                f"more than {_MAX_FILES:,} files", where=str(folder), hint="name the folders in it one by one"
            )
    return sorted(found)


def _named_sources(parent: Path, names: Sequence[str]) -> list[FoundSource]:
    known = list(dict.fromkeys(name for name in names if data_suffix(name)))
    beside = [name for name in os.listdir(parent) if data_suffix(name) and not name.startswith(".")]
    groups, _ = grouped(known, parent.name or "data", {*beside, *known}) if known else ([], [])
    found = [_local_source(parent, group, [*beside, *known]) for group in groups]
    for name in dict.fromkeys(name for name in names if not data_suffix(name)):
        path = parent / name
        found.append(
            FoundSource(
                name=Path(name).stem,
                format=_sniffed(path),
                paths=(glob.escape(str(path)),),
                files=(local_file(path),),
                is_told_by_name=False,
            )
        )
    return found


def _glob_sources(pattern: str, folder: Path) -> list[FoundSource]:
    """The source that a glob stands for, named by the glob; one for each format, named by files, if it has several.

    Raises:
        RecipeError: it matches nothing; the message says what is there instead.
    """
    matched = find_files([pattern], folder, pattern)
    names = [name for name in matched.paths if data_suffix(name)]
    if not names:
        raise RecipeError(f"'{pattern}' matches no file that mixer reads", where=pattern, hint=_HINT)
    groups, _ = grouped(names, matched.base.name or "data", names)
    if len({group.format for group in groups}) > 1 or len(names) < len(matched.paths):
        return [_local_source(matched.base, group, matched.paths) for group in groups]
    name = groups[0].name if len(groups) == 1 else matched.base.name
    whole = os.path.abspath(folder / Path(pattern).expanduser())
    group = Group(name=name, format=groups[0].format, files=tuple(names), patterns=(whole,))
    return [replace(_local_source(matched.base, group, names), paths=(whole,))]


def _local_source(folder: Path, group: Group, beside: Sequence[str]) -> FoundSource:
    base = glob.escape(str(folder))
    return FoundSource(
        name=group.name,
        format=group.format,
        paths=tuple(os.path.join(base, pattern) for pattern in group.patterns),
        files=tuple(local_file(folder / name) for name in group.files),
        base=base,
        file_names=group.files,
        beside=tuple(beside),
    )


def _remote_sources(text: str) -> tuple[list[FoundSource], list[LeftOut]]:
    from mixer.stores.listing import at_commit, find_remote, listed

    asked = parse_address(text, text)
    pinned = at_commit(asked)
    open_one = partial(remote_file, pinned)
    if pinned.scheme == "hf" and not pinned.path and (source := _of_the_card(asked, pinned, open_one)):
        return [source], []
    is_folder = not glob.has_magic(pinned.path) and not data_suffix(pinned.path)
    if is_folder and not pinned.scheme.startswith("http"):
        prefix = f"{pinned.path.rstrip('/')}/" if pinned.path else ""
        files = {
            file.path.removeprefix(prefix): file
            for file in listed(pinned.with_path(prefix))
            if data_suffix(file.path) and not any(part.startswith(".") for part in file.path.split("/"))
        }
        if files:
            name = pinned.path.rstrip("/").rpartition("/")[2] or pinned.store.rpartition("/")[2]
            groups, left_out = grouped(files, name)
            base = str(asked.with_path(prefix)).rstrip("/")
            sources = [
                FoundSource(
                    name=group.name,
                    format=group.format,
                    paths=tuple(f"{base}/{pattern}" for pattern in group.patterns),
                    files=tuple(open_one(files[one]) for one in group.files),
                    base=base,
                    file_names=group.files,
                    beside=tuple(files),
                )
                for group in groups
            ]
            return sources, [replace(one, name=f"{base}/{one.name}") for one in left_out]
    found = find_remote([pinned], text)
    formats = {format_of(file.path, text) for file in found.files}
    if len(formats) > 1:
        raise RecipeError("files of several formats", where=text, hint="give a glob for each format")
    folder = found.base.path.rpartition("/")[2] or "web"
    groups, _ = grouped([file.path.rpartition("/")[2] for file in found.files], folder, [])
    inputs = tuple(map(open_one, found.files))
    return [FoundSource(name=groups[0].name, format=formats.pop(), paths=(text,), files=inputs)], []


def _of_the_card(asked: Address, pinned: Address, open_one: Callable[..., InputFile]) -> FoundSource | None:
    """The training files of a data set's only or default config; None where its card names none."""
    from mixer.stores.hub_card import config_patterns
    from mixer.stores.listing import find_remote

    try:
        patterns = config_patterns(pinned, None, str(asked))
        found = find_remote([pinned.with_path(pattern) for pattern in patterns], str(asked))
        formats = {format_of(file.path, "") for file in found.files}
    except (RecipeError, DataError):
        return None
    if len(formats) != 1:
        return None
    repo = asked.store.removeprefix("hf://datasets/")
    hub = repo if asked.revision == "main" else f"{repo}@{asked.revision}"
    files = tuple(map(open_one, found.files))
    return FoundSource(name=repo.partition("/")[2], format=formats.pop(), paths=(), hub=hub, files=files)


def local_file(path: Path) -> InputFile:
    """A file of this machine; whether it can be read is found when it is opened."""

    def open_it() -> io.RawIOBase:
        return io.FileIO(path)

    return InputFile(name=str(path), num_bytes=path.stat().st_size if path.exists() else 0, open=open_it)


def remote_file(address: Address, file: RemoteFile) -> InputFile:
    """A file of a store, which is read by ranges."""
    from mixer.intake.remote_file import RangeReader

    return InputFile(
        name=str(address.with_path(file.path)),
        num_bytes=file.num_bytes,
        open=lambda: RangeReader(address, file),
    )


def _sniffed(path: Path) -> str:
    """The format of a file whose name tells none.

    Raises:
        RecipeError: it is none that mixer reads.
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        head = file.read(_SNIFFED_BYTES)
    if head.startswith((b"PAR1", b"ARROW1")):
        return "parquet" if head.startswith(b"PAR1") else "arrow"
    if head.startswith(b"{"):
        return "jsonl"
    text = head.decode(errors="replace")
    if b"\0" not in head and text[:-4].count("\ufffd") == 0:
        return "text"
    raise RecipeError("neither its name nor its first bytes tell a format", where=str(path), hint=_HINT)
