"""Guards against a curation that takes more than its owner meant to. Pure."""

from __future__ import annotations

from mixer.curate.records import CurationRecord
from mixer.errors import RecipeError

WARN_LOST = 0.5


def check_losses(record: CurationRecord, most_lost: float) -> None:
    """Refuse a curation that leaves a source with nothing, or with less than is allowed.

    Raises:
        RecipeError: it does.
    """
    for source in record.sources:
        if source.rows_entered and source.share_lost > most_lost:
            worst = max(range(len(record.steps)), key=lambda number: source.steps[number].rows)
            raise RecipeError(
                f"{source.name} loses {source.rows_entered - source.rows_left:,} of {source.rows_entered:,} rows, most "
                f"of them at step {record.steps[worst]} ({source.steps[worst].rows:,}); at most {most_lost:.0%} may go",
                where="curate",
                hint="look at what went with mixer curate; if it is right, set curate.most_lost",
            )


def loss_warnings(record: CurationRecord) -> list[str]:
    """A sentence for each source that loses more than half of its rows."""
    return [
        f"{source.name} loses {source.share_lost:.0%} of its rows"
        for source in record.sources
        if source.share_lost > WARN_LOST
    ]
