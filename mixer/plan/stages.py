"""The stages of a build: where each begins, its weights and sources, and how large its tasks are. Pure.

A recipe has one stage today, which begins with the first draw and ends where the build does.
"""

from __future__ import annotations

from collections.abc import Sequence

from mixer.digest import identity
from mixer.mixing.target import Extent
from mixer.mixing.tasks import task_tokens
from mixer.shards.ids import recipe_of_stage
from mixer.shards.records import SequenceRules, Stage, StageSource
from mixer.shards.shard import batch_sequences
from mixer.sources.selection import selection_json
from mixer.survey.result import Survey


def whole_stage(
    surveyed: Survey, weights: Sequence[int], *, extent: Extent, tokens_per_draw: float, batch_tokens: int
) -> Stage:
    """The only stage of a build: all of its draws.

    Args:
        surveyed: the recipe, and what is known of its sources.
        weights: draws of each source in a period, in the order of the sources' numbers.
        extent: how far the build goes.
        tokens_per_draw: the mean, from which the size of a task follows.
        batch_tokens: tokens of a record batch of the shards, at most.
    """
    recipe = surveyed.recipe
    wanted = recipe.task_tokens or task_tokens(_total_tokens(extent, recipe.sequence.length, tokens_per_draw))
    redrawn = recipe.epochs.count if recipe.epochs.mode == "redraw" else 1
    # An epoch that is far smaller than a task is one task, and not cut out of a large one.
    draws_per_task = max(1, min(round(wanted / tokens_per_draw), extent.estimated_draws // redrawn * 5 // 4 + 1))
    return Stage(
        first_task=0,
        first_draw=0,
        weights=recipe.weights,
        task_tokens=wanted,
        draws_per_task=draws_per_task,
        sequence=SequenceRules(
            length=recipe.sequence.length,
            packing=recipe.sequence.packing,
            bos=recipe.sequence.bos,
            eos=recipe.sequence.eos,
            batch_sequences=batch_sequences(recipe.sequence.length, batch_tokens),
        ),
        recipe=recipe_of_stage(recipe.normalised()),
        sources=tuple(
            StageSource(
                source=number,
                weight=weight,
                selection=identity(selection_json(snapshot, source.where)),
                first_draw=0,
                pass_rows=(snapshot.num_kept,),
            )
            for number, (weight, source, snapshot) in enumerate(
                zip(weights, recipe.sources.values(), surveyed.snapshots.values(), strict=True)
            )
        ),
    )


def _total_tokens(extent: Extent, sequence_length: int, tokens_per_draw: float) -> float:
    """The tokens of the whole build, as far as they are known."""
    if extent.end_tokens:
        return extent.end_tokens
    return (extent.end_sequences or 0) * sequence_length or extent.estimated_draws * tokens_per_draw
