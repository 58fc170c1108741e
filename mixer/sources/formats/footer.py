"""The footer of a Parquet or Arrow IPC file: its digest and the file's size identify the file.

    Parquet      footer, uint32 N: the footer's bytes, `PAR1`          the last N + 8 bytes are digested
    Arrow IPC    footer, int32 N: the footer's bytes, `ARROW1`         the last N + 10 bytes are digested

Both have the place and size of every column chunk or record batch, so a file of terabytes is pinned in milliseconds.
A change that leaves all of them as they were is not seen, such as rows of an uncompressed record batch in another
order: the digest of the whole file is evidence kept beside the ids (`evidence.py`). Text of any kind and Arrow IPC
streams have no such end.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from mixer.errors import DataError
from mixer.sources.opening import OpenedFile

ARROW_MAGIC = b"ARROW1"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Format:
    magic: bytes
    name: str
    # Of the footer's length, which stands before the magic.
    length_bytes: int = 4

    @property
    def end_bytes(self) -> int:
        return self.length_bytes + len(self.magic)


PARQUET = _Format(magic=b"PAR1", name="a Parquet file")
ARROW = _Format(magic=ARROW_MAGIC, name="an Arrow IPC file")
_ENCRYPTED = b"PARE"
TAIL_BYTES = 64 << 10
"""What is read of a file's end at first: most footers are smaller."""


def footer_bytes(tail: bytes, num_bytes: int, format: _Format, place: str) -> int:
    """The length of a file's footer, with its length and magic. Pure.

    Args:
        tail: the last bytes of the file, at least `format.end_bytes` where it has so many.
        num_bytes: of the whole file.
        format: PARQUET or ARROW.
        place: the file, as messages name it.

    Raises:
        DataError: the file does not end like a file of the format, or its footer is encrypted.
    """
    if format is PARQUET and tail.endswith(_ENCRYPTED):
        raise DataError(
            "cannot be read: its footer is encrypted",
            where=place,
            hint="write the file again without encryption: mixer has no keys",
        )
    length = int.from_bytes(tail[-format.end_bytes : -len(format.magic)], "little", signed=format is ARROW)
    if not tail.endswith(format.magic) or not 0 < length <= num_bytes - format.end_bytes - len(format.magic):
        raise DataError(
            f"cannot be read: it does not end as {format.name} does",
            where=place,
            hint="it may be cut short, damaged or of another format: fetch it again, or set format",
        )
    return length + format.end_bytes


def read_footer(file: OpenedFile, format: str, place: str) -> bytes | None:
    """The end of a local file: footer, length, magic; None if the format has no footer. Reads nothing else.

    Args:
        file: the file.
        format: its format, as a snapshot names it.
        place: the file, as messages name it.

    Raises:
        DataError: the file does not end like a file of the format, or its footer is encrypted.
        OSError: it cannot be read.
    """
    if format not in ("parquet", "arrow") or (format == "arrow" and not is_arrow_file(file)):
        return None
    kind = PARQUET if format == "parquet" else ARROW
    num_bytes = file.state().num_bytes
    start = max(0, num_bytes - TAIL_BYTES)
    tail = file.read_at(start, num_bytes - start)
    length = footer_bytes(tail, num_bytes, kind, place)
    if length > len(tail):
        tail = file.read_at(num_bytes - length, start - (num_bytes - length)) + tail
    return tail[-length:]


def is_arrow_file(file: OpenedFile) -> bool:
    """Whether this is an Arrow IPC file, not a stream or another format."""
    return file.read_at(0, len(ARROW_MAGIC)) == ARROW_MAGIC


def footer_digest(footer: bytes) -> str:
    """The sha256 (hex) of a footer with its length and magic: with the file's size, the file's identity."""
    return hashlib.sha256(footer).hexdigest()
