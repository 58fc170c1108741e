"""The plan of a fetch: its files, the rows of each, and its rules. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from mixer.digest import identity
from mixer.errors import UsageError
from mixer.stack.ids import IdsFile
from mixer.stack.wanted_files import Selection

if TYPE_CHECKING:
    from mixer.tokens.tokenizer import Tokenizer

_MIN_CHUNK_ROWS, _MAX_CHUNK_ROWS, _ENOUGH_CHUNKS = 256, 8192, 256
"""Repositories of a chunk: at most about 120,000 files, a minute's work and 400 MB of text; fewer where there are few,
so that there is something to share out. Chosen from the total alone: all hosts and runs have the same chunks."""
ROW_GROUP_BYTES = 64 << 20
MAX_REPOSITORY_BYTES = 1 << 30
"""A repository is one row and a row's text one page, which is in memory three times while it is compressed; Arrow
writes no page of 2 GiB."""
_VERSION = 1


class Policy(StrEnum):
    """What to do about a missing or damaged blob."""

    DROP_FILE = "drop-file"
    DROP_REPO = "drop-repo"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The rules that, beside the rows, determine the bytes of the written files."""

    selection: Selection
    # A blob that is not there, and one whose bytes are not those of its digest.
    on_missing: Policy = Policy.DROP_FILE
    on_damaged: Policy = Policy.ERROR
    # Text of a row group, but for its last repository, which is never cut.
    row_group_bytes: int = ROW_GROUP_BYTES
    # A repository with more text is left out.
    max_repository_bytes: int = MAX_REPOSITORY_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class IdsStore:
    """The store of the rows, if they are not local."""

    # The address as it was asked for, its revision one that may move.
    asked: str
    # The folder that holds all files, at the commit that was found where there are commits.
    found: str

    def as_json(self) -> dict[str, str]:
        """Both addresses."""
        return {"asked": self.asked, "found": self.found}


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Consecutive rows of a file, which become one file: the unit of work, of retry and of resume."""

    # Over all files, from 0.
    number: int
    file: IdsFile
    # Rows [start, stop) of the file.
    start: int
    stop: int
    # Of the file that it becomes, relative to the folder, parts separated by '/'.
    name: str


@dataclass(frozen=True, kw_only=True)
class FetchPlan:
    """A whole fetch, the same on every host that shares it."""

    files: tuple[IdsFile, ...]
    rules: Rules
    # Counts tokens; None where the selection does not ask for it.
    tokenizer: Tokenizer | None = None
    # None for files of this machine.
    store: IdsStore | None = None
    # A sample: of some files, by their numbers, the rows [start, stop); None: all rows of all files.
    row_ranges: tuple[tuple[int, int, int], ...] | None = None

    @property
    def chunk_rows(self) -> int:
        """The most rows of a chunk."""
        fair = -(-sum(file.num_rows for file in self.files) // _ENOUGH_CHUNKS)
        return min(max(fair, _MIN_CHUNK_ROWS), _MAX_CHUNK_ROWS)

    @cached_property
    def chunks(self) -> tuple[Chunk, ...]:
        """All chunks, in the order of files and rows. Each has the rows of one file only."""
        chunks: list[Chunk] = []
        for index, part, start, stop in self._parts():
            file = self.files[index]
            name = f"{PurePosixPath(file.name).with_suffix('').as_posix()}-{part:05d}.parquet"
            chunks.append(Chunk(number=len(chunks), file=file, start=start, stop=stop, name=name))
        return tuple(chunks)

    def _parts(self) -> Iterator[tuple[int, int, int, int]]:
        """Of each chunk its file's number, its own name's number, and its rows [start, stop)."""
        if self.row_ranges is not None:
            yield from ((index, start, start, stop) for index, start, stop in self.row_ranges)
            return
        for index, file in enumerate(self.files):
            for part, start in enumerate(range(0, file.num_rows, self.chunk_rows)):
                yield index, part, start, min(start + self.chunk_rows, file.num_rows)

    def as_json(self) -> dict[str, Any]:
        """What is fetched, without a path of this machine, and where blobs come from: their digests are checked."""
        return {
            "version": _VERSION,
            **({"store": self.store.as_json()} if self.store else {}),
            "files": [file.as_json() for file in self.files],
            "selection": self.rules.selection.as_json(),
            "on_missing": self.rules.on_missing.value,
            "on_damaged": self.rules.on_damaged.value,
            "chunk_rows": self.chunk_rows,
            "row_group_bytes": self.rules.row_group_bytes,
            "max_repository_bytes": self.rules.max_repository_bytes,
            "tokenizer": self.tokenizer and self.tokenizer.fingerprint,
            **({} if self.row_ranges is None else {"row_ranges": [list(row_range) for row_range in self.row_ranges]}),
        }

    @property
    def id(self) -> str:
        """The sha256 (hex) of the canonical JSON."""
        return identity(self.as_json())


def make_fetch_plan(
    files: Sequence[IdsFile], rules: Rules, tokenizer: Tokenizer | None, store: IdsStore | None = None
) -> FetchPlan:
    """The plan of a fetch.

    Raises:
        UsageError: two chunks would have one file name.
    """
    plan = FetchPlan(files=tuple(files), rules=rules, tokenizer=tokenizer, store=store)
    name, count = next(iter(Counter(chunk.name for chunk in plan.chunks).most_common(1)))
    if count > 1:
        raise UsageError(
            f"{count} files of SRC would be written to '{name}'", where="SRC", hint="fetch them one by one"
        )
    return plan


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPart:
    """One of several equal parts of a fetch, as in the third of sixteen hosts; from 1."""

    number: int = 1
    count: int = 1

    def chunks(self, plan: FetchPlan) -> list[Chunk]:
        """The chunks of this part: every chunk is in one part, and neighbours in different ones."""
        return list(plan.chunks[self.number - 1 :: self.count])


def parse_part(text: str) -> HostPart:
    """The part that is written as in 3/16.

    Raises:
        UsageError: it is not written like that, or there is no such part.
    """
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise UsageError(f"'{text}' is not a part", where="--part", hint="the first of sixteen is 1/16, the last 16/16")
    return HostPart(number=int(number), count=int(count))
