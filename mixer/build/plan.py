"""A recipe and its pinned sources -> everything that a task needs to know, and nothing else.

A plan holds decisions only: it is the same on every machine, for any number of workers, at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property, partial
from pathlib import Path

from mixer.build.contents import Contents, Fetching
from mixer.build.reach import draw_schedule, mean_tokens, reach
from mixer.build.sampled import ContentsSample
from mixer.digest import identity
from mixer.errors import DataError, RecipeError
from mixer.mixing.draws import DrawSchedule
from mixer.mixing.target import Extent
from mixer.mixing.tasks import Task, task_tokens
from mixer.recipe import Recipe
from mixer.shards.shard import FORMAT_VERSION
from mixer.sources import PinCache, PinCount, Snapshot, pin
from mixer.tokens.measure import measure_tokens_per_row
from mixer.tokens.tokenizer import Tokenizer

OnPin = Callable[[str, PinCount], None]
_SOURCES_AT_ONCE = 4
"""Sources that are pinned side by side; each reads over up to sixteen connections."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is built.

    `snapshots` has one entry per source, sorted by name; so has `tokens_per_row`, the mean measured on a
    keyed sample, BOS and EOS included. `integer_weights` are the weights in rows that the draws follow. With `samples`,
    of sources whose contents are not all fetched, it is the plan of a forecast and of no build.
    """

    recipe: Recipe
    tokenizer: dict
    snapshots: tuple[Snapshot, ...]
    tokens_per_row: tuple[float, ...]
    integer_weights: tuple[int, ...]
    draws_per_task: int
    extent: Extent
    samples: Mapping[str, ContentsSample] = field(default_factory=dict)

    @property
    def source_names(self) -> list[str]:
        """Names of the sources, sorted; their indices are what shards hold."""
        return list(self.recipe.sources)

    @property
    def num_specials(self) -> int:
        """Tokens that a document has besides its text's: BOS and EOS, as the recipe says."""
        return self.recipe.sequence.bos + self.recipe.sequence.eos

    @cached_property
    def schedule(self) -> DrawSchedule:
        """Which source each draw takes from."""
        return DrawSchedule(self.integer_weights)

    @cached_property
    def id(self) -> str:
        """Identity of the plan: two builds with one id have the same bytes."""
        return identity(self.as_json())

    def as_json(self) -> dict:
        """What the id covers."""
        return {
            "format_version": FORMAT_VERSION,
            "recipe": self.recipe.normalised(),
            "tokenizer": self.tokenizer,
            "snapshots": {name: snapshot.identity for name, snapshot in zip(self.source_names, self.snapshots)},
            "integer_weights": list(self.integer_weights),
            "draws_per_task": self.draws_per_task,
        }

    def task(self, number: int) -> Task | None:
        """The task of this number; None where the build has ended before it."""
        start = number * self.draws_per_task
        stop = start + self.draws_per_task
        if self.extent.max_draws is not None:
            stop = min(stop, self.extent.max_draws)
        return Task(number=number, start=start, stop=stop) if start < stop else None

    @property
    def estimated_tasks(self) -> int:
        """How many tasks the build will probably take."""
        return -(-self.extent.estimated_draws // self.draws_per_task)

    @property
    def tokens_per_draw(self) -> float:
        """The expected tokens of a draw."""
        return mean_tokens(self.integer_weights, self.tokens_per_row)


def silent(name: str, count: PinCount) -> None:
    """Tell nobody how far a source is pinned."""


def make_plan(
    recipe: Recipe,
    tokenizer: Tokenizer,
    *,
    root: Path,
    cache: PinCache,
    fetching: Fetching | None = None,
    on_pin: OnPin = silent,
) -> Plan:
    """Decide everything: pin the sources, measure tokens per row, turn weights into draws, see how far the target is.

    Contents that rows only point at are fetched on the way.

    Args:
        recipe: the recipe.
        tokenizer: the recipe's tokenizer, loaded.
        root: the folder that the sources' relative paths start from.
        cache: what is known of files seen before.
        fetching: how contents are fetched that are not there yet; None: it is an error that they are not.
        on_pin: called with a source's name and how far its files are pinned; from several threads.

    Raises:
        RecipeError: the recipe cannot be met.
        DataError: a source is missing, unreadable or empty.
        BuildStateError, TaskError: contents are being fetched by another, or cannot be written.
    """
    # Sources are numbered by name: the order of the keys of a YAML mapping means nothing.
    recipe = recipe.model_copy(update={"sources": dict(sorted(recipe.sources.items()))})
    check_specials(recipe, tokenizer)
    pinned, samples = _pin_all(recipe, tokenizer, root=root, cache=cache, fetching=fetching, on_pin=on_pin)
    for name, snapshot in pinned.items():
        if snapshot.num_kept == 0:
            raise DataError(
                f"the source has no rows to draw ({snapshot.num_rows:,} rows, none kept)",
                where=f"sources.{name}",
                hint="check its path and its `where`",
            )
    whole = {name: source for name, source in recipe.sources.items() if name not in samples}
    means = dict(zip(whole, measure_tokens_per_row(whole, [pinned[name] for name in whole], tokenizer, recipe)))
    for name, sample in samples.items():
        means[name] = sample.measured(name, recipe.sources[name], tokenizer, recipe).tokens_per_row
    tokens_per_row = tuple(means[name] for name in recipe.sources)
    schedule = draw_schedule(recipe, tokens_per_row)
    weights = tuple(schedule.integer_weights.tolist())
    tokens_per_draw = mean_tokens(weights, tokens_per_row)
    num_rows = [samples[name].num_kept if name in samples else snap.num_kept for name, snap in pinned.items()]
    try:
        goal = reach(recipe, schedule, num_rows, tokens_per_draw=tokens_per_draw)
    except RecipeError:
        if not samples:
            raise
        # Of a sample the number of rows is an estimate: what cannot be met is what all its rows would not meet.
        num_rows = [snapshot.num_kept for snapshot in pinned.values()]
        goal = reach(recipe, schedule, num_rows, tokens_per_draw=tokens_per_draw)
    length = recipe.sequence.length
    redrawn = recipe.epochs.count if recipe.epochs.mode == "redraw" else 1
    total_tokens = goal.end_tokens or (goal.end_sequences or 0) * length or goal.estimated_draws * tokens_per_draw
    wanted = recipe.task_tokens or task_tokens(total_tokens)
    return Plan(
        recipe=recipe,
        tokenizer=tokenizer.as_json(),
        snapshots=tuple(pinned.values()),
        samples=samples,
        tokens_per_row=tokens_per_row,
        integer_weights=weights,
        # An epoch that is far smaller than a task is one task, and not cut out of a large one.
        draws_per_task=max(1, min(round(wanted / tokens_per_draw), goal.estimated_draws // redrawn * 5 // 4 + 1)),
        extent=goal,
    )


def _pin_all(
    recipe: Recipe,
    tokenizer: Tokenizer,
    *,
    root: Path,
    cache: PinCache,
    fetching: Fetching | None,
    on_pin: OnPin,
) -> tuple[dict[str, Snapshot], dict[str, ContentsSample]]:
    """The snapshots of all sources in their order, and samples of those whose contents are not all there.

    Several are pinned at a time, as a store lets one wait; but contents are fetched for one after another. No thread is
    left running.
    """

    def pin_one(name: str) -> Snapshot:
        return pin(name, recipe.sources[name], root, cache, partial(on_pin, name))

    plain = [name for name, source in recipe.sources.items() if source.contents is None]
    pinned: dict[str, Snapshot] = {}
    if plain:
        with ThreadPoolExecutor(min(_SOURCES_AT_ONCE, len(plain))) as pool:
            try:
                pinned.update(zip(plain, pool.map(pin_one, plain)))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)  # else the error would wait for all that are left
                raise
    samples = {}
    for name in [name for name in recipe.sources if name not in plain]:
        contents = Contents(name, recipe.sources[name], tokenizer=tokenizer, root=root, cache=cache)
        if fetching is not None and fetching.sample and not contents.is_whole:
            pinned[name] = contents.ids
            samples[name] = contents.sample(fetching, recipe.seed)
            continue
        if fetching is not None:
            contents.fetch(fetching)
        pinned[name] = contents.pinned()
    return {name: pinned[name] for name in recipe.sources}, samples


def check_specials(recipe: Recipe, tokenizer: Tokenizer) -> None:
    """Raise where the recipe asks for BOS or EOS and the tokenizer has none."""
    for switch in ("bos", "eos"):
        if getattr(recipe.sequence, switch) and getattr(tokenizer, f"{switch}_id") is None:
            raise RecipeError(
                f"tokenizer {tokenizer.name} has no {switch.upper()} id",
                where=f"sequence.{switch}",
                hint=f"set `sequence.{switch}: false`, or put the tokenizer's tokenizer_config.json beside it",
            )


def shares(weights: Mapping[str, float]) -> dict[str, float]:
    """Weights as shares of 1."""
    exact = {name: Fraction(str(weight)) for name, weight in weights.items()}
    total = sum(exact.values())
    return {name: float(weight / total) for name, weight in exact.items()}
