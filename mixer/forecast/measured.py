"""Prospects from the sources themselves: pinned, and a sample of their rows tokenized."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mixer.build.plan import OnPin, make_plan, silent
from mixer.forecast.estimate import Cause, Estimate, uncertain
from mixer.forecast.prospect import Prospect
from mixer.tokens.measure import measure_rows

if TYPE_CHECKING:
    from mixer.build.contents import Fetching
    from mixer.build.plan import Plan
    from mixer.recipe import Recipe, Source
    from mixer.sources import PinCache
    from mixer.tokens.measurement import Measurement
    from mixer.tokens.tokenizer import Tokenizer


def prospects_of_sources(
    recipe: Recipe,
    tokenizer: Tokenizer,
    *,
    root: Path,
    cache: PinCache,
    fetching: Fetching | None = None,
    on_pin: OnPin = silent,
) -> tuple[Plan, list[Prospect]]:
    """The plan of a build, and what a sample tells of each of its sources, in the plan's order.

    The sample of a local source is a thorough one. The plan itself goes by a smaller one where weights are in rows: its
    tasks need no better. Contents that are not fetched are sampled as `fetching` says.

    Raises:
        RecipeError: the recipe cannot be met.
        DataError: a source is missing, unreadable or empty.
    """
    plan = make_plan(recipe, tokenizer, root=root, cache=cache, fetching=fetching, on_pin=on_pin)
    prospects = []
    for (name, source), snapshot in zip(plan.recipe.sources.items(), plan.snapshots):
        # Of a remote source each window may be a row group of 100,000 rows to fetch: the plan's own few are enough.
        if name in plan.samples:
            prospects.append(_prospect_of_sample(name, source, plan, tokenizer))
            continue
        thorough = snapshot.origin is None
        measured = measure_rows(name, source, snapshot, tokenizer, plan.recipe, thorough=thorough)
        notes = () if snapshot.note is None else (f"{name}: {snapshot.note}",)
        prospects.append(prospect_of(name, measured, num_rows=snapshot.num_kept, notes=notes))
    return plan, prospects


def _prospect_of_sample(name: str, source: Source, plan: Plan, tokenizer: Tokenizer) -> Prospect:
    """A source of whose contents only a sample is there: how many of its rows will have any text is not certain."""
    sample = plan.samples[name]
    measured, kept = sample.measured(name, source, tokenizer, plan.recipe), sample.kept
    rows = uncertain(
        float(sample.num_kept),
        standard_error=sample.num_rows * kept.standard_error,
        cause=Cause(name=f"rows of {name}", degrees_of_freedom=float(kept.degrees_of_freedom)),
    )
    notes = [f"{name}: its contents are not fetched yet; of a sample of {sample.num_read:,} rows they are"]
    if (note := plan.snapshots[plan.source_names.index(name)].note) is not None:
        notes.append(f"{name}: {note}")
    return prospect_of(name, measured, num_rows=sample.num_kept, rows=rows, notes=tuple(notes))


def prospect_of(
    name: str,
    measured: Measurement,
    *,
    num_rows: int,
    rows: Estimate | None = None,
    notes: tuple[str, ...] = (),
) -> Prospect:
    """A source whose mean row was measured. Pure.

    Args:
        name: the source.
        measured: its rows, measured.
        num_rows: how many it has.
        rows: the same with its error, where it is not known for certain.
        notes: what else there is to say of it.
    """
    mean, degrees = measured.tokens_per_row, float(measured.degrees_of_freedom)
    return Prospect(
        name=name,
        num_rows=rows or Estimate(value=float(num_rows)),
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
