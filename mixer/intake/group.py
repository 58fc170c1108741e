"""Groups of files that form one source, and the paths and globs that match exactly them. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from glob import escape

from mixer.sources.find import data_suffix, format_of

_MAX_SHAPES = 8
"""Names without their digits in one folder, such as wiki and books: each is a source, but many are parts of one."""
_MAX_PATTERNS = 8
_GENERIC = frozenset({"data", "train", "training", "default", "files", "raw", "text", "texts", "txt", "docs", "main"})
_PARTS = frozenset({"", "part", "parts", "shard", "chunk", "file", "of"})
_EVALUATION = frozenset({"test", "valid", "validation", "val", "dev", "eval", "evaluation"})
_NOT_DATA = re.compile(
    r"(readme|licen[cs]e|copying|notice|changelog|authors|requirements|robots)([._-].*)?"
    r"|(dataset_infos?|dataset_dict|state|manifest|config|package|package-lock|plan|build-log|tsconfig|metadata)\.json",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Files that make one source."""

    name: str
    # As a recipe names it.
    format: str
    # Relative to the folder that was looked at, in code point order.
    files: tuple[str, ...]
    # Paths and globs, relative to the same folder, that match these files and no others.
    patterns: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A file that is left out of a recipe, and the reason."""

    name: str
    why: str


def grouped(
    names: Collection[str], base_name: str, beside: Collection[str] | None = None, unwanted: Collection[str] = ()
) -> tuple[list[Group], list[LeftOut]]:
    """The sources that the files below a folder make, and the files that are left out.

    A folder of the first level is a source with all that is below it, one for each format. Files beside these folders
    are sources by their names without digits, so that `part-0.parquet` and `part-1.parquet` are one; text files are one
    in any case. Files of a test or validation split, and those with the name of a README or a licence, are left out.

    Args:
        names: the data files, relative to the folder, parts separated by '/'.
        base_name: the folder's own name, which names a source where those in it are general, such as `data`.
        beside: where some files were named one by one, all that are there; then a test split is not left out.
        unwanted: other files below the folder, which no glob may match.
    """
    files, left_out = _wanted(sorted(names), is_named=beside is not None)
    kinds: dict[tuple[str, str, str], list[str]] = {}
    flat = [name for name in files if "/" not in name and format_of(name, "") != "text"]
    by_name = len({_shape(name) for name in flat}) <= _MAX_SHAPES
    for name in files:
        top, _, below = name.partition("/")
        format = format_of(name, "")
        key = (top, format, "") if below else ("", format, _shape(name) if by_name and format != "text" else "")
        kinds.setdefault(key, []).append(name)
    taken: set[str] = set()
    groups = []
    for (top, format, shape), found in kinds.items():
        wanted = _stem(found[0]) if not top and len(found) == 1 else shape or top
        if len(kinds) == 1 and len(found) > 1 and base_name.lower() not in _GENERIC:
            wanted = base_name
        name = unique_name(wanted if wanted and not _is_generic(wanted) else base_name, format, taken)
        patterns = globs_of(found, beside or {*names, *unwanted})
        groups.append(Group(name=name, format=format, files=tuple(found), patterns=tuple(patterns)))
    return groups, left_out


def globs_of(files: Sequence[str], names: Collection[str]) -> list[str]:
    """Globs for files, if they match exactly these among all names; else the files one by one. No file twice."""
    folders = sorted({posixpath.dirname(name) for name in files})
    found = [pattern for folder in folders for pattern in _in_folder(folder, files, names)]
    if len(found) > _MAX_PATTERNS:
        common = posixpath.commonpath(folders)
        for_all = []
        for suffix in sorted({str(data_suffix(name)) for name in files}):
            wanted = {name for name in files if data_suffix(name) == suffix}
            inside = {n for n in names if n.endswith(suffix) and (not common or n.startswith(f"{common}/"))}
            if wanted != inside:
                return found
            for_all.append(posixpath.join(escape(common), "**", f"*{suffix}"))
        return for_all
    return found


def safe_name(text: str) -> str:
    """A valid name for a recipe, made from any text."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[:100]
    return name if name and name[0].isalnum() else "source"


def unique_name(wanted: str, format: str, taken: set[str]) -> str:
    """A name that is not taken, which it is from then on: `wiki`, `wiki-csv`, `wiki-2`."""
    name, number = safe_name(wanted), 2
    if name in taken:
        name = f"{name}-{format}"
    while name in taken:
        name, number = f"{safe_name(wanted)}-{number}", number + 1
    taken.add(name)
    return name


def is_no_data(name: str) -> bool:
    """Whether a file has the name of a README, a licence or a description of data."""
    return _NOT_DATA.fullmatch(posixpath.basename(name)) is not None


def _in_folder(folder: str, files: Sequence[str], names: Collection[str]) -> list[str]:
    here = [name for name in files if posixpath.dirname(name) == folder]
    siblings = {name for name in names if posixpath.dirname(name) == folder}
    found = []
    for suffix in sorted({str(data_suffix(name)) for name in here}):
        wanted = {name for name in here if data_suffix(name) == suffix}
        stem = posixpath.basename(posixpath.commonprefix(sorted(wanted)))
        for start in ("", re.sub(r"\d+$", "", stem)):
            prefix = posixpath.join(folder, start)
            if len(wanted) > 1 and {n for n in siblings if n.startswith(prefix) and n.endswith(suffix)} == wanted:
                found.append(posixpath.join(escape(folder), f"{escape(start)}*{suffix}"))
                break
        else:
            found += [escape(name) for name in sorted(wanted)]
    return found


def _wanted(files: list[str], *, is_named: bool) -> tuple[list[str], list[LeftOut]]:
    """The files without those that are no training data by their names, and these; a rule that leaves none is none."""
    left_out: list[LeftOut] = []
    rules = [(is_no_data, "not data, by its name"), (_is_evaluation, "looks like a test or validation split")]
    for applies, why in rules[: 1 if is_named else 2]:
        found = {name for name in files if applies(name)}
        if len(found) < len(files):
            left_out += [LeftOut(name=name, why=why) for name in sorted(found)]
            files = [name for name in files if name not in found]
    return files, left_out


def _is_generic(name: str) -> bool:
    """Whether a name says nothing of what is in a file: `data`, `part.0`, `train-00000-of-00001`."""
    words = re.split(r"[\W\d_]+", name.lower())
    return all(word in _GENERIC or word in _PARTS for word in words)


def _stem(name: str) -> str:
    return posixpath.basename(name).removesuffix(str(data_suffix(posixpath.basename(name))))


def _shape(name: str) -> str:
    """A file's name without digits and what stands around them: `train-00000-of-00004.parquet` is `train`."""
    return re.sub(r"[-_.]?(?:\d+|\bof\b)", "", _stem(name)).strip("-_.") or "data"


def _is_evaluation(name: str) -> bool:
    *folders, _ = name.split("/")
    return not _EVALUATION.isdisjoint(part.lower() for part in (*folders, re.split(r"[-_.]", _stem(name))[0]))
