"""What tests ask of manifests; and small ones, whole and consistent, to ask it of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mixer.mixing.target import Extent
from mixer.plan.plan import Plan
from mixer.recipe import parse_recipe
from mixer.shards.consistency import inconsistencies, sums
from mixer.shards.decode import decode
from mixer.shards.ids import recipe_of_stage
from mixer.shards.manifest import manifest_json, prefix_of, with_id
from mixer.shards.records import (
    Cut,
    EpochsEntry,
    Manifest,
    ReferenceCheck,
    SequenceRules,
    ShardEntry,
    ShardFile,
    SourceCounts,
    SourceEntry,
    Stage,
    StageCounts,
    StageSource,
    TokenizerEntry,
    Totals,
)

LENGTH = 10
_NO_TOTALS = Totals(**dict.fromkeys(Totals.__slots__, 0))
TOKENIZER = TokenizerEntry(
    name="llama3", fingerprint="f" * 64, vocab_size=128256, bos_id=128000, eos_id=128001, pad_id=128004
)


def passes(manifest: Manifest) -> list[float]:
    """How often the rows of each source were drawn, by its number; for builds of one stage."""
    (stage,) = manifest.stages
    return [counts.rows / sum(entry.pass_rows) for entry, counts in zip(stage.sources, manifest.source_counts)]


def counts_of(manifest: Manifest, name: str) -> SourceCounts:
    """What came of a source."""
    return manifest.source_counts[manifest.source_names.index(name)]


def edited(manifest: Manifest, edit: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """The JSON value of a manifest after an edit, under the id that it had."""
    value = manifest_json(manifest)
    edit(value)
    return value


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A source and what was drawn of it; `weight` in the recipe, `row_weight` in the stage: None, as it was drawn."""

    name: str
    rows: int
    tokens: int
    weight: float = 1
    row_weight: int | None = None
    rows_available: int = 10_000
    skipped: Mapping[str, int] = field(default_factory=dict)
    text_bytes: int | None = None
    tokens_left_out: int = 0

    @property
    def counts(self) -> SourceCounts:
        """Four bytes a token, and four documents cut."""
        documents = self.rows - sum(self.skipped.values())
        return SourceCounts(
            rows=self.rows,
            documents=documents,
            skipped=dict(self.skipped),
            text_bytes=4 * self.tokens if self.text_bytes is None else self.text_bytes,
            tokens=self.tokens,
            tokens_left_out=self.tokens_left_out,
            truncated_documents=min(4, documents),
        )


def manifest_of(*drawn: Drawn, weights: str = "rows", check: ReferenceCheck | None = None) -> Manifest:
    """A build of one task and sequences of ten ids, a tenth of them or a little more padding."""
    recipe = parse_recipe(
        {
            "sequence": {"length": LENGTH},
            "weights": weights,
            "target": {"rows": 1},
            "sources": {one.name: {"weight": one.weight, "path": "x.jsonl"} for one in drawn},
        },
        where="test",
        default_name="tiny",
    ).normalised()
    num_draws = sum(one.rows for one in drawn)
    num_tokens = sum(one.tokens for one in drawn)
    row_weights = [one.rows if one.row_weight is None else one.row_weight for one in drawn]
    shards = [_shard(0, 0, (0, num_draws), -(-num_tokens // (LENGTH - 1)), num_tokens)] if num_tokens else []
    return _whole(
        recipe=recipe,
        sources=tuple(SourceEntry(name=one.name, snapshot="5" * 64, num_rows=one.rows_available) for one in drawn),
        stages=(
            _stage(
                recipe,
                first_task=0,
                first_draw=0,
                draws_per_task=max(1, num_draws),
                sources=[
                    (number, max(1, weight), one.rows_available)
                    for number, (one, weight) in enumerate(zip(drawn, row_weights))
                ],
            ),
        ),
        cuts=(),
        counts=(
            StageCounts(
                stage=0,
                tasks=(0, int(num_draws > 0)),
                draws=(0, num_draws),
                sources=tuple(one.counts for one in drawn),
            ),
        ),
        shards=tuple(shards),
        check=check or ReferenceCheck(documents=37),
    )


def staged_manifest() -> Manifest:
    """Two stages: `a` and `b` over tasks 0 and 1; `b` and `c` over tasks 2 to 4, where 3 is empty and 4 is cut."""
    mapping = {
        "sequence": {"length": LENGTH},
        "target": {"rows": 1},
        "sources": {name: {"weight": 1, "path": "x.jsonl"} for name in "abc"},
    }
    recipe = parse_recipe(mapping, where="test", default_name="staged").normalised()

    def counts(rows: int, tokens: int, skipped: int = 0, left_out: int = 0) -> SourceCounts:
        reasons = {"null_text": skipped} if skipped else {}
        return SourceCounts(
            rows=rows,
            documents=rows - skipped,
            skipped=reasons,
            text_bytes=4 * tokens,
            tokens=tokens,
            tokens_left_out=left_out,
            truncated_documents=1,
        )

    return _whole(
        recipe=recipe,
        sources=tuple(SourceEntry(name=name, snapshot=digit * 64, num_rows=9) for name, digit in zip("abc", "567")),
        stages=(
            _stage(recipe, first_task=0, first_draw=0, draws_per_task=6, sources=[(0, 2, 9), (1, 1, 4)]),
            _stage(recipe, first_task=2, first_draw=12, draws_per_task=4, sources=[(1, 1, 4), (2, 1, 7)]),
        ),
        cuts=(Cut(task=4, draws=2, sequences=1),),
        counts=(
            StageCounts(stage=0, tasks=(0, 2), draws=(0, 12), sources=(counts(8, 35), counts(4, 10, skipped=1))),
            StageCounts(stage=1, tasks=(2, 5), draws=(12, 22), sources=(counts(5, 11), counts(5, 17, left_out=3))),
        ),
        shards=(
            _shard(0, 0, (0, 6), 3, 25),
            _shard(1, 0, (6, 12), 2, 20),
            _shard(2, 1, (12, 16), 2, 18),
            _shard(4, 1, (20, 22), 1, 10),
        ),
        check=ReferenceCheck(documents=5),
    )


def plan_to(extent: Extent, *, when_exhausted: str = "repeat") -> Plan:
    """A plan of one source, of ten tokens a draw and ten draws a task, that ends where it is told."""
    recipe = parse_recipe(
        {
            "sequence": {"length": LENGTH},
            "target": {"rows": 1},
            "when_exhausted": when_exhausted,
            "sources": {"a": {"weight": 1, "path": "a.jsonl"}},
        },
        where="test",
        default_name="tiny",
    )
    stage = _stage(recipe.normalised(), first_task=0, first_draw=0, draws_per_task=10, sources=[(0, 1, 1000)])
    return Plan(
        recipe=recipe,
        tokenizer=TOKENIZER,
        snapshots=(),
        tokens_per_row=(10.0,),
        standard_errors=(0.5,),
        stages=(stage,),
        extent=extent,
    )


def _stage(
    recipe: dict[str, Any],
    *,
    first_task: int,
    first_draw: int,
    draws_per_task: int,
    sources: list[tuple[int, int, int]],
) -> Stage:
    """A stage; of each source its number, weight in rows, and rows of a pass."""
    return Stage(
        first_task=first_task,
        first_draw=first_draw,
        weights=recipe["weights"],
        task_tokens=1 << 20,
        draws_per_task=draws_per_task,
        sequence=SequenceRules(length=LENGTH, packing="concat", bos=True, eos=True, batch_sequences=4),
        recipe=recipe_of_stage(recipe),
        sources=tuple(
            StageSource(source=number, weight=weight, selection="e" * 64, first_draw=0, pass_rows=(rows,))
            for number, weight, rows in sources
        ),
    )


def _shard(task: int, stage: int, draws: tuple[int, int], sequences: int, tokens: int) -> ShardEntry:
    return ShardEntry(
        task=task,
        stage=stage,
        draws=draws,
        sequences=sequences,
        tokens=tokens,
        padding=sequences * LENGTH - tokens,
        content_xxh3="c" * 32,
        content_sha256="c" * 64,
        file=ShardFile(bytes=100 * LENGTH * sequences, xxh3="d" * 32),
    )


def _whole(*, recipe: dict[str, Any], check: ReferenceCheck, **fields: Any) -> Manifest:
    """A manifest with the sums and ids that its fields have."""
    manifest = Manifest(
        id="",
        features=(),
        name=recipe["name"],
        plan="b" * 64,
        prefix_id="",
        recipe=recipe,
        tokenizer=TOKENIZER,
        seed=recipe["seed"],
        split="train",
        parent=None,
        epochs=EpochsEntry(count=1, mode="reshuffle"),
        totals=_NO_TOTALS,
        reference_check=check,
        hints={},
        **fields,
    )
    manifest = replace(manifest, totals=sums(manifest))
    manifest = with_id(replace(manifest, prefix_id=prefix_of(manifest)))
    assert list(inconsistencies(manifest)) == []
    return decode(Manifest, manifest_json(manifest))
