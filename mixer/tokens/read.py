"""Reading the files that tokenizers come in: regular files of a bounded size, or an error with the reason."""

from __future__ import annotations

import stat
from pathlib import Path

from mixer.errors import TokenizerError

MAX_FILE_BYTES = 256 << 20
"""Several times the largest tokenizer there is."""


def read_file(path: Path) -> bytes:
    """The bytes of a tokenizer's file.

    Raises:
        TokenizerError: the file is missing, is not a regular file, is too large, or cannot be read.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            kind = "a directory" if stat.S_ISDIR(found.st_mode) else "a pipe, socket or device"
            raise TokenizerError(f"is {kind}, not a regular file", where=str(path), hint="give the path of a file")
        if found.st_size > MAX_FILE_BYTES:
            raise TokenizerError(
                f"has {found.st_size:,} bytes; a tokenizer's file has at most {MAX_FILE_BYTES:,}",
                where=str(path),
                hint="give the path of a tokenizer.json or of a rank file",
            )
        return path.read_bytes()
    except OSError as error:
        raise TokenizerError(f"cannot be read: {error.strerror}", where=str(path)) from error
