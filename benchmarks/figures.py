"""How the tables write their figures."""

from __future__ import annotations

from statistics import median
from typing import Any

Records = list[dict[str, Any]]


def values(records: Records, name: str, size: str | None, field: str) -> list[float]:
    """A field of a contestant, on a size or on all of them, over the rounds that count."""
    return [
        record[field]
        for record in records
        if record["contestant"] == name and (size is None or record["size"] == size) and record["round"] > 0
    ]


def times(ratio: float) -> str:
    """Two digits: `0.51 x`, `1.3 x`, `62 x`, `148 x`."""
    return f"{ratio:.0f} x" if ratio >= 9.95 else f"{ratio:.2g} x"


def spread(found: list[float], digits: int) -> str:
    """The median, and the least and the most where there are several."""
    if len(found) == 1:
        return f"{found[0]:,.{digits}f}"
    return f"{median(found):,.{digits}f} ({min(found):,.{digits}f}-{max(found):,.{digits}f})"


def measured_on(records: Records) -> str:
    """Rounds, machine and versions."""
    one = records[0]
    num_rounds = len({record["round"] for record in records if record["round"] > 0})
    versions = {name: version for record in records for name, version in record["versions"].items()}
    listed = ", ".join(f"{name} {versions[name]}" for name in sorted(versions))
    rounds = f"{num_rounds} interleaved round{'s' if num_rounds > 1 else ''}"
    return (
        f"{rounds}, caches {one['caches']}, {one['cores']} cores of {one['cpu']}, {one['date']}. "
        f"Python {one['python']}, {listed}."
    )
