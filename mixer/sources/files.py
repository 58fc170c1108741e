"""Where a source's files are and how they are opened: the one place that touches paths."""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from mixer.errors import DataError, RecipeError

_SUFFIXES = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "arrow",
    ".arrows": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
    ".jsonl": "jsonl",
    ".json": "jsonl",
    ".ndjson": "jsonl",
}
_COMPRESSIONS = {".gz": "gzip", ".zst": "zstd", ".zstd": "zstd"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """The files of a source, in order, relative to a folder."""

    base: Path
    paths: tuple[str, ...]


def open_file(path: Path) -> pa.NativeFile:
    """A file opened for reading, memory-mapped (a file without bytes cannot be mapped)."""
    return pa.memory_map(str(path)) if path.stat().st_size else pa.OSFile(str(path))


def open_lines(path: Path) -> pa.NativeFile:
    """A file of lines opened for reading from start to end, decompressed by what its name ends in."""
    file = pa.OSFile(str(path))
    codec = _COMPRESSIONS.get(path.suffix.lower())
    return pa.CompressedInputStream(file, codec) if codec else file


def format_of(path: str, where: str) -> str:
    """The format that a file's name tells.

    Raises:
        RecipeError: the name tells none.
    """
    stem, suffix = os.path.splitext(path.lower())
    if suffix in _COMPRESSIONS:
        suffix = os.path.splitext(stem)[1]
        if _SUFFIXES.get(suffix) == "jsonl":
            return "jsonl"
    elif suffix in _SUFFIXES:
        return _SUFFIXES[suffix]
    raise RecipeError(
        f"the name of '{path}' tells no format; known are {', '.join(_SUFFIXES)} and .jsonl.gz, .jsonl.zst",
        where=where,
        hint="set format: parquet, arrow or jsonl, or narrow the pattern",
    )


def find_files(patterns: Sequence[str], root: Path, where: str) -> Files:
    """The files that match one of the patterns, each once, sorted by path (code points).

    A folder that `datasets` saved (state.json or dataset_dict.json inside) stands for its Arrow files in its own
    order.

    Raises:
        RecipeError: an address is remote; a pattern matches nothing, or a folder that is no data set.
        DataError: a folder of `datasets` is damaged.
    """
    found: dict[Path, tuple] = {}
    folders = []
    for pattern in patterns:
        folder, hits = _match(pattern, root, where)
        folders.append(folder)
        for path, order in hits:
            found.setdefault(path, order)
    base = Path(os.path.commonpath(folders))
    ordered = sorted((order[0].relative_to(base).as_posix(), *order[1:], path) for path, order in found.items())
    return Files(base=base, paths=tuple(item[-1].relative_to(base).as_posix() for item in ordered))


def _match(pattern: str, root: Path, where: str) -> tuple[Path, list[tuple[Path, tuple]]]:
    """The glob-free folder of a pattern, and the files under it with what each is sorted by."""
    if "://" in pattern:
        raise RecipeError(
            f"'{pattern}': remote sources are not read by this version",
            where=where,
            hint="download the files and give their local path",
        )
    literal = root / pattern
    if literal.is_dir():
        saved = _saved_files(literal.resolve(), where)
        if saved is None:
            raise RecipeError(
                f"'{pattern}' is a folder",
                where=where,
                hint=f"name its files with a glob, such as {pattern.rstrip('/')}/*{_common_suffix(literal)}",
            )
        return literal.resolve(), [(path, (literal.resolve(), n)) for n, path in enumerate(saved)]
    if os.path.lexists(literal):
        folder = literal.parent.resolve()
        return folder, [(folder / literal.name, (folder / literal.name, 0))]
    parts = Path(pattern).parts
    fixed = next((n for n, part in enumerate(parts) if glob.has_magic(part)), len(parts) - 1)
    rest = parts[fixed:]
    if ".." in rest:
        raise RecipeError(f"'{pattern}': '..' cannot follow a glob", where=where, hint="write the path without '..'")
    folder = Path(root, *parts[:fixed]).resolve()
    hits: list[tuple[Path, tuple]] = []
    for name in glob.glob(os.path.join(*rest), root_dir=folder, recursive=True):
        path = Path(os.path.normpath(folder / name))
        if not path.is_dir() or path.suffix in _SUFFIXES:
            hits.append((path, (path, 0)))
        elif (saved := _saved_files(path, where)) is not None:
            hits.extend((file, (path, n)) for n, file in enumerate(saved))
    if not hits:
        raise RecipeError(f"'{pattern}' matches no file", where=where, hint=_what_is_there(folder))
    return folder, hits


def _saved_files(folder: Path, where: str) -> list[Path] | None:
    """The files of a folder made by `save_to_disk`, in its order; None if it is another folder."""
    splits_path, state_path = folder / "dataset_dict.json", folder / "state.json"
    try:
        if splits_path.is_file():
            splits = json.loads(splits_path.read_bytes())["splits"]
            if len(splits) != 1:
                raise RecipeError(
                    f"'{folder}' holds {len(splits)} splits: {', '.join(splits)}",
                    where=where,
                    hint="add the name of one split to the path" if splits else "save at least one split",
                )
            return _saved_files(folder / splits[0], where)
        if state_path.is_file():
            return [folder / file["filename"] for file in json.loads(state_path.read_bytes())["_data_files"]]
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise DataError(
            f"'{folder}' is not a whole save_to_disk folder: {err!r}", where=where, hint="save the data set again"
        ) from err
    return None


def _what_is_there(folder: Path) -> str:
    while not folder.is_dir():
        if not os.path.lexists(folder.parent) or folder == folder.parent:
            break
        missing, folder = folder, folder.parent
        if folder.is_dir():
            return f"there is no '{missing.name}' in {folder}, which holds {_listing(folder)}"
    return f"{folder} holds {_listing(folder)}"


def _listing(folder: Path) -> str:
    try:
        names = sorted(entry.name + "/" * entry.is_dir() for entry in os.scandir(folder))
    except OSError as err:
        return f"what cannot be listed ({err.strerror})"
    return (
        ", ".join(f"'{name}'" for name in names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
        or "nothing"
    )


def _common_suffix(folder: Path) -> str:
    names = sorted(entry.name for entry in os.scandir(folder) if not entry.name.startswith("."))
    return next(("".join(Path(name).suffixes[-2:]) for name in names if Path(name).suffix), "")


@contextmanager
def reading(path: Path, block: int | None = None) -> Iterator[None]:
    """Turn what goes wrong while a file is read into an error that names it.

    Raises:
        DataError: the file cannot be opened, read or decoded.
    """
    place = str(path) if block is None else f"{path}: block {block}"
    try:
        yield
    except FileNotFoundError as err:
        raise DataError("the file is not there", where=place, hint="a link may point to nothing") from err
    except (OSError, pa.ArrowException, UnicodeDecodeError) as err:
        found = getattr(err, "strerror", None) or str(err)
        raise DataError(
            f"the file cannot be read: {found}",
            where=place,
            hint="it may be cut short or of another format: fetch it again, or set format",
        ) from err
