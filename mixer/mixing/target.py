"""The reach of a build: from `target`, `when_exhausted` and `max_passes` to a number of draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from mixer.errors import RecipeError
from mixer.mixing.draws import DrawSchedule

MAX_DRAWS = 2**62
"""Draws and tokens are numbered in 64 bits, with room for what comes after the target."""
TargetKind = Literal["tokens", "rows", "sequences", "passes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """Where a build ends.

    `max_draws` is None where nothing but the target ends it; `end_tokens` or `end_sequences` is the target to meet
    before that, if there is one. `estimated_draws` is what it will probably take.
    """

    max_draws: int | None
    end_tokens: int | None
    end_sequences: int | None
    estimated_draws: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Supply:
    """One source as the target sees it: its name, rows that can be drawn, and how often (None: no bound)."""

    name: str
    num_rows: int
    max_passes: int | None


def extent(
    schedule: DrawSchedule,
    supplies: Sequence[Supply],
    *,
    target: tuple[TargetKind, int, str | None] | None,
    when_exhausted: Literal["repeat", "stop", "error"],
    tokens_per_draw: float,
    sequence_length: int,
    times: int = 1,
) -> Extent:
    """The reach of the build. Pure.

    Args:
        schedule: the draws.
        supplies: the sources, in the schedule's order.
        target: kind, amount, and for `passes` the source; None: until a source runs out.
        times: how often the target is to be met, with draws that go on: once for each epoch that is redrawn.
        when_exhausted: what a source that runs out does.
        tokens_per_draw: measured mean, for estimates only.
        sequence_length: tokens of a sequence.

    Raises:
        RecipeError: the target cannot be met; names the target, the best reachable, the limiting source, the
            arithmetic, and two ways out. Or it has too many draws or tokens to number.
    """
    limit, limiting = _draw_limit(schedule, supplies, when_exhausted)
    end_tokens = end_sequences = None
    if target is None:
        if limit is None:
            raise RecipeError(
                "there is no target, and no source ever runs out",
                where="target",
                hint="set target (e.g. `tokens: 10B`), or `when_exhausted: stop` to end with the first source",
            )
        return Extent(max_draws=limit, end_tokens=None, end_sequences=None, estimated_draws=limit)
    kind, amount, source = target
    amount *= times
    if kind == "rows":
        needed = amount
    elif kind == "passes":
        index = [supply.name for supply in supplies].index(source or "")
        needed = schedule.draws_until(index, amount * supplies[index].num_rows)
    else:
        end_tokens, end_sequences = (amount, None) if kind == "tokens" else (None, amount)
        tokens = amount if kind == "tokens" else amount * sequence_length
        needed = max(1, round(tokens / tokens_per_draw)) if tokens < MAX_DRAWS else tokens
    if needed >= MAX_DRAWS and (limit is None or when_exhausted != "stop"):
        raise RecipeError(
            f"the target of {amount:,} {kind} is too large: draws and tokens are numbered with 62 bits",
            where="target",
            hint="set a smaller target, or fewer redrawn epochs",
        )
    if limit is not None and needed > limit and when_exhausted != "stop":
        raise _cannot_be_met(target, needed, limit, schedule, supplies, limiting, tokens_per_draw, times)
    if kind in ("rows", "passes"):
        limit = needed if limit is None else min(needed, limit)
    return Extent(
        max_draws=limit,
        end_tokens=end_tokens,
        end_sequences=end_sequences,
        estimated_draws=needed if limit is None else min(needed, limit),
    )


def _draw_limit(
    schedule: DrawSchedule, supplies: Sequence[Supply], when_exhausted: str
) -> tuple[int | None, int | None]:
    """The draws after which a source is exhausted, and that source."""
    limits = []
    for index, supply in enumerate(supplies):
        passes = supply.max_passes if when_exhausted == "repeat" else supply.max_passes or 1
        if passes is not None:
            limits.append((schedule.draws_until(index, passes * supply.num_rows + 1) - 1, index))
    return min(limits) if limits else (None, None)


def _cannot_be_met(
    target: tuple[TargetKind, int, str | None],
    needed: int,
    limit: int,
    schedule: DrawSchedule,
    supplies: Sequence[Supply],
    limiting: int | None,
    tokens_per_draw: float,
    times: int,
) -> RecipeError:
    assert limiting is not None
    supply = supplies[limiting]
    kind, amount, source = target
    passes = supply.max_passes or 1
    share = Fraction(int(schedule.integer_weights[limiting]), schedule.period_draws)
    asked = f"{amount:,} passes of {source}" if kind == "passes" else f"{amount:,} {kind}"
    asked += f" in each of {times} redrawn epochs" if times > 1 else ""
    estimated = kind in ("tokens", "sequences")
    drawn = int(schedule.counts(needed)[limiting])
    best = f"{limit:,} draws" + (f", about {round(limit * tokens_per_draw):,} tokens" if estimated else "")
    return RecipeError(
        f"the mix cannot be met: target {asked} needs {'about ' if estimated else ''}{needed:,} draws, but the best "
        f"reachable is {best}; {supply.name} runs out first: {float(share):.4%} of {needed:,} draws is {drawn:,} rows, "
        f"{drawn / supply.num_rows:.2f} passes over its {supply.num_rows:,} rows, and {passes} "
        f"{'pass is' if passes == 1 else 'passes are'} allowed",
        where="target",
        hint=f"lower the target to what {limit:,} draws give, or allow {supply.name} "
        f"{-(-drawn // supply.num_rows)} passes (`when_exhausted: repeat` and `max_passes`) or a smaller weight",
    )
