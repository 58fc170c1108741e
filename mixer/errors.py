"""The exception tree: every failure that a user can meet, by what the user does about it.

An error says where (`recipes/base.yaml: sources.wiki`), what, and what to do next (`hint`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any


class MixerError(Exception):
    """A failure that the user can act on.

    Args:
        message: what is wrong, with what was expected and what was found.
        where: the place: file, source, block, row, key of a recipe.
        hint: the next step that would help.
    """

    exit_code = 1

    def __init__(self, message: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        return f"{text}\n  hint: {self.hint}" if self.hint else text

    def __reduce__(self) -> tuple[Any, ...]:
        # Keyword-only fields do not survive the default pickling between worker and parent.
        return (_rebuild, (type(self), self.message, self.where, self.hint))


def _rebuild(kind: type[MixerError], message: str, where: str | None, hint: str | None) -> MixerError:
    error = kind.__new__(kind)
    MixerError.__init__(error, message, where=where, hint=hint)
    return error


class UsageError(MixerError):
    """The command line or an argument is wrong: change the call."""

    exit_code = 2


class RecipeError(MixerError):
    """The recipe is wrong or asks for what cannot be met: edit the recipe."""

    exit_code = 2


class DataError(MixerError):
    """Source data are missing, unreadable, of another type, or changed: check the data."""


class BuildStateError(MixerError):
    """The output folder is in use or belongs to another plan: choose another folder."""


class IntegrityError(MixerError):
    """Bytes on disk disagree with their manifest: the build is damaged."""


class FormatError(MixerError):
    """A manifest or shard is of an unknown format or version: use another mixer."""


class CursorError(MixerError):
    """A cursor belongs to another manifest or order: resuming is refused."""


class TokenizerError(MixerError):
    """The tokenizer cannot be loaded or disagrees with the reference."""


class TaskError(MixerError):
    """A task of the build failed for a reason that is not in the data (a worker died, no memory, no disk)."""


def write_error(error: OSError, where: str) -> TaskError:
    """The error for a file that cannot be written.

    Args:
        error: what the system said.
        where: the folder, for an error that names no file.
    """
    return TaskError(
        f"cannot write: {error.strerror or error}",
        where=str(error.filename or where),
        hint="make room or fix the folder, then run the same command again to resume",
    )


def shown_names(names: Sequence[str], max_shown: int = 10) -> str:
    """Some names for a message."""
    more = len(names) - max_shown
    shown = ", ".join(f"'{name}'" for name in names[:max_shown])
    shown = shown.encode(errors="backslashreplace").decode()  # names that are not UTF-8
    return (shown + (f" and {more} more" if more > 0 else "")) or "nothing"


def error_as_json(error: MixerError, **details: str) -> str:
    """The error as one JSON line: kind, message, where, hint, and details such as a traceback."""
    fields = {"error": type(error).__name__, "message": error.message, "where": error.where, "hint": error.hint}
    fields |= details
    return json.dumps(fields, ensure_ascii=False)
