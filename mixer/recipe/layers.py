"""One mapping out of layers: the files that a recipe extends, the recipe itself, then `--set`.

Every key remembers the layer that wrote it, so that a problem is reported where it can be mended.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mixer.recipe.problems import Key, Problem, place, suggestion


@dataclass(slots=True, kw_only=True)
class Draft:
    """A recipe while it is put together: mutable, and gone when the recipe is there."""

    where: str
    """The recipe's file."""
    tree: dict[Any, Any] = field(default_factory=dict)
    """What the layers so far say together; holds no null."""
    problems: list[Problem] = field(default_factory=list)
    written_by: dict[Key, str] = field(default_factory=dict)

    def add(self, layer: Mapping[Any, Any], where: str) -> None:
        """Lay a mapping on top: mappings merge, anything else replaces, null takes away.

        The target is replaced whole, since its keys exclude each other.
        """
        self.tree = self._merged(self.tree, layer, where, ())

    def report(self, key: Key, message: str) -> None:
        """Add a problem with `key`, at the layer that wrote it or what it is in."""
        layers = (self.written_by.get(key[:end]) for end in range(len(key), 0, -1))
        self.problems.append(Problem(place=place(next(filter(None, layers), self.where), key), message=message))

    def _merged(self, old: dict[Any, Any], new: Mapping[Any, Any], where: str, parent: Key) -> dict[Any, Any]:
        merged = dict(old)
        for name, value in new.items():
            key = (*parent, name)
            before = merged.get(name)
            kept = before if isinstance(before, dict) and isinstance(value, Mapping) and key != ("target",) else {}
            if name in merged and not kept:
                self._forget(key)
            self.written_by[key] = where
            if isinstance(value, Mapping):
                merged[name] = self._merged(kept, value, where, key)
            elif value is not None:
                merged[name] = value
            elif name in merged:
                del merged[name]
            elif parent == ("sources",):
                self.report(key, f"is empty, and no source of this name is there to remove{suggestion(name, old)}")
        return merged

    def _forget(self, key: Key) -> None:
        for written in [each for each in self.written_by if each[: len(key)] == key]:
            del self.written_by[written]
