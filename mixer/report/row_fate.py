"""Why a row is in no sequence of a build, in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mixer.report.console import visible

if TYPE_CHECKING:
    from mixer.shards.drawn import Drawing
    from mixer.shards.records import Manifest
    from mixer.verify.row_fate import Decision, Fate

_WHY = {
    "never_drawn": "it was never drawn: the build ends before its turn",
    "where": "the source's `where` drops it",
    "not_kept": "the source's row attributes drop it",
    "null_text": "it was drawn and skipped: it has no text (null_text)",
    "empty_text": "it was drawn and skipped: its text is empty (empty_text)",
    "bad_row": "it was drawn and skipped: it cannot be read (bad_row)",
    "too_long": "it was drawn and skipped: it is longer than max_document_tokens (too_long)",
    "held_out": "it was drawn and skipped: it is held out of training (held_out)",
    "not_held_out": "it was drawn and skipped: it is of the training split (not_held_out)",
    "left_out": "it was drawn in the last task, and left out after the target was met",
    "drawn": "its tokens are in the sequences of the build",
}


def fate_in_words(fate: Fate) -> str:
    """The fate of a row whose source was read."""
    detail = f": {fate.found.detail}" if fate.found.detail else ""
    if fate.decision is not None:
        detail = f": {_decision_in_words(fate.decision)}"
    return visible(f"{_WHY[fate.why]}{detail}")


def _decision_in_words(decision: Decision) -> str:
    """Such as `step 3 near, a duplicate of edu row 1,234 (part-3.parquet, row 17), 103 of the slots are equal`."""
    if decision.step is None:
        return f"the column keep of {decision.name} is false" if decision.name != "where" else "where does not hold"
    words = f"step {decision.step}" if decision.step != "where" else "where does not hold"
    if decision.reason not in (None, "where", "duplicate"):
        words += f", {decision.reason}"
    if decision.twin_row is not None:
        equal = "the same" if decision.agreement == 255 else f"{decision.agreement} slots of its signature are equal"
        words += f", a duplicate of {decision.twin_source} row {decision.twin_row:,} ({decision.twin_place}): {equal}"
    return words


def drawings_in_words(manifest: Manifest, drawn: Sequence[Drawing]) -> str:
    """The fate of a row that is in no sequence, as far as it is known without its source."""
    if not drawn:
        return f"{_WHY['never_drawn']}, or the source's `where` drops it"
    if not all(drawing.is_certain for drawing in drawn):
        return "the source's `where` drops it, or it was drawn and skipped; only the missing source shows which"
    tasks = sorted({drawing.tasks[0] for drawing in drawn})
    cut = any(manifest.cut_of(task) is not None for task in tasks)
    left_out = ", or left out after the target was met" if cut else ""
    named = ", ".join(map(str, tasks))
    return f"it was drawn in task {named} and skipped{left_out}; only the missing source shows why"
