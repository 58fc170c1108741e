"""The parts of a sample: documents, and repositories of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One text of one source; `path` says where it stands, `name` what it is within that file."""

    text: str
    path: str
    kind: str
    name: str = ""

    @property
    def num_bytes(self) -> int:
        """The text's length in UTF-8 bytes."""
        return len(self.text.encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """One row of Stack: the code files of one part of a package, in the order of their paths."""

    name: str
    files: tuple[Document, ...]

    @property
    def num_bytes(self) -> int:
        """The length of all texts in UTF-8 bytes."""
        return sum(file.num_bytes for file in self.files)


Row = Document | Repository
