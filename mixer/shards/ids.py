"""The ids of a build (format.md, section 3): of a plan, a manifest, a task record, and of what comes before a task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mixer.digest import identity
from mixer.shards.decode import encode
from mixer.shards.records import FORMAT_VERSION, Cut, Stage, TokenizerEntry

_NOT_IN_MANIFEST_ID = ("id", "hints", "reference_check")
_NOT_IN_RECIPE_OF_STAGE = (
    "name", "seed", "tokenizer", "target", "epochs", "when_exhausted", "max_passes", "task_tokens", "cache", "engine",
)  # fmt: skip


def plan_id(plan: Mapping[str, Any]) -> str:
    """The id of a plan's JSON value: its identity without `id` and `hints`."""
    return identity({key: value for key, value in plan.items() if key not in ("id", "hints")})


def manifest_id(manifest: Mapping[str, Any]) -> str:
    """The id of a manifest's JSON value: its identity without `_NOT_IN_MANIFEST_ID`, and the `file` of its shards."""
    content = {key: value for key, value in manifest.items() if key not in _NOT_IN_MANIFEST_ID}
    content["shards"] = [{key: value for key, value in shard.items() if key != "file"} for shard in manifest["shards"]]
    return identity(content)


def record_digest(record: Mapping[str, Any]) -> str:
    """The digest of a task record's JSON value: its identity without `digest`."""
    return identity({key: value for key, value in record.items() if key != "digest"})


def recipe_of_stage(normalised: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a recipe that determines its rows and their tokens.

    Left out is what chooses no row, and what a stage or its build says by itself.
    """
    recipe = {key: value for key, value in normalised.items() if key not in _NOT_IN_RECIPE_OF_STAGE}
    recipe["sources"] = {
        name: {key: value for key, value in source.items() if key != "max_passes"}
        for name, source in normalised["sources"].items()
    }
    return recipe


def prefix_id(
    task: int,
    *,
    features: Sequence[str],
    tokenizer: TokenizerEntry,
    seed: int,
    split: str,
    sources: Sequence[Any],
    stages: Sequence[Stage],
    cuts: Iterable[Cut],
) -> str:
    """The identity of everything that determines the tasks below `task`, and of nothing else.

    Two builds with one prefix id have the same shards below that task, whatever follows: a longer target, other weights
    later, another branch. The tokenizer's name is left out, its fingerprint says more.
    """
    begun = [stage for stage in stages if stage.first_task < task]
    numbers = {source.source for stage in begun for source in stage.sources}
    known = encode(tokenizer)
    del known["name"]
    return identity(
        {
            "format_version": FORMAT_VERSION,
            "features": list(features),
            "tokenizer": known,
            "seed": seed,
            "split": split,
            "sources": [encode(source) for number, source in enumerate(sources) if number in numbers],
            "stages": [encode(stage) for stage in begun],
            "cuts": [encode(cut) for cut in cuts if cut.task < task],
        }
    )
