"""From a recipe's `tokenizer` to a loaded tokenizer."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mixer.errors import RecipeError
from mixer.recipe import TokenizerSpec
from mixer.tokens.encode import TokenBatch, Tokenizer
from mixer.tokens.hub import hub_file
from mixer.tokens.json_file import from_json_file
from mixer.tokens.known import BY_NAME, PACKAGED_RANKS, packaged_file
from mixer.tokens.rank_file import from_rank_file

__all__ = ["TokenBatch", "Tokenizer", "load_tokenizer"]

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)


def load_tokenizer(name: str | TokenizerSpec | Mapping[str, Any], *, root: Path, cache_dir: Path) -> Tokenizer:
    """The tokenizer of a recipe.

    Args:
        name: `llama3` or `llama4`, a path to a `tokenizer.json` or to a rank file in tiktoken's format, or a hub id; or
            a rank file with its rules, also in the normal form that a manifest has of it.
        root: the folder that relative paths start from.
        cache_dir: where the forms that the encoders read are kept.

    Raises:
        RecipeError: there is no such tokenizer, or the recipe's rules do not fit the rank file.
        TokenizerError: it cannot be read or fetched, or is not a tokenizer that an encoder can load.
    """
    if isinstance(name, Mapping):
        name = TokenizerSpec.model_validate(dict(name))
    if isinstance(name, TokenizerSpec):
        path = _rank_path(name.ranks, root)
        return from_rank_file(path.name if name.ranks not in PACKAGED_RANKS else name.ranks, path, name, cache_dir)
    if name in PACKAGED_RANKS:
        return from_rank_file(name, _rank_path(name, root), None, cache_dir)
    path = root / name
    if path.is_dir():
        path = path / "tokenizer.json"
    if path.exists():
        if path.suffix == ".json":
            return from_json_file(Path(name).name, path, cache_dir)
        return from_rank_file(Path(name).name, path, None, cache_dir)
    if _HUB_ID.fullmatch(name) and not name.endswith((".json", ".model", ".tiktoken")):
        return from_json_file(name, hub_file(name), cache_dir)
    raise _no_such(name, path)


def _rank_path(name: str, root: Path) -> Path:
    """The rank file that a recipe names."""
    if name in PACKAGED_RANKS:
        return packaged_file(BY_NAME[name])
    path = root / name
    if not path.exists():
        raise _no_such(name, path, where="tokenizer.ranks")
    return path


def _no_such(name: str, path: Path, *, where: str = "tokenizer") -> RecipeError:
    if name in BY_NAME:
        message, hint = (
            f"{name} needs its rank file, which no package here has",
            f"give the path of {name}.tiktoken; a file with its digest is used as {name} is",
        )
    else:
        message = f"there is no tokenizer {name!r}: not a name, and there is no file {path}"
        near = difflib.get_close_matches(name.lower(), PACKAGED_RANKS, n=1)
        known = f"use {', '.join(PACKAGED_RANKS)}, a path to a tokenizer.json or a rank file, or a hub id ORG/NAME"
        hint = f"did you mean {near[0]}?" if near else known
    return RecipeError(message, where=where, hint=hint)
