"""The forecast of a mix: rows, tokens, shares, passes and sizes, each with its error. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mixer.mixing.target import Extent
from mixer.plan.extent import draw_schedule, mean_tokens, reach
from mixer.recipe import Recipe
from mixer.survey.estimate import Cause, Estimate, total, uncertain
from mixer.survey.profile import SourceProfile

_SEQUENCE_BYTES, _SEGMENT_BYTES = 32, 22
"""Of a shard's columns besides the ids (mixer/format.md, section 2): per sequence `next_id`, `num_pad`, the offsets of
five lists and the first border; per segment a border, source, row, pass and start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceForecast:
    """The forecast for one source.

    `share_asked` is of rows or tokens, as the recipe's weights are; `row_share` of the rows that are drawn. `rows` of
    `rows_available` are drawn, in all redrawn epochs together; `lasts_tokens` is the length of the mix, all sources
    together, with which its first pass ends.
    """

    name: str
    weight: float
    share_asked: float
    row_share: float
    rows: Estimate
    rows_available: Estimate
    passes: Estimate
    tokens: Estimate
    token_share: Estimate
    tokens_per_row: Estimate
    lasts_tokens: Estimate
    basis: str
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """The forecast for a build. `ended_by` is the source that ends it before the target, or without one."""

    name: str
    tokenizer: str
    packing: str
    weights: str
    sequence_length: int
    sources: tuple[SourceForecast, ...]
    rows: Estimate
    tokens: Estimate
    tokens_per_row: Estimate
    sequences: Estimate
    shard_bytes: Estimate
    text_bytes: Estimate
    ended_by: str | None
    epochs: int
    epoch_mode: str

    @property
    def trained_tokens(self) -> Estimate:
        """The tokens of all epochs: a redrawn epoch is a part of the build, any other the whole build."""
        once = self.sequences * self.sequence_length
        return once * self.epochs if self.epoch_mode == "reshuffle" else once


def forecast(recipe: Recipe, profiles: Sequence[SourceProfile]) -> Forecast:
    """The forecast for a recipe.

    Args:
        recipe: the recipe.
        profiles: what is known of its sources, in its order.

    Raises:
        RecipeError: the target cannot be met.
    """
    schedule = draw_schedule(recipe, [one.tokens_per_row.value for one in profiles])
    weights = schedule.integer_weights.tolist()
    mean = mean_tokens(weights, [one.tokens_per_row.value for one in profiles])
    extent = reach(recipe, schedule, [_num_rows(one) for one in profiles], tokens_per_draw=mean)
    counts = schedule.counts(extent.estimated_draws).tolist()
    per_row = [_of_drawn_rows(one, num_drawn=count) for one, count in zip(profiles, counts)]
    tokens_per_row = total(one * (count / extent.estimated_draws) for count, one in zip(counts, per_row))
    draws, ended_by = _draws(recipe, extent, profiles, counts, tokens_per_row)
    lasting = total(one.tokens_per_row * (weight / schedule.period_draws) for one, weight in zip(profiles, weights))
    sources = tuple(
        _source_forecast(
            profile,
            weight=source.weight,
            weights=[other.weight for other in recipe.sources.values()],
            row_share=count / extent.estimated_draws,
            draws=draws,
            tokens_per_row=own,
            tokens_per_draw=tokens_per_row,
            lasts_tokens=profile.num_rows * (schedule.period_draws / weight) * lasting,
        )
        for source, profile, weight, count, own in zip(recipe.sources.values(), profiles, weights, counts, per_row)
    )
    length = recipe.sequence.length
    sequences = draws * tokens_per_row / length
    return Forecast(
        name=recipe.name,
        tokenizer=recipe.tokenizer_name,
        packing=recipe.sequence.packing,
        weights=recipe.weights,
        sequence_length=length,
        sources=sources,
        rows=draws,
        tokens=draws * tokens_per_row,
        tokens_per_row=tokens_per_row,
        sequences=sequences,
        # A document has one segment, and one more for each border of sequences that it crosses.
        shard_bytes=total([sequences * (4 * length + _SEQUENCE_BYTES + _SEGMENT_BYTES), draws * _SEGMENT_BYTES]),
        text_bytes=total(source.tokens * one.bytes_per_token for source, one in zip(sources, profiles)),
        ended_by=ended_by,
        epochs=recipe.epochs.count,
        epoch_mode=recipe.epochs.mode,
    )


def _source_forecast(
    profile: SourceProfile,
    *,
    weight: float,
    weights: Sequence[float],
    row_share: float,
    draws: Estimate,
    tokens_per_row: Estimate,
    tokens_per_draw: Estimate,
    lasts_tokens: Estimate,
) -> SourceForecast:
    rows = draws * row_share
    tokens = rows * tokens_per_row
    return SourceForecast(
        name=profile.name,
        weight=weight,
        share_asked=weight / math.fsum(weights),
        row_share=row_share,
        rows=rows,
        rows_available=profile.num_rows,
        passes=rows / profile.num_rows,
        tokens=tokens,
        token_share=tokens / (draws * tokens_per_draw),
        tokens_per_row=tokens_per_row,
        lasts_tokens=lasts_tokens,
        basis=profile.basis,
        notes=profile.notes,
    )


def _num_rows(profile: SourceProfile) -> int:
    return round(profile.num_rows.value)


def _of_drawn_rows(profile: SourceProfile, *, num_drawn: int) -> Estimate:
    """The mean row of a build's draws: whole passes have the source's mean, the last one the mean of a sample."""
    last_pass = num_drawn % _num_rows(profile)
    unread = 1.0 - last_pass / _num_rows(profile)
    error = profile.row_deviation * math.sqrt(last_pass * unread) / max(num_drawn, 1)
    return profile.tokens_per_row * uncertain(
        1.0,
        standard_error=error,
        cause=Cause(name=f"rows drawn of {profile.name}", degrees_of_freedom=profile.degrees_of_freedom),
    )


def _draws(
    recipe: Recipe, extent: Extent, profiles: Sequence[SourceProfile], counts: Sequence[int], tokens_per_row: Estimate
) -> tuple[Estimate, str | None]:
    """The number of drawn rows, and the source that ends the build, if any.

    `counts` are each source's among the estimated draws.
    """
    wanted = extent.end_tokens
    if extent.end_sequences is not None:
        wanted = extent.end_sequences * recipe.sequence.length
    if wanted is not None and extent.estimated_draws != extent.max_draws:
        return Estimate(value=float(wanted)) / tokens_per_row, None
    draws = Estimate(value=float(extent.estimated_draws))
    for (name, source), profile, count in zip(recipe.sources.items(), profiles, counts):
        passes, rest = divmod(count, _num_rows(profile))
        allowed = source.max_passes or recipe.max_passes or (None if recipe.when_exhausted == "repeat" else 1)
        is_target = recipe.target is not None and name in (recipe.target.passes or {})
        if rest == 0 and (is_target or passes == allowed):
            # Where the rows of a source end it, what is not sure of them is not sure of all.
            return draws * (profile.num_rows / profile.num_rows.value), None if is_target else name
    return draws, None
