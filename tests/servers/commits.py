"""Data set repositories as the hub knows them: commits over folders, a branch that moves, digests as git has them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from servers.digests import file_digest

# What the hub keeps in git itself; anything else is in LFS.
_IN_GIT = frozenset({".md", ".gitattributes", ".json", ".jsonl", ".txt", ".yaml", ".py", ""})


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file of a commit."""

    path: Path
    size: int
    # The git object's id: of the file, or of the LFS pointer in its place.
    oid: str
    # sha256 of the bytes, and the length of the pointer; None for a file in git.
    sha256: str | None
    pointer_size: int = 0

    @property
    def etag(self) -> str:
        """What the hub calls the file's entity tag."""
        return f'"{self.sha256 or self.oid}"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """An immutable tree."""

    sha: str
    files: Mapping[str, Entry]

    def children(self, folder: str, *, recursive: bool) -> list[dict[str, Any]] | None:
        """Files and folders below a folder ('' is the root) as the API lists them; None without such a folder."""
        parts = PurePosixPath(folder).parts
        listed: dict[str, dict[str, Any]] = {}
        for name, entry in self.files.items():
            names = PurePosixPath(name).parts
            if names[: len(parts)] != parts:
                continue
            for depth in range(len(parts) + 1, len(names)):
                if (above := "/".join(names[:depth])) not in listed:
                    listed[above] = self.folder_as_json(above)
                if not recursive:
                    break
            if recursive or len(names) == len(parts) + 1:
                listed[name] = entry_as_json(name, entry)
        return list(listed.values()) if listed or not folder else None

    def folder_as_json(self, path: str) -> dict[str, Any]:
        below = [entry.oid for name, entry in self.files.items() if name.startswith(f"{path}/")]
        return {"type": "directory", "oid": _sha1(path, *below), "size": 0, "path": path}


def entry_as_json(name: str, entry: Entry) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "file", "oid": entry.oid, "size": entry.size, "path": name}
    if entry.sha256:
        found["lfs"] = {"oid": entry.sha256, "size": entry.size, "pointerSize": entry.pointer_size}
    return found


@dataclass(slots=True, kw_only=True)
class Repo:
    """A repository: its commits, its branches and tags, and who may read it."""

    name: str
    gated: bool = False
    commits: dict[str, Commit] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)

    def commit(self, folder: Path, branch: str) -> str:
        """Make the tree of a folder the newest commit of a branch; the commit's sha."""
        paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
        files = {name: _entry(path) for name, path in sorted(paths.items())}
        sha = _sha1(self.refs.get(branch, ""), *(f"{name}\0{entry.oid}" for name, entry in files.items()))
        self.commits[sha] = Commit(sha=sha, files=files)
        self.refs[branch] = sha
        return sha

    def find(self, revision: str) -> Commit | None:
        """The commit that a branch, a tag or a sha names."""
        return self.commits.get(self.refs.get(revision.removeprefix("refs/heads/"), revision))


def _entry(path: Path) -> Entry:
    size = path.stat().st_size
    if path.suffix in _IN_GIT:
        return Entry(path=path, size=size, oid=file_digest(path, "sha1", b"blob %d\0" % size), sha256=None)
    sha256 = file_digest(path, "sha256")
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()
    oid = hashlib.sha1(b"blob %d\0" % len(pointer) + pointer).hexdigest()
    return Entry(path=path, size=size, oid=oid, sha256=sha256, pointer_size=len(pointer))


def _sha1(*parts: str) -> str:
    return hashlib.sha1("\n".join(parts).encode()).hexdigest()
