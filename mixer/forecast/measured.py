"""Prospects from the sources themselves: pinned, and a sample of their rows tokenized."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mixer.build.plan import make_plan
from mixer.forecast.estimate import Cause, Estimate, uncertain
from mixer.forecast.prospect import Prospect
from mixer.tokens.measure import measure_rows

if TYPE_CHECKING:
    from mixer.build.plan import Plan
    from mixer.recipe import Recipe
    from mixer.sources import PinCache
    from mixer.tokens.measurement import Measurement
    from mixer.tokens.tokenizer import Tokenizer


def prospects_of_sources(
    recipe: Recipe, tokenizer: Tokenizer, *, root: Path, cache: PinCache
) -> tuple[Plan, list[Prospect]]:
    """The plan of a build, and what a sample tells of each of its sources, in the plan's order.

    The sample of a local source is a thorough one. The plan itself goes by a smaller one where weights are in rows: its
    tasks need no better.

    Raises:
        RecipeError: the recipe cannot be met.
        DataError: a source is missing, unreadable or empty.
    """
    plan = make_plan(recipe, tokenizer, root=root, cache=cache)
    prospects = []
    for (name, source), snapshot in zip(plan.recipe.sources.items(), plan.snapshots):
        # Of a remote source each window may be a row group of 100,000 rows to fetch: the plan's own few are enough.
        thorough = snapshot.origin is None
        measured = measure_rows(name, source, snapshot, tokenizer, plan.recipe, thorough=thorough)
        notes = () if snapshot.note is None else (f"{name}: {snapshot.note}",)
        prospects.append(prospect_of(name, measured, num_rows=snapshot.num_kept, notes=notes))
    return plan, prospects


def prospect_of(name: str, measured: Measurement, *, num_rows: int, notes: tuple[str, ...] = ()) -> Prospect:
    """A source of known rows whose mean row was measured. Pure."""
    mean, degrees = measured.tokens_per_row, float(measured.degrees_of_freedom)
    return Prospect(
        name=name,
        num_rows=Estimate(value=float(num_rows)),
        tokens_per_row=uncertain(
            mean,
            standard_error=measured.standard_error,
            cause=Cause(name=f"sample of {name}", degrees_of_freedom=degrees),
        ),
        row_deviation=measured.row_deviation / mean,
        degrees_of_freedom=degrees,
        # Bytes and tokens of a row rise and fall together: their ratio is known far better than either.
        bytes_per_token=Estimate(value=measured.bytes_per_row / mean),
        basis=f"a sample of {measured.num_rows:,} of {num_rows:,} rows, {measured.num_bytes:,} bytes of text",
        notes=notes,
    )
