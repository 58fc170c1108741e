"""The part of a recipe that says which rows are worth it: `curate`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    field_validator,
    model_serializer,
    model_validator,
)

from mixer.digest import decimal_text
from mixer.recipe.fields import Filled, Name, Names, Paths, Share
from mixer.recipe.part import RecipePart

_DECIMAL = "decimal"
LEAST_ITEM_SHARE = 0.125
"""Of an item, in the facts of a row."""
MAX_SLOTS = 254
"""Slots of a signature: how many agree is kept in a byte."""
STEPS = ("filter", "decontaminate", "exact", "near")


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _without_floats(value: Any) -> Any:
    """Parameters in their normal form: 0.5 is {"decimal": "0.5"}, since it has no floats, and "0.5" is text."""
    if isinstance(value, dict):
        return {key: _without_floats(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_floats(item) for item in value]
    return {_DECIMAL: decimal_text(value)} if isinstance(value, float) else value


def with_floats(value: Any) -> Any:
    """Parameters from their normal form."""
    if isinstance(value, list):
        return [with_floats(item) for item in value]
    if not isinstance(value, dict):
        return value
    return float(value[_DECIMAL]) if value.keys() == {_DECIMAL} else {k: with_floats(item) for k, item in value.items()}


Ordered = Annotated[tuple[Name, ...], BeforeValidator(_as_tuple)]
Parameters = Annotated[dict[str, Any], PlainSerializer(_without_floats, when_used="json")]
DuplicateScope = Literal["across", "within", "all"]
NgramSize = Annotated[int, Field(ge=1, le=100)]


class FilterSpec(RecipePart):
    """Drop rows whose text a filter refuses."""

    name: Filled
    """gopher-quality, gopher-repetition, c4, fineweb-quality, language, datatrove:CLASS, or your module:function."""
    parameters: Parameters = Field(default_factory=dict)
    """The filter's parameters by name; its own defaults unless given."""
    sources: Names = ()
    """Only rows of these sources; of all unless given."""


class DecontaminateSpec(RecipePart):
    """Drop rows that hold an item of an evaluation set."""

    against: Paths
    """The evaluation sets: JSON lines or parquet, a path, a glob, or a list of them."""
    fields: Annotated[tuple[Filled, ...], BeforeValidator(_as_tuple), Field(min_length=1)]
    """The fields of an item that make its text, in order, such as [prompt, canonical_solution]."""
    ngrams: NgramSize = 13
    """Words of an n-gram."""
    share: Share = 0.5
    """The share of an item's n-grams that a row must have, from 0.125; all of them if the item is short."""
    sources: Names = ()
    """Only rows of these sources; of all unless given."""

    @field_validator("share")
    @classmethod
    def _at_least_what_is_kept(cls, share: float) -> float:
        if share < LEAST_ITEM_SHARE:
            raise ValueError(f"must be at least {LEAST_ITEM_SHARE}: rows that have less of an item are not noted")
        return share


class ExactSpec(RecipePart):
    """Of equal rows keep one."""

    on: Filled = "text"
    """text, normalised (words without case, punctuation and white space), or a column such as url."""
    scope: DuplicateScope = "all"
    """all; within: only rows of one source are compared; across: only rows of different sources."""
    sources: Names = ()
    """Only rows of these sources; of all unless given."""


class NearSpec(RecipePart):
    """Of similar rows keep one: MinHash over n-grams of words."""

    ngrams: NgramSize = 5
    """Words of an n-gram."""
    bands: Annotated[int, Field(ge=1, le=64)] = 14
    """Bands of the signature: rows are compared if they agree in one."""
    rows: Annotated[int, Field(ge=1, le=8)] = 8
    """Slots of a band."""
    similarity: Share = 0.7
    """A row is dropped for one whose estimated similarity is at least this."""
    scope: DuplicateScope = "across"
    """all; within: only rows of one source are compared; across: only rows of different sources."""
    sources: Names = ()
    """Only rows of these sources; unless given, of all but those whose rows are lists of texts, as repositories are."""

    @model_validator(mode="after")
    def _few_slots(self) -> NearSpec:
        if self.bands * self.rows > MAX_SLOTS:
            raise ValueError(f"has {self.bands} bands of {self.rows} slots; the most are {MAX_SLOTS} slots in all")
        return self


class CurateStep(RecipePart):
    """One step: exactly one of filter, decontaminate, exact and near."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    filter: FilterSpec | None = None
    """Drop rows whose text a filter refuses."""
    decontaminate: DecontaminateSpec | None = None
    """Drop rows that hold an item of an evaluation set."""
    exact: ExactSpec | None = None
    """Of equal rows keep one."""
    near: NearSpec | None = None
    """Of similar rows keep one."""

    @model_validator(mode="after")
    def _exactly_one(self) -> CurateStep:
        given = [kind for kind, spec in self if spec is not None]
        if len(given) != 1:
            found = f", not {' and '.join(given)}" if given else ""
            raise ValueError(f"takes exactly one of {', '.join(STEPS)}{found}")
        return self

    @model_serializer
    def _only_the_one(self) -> dict[str, Any]:
        return {kind: spec for kind, spec in self if spec is not None}

    @property
    def kind(self) -> str:
        """filter, decontaminate, exact or near."""
        return next(kind for kind, spec in self if spec is not None)

    @property
    def spec(self) -> FilterSpec | DecontaminateSpec | ExactSpec | NearSpec:
        """What the step says."""
        found: FilterSpec | DecontaminateSpec | ExactSpec | NearSpec = getattr(self, self.kind)
        return found


class CurateSpec(RecipePart):
    """Which rows are worth it."""

    prefer: Ordered = ()
    """Whose copy of a duplicate stays, the first before the others; unlisted sources come after, by name."""
    prefer_by: Filled | None = None
    """A column of numbers: within a source the copy with the highest stays; nulls come last."""
    steps: Annotated[tuple[CurateStep, ...], BeforeValidator(_as_tuple), Field(min_length=1, max_length=100)]
    """The steps, in their order; each sees what the ones before it left."""
    most_lost: Share = 0.95
    """A source that loses more than this share of its rows is an error."""
