"""Results of all tasks -> the manifest's content. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mixer.build.plan import Plan, shares
from mixer.build.result import SourceCounts, TaskResult
from mixer.errors import IntegrityError
from mixer.shards.shard import FORMAT_VERSION, batch_sequences


def manifest_content(plan: Plan, results: Sequence[TaskResult]) -> dict[str, Any]:
    """Everything that the manifest says but its id.

    Raises:
        IntegrityError: a source's draws are off their share by a row or more, or tokens do not add up; a bug.
    """
    num_draws = results[-1].stop if results else 0
    counts = [SourceCounts()] * len(plan.snapshots)
    for result in results:
        counts = [one + other for one, other in zip(counts, result.sources)]
    _check(plan, results, counts, num_draws)
    num_tokens = sum(result.num_tokens for result in results)
    return {
        "format": "mixer",
        "format_version": FORMAT_VERSION,
        "name": plan.recipe.name,
        "plan": plan.id,
        "recipe": plan.recipe.normalised(),
        "tokenizer": plan.tokenizer,
        "sequence_length": plan.recipe.sequence.length,
        "batch_sequences": batch_sequences(plan.recipe.sequence.length),
        "draws_per_task": plan.draws_per_task,
        "sources": _sources(plan, counts, num_draws, num_tokens),
        "shards": [
            {
                **{key: result.shard[key] for key in ("path", "bytes", "file_xxh3", "content_xxh3")},
                "task": result.task,
                "draws": [result.start, result.stop],
                "sequences": result.num_sequences,
                "tokens": result.num_tokens,
                "padding": result.num_pad,
            }
            for result in results
            if result.shard is not None
        ],
        "epochs": _epochs(plan),
        "totals": {
            "draws": num_draws,
            "documents": sum(count.documents for count in counts),
            "text_bytes": sum(count.num_bytes for count in counts),
            "sequences": sum(result.num_sequences for result in results),
            "tokens": num_tokens,
            "padding": sum(result.num_pad for result in results),
            "tokens_left_out": sum(count.tokens_left_out for count in counts),
            "truncated_documents": sum(count.truncated for count in counts),
        },
        "reference_check": {
            "documents": sum(result.checked for result in results),
            "different": sum(result.different for result in results),
        },
    }


def _epochs(plan: Plan) -> dict[str, Any]:
    """How often the sequences are read, and whether an epoch reads all of them or, where redrawn, its part."""
    epochs = plan.recipe.epochs
    return {"count": epochs.count, "mode": epochs.mode, "shards": "all" if epochs.mode == "reshuffle" else "parts"}


def _sources(plan: Plan, counts: Sequence[SourceCounts], num_draws: int, num_tokens: int) -> list[dict[str, Any]]:
    recipe = plan.recipe
    asked = shares({name: source.weight for name, source in recipe.sources.items()})
    period = sum(plan.integer_weights)
    entries = []
    for index, (name, source) in enumerate(recipe.sources.items()):
        snapshot, count = plan.snapshots[index], counts[index]
        entries.append(
            {
                "name": name,
                "weight": source.weight,
                "share_asked": asked[name],
                "row_weight": plan.integer_weights[index],
                "row_share_asked": plan.integer_weights[index] / period,
                "row_share": count.rows / num_draws if num_draws else 0.0,
                "token_share": count.tokens / num_tokens if num_tokens else 0.0,
                "measured_tokens_per_row": plan.tokens_per_row[index],
                "rows": count.rows,
                "rows_available": snapshot.num_kept,
                "rows_in_snapshot": snapshot.num_rows,
                "passes": count.rows / snapshot.num_kept,
                "documents": count.documents,
                "skipped": count.skipped,
                "text_bytes": count.num_bytes,
                "tokens": count.tokens,
                "tokens_left_out": count.tokens_left_out,
                "truncated_documents": count.truncated,
                "snapshot": snapshot.as_json(),
            }
        )
    return entries


def _check(plan: Plan, results: Sequence[TaskResult], counts: Sequence[SourceCounts], num_draws: int) -> None:
    """Conservation over the whole build."""
    length = plan.recipe.sequence.length
    for result in results:
        if result.num_tokens + result.num_pad != result.num_sequences * length:
            raise IntegrityError("tokens and padding are not its sequences", where=f"task {result.task}")
        if sum(count.tokens for count in result.sources) != result.num_tokens:
            raise IntegrityError("tokens of the sources are not those of its sequences", where=f"task {result.task}")
    period = sum(plan.integer_weights)
    for name, weight, count in zip(plan.source_names, plan.integer_weights, counts):
        if abs(count.rows * period - weight * num_draws) >= period:
            raise IntegrityError(f"{count.rows:,} of {num_draws:,} draws is a row or more off", where=name)
        if count.rows != count.documents + sum(count.skipped.values()):
            raise IntegrityError("rows are not documents and skipped rows", where=name)
