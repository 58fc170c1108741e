"""Estimates as people read them. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mixer.report.numbers import num_bytes, percent, short

if TYPE_CHECKING:
    from collections.abc import Callable

    from mixer.survey.estimate import Estimate

_SURE = 0.0005
"""An error below this share of the value is below the digits shown."""


def about(estimate: Estimate, shown: Callable[[float], str] = short) -> str:
    """A number in a sentence, with its interval where that can be seen: `348M (314M to 385M)`."""
    if estimate.reach < _SURE:
        return shown(estimate.value)
    low, high = estimate.interval
    if math.isinf(high):
        return f"about {shown(estimate.value)}"
    return f"about {shown(estimate.value)} ({shown(low)} to {shown(high)})"


def about_bytes(estimate: Estimate) -> str:
    """A size in a sentence: `about 3.25 TB`."""
    return about(estimate, num_bytes)


def margin(estimate: Estimate) -> str:
    """The error of a number, in a column: `±10 %`, or a factor, `x 2.3`; `?` where nothing is known."""
    if estimate.reach < _SURE:
        return ""
    if math.isinf(estimate.interval[1]):
        return "?"
    factor = math.exp(estimate.reach)
    return f"±{100 * (factor - 1):.2g} %" if factor < 1.995 else f"x {factor:.1f}"


def share_range(share: Estimate) -> str:
    """The interval of a share of 1, in a column: `51.6-60.9 %`."""
    low, high = share.share_interval
    if high - low < _SURE:
        return ""
    digits = 1 if high - low >= 0.002 else 2
    return f"{100 * low:.{digits}f}-{100 * high:.{digits}f} %"


def about_share(share: Estimate) -> str:
    """A share of 1 in a sentence: `about 56.3 % (51.6 to 60.9 %)`."""
    between = share_range(share).replace("-", " to ")
    return f"about {percent(share.value)} ({between})" if between else percent(share.value)


def days(seconds: float) -> str:
    """A long time: `12.3 days`, `5.3 hours`, `3.2 minutes`."""
    for unit, size in (("days", 86400.0), ("hours", 3600.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds / 60:.1f} minutes"
