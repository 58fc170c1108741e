"""The text files that an installation of Python already has: the standard library and the installed packages."""

from __future__ import annotations

import os
import re
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mixer.digest import identity

_CODE = {".c", ".cc", ".cpp", ".cu", ".css", ".f90", ".html", ".js", ".pxd", ".pxi", ".py", ".pyx", ".sh", ".toml"}
_STUBS = {".def", ".h", ".hpp", ".inc", ".json", ".po", ".proto", ".pyi", ".xml", ".yaml", ".yml", ".dectest"}
_PROSE = {".md", ".rst"}
_LICENCE = re.compile(r"(licen[cs]e|copying|copyright|notice|authors|acks|credits|contributors)", re.IGNORECASE)
_NOTES = re.compile(r"(readme|changelog|changes|history|news|todo)", re.IGNORECASE)
_SKIPPED_FOLDERS = re.compile(r"__pycache__|site-packages|dist-packages|config-\d.*|\..*")
# Written while Python was built or installed: they hold that machine's paths.
_SKIPPED_FILES = re.compile(r"_sysconfigdata.*|__editable__.*|direct_url\.json")
# The longest row of Stack, and the longest document of the others; tables and generated files are longer.
_MAX_BYTES = {"code": 1_500_000, "stub": 100_000, "prose": 200_000, "licence": 200_000, "note": 200_000}
# The folders of an installation by their names in `sysconfig`, and what their paths begin with in the sample.
_ROOTS = {"stdlib": "Lib/", "platlib": "", "purelib": ""}
# A folder that says nothing about this machine, and that text about any machine may name.
_COMMON_PREFIXES = {"/", "/usr", "/usr/local"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFile:
    """A file of text; `path` is '/'-separated and relative to the installation, so the same on every machine."""

    path: str
    kind: str
    num_bytes: int
    location: str

    @property
    def package(self) -> str:
        """The first folder of the path: a package, or `Lib` for the standard library."""
        return self.path.split("/", 1)[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """All text files, sorted by path; a digest of Python's version, paths and sizes; this machine's own folders."""

    files: tuple[TextFile, ...]
    fingerprint: str
    folders: tuple[str, ...]

    def read(self, file: TextFile) -> str | None:
        """The file's text, or None if it is not clean UTF-8 text or names a folder of this machine."""
        try:
            text = Path(file.location).read_bytes().decode("utf-8")
        except (OSError, UnicodeDecodeError):
            return None
        if PurePosixPath(file.path).name == "METADATA":
            text = text.partition("\n\n")[2]  # the long description; the fields above it are no prose
        if not text.strip() or "\0" in text or any(folder in text for folder in self.folders):
            return None
        return text


def find_installation() -> Installation:
    """The installation of the running interpreter; looks at names and sizes only."""
    paths = sysconfig.get_paths()
    # Resolved, because lib64 is often a link to lib.
    roots = {os.path.realpath(paths[key]): prefix for key, prefix in _ROOTS.items()}
    by_path = {file.path: file for root, prefix in roots.items() for file in _walk(root, prefix)}
    files = [by_path[path] for path in sorted(by_path)]
    names = [[file.path, file.num_bytes] for file in files]
    return Installation(
        files=tuple(files),
        fingerprint=identity([list(sys.version_info[:3]), names]),
        folders=tuple(
            sorted({*roots, *(paths[key] for key in _ROOTS), sys.prefix, sys.base_prefix} - _COMMON_PREFIXES)
        ),
    )


def _walk(root: str, prefix: str) -> Iterator[TextFile]:
    for folder, names, entries in os.walk(root):
        names[:] = [name for name in names if not _SKIPPED_FOLDERS.fullmatch(name)]
        inside = prefix + (Path(folder).relative_to(root).as_posix() + "/").removeprefix("./")
        for name in entries:
            kind = _kind(name, inside)
            location = os.path.join(folder, name)
            if kind and os.path.isfile(location):
                num_bytes = os.path.getsize(location)
                if 0 < num_bytes <= _MAX_BYTES[kind]:
                    yield TextFile(path=inside + name, kind=kind, num_bytes=num_bytes, location=location)


def _kind(name: str, folder: str) -> str | None:
    """The kind of a file by its name: code, stub, prose, licence, note, or None for a file that is not taken."""
    suffix = os.path.splitext(name)[1].lower()
    if _SKIPPED_FILES.fullmatch(name):
        return None
    if suffix in _CODE:
        return "code"
    if suffix in _STUBS:
        return "stub" if ".dist-info/" not in folder else None
    if _LICENCE.match(name) or "/licenses/" in folder:
        return "licence"
    if suffix in _PROSE or name == "METADATA":
        return "prose"
    if suffix == ".txt" or _NOTES.match(name):
        return "note" if ".dist-info/" not in folder else None
    return None
