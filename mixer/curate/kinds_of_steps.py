"""The facts that a recipe's curation needs: of each step, and of each source."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mixer.curate.evaluation_items import ItemSet, load_items
from mixer.curate.facts.kinds import (
    ColumnDigestFacts,
    FactKind,
    FilterFacts,
    ItemFacts,
    NumberFacts,
    SignatureFacts,
    TextFacts,
    WhereFacts,
    reads_text_of,
)
from mixer.curate.item_index import ItemIndex, index_items
from mixer.curate.steps import StepKinds
from mixer.recipe.curation import CurateStep, DecontaminateSpec, ExactSpec, FilterSpec, NearSpec
from mixer.sources.scan import needs_of
from mixer.stores.block_cache import BlockCache

if TYPE_CHECKING:
    from mixer.recipe import Recipe

TEXT_FACTS = TextFacts()


def kinds_of_steps(recipe: Recipe, root: Path, blocks: BlockCache | None) -> list[StepKinds]:
    """Each step with its facts and its sources. Filters are checked, and evaluation sets read.

    Raises:
        RecipeError: a filter, a parameter or an evaluation set is not there.
        DataError: an evaluation set cannot be read.
    """
    assert recipe.curate is not None
    return [_step(recipe, number, step, root, blocks) for number, step in enumerate(recipe.curate.steps)]


def kinds_of_source(recipe: Recipe, number: int, steps: Sequence[StepKinds]) -> tuple[FactKind, ...]:
    """All kinds of facts that a curation needs of a source."""
    assert recipe.curate is not None
    name, source = list(recipe.sources.items())[number]
    kinds: list[FactKind] = []
    predicate = needs_of(name, source).predicate
    if predicate is not None:
        kinds.append(WhereFacts(predicate=predicate))
    kinds += [kind for step in steps if number in step.sources for kind in step.kinds]
    ordered = any(step.step.kind in ("exact", "near") and number in step.sources for step in steps)
    if ordered and recipe.curate.prefer_by is not None:
        kinds.append(NumberFacts(column=recipe.curate.prefer_by, place="curate.prefer_by"))
    if reads_text(steps):
        kinds.append(TEXT_FACTS)
    return tuple(dict.fromkeys(kinds))


def reads_text(steps: Sequence[StepKinds]) -> bool:
    """Whether any step reads text: then the length of texts is part of the order of preference."""
    return any(reads_text_of(kind) for step in steps for kind in step.kinds)


def _step(recipe: Recipe, number: int, step: CurateStep, root: Path, blocks: BlockCache | None) -> StepKinds:
    place, spec = f"curate.steps[{number}].{step.kind}", step.spec
    index: ItemIndex | None = None
    kind: FactKind
    if isinstance(spec, FilterSpec):
        kind, label = FilterFacts(name=spec.name, parameters=spec.parameters, place=place), f"filter {spec.name}"
        kind.filter  # noqa: B018 - checked now
    elif isinstance(spec, DecontaminateSpec):
        items = load_items([ItemSet(name=place, paths=spec.against, fields=spec.fields)], root, blocks)
        index = index_items(items, spec.ngrams)
        kind, label = ItemFacts(index=index), "decontaminate"
    elif isinstance(spec, ExactSpec):
        kind = TEXT_FACTS if spec.on in ("text", "normalised") else ColumnDigestFacts(column=spec.on)
        label = f"exact {spec.on}"
    else:
        kind, label = SignatureFacts(ngrams=spec.ngrams, bands=spec.bands, rows=spec.rows), "near"
    names = list(recipe.sources)
    chosen = [names.index(name) for name in spec.sources] or _all_but_lists(recipe, isinstance(spec, NearSpec))
    return StepKinds(
        step=step, label=f"{number + 1} {label}", sources=tuple(sorted(chosen)), kinds=(kind,), index=index
    )


def _all_but_lists(recipe: Recipe, leave_lists: bool) -> list[int]:
    """All sources; without those whose rows are lists of texts: the similarity of repositories says little."""
    return [
        number
        for number, source in enumerate(recipe.sources.values())
        if not (leave_lists and (source.text.list is not None or source.contents is not None))
    ]
