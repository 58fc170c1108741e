"""The rows of a snapshot that a selection keeps, one bit a row, and the attributes that it was made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mixer.attributes.set_file import AttributeSet

KEEP = "keep"
"""The column, of kind bool, that says which rows stay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptRows:
    """Which rows stay, `where` included: a reader needs no other predicate."""

    # Has the column `keep` alone, without nulls.
    rows: AttributeSet
    # What decided it, by the names that a recipe uses for them.
    attributes: Mapping[str, AttributeSet] = field(default_factory=dict)

    @property
    def sets(self) -> tuple[AttributeSet, ...]:
        """All sets that a build with this selection keeps beside it."""
        return (self.rows, *self.attributes.values())

    def mask(self, block: int) -> np.ndarray:
        """bool[rows of the block]: whether each row stays.

        Raises:
            IntegrityError: the file is missing or damaged.
        """
        mask: np.ndarray = self.rows.block(block).column(KEEP).to_numpy(zero_copy_only=False)
        return mask

    def as_json(self) -> dict[str, Any]:
        """Its part of a selection (format.md, "A selection")."""
        return {"rows": self.rows.digest, "attributes": {name: one.digest for name, one in self.attributes.items()}}


def kept_rows_of(selection: Mapping[str, Any], folder: Path) -> KeptRows | None:
    """The kept rows of a build's selection, from the sets beside it; None where row attributes had no say.

    Raises:
        IntegrityError: a set is missing or damaged.
        FormatError: a file is no set.
    """
    if selection.get("rows") is None:
        return None
    attributes = {name: AttributeSet(folder, digest) for name, digest in selection.get("attributes", {}).items()}
    return KeptRows(rows=AttributeSet(folder, selection["rows"]), attributes=attributes)
