"""The steps of a curation, in their order: each sees the rows that the ones before it left. Reads facts, no text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mixer.curate.agreement import least_agreement
from mixer.curate.contamination import Contamination, decide_contamination, frequent_ngrams
from mixer.curate.edge_files import kept_edges
from mixer.curate.edges import Edges, exact_edges, near_edges
from mixer.curate.election import Election, elect
from mixer.curate.facts.files import FactFiles
from mixer.curate.facts.hits import hits_of_columns
from mixer.curate.facts.kinds import FactKind
from mixer.curate.item_index import ItemIndex
from mixer.curate.preference import RowOrder
from mixer.digest import decimal_text
from mixer.recipe.curation import CurateStep, DecontaminateSpec, ExactSpec, FilterSpec, NearSpec
from mixer.sources.snapshot import Snapshot

FREQUENT_SHARE, FREQUENT_LEAST = Fraction(1, 1000), 10
"""An n-gram of an item in more than a thousandth of a source's rows, and in more than ten, says little."""
_FLOOR = 0.5
"""Edges are kept from this similarity on, so that a threshold may change without reading signatures again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CuratedSource:
    """A source that takes part in a curation: its snapshot, and where its facts are."""

    name: str
    snapshot: Snapshot
    files: Mapping[FactKind, FactFiles]

    def numbers(self, kind: FactKind, column: str, dtype: type | None = None) -> np.ndarray:
        """A column of facts over all rows."""
        return self.files[kind].numbers(self.snapshot, column, dtype)

    def column(self, kind: FactKind, column: str) -> pa.Array:
        """A column of facts over all rows."""
        return self.files[kind].column(self.snapshot, column)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """What a step dropped."""

    label: str
    # bool[rows] of each source that lost rows.
    dropped: Mapping[str, np.ndarray]
    # Of such a source the reason of each dropped row: string[dropped rows].
    reasons: Mapping[str, pa.Array]
    election: Election | None = None
    contamination: Mapping[str, Contamination] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepKinds:
    """The kinds of facts that a step reads, and the numbers of the sources that take part in it."""

    step: CurateStep
    label: str
    sources: tuple[int, ...]
    kinds: tuple[FactKind, ...]
    index: ItemIndex | None = None


def run_step(
    step: StepKinds,
    sources: Sequence[CuratedSource],
    left: Mapping[str, np.ndarray],
    order: RowOrder | None,
    *,
    folder: Path,
) -> StepResult:
    """Run a step over the rows that are left.

    Args:
        step: the step.
        sources: all sources, by number.
        left: bool[rows] of each: rows that earlier steps left.
        order: the order of preference, where a step needs it.
        folder: where edges are kept.

    Raises:
        IntegrityError: facts are missing or damaged.
        TaskError: the disk is full or failing.
    """
    spec = step.step.spec
    taking_part = [sources[number] for number in step.sources]
    if isinstance(spec, FilterSpec):
        return _by_filter(step, taking_part, left)
    if isinstance(spec, DecontaminateSpec):
        return _by_items(step, spec, taking_part, left)
    assert order is not None
    return _by_election(step, spec, sources, left, order, folder)


def _by_filter(step: StepKinds, sources: Sequence[CuratedSource], left: Mapping[str, np.ndarray]) -> StepResult:
    dropped, reasons = {}, {}
    (kind,) = step.kinds
    for source in sources:
        reason = source.column(kind, "reason")
        refused = left[source.name] & reason.is_valid().to_numpy(zero_copy_only=False)
        if refused.any():
            dropped[source.name] = refused
            reasons[source.name] = reason.filter(pa.array(refused))
    return StepResult(label=step.label, dropped=dropped, reasons=reasons)


def _by_items(
    step: StepKinds, spec: DecontaminateSpec, sources: Sequence[CuratedSource], left: Mapping[str, np.ndarray]
) -> StepResult:
    dropped, reasons, found = {}, {}, {}
    (kind,) = step.kinds
    assert step.index is not None
    for source in sources:
        hits = hits_of_columns(source.column(kind, "hits"), source.column(kind, "ngrams"))
        ignored = frequent_ngrams(step.index, hits, FREQUENT_SHARE, FREQUENT_LEAST)
        contaminated = decide_contamination(step.index, hits, Fraction(decimal_text(spec.share)), ignored)
        refused = np.zeros(source.snapshot.num_rows, dtype=bool)
        refused[contaminated.row] = True
        refused &= left[source.name]
        if refused.any():
            dropped[source.name] = refused
            reasons[source.name] = pa.array(["contaminated"] * int(refused.sum()), pa.string())
            found[source.name] = contaminated
    return StepResult(label=step.label, dropped=dropped, reasons=reasons, contamination=found)


def _by_election(
    step: StepKinds,
    spec: ExactSpec | NearSpec,
    sources: Sequence[CuratedSource],
    left: Mapping[str, np.ndarray],
    order: RowOrder,
    folder: Path,
) -> StepResult:
    (kind,) = step.kinds
    exempt = set(range(len(sources))) - set(step.sources)
    enters = [left[source.name] for source in sources]
    if isinstance(spec, ExactSpec):
        column = spec.on if spec.on in ("text", "normalised") else "digest"
        digests = [
            None if number in exempt else source.numbers(kind, column, np.uint64)
            for number, source in enumerate(sources)
        ]
        enters = [mask if one is None else mask & one.any(axis=1) for mask, one in zip(enters, digests, strict=True)]
        edges: Iterator[Edges] = exact_edges(digests, enters, order, scope=spec.scope, exempt=exempt)
        threshold = 1
    else:
        slots = [None if number in exempt else source.numbers(kind, "slots") for number, source in enumerate(sources)]
        enters = [
            mask if number in exempt else mask & source.numbers(kind, "signed")
            for number, (mask, source) in enumerate(zip(enters, sources, strict=True))
        ]
        num_slots = spec.bands * spec.rows
        floor = least_agreement(min(_FLOOR, spec.similarity), num_slots)
        key = [dict(kind.identity), [source.snapshot.identity for source in sources], spec.scope, sorted(exempt), floor]
        edges = kept_edges(
            folder,
            key,
            enters,
            order,
            lambda: near_edges(
                slots, enters, order, scope=spec.scope, floor=floor, band_slots=spec.rows, exempt=exempt
            ),
        )
        threshold = least_agreement(spec.similarity, num_slots)
    election = elect(edges, order, threshold=threshold, scope=spec.scope)
    dropped, reasons = {}, {}
    for number, source in enumerate(sources):
        start, stop = order.first_row[number : number + 2]
        here = slice(*np.searchsorted(election.dropped, (start, stop)))
        if here.start < here.stop:
            mask = np.zeros(stop - start, dtype=bool)
            mask[election.dropped[here] - start] = True
            dropped[source.name] = mask
            reasons[source.name] = pc.cast(pa.array(["duplicate"] * int(mask.sum())), pa.string())
    return StepResult(label=step.label, dropped=dropped, reasons=reasons, election=election)
