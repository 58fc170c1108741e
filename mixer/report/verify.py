"""The result of a check of a build, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mixer.errors import MixerError
from mixer.report.console import visible
from mixer.report.numbers import counted, duration


def print_damage(error: MixerError) -> None:
    """A line for one damage, as soon as it is found."""
    print(visible(f"{error.where}: {error.message}" if error.where else error.message), flush=True)


def fine_line(report: Mapping[str, Any]) -> str:
    """A summary of the checks of an undamaged build."""
    parts = [counted(report[f"{noun}s"], noun) for noun in ("shard", "sequence", "token")]
    if deep := report.get("deep"):
        parts.append(f"{counted(deep['sequences'], 'sequence')} encoded again by the reference tokenizer")
        parts.append(f"{counted(deep['shards'], 'shard')} rebuilt")
        if deep["files"]:
            parts.append(f"{counted(deep['files'], 'file')} of the sources compared in full")
    return f"fine: {', '.join(parts)}, in {duration(report['seconds'])}"
