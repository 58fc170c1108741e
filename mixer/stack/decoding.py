"""The bytes of a source file as UTF-8, from the encoding that its row names. Pure."""

from __future__ import annotations

import codecs
from contextlib import suppress
from functools import lru_cache
from typing import NamedTuple

AS_NAMED, UNKNOWN_ENCODING, WRONG_ENCODING = "as_named", "unknown_encoding", "wrong_encoding"
"""How a file was decoded: as its row says; as UTF-8 with replacement characters, since the name is of no encoding that
Python has, or since the bytes are not in it."""
_NOT_OF_FILES = frozenset({"idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape"})
"""Encodings of Python's own that no file is in: they would take a file's backslashes for escapes."""


class Decoded(NamedTuple):
    """The text of a file as UTF-8, and how it was decoded."""

    text: bytes
    how: str


def decode_text(content: bytes, encoding: str | None) -> Decoded:
    r"""The text of a file.

    `b"caf\xe9"` is `café` in ISO-8859-1, and `caf\ufffd` where the encoding is said to be ASCII or "unknown-8bit".

    Args:
        content: the file's bytes.
        encoding: its `src_encoding`; none is UTF-8.
    """
    codec = _codec(encoding or "utf-8")
    if codec is None:
        return Decoded(_replaced(content), UNKNOWN_ENCODING)
    try:
        text = codec.decode(content, "strict")[0]
        # What is UTF-8 and stays as it is need not be encoded again.
        return Decoded(content if codec.name == "utf-8" else text.encode(), AS_NAMED)
    except UnicodeError:  # the last one from a lone surrogate, which UTF-7 can spell
        return Decoded(_replaced(content), WRONG_ENCODING)


def _replaced(content: bytes) -> bytes:
    return content.decode("utf-8", "replace").encode()


@lru_cache(maxsize=1024)
def _codec(name: str) -> codecs.CodecInfo | None:
    """Python's codec of that name; None if no codec of that name decodes bytes."""
    try:
        codec = codecs.lookup(name)
        with suppress(UnicodeError):  # two bytes of UTF-16 are more
            b"a".decode(codec.name)  # which refuses codecs such as hex and zlib
    except (LookupError, ValueError):
        return None
    return None if codec.name in _NOT_OF_FILES else codec
