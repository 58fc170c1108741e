"""A recipe and its survey -> everything that a task needs, and nothing else. Pure.

A plan holds decisions only: it is the same on every machine, for any number of workers, at any time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from mixer.errors import RecipeError
from mixer.mixing.draws import DrawSchedule
from mixer.mixing.target import Extent
from mixer.mixing.tasks import Task
from mixer.plan.extent import draw_schedule, mean_tokens, reach
from mixer.plan.stages import whole_stage
from mixer.recipe import Recipe, recipe_of
from mixer.shards.decode import decode
from mixer.shards.ids import prefix_id
from mixer.shards.plan_file import plan_json
from mixer.shards.records import (
    Cut,
    Manifest,
    PlanRecord,
    SourceEntry,
    Stage,
    TokenizerEntry,
)
from mixer.shards.shard import BATCH_TOKENS
from mixer.sources.selection import selection_json
from mixer.sources.snapshot import Snapshot
from mixer.survey.result import Survey


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The decisions of a build.

    `snapshots`, `tokens_per_row` (the mean measured on a keyed sample, with BOS and EOS) and `standard_errors` (of that
    mean) have one entry a source, in the order of the sources' numbers. `forecasting` is true of a plan of which only a
    forecast is wanted: not all of its contents are fetched.
    """

    recipe: Recipe
    tokenizer: TokenizerEntry
    snapshots: tuple[Snapshot, ...]
    tokens_per_row: tuple[float, ...]
    standard_errors: tuple[float, ...]
    stages: tuple[Stage, ...]
    extent: Extent
    forecasting: bool = False

    @property
    def source_names(self) -> list[str]:
        """Names of the sources by number; shards hold the numbers."""
        return list(self.recipe.sources)

    @property
    def stage(self) -> Stage:
        """The stage of all tasks: a recipe has one."""
        (stage,) = self.stages
        return stage

    @property
    def split(self) -> str:
        """`train`, or `validation`: the rows that are held out of training."""
        return self.recipe.split

    @property
    def num_specials(self) -> int:
        """Tokens that a document has besides its text: BOS and EOS, as the recipe sets them."""
        return self.stage.sequence.num_specials

    @cached_property
    def schedule(self) -> DrawSchedule:
        """Which source each draw takes from."""
        return DrawSchedule([source.weight for source in self.stage.sources])

    @cached_property
    def selections(self) -> tuple[dict[str, Any], ...]:
        """The kept rows of each source's snapshot, as JSON."""
        pairs = zip(self.recipe.sources.values(), self.snapshots, strict=True)
        return tuple(selection_json(snapshot, source.where) for source, snapshot in pairs)

    @cached_property
    def json(self) -> dict[str, Any]:
        """The content of `plan.json`."""
        return plan_json(self._record(id=""))

    @property
    def id(self) -> str:
        """Identity of the plan: two builds with one id have the same content."""
        return str(self.json["id"])

    def record(self) -> PlanRecord:
        """The plan as it is written down."""
        return decode(PlanRecord, self.json)

    def _record(self, id: str) -> PlanRecord:
        return PlanRecord(
            id=id,
            features=(),
            name=self.recipe.name,
            recipe=self.recipe.normalised(),
            tokenizer=self.tokenizer,
            seed=self.recipe.seed,
            split=self.split,
            parent=None,
            sources=self._sources,
            stages=self.stages,
        )

    @property
    def _sources(self) -> tuple[SourceEntry, ...]:
        return tuple(
            SourceEntry(name=name, snapshot=snapshot.identity, num_rows=snapshot.num_rows)
            for name, snapshot in zip(self.source_names, self.snapshots, strict=True)
        )

    def prefix_id(self, task: int, cuts: tuple[Cut, ...] = ()) -> str:
        """The identity of everything that determines the tasks before one, given the cuts of tasks."""
        return prefix_id(
            task,
            features=(),
            tokenizer=self.tokenizer,
            seed=self.recipe.seed,
            split=self.split,
            sources=self._sources,
            stages=self.stages,
            cuts=cuts,
        )

    def task(self, number: int) -> Task | None:
        """The task of this number; None if the build ends before it."""
        start, stop = self.stage.task_draws(number)
        if self.extent.max_draws is not None:
            stop = min(stop, self.extent.max_draws)
        return Task(number=number, start=start, stop=stop) if start < stop else None

    @property
    def estimated_tasks(self) -> int:
        """The estimated number of tasks of the build."""
        return -(-self.extent.estimated_draws // self.stage.draws_per_task)

    @cached_property
    def expected_tokens(self) -> float:
        """The expected tokens of the build without padding: the target, or an estimate."""
        if self.extent.end_tokens is not None:
            return self.extent.end_tokens
        if self.extent.end_sequences is not None:
            return self.extent.end_sequences * self.recipe.sequence.length
        counts = self.schedule.counts(self.extent.estimated_draws).tolist()
        return math.fsum(count * mean for count, mean in zip(counts, self.tokens_per_row, strict=True))

    @property
    def tokens_per_draw(self) -> float:
        """The expected tokens of a draw."""
        return mean_tokens([source.weight for source in self.stage.sources], self.tokens_per_row)


def make_plan(surveyed: Survey, *, batch_tokens: int = BATCH_TOKENS) -> Plan:
    """Decide everything: turn weights into draws, find the reach of the target, cut the draws into tasks.

    Args:
        surveyed: the recipe, and what was found out about its sources.
        batch_tokens: tokens of a record batch of the shards, at most; part of the plan's identity.

    Raises:
        RecipeError: the recipe cannot be met.
    """
    recipe = surveyed.recipe
    drawn = _share_drawn(recipe)
    tokens_per_row = tuple(one.tokens_per_row * drawn for one in surveyed.measured.values())
    schedule = draw_schedule(recipe, tokens_per_row)
    weights = schedule.integer_weights.tolist()
    tokens_per_draw = mean_tokens(weights, tokens_per_row)
    goal = _goal(surveyed, schedule, tokens_per_draw)
    stage = whole_stage(surveyed, weights, extent=goal, tokens_per_draw=tokens_per_draw, batch_tokens=batch_tokens)
    return Plan(
        recipe=recipe,
        tokenizer=surveyed.tokenizer,
        snapshots=tuple(surveyed.snapshots.values()),
        tokens_per_row=tokens_per_row,
        standard_errors=tuple(one.standard_error for one in surveyed.measured.values()),
        stages=(stage,),
        extent=goal,
        forecasting=bool(surveyed.samples),
    )


def plan_of(manifest: Manifest, snapshots: tuple[Snapshot, ...]) -> Plan:
    """The plan of a finished build, with its sources pinned again: any of its tasks can be rebuilt.

    Args:
        manifest: the build's.
        snapshots: of its sources, by number.

    Raises:
        RecipeError: the manifest's recipe is not valid.
    """
    recipe = recipe_of(manifest.recipe)
    # Shards hold numbers of sources: the order is the manifest's.
    recipe = recipe.model_copy(update={"sources": {name: recipe.sources[name] for name in manifest.source_names}})
    return Plan(
        recipe=recipe,
        tokenizer=manifest.tokenizer,
        snapshots=snapshots,
        tokens_per_row=(0.0,) * len(snapshots),
        standard_errors=(0.0,) * len(snapshots),
        stages=manifest.stages,
        extent=Extent(max_draws=None, end_tokens=None, end_sequences=None, estimated_draws=0),
    )


def _share_drawn(recipe: Recipe) -> float:
    """The share of the rows that the recipe's split has."""
    if recipe.holdout is None:
        return 1.0
    return 1 - recipe.holdout.fraction if recipe.split == "train" else recipe.holdout.fraction


def _goal(surveyed: Survey, schedule: DrawSchedule, tokens_per_draw: float) -> Extent:
    """How far the target goes."""
    recipe, samples = surveyed.recipe, surveyed.samples
    kept = {name: snapshot.num_kept for name, snapshot in surveyed.snapshots.items()}
    num_rows = [samples[name].num_kept if name in samples else rows for name, rows in kept.items()]
    try:
        return reach(recipe, schedule, num_rows, tokens_per_draw=tokens_per_draw)
    except RecipeError:
        if not samples:
            raise
        # Of a sample the number of rows is an estimate: what cannot be met is what all its rows would not meet.
        return reach(recipe, schedule, list(kept.values()), tokens_per_draw=tokens_per_draw)
