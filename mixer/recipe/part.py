"""What all parts of a recipe have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class RecipePart(BaseModel):
    """A frozen part with known keys alone."""

    # Strict, because quotes are visible in YAML: `true` is no number and "8192" is no length.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)
