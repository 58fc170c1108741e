"""The state of a file by its file system, and the changes of state that suggest changed bytes. Pure."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class FileState:
    """The `stat` of a file: in another state its bytes may have changed. Local to this machine; not in any identity."""

    # With links followed.
    path: str
    num_bytes: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    num_links: int
    mode: int
    user: int
    group: int

    @classmethod
    def of(cls, path: Path, found: os.stat_result) -> FileState:
        """The state of a file from a `stat` result."""
        return cls(
            path=os.path.realpath(path),
            num_bytes=found.st_size,
            mtime_ns=found.st_mtime_ns,
            ctime_ns=found.st_ctime_ns,
            inode=found.st_ino,
            num_links=found.st_nlink,
            mode=found.st_mode,
            user=found.st_uid,
            group=found.st_gid,
        )

    @property
    def _access(self) -> tuple[int, int, int, int]:
        return self.num_links, self.mode, self.user, self.group


def change_of(before: FileState, now: FileState) -> str | None:
    """Why the bytes of a file may have changed, for a message; None if nothing suggests it. Pure.

    No program can set the change time, so a file that was exchanged for one of equal size and time differs in it. It
    moves with every new hard link, chmod and chown as well: where one of these is seen, it is taken for the cause.
    The inode alone proves nothing: network and FUSE file systems make it up.
    """
    if now.num_bytes != before.num_bytes:
        return f"{before.num_bytes} bytes then, {now.num_bytes} bytes now"
    if now.mtime_ns != before.mtime_ns:
        return "it was written to"
    if now.ctime_ns == before.ctime_ns:
        return None
    if now.inode != before.inode:
        return "another file of the same size and time is in its place"
    if now._access == before._access:
        return "its size and time are those of before, but its change time is not"
    return None


def kind_of(mode: int) -> str:
    """The kind of a file that is not regular, in words, from its mode."""
    kinds = {
        stat.S_IFDIR: "a directory",
        stat.S_IFIFO: "a FIFO",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a character device",
        stat.S_IFBLK: "a block device",
    }
    return kinds.get(stat.S_IFMT(mode), "a special file")
