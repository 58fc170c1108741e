"""Recognising a path that is not a recipe: a folder, a data file, the manifest of a build. Bytes in, words out."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import NamedTuple

MAGIC_BYTES = 8
"""Of the head of a file, what tells its kind."""
_DATA_HINT = "a recipe is a YAML file that names such files: sources: {NAME: {weight: 1, path: FILE}}"
_KINDS = {
    b"PAR1": ("a Parquet file", _DATA_HINT),
    b"PARE": ("an encrypted Parquet file", _DATA_HINT),
    b"ARROW1": ("an Arrow file", _DATA_HINT),
    b"\xff\xff\xff\xff": ("an Arrow stream", _DATA_HINT),
    b"\x1f\x8b": ("compressed with gzip", "unpack a recipe with `gunzip`; name data in a recipe"),
    b"\x28\xb5\x2f\xfd": ("compressed with zstd", "unpack a recipe with `zstd -d`; name data in a recipe"),
    b"PK\x03\x04": ("a ZIP archive", "unpack it, and give the path of the recipe in it"),
}


class Mistaken(NamedTuple):
    """The kind of a thing, as in "is a Parquet file, not a recipe", and a remedy."""

    what: str
    hint: str


def mistaken_bytes(head: bytes) -> Mistaken | None:
    """The kind of a file by its first bytes, if it cannot be a recipe."""
    return next((Mistaken(*kind) for magic, kind in _KINDS.items() if head.startswith(magic)), None)


def mistaken_text(text: bytes, path: str) -> Mistaken | None:
    """The kind of a JSON text, if it cannot be a recipe. Cheap for a text that is not JSON."""
    start = text.lstrip()[:1]
    if start not in (b"{", b"["):
        return None
    first, _, rest = text.strip().partition(b"\n")
    if start == b"{" and rest.lstrip()[:1] == b"{" and isinstance(_json(first), dict):
        return Mistaken("a file of JSON lines", _DATA_HINT)
    value = _json(text)
    if isinstance(value, list):
        return Mistaken("a JSON array", "a recipe is one mapping: begin with `sources:`")
    if isinstance(value, dict) and value.get("format") == "mixer":
        return Mistaken("the manifest of a build", f"`mixer inspect {path}` shows the build")
    return None


def mistaken_folder(names: Collection[str], path: str) -> Mistaken:
    """The kind of a folder by the names in it."""
    recipes = sorted(name for name in names if name.endswith((".yaml", ".yml")))
    if "manifest.json" in names:
        return Mistaken("the folder of a build", f"`mixer inspect {path}` shows the build")
    if "state.json" in names or "dataset_dict.json" in names:
        return Mistaken("a data set that `datasets` saved", _DATA_HINT.replace("FILE", path))
    if recipes:
        more = f" and {len(recipes) - 5} more" if len(recipes) > 5 else ""
        return Mistaken("a folder", f"give one of its files: {', '.join(recipes[:5])}{more}")
    return Mistaken("a folder", "give the path of a recipe, a YAML file")


def _json(text: bytes) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
