"""One mapping out of layers: the files that a recipe extends, the recipe itself, then `--set`.

Every key remembers the layer that wrote it, so that a problem is reported where it can be fixed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mixer.recipe.problems import Finding, Key, Problem, Unknown, place
from mixer.recipe.yaml_text import MAX_DEPTH


@dataclass(slots=True, kw_only=True)
class _Writer:
    """The layer that wrote a key last, and those that wrote the keys in it."""

    where: str
    parts: dict[Any, _Writer] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Draft:
    """A recipe in progress: mutable, and discarded when the recipe is complete."""

    where: str
    """The recipe's file."""
    tree: dict[Any, Any] = field(default_factory=dict)
    """What the layers so far say together; holds no null, and no mapping of any layer."""
    problems: list[Problem] = field(default_factory=list)
    written: dict[Any, _Writer] = field(default_factory=dict)

    def add(self, layer: Mapping[Any, Any], where: str) -> None:
        """Lay a mapping on top: mappings merge, anything else replaces, null takes away.

        The target is replaced whole, since its keys exclude each other. Linear in the layer, whatever is below it.
        """
        self._merge(self.tree, layer, self.written, where, ())

    def report(self, finding: Finding) -> None:
        """Add a finding about a key as a problem, at the layer that wrote the key or its parent."""
        where, parts = self.where, self.written
        for part in finding.key:
            if part not in parts:
                break
            where, parts = parts[part].where, parts[part].parts
        self.problems.append(
            Problem(
                place=place(where, finding.key), message=finding.message, hint=finding.hint, unknown=finding.unknown
            )
        )

    def _merge(
        self, tree: dict[Any, Any], layer: Mapping[Any, Any], written: dict[Any, _Writer], where: str, parent: Key
    ) -> None:
        # What a layer can take away is what is there before it.
        removable = tuple(tree) if parent == ("sources",) and None in layer.values() else ()
        for name, value in layer.items():
            key = (*parent, name)
            before = tree.get(name)
            kept = isinstance(before, dict) and isinstance(value, Mapping) and key != ("target",)
            if not kept:
                written.pop(name, None)  # with all that is known of the keys in it
            writer = written.setdefault(name, _Writer(where=where))
            writer.where = where
            if isinstance(value, Mapping):
                if not kept:
                    tree[name] = {}
                if len(key) > MAX_DEPTH:
                    self.report(Finding(key=key, message=f"is nested more than {MAX_DEPTH} levels deep"))
                else:
                    self._merge(tree[name], value, writer.parts, where, key)
            elif value is not None:
                tree[name] = value
            elif name in tree:
                del tree[name]
            elif parent == ("sources",):
                message = "is empty, and there is no source of this name to remove"
                self.report(Finding(key=key, message=message, unknown=Unknown(name=name, known=removable)))
