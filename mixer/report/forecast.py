"""A forecast for people (its table, totals and surprises) and for programs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from mixer.report.columns import Column, CountColumn, print_fitting
from mixer.report.console import print_line
from mixer.report.estimates import about, about_bytes, about_share, days, margin, share_range
from mixer.report.numbers import aligned_percent, counted, exact, num_bytes, percent, short
from mixer.report.words import FAR_FACTOR, FAR_SHARE

if TYPE_CHECKING:
    from rich.console import Console

    from mixer.plan.forecast import Forecast, SourceForecast
    from mixer.plan.training import Training
    from mixer.survey.estimate import Estimate


def print_forecast(mix: Forecast, run: Training, console: Console, *, wide: bool = False) -> None:
    """Print the table, the totals, the basis of the figures, and the surprises."""
    rows = sorted(mix.sources, key=lambda source: -source.row_share)
    print_fitting(rows, lambda count: _columns(mix, count), console, wide=wide)
    console.print()
    for line in forecast_in_words(mix, run):
        print_line(line, console)
    console.print()
    for source in rows:
        print_line(f"{source.name}: {source.basis}", console, style="dim")
    if lines := forecast_surprises(mix):
        console.print()
    for line in lines:
        print_line(f"! {line}", console, style="yellow")


def print_match(weights: Mapping[str, float], console: Console) -> None:
    """Print the weights as the part of a recipe that they are."""
    lines = ["weights: rows", "sources:", *(f"  {name}: {{weight: {weight:.10g}}}" for name, weight in weights.items())]
    for line in lines:
        console.print(line, soft_wrap=True)


def forecast_json(mix: Forecast, run: Training, match: Mapping[str, float] | None) -> dict[str, Any]:
    """The forecast for programs: each estimate with the ends of its 95 % interval, the surprises as `notes`.

    `low` and `high` are null where nothing is known.
    """
    named = ("rows", "rows_available", "passes", "tokens", "tokens_per_row", "lasts_tokens")
    sources = [
        {
            "name": source.name,
            "weight": source.weight,
            "share_asked": source.share_asked,
            "row_share": source.row_share,
            "token_share": _estimate_json(source.token_share, source.token_share.share_interval),
            **{name: _estimate_json(getattr(source, name)) for name in named},
            "basis": source.basis,
        }
        for source in mix.sources
    ]
    totals = ("rows", "tokens", "tokens_per_row", "sequences", "trained_tokens", "shard_bytes", "text_bytes")
    times = ("steps", "train_seconds", "build_seconds")
    return {
        "name": mix.name,
        "tokenizer": mix.tokenizer,
        "weights": mix.weights,
        "sequence_length": mix.sequence_length,
        "sources": sources,
        **{name: _estimate_json(getattr(mix, name)) for name in totals},
        "ended_by": mix.ended_by,
        "epochs": {"count": mix.epochs, "mode": mix.epoch_mode},
        "batch_tokens": run.batch_tokens,
        **{name: None if (one := getattr(run, name)) is None else _estimate_json(one) for name in times},
        "row_weights_for_tokens": None if match is None else dict(match),
        "notes": forecast_surprises(mix),
    }


def forecast_in_words(mix: Forecast, run: Training) -> list[str]:
    """The totals, a line each."""
    lines = [
        f"{about(mix.tokens)} tokens in {about(mix.sequences)} sequences of {exact(mix.sequence_length)} "
        f"({mix.tokenizer}, {mix.packing}), from {about(mix.rows)} rows of {about(mix.tokens_per_row)} tokens",
        f"{num_bytes(mix.shard_bytes.value)} on disk, from {about_bytes(mix.text_bytes)} of text"
        + (
            f"; {days(run.build_seconds.value)} to build at {num_bytes(run.build_bytes_per_second)}/s"
            if run.build_seconds is not None and run.build_bytes_per_second is not None
            else ""
        ),
        "; ".join(_training_in_words(mix, run)),
    ]
    first, *others = sorted(mix.sources, key=lambda source: source.lasts_tokens.value)
    then = f", then {others[0].name} after {about(others[0].lasts_tokens)}" if others else ""
    return [*lines, f"first to run out: {first.name} after {about(first.lasts_tokens)} tokens of the mix{then}"]


def _training_in_words(mix: Forecast, run: Training) -> Iterator[str]:
    mode = "" if mix.epochs == 1 else ", redrawn" if mix.epoch_mode == "redraw" else ", reshuffled"
    yield f"{counted(mix.epochs, 'epoch')}{mode}: {about(mix.trained_tokens)} tokens to train on"
    if run.steps is not None and run.batch_tokens is not None:
        steps = f"{math.ceil(round(run.steps.value, 6)):,}" if not run.steps.reach else about(run.steps)
        yield f"{steps} steps of {exact(run.batch_tokens)}"
    if run.train_seconds is not None and run.tokens_per_second is not None:
        yield f"{days(run.train_seconds.value)} at {short(run.tokens_per_second)} tokens/s"


def forecast_surprises(mix: Forecast) -> list[str]:
    """Sentences on differences from the weights: shares of tokens, repeats, an early end, doubtful figures."""
    far = sorted(filter(_far, mix.sources), key=lambda source: -abs(source.token_share.value - source.row_share))
    again = sorted((one for one in mix.sources if one.passes.value > 1), key=lambda one: -one.passes.value)
    return [
        *(_share_in_words(source, mix) for source in far),
        *(
            f"{one.name} will be read {one.passes.value:.3g} times: {about(one.rows)} draws from "
            f"{about(one.rows_available)} rows"
            for one in again
        ),
        *([] if mix.ended_by is None else [f"{mix.ended_by} ends the build: no row of it is left to draw"]),
        *(note for source in mix.sources for note in source.notes),
    ]


def _far(source: SourceForecast) -> bool:
    low, high = sorted((source.row_share, source.token_share.value))
    return high > FAR_FACTOR * low and high - low > FAR_SHARE


def _share_in_words(source: SourceForecast, mix: Forecast) -> str:
    times = source.tokens_per_row.value / mix.tokens_per_row.value
    shown = f"{times:.1f}" if times >= 1 else f"{times:.2g}"
    return (
        f"{source.name} is {percent(source.row_share)} of the rows and {about_share(source.token_share)} of the "
        f"tokens: a row of it is about {counted(round(source.tokens_per_row.value), 'token')}, {shown} times the mean"
    )


def _columns(mix: Forecast, count: CountColumn) -> Iterator[Column[SourceForecast]]:
    yield Column(header="\nsource", footer="total", cell=lambda row: row.name)
    yield Column(header="\nweight", cell=lambda row: f"{row.weight:g}", rank=3)
    yield Column(header="\nrows", footer=short(mix.rows.value), cell=lambda row: short(row.rows.value))
    yield Column(
        header="rows\nthere", cell=lambda row: short(row.rows_available.value) + _mark(row.rows_available), rank=2
    )
    yield Column(header="\npasses", cell=lambda row: f"{row.passes.value:.2f}")
    yield Column(header="\nof rows", cell=lambda row: aligned_percent(row.row_share))
    yield Column(header="\ntokens", footer=short(mix.tokens.value), cell=lambda row: short(row.tokens.value))
    if mix.weights == "tokens":
        yield Column(header="of tokens\nasked", cell=lambda row: aligned_percent(row.share_asked))
    yield Column(
        header="\nof tokens" if mix.weights == "rows" else "of tokens\nabout",
        cell=lambda row: aligned_percent(row.token_share.value),
    )
    yield Column(header="\n95 %", title="95 % of tokens", cell=lambda row: share_range(row.token_share), rank=5)
    yield Column(
        header="tokens\n/row",
        footer=count(round(mix.tokens_per_row.value)),
        cell=lambda row: count(round(row.tokens_per_row.value)),
    )
    yield Column(header="\n95 %", title="95 % of tokens/row", cell=lambda row: margin(row.tokens_per_row), rank=1)


def _mark(figure: Estimate) -> str:
    """A question mark behind a count that is not known to three digits."""
    return "" if figure.reach < 0.005 else "?"


def _estimate_json(estimate: Estimate, interval: tuple[float, float] | None = None) -> dict[str, float | None]:
    low, high = interval or estimate.interval
    known = math.isfinite(high)
    return {"value": estimate.value, "low": low if known else None, "high": high if known else None}
