"""The steps and times of training on a mix, and of building it. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mixer.errors import UsageError
from mixer.plan.forecast import Forecast
from mixer.recipe import parse_count
from mixer.survey.estimate import Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """A run over all epochs of a mix; None where the speed or the batch is not given."""

    batch_tokens: int | None
    steps: Estimate | None
    tokens_per_second: int | None
    train_seconds: Estimate | None
    build_bytes_per_second: float | None
    build_seconds: Estimate | None


def training(
    mix: Forecast, *, batch_tokens: int | None, tokens_per_second: int | None, build_mb_per_second: float | None
) -> Training:
    """Steps and times.

    Args:
        mix: the forecast.
        batch_tokens: tokens of a step, all ranks together.
        tokens_per_second: that the trainer reads, all ranks together.
        build_mb_per_second: of text, that a build goes through on the machine that will do it.
    """
    return Training(
        batch_tokens=batch_tokens,
        steps=mix.trained_tokens / batch_tokens if batch_tokens else None,
        tokens_per_second=tokens_per_second,
        train_seconds=mix.trained_tokens / tokens_per_second if tokens_per_second else None,
        build_bytes_per_second=build_mb_per_second * 1e6 if build_mb_per_second else None,
        build_seconds=mix.text_bytes / (build_mb_per_second * 1e6) if build_mb_per_second else None,
    )


def parse_tokens(text: str, *, option: str) -> int:
    """A number of tokens, as one size or as a product: `11M`, `64x21x8192` -> 11_010_048.

    Raises:
        UsageError: it is neither; `option` is its place.
    """
    try:
        tokens = math.prod(parse_count(factor) for factor in text.lower().split("x"))
    except UsageError as error:
        raise UsageError(error.message, where=option, hint="such as 11M or 64x21x8192") from error
    if tokens < 1:
        raise UsageError("must be at least one token", where=option, hint="such as 11M or 64x21x8192")
    return tokens
