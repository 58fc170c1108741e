"""Finding the files of a source's paths: globs, single files, and folders written by `datasets`."""

from __future__ import annotations

import glob
import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mixer.errors import DataError, RecipeError, shown_names
from mixer.sources.opening import COMPRESSIONS, opened

if TYPE_CHECKING:
    from mixer.recipe import Source

_FORMATS = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".txt": "text",
    ".text": "text",
}
_COMPRESSIBLE = ("jsonl", "csv", "tsv", "text")
"""Formats that are read from start to end, and so also compressed; the others compress what is in them."""
_KNOWN = f"{', '.join(_FORMATS)}; all but those of parquet and arrow also with .gz or .zst"
_STARTS = {b"PAR1": "parquet", b"ARROW1": "arrow", b"\xff\xff\xff\xff": "arrow", b"{": "jsonl"}
"""The first bytes of files, and their format."""
_MAX_NAMES_SHOWN = 10
_MAX_LEVELS = 8
_MAX_ENTRIES = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFiles:
    """The files of a source, each once."""

    # The longest folder without a glob that holds them all.
    base: Path
    # Relative to `base`, parts separated by '/', in code point order.
    paths: tuple[str, ...]


def find_files(patterns: Sequence[str], root: Path, place: str) -> FoundFiles:
    """The files that match at least one of the patterns.

    A folder written by `save_to_disk` stands for its Arrow files, in the order of its state.json.

    Raises:
        RecipeError: a pattern matches nothing, or a folder that is not a data set.
        DataError: a folder of `datasets` is damaged.
    """
    # Each file's place in the order: what was matched, and the number in it where that is a folder.
    ranks: dict[Path, tuple[Path, int]] = {}
    folders = []
    for pattern in patterns:
        folder, matches = _match(pattern, root, place)
        folders.append(folder)
        for match in matches:
            saved = saved_files(match, place) if match.is_dir() else None
            for number, path in enumerate([match] if saved is None else saved):
                ranks.setdefault(path, (match, number))
    base = Path(os.path.commonpath(folders))
    ordered = sorted((match.relative_to(base).as_posix(), number, path) for path, (match, number) in ranks.items())
    paths = tuple(path.relative_to(base).as_posix() for _, _, path in ordered)
    for name in paths:
        if any("\ud800" <= letter <= "\udfff" for letter in name):
            raise RecipeError(f"the file name {name!a} is not UTF-8", where=place, hint="rename the file")
    return FoundFiles(base=base, paths=paths)


def format_of(path: str, place: str) -> str:
    """The format of a file by its name.

    Raises:
        RecipeError: the name does not show a format.
    """
    stem, suffix = os.path.splitext(path.lower())
    inner = os.path.splitext(stem)[1] if suffix in COMPRESSIONS else suffix
    format = _FORMATS.get(inner)
    if format is None or (inner != suffix and format not in _COMPRESSIBLE):
        raise RecipeError(
            f"the name of '{path}' does not show its format; known formats are {_KNOWN}",
            where=place,
            hint="set format, such as parquet, jsonl, csv or text, or narrow the pattern",
        )
    return format


def patterns_of(source: Source) -> tuple[str, ...]:
    """The patterns of a source's path; none if the source is a data set on the hub."""
    return (source.path,) if isinstance(source.path, str) else source.path or ()


def common_format(paths: Sequence[str], place: str) -> str:
    """The one format of all files by their names.

    Raises:
        RecipeError: they show several formats, or one shows none.
    """
    formats = {format_of(path, place): path for path in reversed(paths)}
    if len(formats) > 1:
        shown = ", ".join(f"{format} ('{path}')" for format, path in sorted(formats.items()))
        raise RecipeError(f"files of several formats: {shown}", where=place, hint="make one source of each format")
    return next(iter(formats))


def check_format(path: Path, format: str, place: str) -> None:
    """Compare the format of a recipe with the first bytes of a file; bytes that show no format pass.

    Raises:
        RecipeError: the bytes are of another format.
        DataError: the file is not a regular file.
    """
    try:
        with opened(path, f"{place}: {path}") as file:
            head = file.read_at(0, 8)
    except OSError:
        return  # whoever reads the file says what is wrong with it
    found = next((name for start, name in _STARTS.items() if head.startswith(start)), None)
    if found == "jsonl" and format in _COMPRESSIBLE:
        return  # a text of another kind may begin with a brace
    if found is not None and found != format:
        raise RecipeError(
            f"is {format}, but '{path.name}' begins as a file of the format {found} does",
            where=f"{place}.format",
            hint=f"set format: {found}, or leave it out",
        )


def _match(pattern: str, root: Path, place: str) -> tuple[Path, list[Path]]:
    """The folder of a pattern up to its first glob, and its matches: files, and folders of `datasets`."""
    try:
        whole = root / Path(pattern).expanduser()
        is_folder = whole.is_dir()
    except (RuntimeError, OSError) as error:  # no such home, or a name that no file system takes
        raise RecipeError(f"'{pattern[:200]}' is not a path: {error}", where=place, hint="check the path") from error
    if is_folder:
        if saved_files(whole, place) is None:
            raise RecipeError(
                f"'{pattern}' is a folder, but not one saved by `datasets`; it holds {_listing(whole)}",
                where=place,
                hint=_files_hint(glob.escape(pattern.rstrip("/")), [whole]),
            )
        return whole.resolve(), [whole.resolve()]
    parts = whole.parts
    fixed = next((number for number, part in enumerate(parts) if glob.has_magic(part)), len(parts) - 1)
    if os.path.lexists(whole):
        fixed = len(parts) - 1
    folder, rest = Path(*parts[:fixed]).resolve(), parts[fixed:]
    if ".." in rest:
        raise RecipeError(f"'{pattern}': '..' cannot follow a glob", where=place, hint="write the path without it")
    names = [rest[0]] if os.path.lexists(whole) else glob.glob(os.path.join(*rest), root_dir=folder, recursive=True)
    found = [folder / os.path.normpath(name) for name in names]
    # A folder is left out, unless it holds a data set or has the name of a file: then reading it says what it is.
    matches = [path for path in found if not path.is_dir() or path.suffix in _FORMATS or saved_files(path, place)]
    if not matches and found:
        message = f"'{pattern}' matches only folders: {shown_names([path.name for path in sorted(found)])}"
        raise RecipeError(message, where=place, hint=_files_hint(pattern.rstrip("/"), sorted(found)))
    if not matches:
        raise RecipeError(f"'{pattern}' matches no file", where=place, hint=_what_is_there(folder))
    return folder, matches


def saved_files(folder: Path, place: str) -> list[Path] | None:
    """The files of a folder written by `save_to_disk`, in its order; None for another folder."""
    splits_path, state_path = folder / "dataset_dict.json", folder / "state.json"
    try:
        if splits_path.is_file():
            splits = json.loads(splits_path.read_bytes())["splits"]
            if len(splits) != 1:
                raise RecipeError(
                    f"'{folder}' holds {len(splits)} splits: {', '.join(splits)}",
                    where=place,
                    hint="add the name of one split to the path",
                )
            return saved_files(folder / splits[0], place)
        if state_path.is_file():
            return [folder / file["filename"] for file in json.loads(state_path.read_bytes())["_data_files"]]
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise DataError(
            f"'{folder}' is not a complete save_to_disk folder: {err!r}", where=place, hint="save the data set again"
        ) from err
    return None


def _what_is_there(folder: Path) -> str:
    there = next(path for path in (folder, *folder.parents) if path.is_dir())
    missing = f"{there} has no '{folder.relative_to(there).parts[0]}'; " if there != folder else ""
    return f"{missing}{there} holds {_listing(there)}"


def _listing(folder: Path) -> str:
    try:
        names = sorted(path.name + "/" * path.is_dir() for path in folder.iterdir())
    except OSError as err:
        return f"what cannot be listed ({err.strerror})"
    return shown_names(names)


def _files_hint(pattern: str, folders: Sequence[Path]) -> str:
    """A hint for a pattern that matches folders: a glob that matches the data files below them."""
    below = next((glob_of for folder in folders[:_MAX_NAMES_SHOWN] if (glob_of := _data_below(folder))), None)
    if below is None:
        return f"there is no data file below it; known are {_KNOWN}"
    return f"name files with a glob: {pattern}/{below}"


def _data_below(folder: Path) -> str | None:
    """A glob, relative to a folder, of the data files nearest below it; None if there are none.

    Of several formats the one with the most files. It looks at 10,000 entries in 8 levels: this is for a hint.
    """
    level, num_entries = [folder], 0
    for depth in range(_MAX_LEVELS):
        suffixes: Counter[str] = Counter()
        deeper: list[Path] = []
        for path in (path for parent in level for path in _entries(parent)):
            num_entries += 1
            if num_entries > _MAX_ENTRIES:
                break
            if path.is_dir():
                deeper.append(path)
            elif suffix := data_suffix(path.name):
                suffixes[suffix] += 1
        if suffixes:
            return f"{'**/' if depth else ''}*{min(suffixes, key=lambda suffix: (-suffixes[suffix], suffix))}"
        level = deeper
    return None


def _entries(folder: Path) -> list[Path]:
    """The entries of a folder that a glob would match; none if it cannot be listed."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError:
        return []


def data_suffix(name: str) -> str | None:
    """The suffix of a data file's name, such as .jsonl.zst; None for another file."""
    stem, suffix = os.path.splitext(name)
    if suffix.lower() in COMPRESSIONS:
        inner = os.path.splitext(stem)[1]
        return inner + suffix if _FORMATS.get(inner.lower()) in _COMPRESSIBLE else None
    return suffix if suffix.lower() in _FORMATS else None
