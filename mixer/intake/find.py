"""The sources of paths, globs, folders and addresses: lists folders and stores."""

from __future__ import annotations

import glob
import io
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from mixer.errors import DataError, RecipeError, UsageError
from mixer.intake.group import Group, LeftOut, grouped, is_no_data, unique_name
from mixer.intake.peek import InputFile
from mixer.sources.find import data_suffix, find_files, format_of, saved_files
from mixer.sources.opening import opened
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
    """Files that make one source, and their path in a recipe."""

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
    """The sources of the arguments, each with its own name, and the files that are left out.

    Args:
        data: files, folders, globs and addresses; files of one folder are looked at together.
        folder: where relative paths start.

    Raises:
        RecipeError: one matches nothing, or no file that mixer reads.
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
        if path.suffix.lower() in (".yaml", ".yml"):
            raise UsageError("is a recipe, not data", where=one, hint=f"`mixer plan {one}` shows its mix")
        if path.is_file():
            named.setdefault(Path(os.path.abspath(path)).parent, []).append(path.name)
        elif path.is_dir():
            sources, others = _folder_sources(Path(os.path.abspath(path)))
            found, left_out = found + sources, left_out + others
        else:
            sources, others = _glob_sources(one, folder)
            found, left_out = found + sources, left_out + others
    for parent, names in named.items():
        sources, others = _named_sources(parent, names)
        found, left_out = found + sources, left_out + others
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
    names, others, unwanted = _names_below(folder)
    if not names:
        shown, hint = "", _HINT
        if others:
            shown = f": it has {_suffixes(others)}"
            hint = f"if they are text: mixer init '{folder}/**/*{others.most_common(1)[0][0]}'"
        raise RecipeError(
            f"no file in the folder has a name that shows its format{shown}", where=str(folder), hint=hint
        )
    groups, left_out = grouped(names, folder.name or "data", unwanted=unwanted)
    left_out += [LeftOut(name=top, why=why) for top, why in dict.fromkeys(unwanted.values())]
    left_out = [replace(one, name=str(folder / one.name)) for one in left_out]
    if others:
        left_out.append(LeftOut(name=str(folder), why=f"{_suffixes(others)}: name them with a glob if they are text"))
    return [_local_source(folder, group, [*names, *unwanted]) for group in groups], left_out


def _names_below(folder: Path) -> tuple[list[str], Counter[str], dict[str, tuple[str, str]]]:
    """The data files below a folder that a glob would match, relative to it; and what else is there.

    Returns:
        The files to use, the suffixes of the files that are no data, and the data files that cannot be used: of a
        build, or with a name that is not UTF-8, each with the place and the reason.
    """
    found: list[str] = []
    others: Counter[str] = Counter()
    unwanted: dict[str, tuple[str, str]] = {}
    builds: list[str] = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        relative = Path(parent).relative_to(folder)
        if "shards" in folders and {"plan.json", "manifest.json"} & set(names):
            builds.append(relative.as_posix())
        build = next((one for one in builds if relative.is_relative_to(one)), None)
        for name in names:
            if data_suffix(name) and not name.startswith("."):
                path = (relative / name).as_posix()
                if build is not None:
                    unwanted[path] = build, "a build of mixer"
                elif not _is_utf_8(path):
                    unwanted[path] = path, "its name is not UTF-8"
                else:
                    found.append(path)
            elif not name.startswith("."):
                others[Path(name).suffix.lower()] += 1
        if len(found) > _MAX_FILES:
            raise RecipeError(
                f"more than {_MAX_FILES:,} files", where=str(folder), hint="give its subfolders one by one"
            )
    return sorted(found), others, unwanted


def _is_utf_8(name: str) -> bool:
    """Whether a name can be written in a recipe; other names have surrogates in place of their bytes."""
    return not any("\ud800" <= char <= "\udfff" for char in name)


def _suffixes(counts: Counter[str]) -> str:
    """Other files by their suffixes: `12 files of .md, 1 file of .pdf`."""
    return ", ".join(
        f"{count:,} file{'s' * (count != 1)} {f'of {suffix}' if suffix else 'without a suffix'}"
        for suffix, count in counts.most_common(5)
    )


def _named_sources(parent: Path, names: Sequence[str]) -> tuple[list[FoundSource], list[LeftOut]]:
    known = list(dict.fromkeys(name for name in names if data_suffix(name)))
    beside = [name for name in os.listdir(parent) if data_suffix(name) and not name.startswith(".")]
    groups, left_out = grouped(known, parent.name or "data", {*beside, *known}) if known else ([], [])
    found = [_local_source(parent, group, [*beside, *known]) for group in groups]
    kinds: dict[str, list[Path]] = {}
    for name in sorted({name for name in names if not data_suffix(name)}):
        if is_no_data(name) and len(names) > 1:
            left_out.append(LeftOut(name=name, why="not data, by its name"))
        else:
            kinds.setdefault(Path(name).suffix, []).append(parent / name)
    for suffix, paths in kinds.items():
        everyone = sum(Path(name).suffix == suffix for name in os.listdir(parent))
        pattern = (
            os.path.join(glob.escape(str(parent)), f"*{suffix}") if suffix and everyone == len(paths) > 1 else None
        )
        found.append(_untold_source(paths[0].stem if len(paths) == 1 else parent.name, paths, pattern))
    return found, [replace(one, name=str(parent / one.name)) for one in left_out]


def _untold_source(name: str, paths: Sequence[Path], pattern: str | None) -> FoundSource:
    """A source of files whose first bytes, not names, show the format.

    Raises:
        RecipeError: mixer does not read their format.
    """
    return FoundSource(
        name=name,
        format=_sniffed(paths[0]),
        paths=(pattern,) if pattern else tuple(glob.escape(str(path)) for path in paths),
        files=tuple(map(local_file, paths)),
        is_told_by_name=False,
    )


def _glob_sources(pattern: str, folder: Path) -> tuple[list[FoundSource], list[LeftOut]]:
    """The sources of a glob; if its files are of one kind, the glob is the source's path.

    Raises:
        RecipeError: it matches nothing; the message lists what exists.
    """
    whole = os.path.abspath(folder / Path(pattern).expanduser())
    matches = [] if "**" in pattern else [Path(one) for one in glob.glob(whole)]
    if any(one.is_dir() for one in matches):
        return find_sources([str(one) for one in sorted(matches)], folder)
    matched = find_files([pattern], folder, "DATA")
    names = [name for name in matched.paths if data_suffix(name)]
    if not names:
        return [_untold_source(matched.base.name, [matched.base / path for path in matched.paths], whole)], []
    groups, left_out = grouped(names, matched.base.name or "data", names)
    left_out = [replace(one, name=str(matched.base / one.name)) for one in left_out]
    if len({group.format for group in groups}) > 1 or len(names) < len(matched.paths) or left_out:
        return [_local_source(matched.base, group, matched.paths) for group in groups], left_out
    name = groups[0].name if len(groups) == 1 else matched.base.name
    group = Group(name=name, format=groups[0].format, files=tuple(names), patterns=(whole,))
    return [replace(_local_source(matched.base, group, names), paths=(whole,))], []


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
    """The training files of a data set's only or default config; None if its card has none."""
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
        with opened(path) as file:  # which refuses what might never end
            return io.FileIO(os.dup(file.descriptor))

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
    """The format of a file whose name does not show it.

    Raises:
        RecipeError: mixer does not read its format.
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
    raise RecipeError("neither its name nor its first bytes show its format", where=str(path), hint=_HINT)
