"""The result of a survey: everything that a plan may use. Nothing is read here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mixer.curate.records import CurationRecord
    from mixer.recipe import Recipe
    from mixer.shards.records import TokenizerEntry
    from mixer.sources.snapshot import Snapshot
    from mixer.survey.measurement import Measurement


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledRows:
    """A sample of a source whose contents are not all fetched."""

    # Of the whole source, and of the sample.
    num_rows: int
    num_read: int
    # The share of the rows that will have any text and are kept; its mean stands in `tokens_per_row`.
    kept: Measurement

    @property
    def num_kept(self) -> int:
        """The rows that the source will probably have with its text."""
        return max(1, round(self.num_rows * self.kept.tokens_per_row))


@dataclass(frozen=True, kw_only=True)
class Survey:
    """A recipe with the snapshots and measurements of its sources, by name, in the order of their numbers.

    With `samples`, of sources whose contents are not all fetched, it is the survey of a forecast and of no build; so it
    is where the recipe has `curate` and `curation` is None, since the facts of the texts are not there yet.
    """

    recipe: Recipe
    tokenizer: TokenizerEntry
    snapshots: Mapping[str, Snapshot]
    measured: Mapping[str, Measurement]
    samples: Mapping[str, SampledRows] = field(default_factory=dict)
    curation: CurationRecord | None = None

    @property
    def lacks_curation(self) -> bool:
        """Whether rows are counted that the recipe's `curate` may drop."""
        return self.recipe.curate is not None and self.curation is None
