"""`curate` of a recipe: facts, steps, and a set of row attributes for each source. The same whoever runs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from mixer.attributes.columns import AttributeColumn
from mixer.attributes.set_file import ATTRIBUTES, AttributeSet, AttributeWriter
from mixer.curate.election import chained, dropped_for
from mixer.curate.facts.jobs import WantedFacts, compute_facts, missing_facts
from mixer.curate.facts.kinds import NumberFacts, WhereFacts
from mixer.curate.guards import check_losses
from mixer.curate.kinds_of_steps import TEXT_FACTS, kinds_of_source, kinds_of_steps, reads_text
from mixer.curate.preference import PreferenceKeys, RowOrder, order_rows
from mixer.curate.records import CurationRecord, SourceLosses, StepLosses
from mixer.curate.result_columns import duplicate_columns, reason_columns
from mixer.curate.steps import CuratedSource, StepKinds, StepResult, run_step
from mixer.digest import identity
from mixer.errors import IntegrityError
from mixer.sources.snapshot import Snapshot
from mixer.system.progress import OnAdvance, silent
from mixer.system.publish import publish_bytes

if TYPE_CHECKING:
    from mixer.recipe import Recipe
    from mixer.stores.block_cache import BlockCache

CURATIONS = "curations"
"""The folder of a cache that holds their records."""
_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Curation:
    """What a curation decided: row attributes by source, and the record of what went and why."""

    sets: Mapping[str, AttributeSet]
    record: CurationRecord


class Curator:
    """The curation of a recipe whose sources are pinned.

    Args:
        recipe: with `curate`; its sources in the order of their numbers.
        snapshots: of its sources, by name.
        entering: bool[rows] of sources of which other row attributes keep a part, by name.
        root: the folder that relative paths start from.
        cache_dir: where facts, edges and results are kept.
        blocks: where blocks of remote files are kept.

    Raises:
        RecipeError: a filter, a parameter or an evaluation set is not there.
        DataError: an evaluation set cannot be read.
    """

    def __init__(
        self,
        recipe: Recipe,
        snapshots: Mapping[str, Snapshot],
        *,
        entering: Mapping[str, np.ndarray],
        root: Path,
        cache_dir: Path,
        blocks: BlockCache | None = None,
    ) -> None:
        assert recipe.curate is not None
        self._recipe, self._spec, self._cache_dir = recipe, recipe.curate, cache_dir
        self._entering = entering
        self._steps = kinds_of_steps(recipe, root, blocks)
        self._wanted = [
            WantedFacts(name=name, source=source, snapshot=snapshots[name], kinds=kinds)
            for number, (name, source) in enumerate(recipe.sources.items())
            for kinds in [kinds_of_source(recipe, number, self._steps)]
        ]

    @property
    def is_whole(self) -> bool:
        """Whether all facts are there, so that running costs no reading of text."""
        return not missing_facts(self._wanted, self._cache_dir)

    def run(self, *, workers: int, on_advance: OnAdvance = silent) -> Curation:
        """Compute what is missing, run the steps, and write the row attributes, unless an earlier run did.

        Raises:
            RecipeError: a step leaves a source with too little, or does not fit the data.
            DataError: a source cannot be read, or changed since it was pinned.
            TaskError: a worker died, or the disk is full or failing.
        """
        path = self._cache_dir / CURATIONS / f"{self._key()}.json"
        known = _recall(path, self._cache_dir)
        if known is None:
            compute_facts(self._wanted, self._cache_dir, workers=workers, on_advance=on_advance)
            known = self._elect()
            publish_bytes(path, known.record.as_json_bytes({name: one.digest for name, one in known.sets.items()}))
        check_losses(known.record, self._spec.most_lost)
        return known

    def _key(self) -> str:
        """The identity of everything that the result depends on."""
        kinds = [[dict(kind.identity) for kind in one.kinds] for one in self._wanted]
        texts = [one.source.text.model_dump(mode="json") for one in self._wanted]
        entering = {name: identity(np.packbits(mask).tolist()) for name, mask in self._entering.items()}
        spec = self._spec.model_dump(mode="json", exclude={"most_lost"})
        snapshots = [[one.name, one.snapshot.identity] for one in self._wanted]
        return identity([_VERSION, spec, snapshots, texts, kinds, entering])

    def _elect(self) -> Curation:
        sources = [
            CuratedSource(
                name=one.name,
                snapshot=one.snapshot,
                files={kind: one.files(kind, self._cache_dir) for kind in one.kinds},
            )
            for one in self._wanted
        ]
        left = {source.name: self._entered(source) for source in sources}
        entered = {name: mask.copy() for name, mask in left.items()}
        order = self._order(sources)
        results = []
        for step in self._steps:
            result = run_step(step, sources, left, order, folder=self._cache_dir)
            for name, dropped in result.dropped.items():
                left[name] = left[name] & ~dropped
            results.append(result)
        elections = [result.election for result in results if result.election is not None]
        whole = chained(elections, order) if order is not None and elections else None
        sets = {}
        for number, source in enumerate(sources):
            columns, arrays = reason_columns(source.name, left[source.name], results)
            if whole is not None and order is not None:
                more, values = duplicate_columns(number, [one.name for one in sources], whole, order)
                columns, arrays = [*columns, *more], arrays | values
            sets[source.name] = self._write(source, columns, arrays)
        matrix = None if whole is None or order is None else dropped_for(whole, order).tolist()
        record = CurationRecord(
            steps=tuple(step.label for step in self._steps),
            sources=tuple(_losses(source, entered[source.name], left[source.name], results) for source in sources),
            duplicates=matrix,
            warnings=tuple(_order_warnings(self._steps, results)),
        )
        return Curation(sets=sets, record=record)

    def _entered(self, source: CuratedSource) -> np.ndarray:
        """The rows of a source that enter the first step: bool[rows]."""
        mask = np.ones(source.snapshot.num_rows, dtype=bool)
        for kind in source.files:
            if isinstance(kind, WhereFacts):
                mask &= source.numbers(kind, "kept")
        return mask & self._entering.get(source.name, True)

    def _order(self, sources: Sequence[CuratedSource]) -> RowOrder | None:
        if not any(step.step.kind in ("exact", "near") for step in self._steps):
            return None
        with_bytes = reads_text(self._steps)
        keys = []
        for source in sources:
            numbers = next((kind for kind in source.files if isinstance(kind, NumberFacts)), None)
            num_rows = source.snapshot.num_rows
            keys.append(
                PreferenceKeys(
                    name=source.name,
                    text_bytes=source.numbers(TEXT_FACTS, "num_bytes")
                    if with_bytes
                    else np.zeros(num_rows, dtype=np.int64),
                    prefer_by=None if numbers is None else source.numbers(numbers, "number"),
                )
            )
        return order_rows(keys, self._spec.prefer)

    def _write(
        self, source: CuratedSource, columns: Sequence[AttributeColumn], arrays: Mapping[str, pa.Array]
    ) -> AttributeSet:
        made_by = {"curation": self._key(), "source": source.name}
        with AttributeWriter(self._cache_dir / ATTRIBUTES, source.snapshot.identity, columns, made_by) as writer:
            start = 0
            for num_rows in source.snapshot.block_rows.tolist():
                writer.write({name: array[start : start + num_rows] for name, array in arrays.items()})
                start += num_rows
        return writer.finish()


def _losses(
    source: CuratedSource, entered: np.ndarray, left: np.ndarray, results: Sequence[StepResult]
) -> SourceLosses:
    """What a source lost, step by step."""
    num_bytes = (
        source.numbers(TEXT_FACTS, "num_bytes") if TEXT_FACTS in source.files else np.zeros(len(left), dtype=np.int64)
    )
    steps = []
    for result in results:
        dropped = result.dropped.get(source.name)
        reasons: dict[str, int] = {}
        if dropped is not None:
            counted = result.reasons[source.name].value_counts()
            reasons = {one["values"]: one["counts"] for one in counted.to_pylist()}
        steps.append(
            StepLosses(
                rows=0 if dropped is None else int(dropped.sum()),
                bytes=0 if dropped is None else int(num_bytes[dropped].sum()),
                reasons=dict(sorted(reasons.items())),
            )
        )
    return SourceLosses(
        name=source.name,
        rows=len(left),
        rows_entered=int(entered.sum()),
        rows_left=int(left.sum()),
        bytes_entered=int(num_bytes[entered].sum()),
        bytes_left=int(num_bytes[left].sum()),
        steps=tuple(steps),
    )


def _order_warnings(steps: Sequence[StepKinds], results: Sequence[StepResult]) -> list[str]:
    """Steps that drop rows after an election: a copy that won may be gone, and with it all copies."""
    elected = next((place for place, step in enumerate(steps) if step.step.kind in ("exact", "near")), len(steps))
    late = [
        steps[place].label
        for place in range(elected + 1, len(steps))
        if steps[place].step.kind in ("filter", "decontaminate") and results[place].dropped
    ]
    return [
        f"step {label} drops rows after duplicates were dropped for others: put it before step {steps[elected].label}"
        for label in late
    ]


def _recall(path: Path, cache_dir: Path) -> Curation | None:
    """The result of an earlier run; None if there is none, or it is damaged."""
    try:
        record, digests = CurationRecord.from_json_bytes(path.read_bytes())
        return Curation(
            sets={name: AttributeSet(cache_dir / ATTRIBUTES, digest) for name, digest in digests.items()}, record=record
        )
    except (OSError, ValueError, KeyError, TypeError, IntegrityError):
        return None
