"""Numbers as people read them. Pure."""

from __future__ import annotations

_UNITS = ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K"))


def exact(count: int) -> str:
    """A count to the last digit: `10,006,504`."""
    return f"{count:,}"


def counted(count: int, noun: str) -> str:
    """A count of things: `1 shard`, `1,226 shards`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def short(count: float) -> str:
    """A count in at most six characters: `9,999`, `10.0M`, `809B`."""
    if count < 10_000:
        return f"{count:,.0f}"
    for size, unit in _UNITS:
        scaled = count / size
        if scaled >= 0.9995:
            return f"{scaled:.{_decimals(scaled)}f}{unit}"
    raise AssertionError


def _decimals(scaled: float) -> int:
    return 2 if scaled < 9.995 else 1 if scaled < 99.95 else 0


def percent(share: float) -> str:
    """A share of 1 in a sentence: `79.8 %`, `0.05 %`, `<0.01 %`; never a zero for what is not zero."""
    return f"{100 * share:.1f} %" if share == 0 or share >= 0.00995 else aligned_percent(share)


def aligned_percent(share: float) -> str:
    """A share of 1 in a column: `79.81 %`, `0.05 %`, `<0.01 %`."""
    return "<0.01 %" if 0 < share < 0.00005 else f"{100 * share:.2f} %"


def num_bytes(count: float) -> str:
    """Bytes in decimal units: `40.1 MB`."""
    for size, unit in _UNITS:
        if count >= size:
            scaled = count / size
            return f"{scaled:.{_decimals(scaled)}f} {unit.replace('B', 'G').replace('K', 'k')}B"
    return f"{count:.0f} bytes"


def duration(seconds: float) -> str:
    """A time: `0.4 s`, `12 s`, `3:20`, `12:03:20`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes == 0:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
