"""A manifest whose fields say different things of one build is refused, whatever its id: one damage a rule."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from manifest_kit import edited, staged_manifest

from mixer.errors import FormatError
from mixer.shards.ids import manifest_id
from mixer.shards.manifest import load_manifest, manifest_json, parse_manifest

pytestmark = pytest.mark.quick

Edit = Callable[[dict[str, Any]], object]


def set_at(*path: Any) -> Edit:
    """An edit: the last is put at the place that the others lead to."""
    *way, key, new = path

    def edit(value: dict[str, Any]) -> None:
        holder: Any = value
        for step in way:
            holder = holder[step]
        holder[key] = new

    return edit


def both(*edits: Edit) -> Edit:
    return lambda value: [edit(value) for edit in edits]


LENGTH_8 = set_at("stages", 1, "sequence", "length", 8)
RULES: dict[str, tuple[Edit, str]] = {
    "feature": (set_at("features", ["loss-masks"]), "features: loss-masks not known to this mixer"),
    # Stages.
    "no stage": (set_at("stages", []), "stages: there is none"),
    "name twice": (set_at("sources", 1, "name", "a"), "sources: a name appears twice"),
    "first task": (set_at("stages", 0, "first_task", 1), "stages[0] does not begin with task 0 and draw 0"),
    "first draw": (set_at("stages", 0, "first_draw", 1), "stages[0] does not begin with task 0 and draw 0"),
    "length 1": (set_at("stages", 1, "sequence", "length", 1), "stages[1].sequence.length is 1, not 2 to 2^20"),
    "length huge": (
        set_at("stages", 1, "sequence", "length", 2**20 + 1),
        "stages[1].sequence.length is 1048577, not 2 to 2^20",
    ),
    "no draws": (set_at("stages", 1, "draws_per_task", 0), "stages[1].draws_per_task or sequence.batch_sequences is 0"),
    "no batch": (
        set_at("stages", 0, "sequence", "batch_sequences", 0),
        "stages[0].draws_per_task or sequence.batch_sequences is 0",
    ),
    "no source": (set_at("stages", 0, "sources", []), "stages[0].sources are not numbers of sources, rising"),
    "source unknown": (set_at("stages", 1, "sources", 1, "source", 3), "stages[1].sources are not numbers of sources"),
    "source falling": (set_at("stages", 1, "sources", 1, "source", 0), "stages[1].sources are not numbers of sources"),
    "source twice": (set_at("stages", 1, "sources", 1, "source", 1), "stages[1].sources are not numbers of sources"),
    "weight 0": (set_at("stages", 0, "sources", 1, "weight", 0), "stages[0].sources: the weight of source 1 is 0"),
    "no pass": (set_at("stages", 0, "sources", 0, "pass_rows", []), "stages[0].sources: source 0 has no rows"),
    "no rows": (set_at("stages", 0, "sources", 0, "pass_rows", [0, 0]), "stages[0].sources: source 0 has no rows"),
    "stage without tasks": (
        set_at("stages", 1, "first_task", 0),
        "stages[1] does not begin after the stage before it",
    ),
    "draw before": (
        lambda value: value["stages"].append({**value["stages"][1], "first_task": 9, "first_draw": 11}),
        "stages[2] does not begin after the stage before it",
    ),
    "two lengths": (LENGTH_8, "stages: their sequences have several lengths"),
    # The tokenizer.
    "no vocabulary": (set_at("tokenizer", "vocab_size", 0), "tokenizer.vocab_size is 0, not 1 to 2^31"),
    "vocabulary huge": (set_at("tokenizer", "vocab_size", 2**31 + 1), "tokenizer.vocab_size is 2147483649, not 1 to"),
    "bos": (set_at("tokenizer", "bos_id", 128256), "tokenizer.bos_id is 128256, beyond the vocabulary of 128256"),
    "eos": (set_at("tokenizer", "eos_id", 128256), "tokenizer.eos_id is 128256, beyond the vocabulary of 128256"),
    "pad": (set_at("tokenizer", "pad_id", 128256), "tokenizer.pad_id is 128256, beyond the vocabulary of 128256"),
    "no bos": (set_at("tokenizer", "bos_id", None), "tokenizer.bos_id is missing, and documents have one"),
    "no eos": (set_at("tokenizer", "eos_id", None), "tokenizer.eos_id is missing, and documents have one"),
    # Counts.
    "counts of no stage": (set_at("counts", 1, "stage", 2), "counts[1].stage is 2, and there are 2 stages"),
    "counts of fewer": (
        lambda value: value["counts"][1]["sources"].pop(),
        "counts[1].sources are 1, those of the stage 2",
    ),
    "counts begin": (set_at("counts", 1, "tasks", [3, 5]), "counts[1] does not begin where its stage begins"),
    "counts begin, draws": (set_at("counts", 1, "draws", [13, 22]), "counts[1] does not begin where its stage begins"),
    "counts end": (set_at("counts", 1, "tasks", [2, 1]), "counts[1] ends before it begins"),
    "rows": (set_at("counts", 0, "sources", 0, "rows", 9), "counts[0]: the rows of the sources are not the 12 draws"),
    "share": (
        both(
            set_at("counts", 0, "sources", 0, "rows", 9),
            set_at("counts", 0, "sources", 0, "documents", 9),
            set_at("counts", 0, "sources", 1, "rows", 3),
            set_at("counts", 0, "sources", 1, "documents", 2),
        ),
        "counts[0]: 9 of 12 draws is a row or more off the share of source 0",
    ),
    "documents": (
        set_at("counts", 0, "sources", 1, "documents", 4),
        "counts[0]: the rows of source 1 are not its documents and skipped rows",
    ),
    "skipped": (
        set_at("counts", 0, "sources", 1, "skipped", {"null_text": 2}),
        "counts[0]: the rows of source 1 are not its documents and skipped rows",
    ),
    "cut documents": (
        set_at("counts", 1, "sources", 1, "truncated_documents", 6),
        "counts[1]: source 2 has more cut documents than documents, or tokens without any",
    ),
    "tokens of none": (
        both(
            set_at("counts", 1, "sources", 1, "documents", 0),
            set_at("counts", 1, "sources", 1, "truncated_documents", 0),
            set_at("counts", 1, "sources", 1, "skipped", {"null_text": 5}),
        ),
        "counts[1]: source 2 has more cut documents than documents, or tokens without any",
    ),
    "cut in the middle": (
        lambda value: value["cuts"].insert(0, {"task": 3, "draws": 1, "sequences": 1}),
        "counts[1]: a task that is not the last of its stage was cut",
    ),
    "end of a whole task": (set_at("cuts", []), "counts[1].draws end at 22, and its last task does not"),
    "end of a cut task": (set_at("cuts", 0, "draws", 3), "counts[1].draws end at 22, and its last task does not"),
    "no task": (
        set_at("counts", 1, "tasks", [2, 2]),
        "counts[1] has draws and no task",
    ),
    "does not follow": (
        both(set_at("stages", 1, "first_task", 3), set_at("counts", 1, "tasks", [3, 6]), set_at("cuts", 0, "task", 5)),
        "counts[1] does not follow the stage before it",
    ),
    # Shards.
    "cuts falling": (
        lambda value: value["cuts"].append({"task": 1, "draws": 6, "sequences": 2}),
        "cuts are not of tasks, rising",
    ),
    "shards falling": (lambda value: value["shards"].reverse(), "shards[1].task is 2, not after 4"),
    "shard twice": (
        lambda value: value["shards"].insert(1, value["shards"][0]),
        "shards[1].task is 0, not after 0",
    ),
    "shard of another stage": (set_at("shards", 1, "stage", 1), "shards[1]: task 1 is not of stage 1"),
    "shard beyond": (set_at("shards", 3, "task", 5), "shards[3]: task 5 is not of stage 1"),
    "draws of a shard": (set_at("shards", 1, "draws", [6, 11]), "shards[1].draws are [6, 11], those of task 1 are"),
    "draws of a cut shard": (set_at("shards", 3, "draws", [20, 24]), "shards[3].draws are [20, 24], those of task 4"),
    "cut sequences": (set_at("cuts", 0, "sequences", 2), "shards[3].sequences are 1, the cut has 2"),
    "no sequence": (
        both(set_at("shards", 1, "sequences", 0), set_at("shards", 1, "tokens", 0)),
        "shards[1]: a sequence without a token",
    ),
    "no token": (
        both(set_at("shards", 1, "tokens", 1), set_at("shards", 1, "padding", 19)),
        "shards[1]: a sequence without a token",
    ),
    "padding": (set_at("shards", 0, "padding", 4), "shards[0]: tokens and padding are not its sequences"),
    "bytes": (set_at("shards", 0, "file", "bytes", 119), "shards[0].file.bytes is too little for its sequences"),
    # Totals.
    **{
        f"total {name}": (set_at("totals", name, 1), f"totals.{name} is 1, the sum is ")
        for name in staged_manifest().totals.__slots__
    },
    "tokens of sources": (
        set_at("counts", 0, "sources", 0, "tokens", 36),
        "the shards hold 73 tokens, the sources gave 74",
    ),
    "check": (set_at("reference_check", "different", 6), "reference_check has more different documents than documents"),
    "epochs": (set_at("epochs", "count", 0), "epochs.count is 0"),
    # What is computed from the others.
    "prefix": (set_at("prefix_id", "0" * 64), "prefix_id belongs to other stages"),
    "seed": (set_at("seed", 77), "prefix_id belongs to other stages"),
}


def with_own_id(value: dict[str, Any]) -> dict[str, Any]:
    return {**value, "id": manifest_id(value)}


@pytest.mark.parametrize("what", RULES)
def test_a_contradiction_is_named(what: str) -> None:
    """Though the id is that of the content: the place and what does not fit, and no other error."""
    edit, words = RULES[what]
    value = with_own_id(edited(staged_manifest(), edit))
    with pytest.raises(FormatError, match=re.escape(f"the manifest contradicts itself: {words}")) as caught:
        parse_manifest(value, where="m.json")
    assert caught.value.where == "m.json"


def test_the_manifest_that_is_damaged_above_is_whole(tmp_path: Path) -> None:
    """Two stages, an empty task and a cut one."""
    manifest = staged_manifest()
    (tmp_path / "m.json").write_text(json.dumps(manifest_json(manifest)))
    assert load_manifest(tmp_path / "m.json") == manifest


@pytest.mark.parametrize(
    "edit",
    [
        set_at("hints", {"path": "/elsewhere"}),
        set_at("reference_check", {"documents": 0, "different": 0}),
        set_at("shards", 0, "file", {"bytes": 999, "xxh3": "0" * 32, "state": "deleted"}),
    ],
)
def test_what_may_differ_between_two_machines_is_in_no_id(edit: Edit) -> None:
    """Hints, how much was checked, and the shard as a file."""
    value = edited(staged_manifest(), edit)
    assert manifest_id(value) == value["id"]
    assert parse_manifest(value, where="m").id == staged_manifest().id
