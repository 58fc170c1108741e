"""The rules between the fields of a manifest (format.md, section 6). Pure, and cheap: no file is opened.

Readers of a manifest may rely on these rules, so `load_manifest` checks them all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any

from mixer.shards.ids import recipe_of_stage
from mixer.shards.records import FEATURES, Cut, Manifest, Stage, StageCounts, Totals


def inconsistencies(manifest: Manifest) -> Iterator[str]:
    """Each rule that a manifest breaks, in words that name its place."""
    if unknown := set(manifest.features) - FEATURES:
        yield f"features: {', '.join(sorted(unknown))} not known to this mixer"
        return
    problems = [
        *_stage_problems(manifest),
        *_tokenizer_problems(manifest),
    ]
    yield from problems
    if problems:
        return  # what follows relies on them
    yield from _count_problems(manifest)
    yield from _shard_problems(manifest)
    yield from _total_problems(manifest)


def _tokenizer_problems(manifest: Manifest) -> Iterator[str]:
    entry = manifest.tokenizer
    if not 1 <= entry.vocab_size <= 2**31:
        yield f"tokenizer.vocab_size is {entry.vocab_size}, not 1 to 2^31"
    for name in ("bos_id", "eos_id", "pad_id"):
        if (number := getattr(entry, name)) is not None and number >= entry.vocab_size:
            yield f"tokenizer.{name} is {number}, beyond the vocabulary of {entry.vocab_size}"
    for stage in manifest.stages:
        for name in ("bos", "eos"):
            if getattr(stage.sequence, name) and getattr(entry, f"{name}_id") is None:
                yield f"tokenizer.{name}_id is missing, and documents have one"


def _stage_problems(manifest: Manifest) -> Iterator[str]:
    if not manifest.stages:
        yield "stages: there is none"
        return
    names = [source.name for source in manifest.sources]
    if len(set(names)) < len(names):
        yield "sources: a name appears twice"
    first = manifest.stages[0]
    if first.first_task or first.first_draw:
        yield "stages[0] does not begin with task 0 and draw 0"
    for number, stage in enumerate(manifest.stages):
        yield from (f"stages[{number}].{problem}" for problem in _problems_of_stage(stage, len(names)))
    for number, (before, stage) in enumerate(pairwise(manifest.stages), 1):
        if stage.first_task <= before.first_task or stage.first_draw < before.first_draw:
            yield f"stages[{number}] does not begin after the stage before it"
    own = [manifest.stages[counts.stage].sequence for counts in manifest.counts if _in(counts.stage, manifest.stages)]
    if any(rules.length != own[0].length or rules.batch_sequences != own[0].batch_sequences for rules in own):
        yield "stages: their sequences have several lengths"


def _problems_of_stage(stage: Stage, num_sources: int) -> Iterator[str]:
    if not 2 <= stage.sequence.length <= 2**20:
        yield f"sequence.length is {stage.sequence.length}, not 2 to 2^20"
    if stage.sequence.batch_sequences < 1 or stage.draws_per_task < 1:
        yield "draws_per_task or sequence.batch_sequences is 0"
    numbers = [source.source for source in stage.sources]
    if not numbers or numbers != sorted(set(numbers)) or numbers[-1] >= num_sources:
        yield "sources are not numbers of sources, rising"
    for source in stage.sources:
        if source.weight < 1:
            yield f"sources: the weight of source {source.source} is 0"
        if not source.pass_rows or sum(source.pass_rows) < 1:
            yield f"sources: source {source.source} has no rows"


def recipe_problems(manifest: Manifest) -> Iterator[str]:
    """Contradictions between a manifest of one stage and its recipe; readers need not check them."""
    if len(manifest.stages) > 1:
        return
    (stage,), recipe = manifest.stages, manifest.recipe
    try:
        said = {
            "name": (recipe["name"], manifest.name),
            "seed": (recipe["seed"], manifest.seed),
            "split": (recipe.get("split", "train"), manifest.split),
            "weights": (recipe["weights"], stage.weights),
            "epochs": (recipe["epochs"], {"count": manifest.epochs.count, "mode": manifest.epochs.mode}),
            "sources": (sorted(recipe["sources"]), sorted(manifest.sources[one.source].name for one in stage.sources)),
        }
        for key in ("length", "packing", "bos", "eos"):
            said[f"sequence.{key}"] = (recipe["sequence"][key], getattr(stage.sequence, key))
        for key, (asked, found) in said.items():
            if asked != found:
                yield f"recipe.{key} is not what the manifest says elsewhere"
        if recipe_of_stage(recipe) != stage.recipe:
            yield "the recipe of the stage is not that of the build"
        weights = {name: Fraction(source["weight"]) for name, source in recipe["sources"].items()}
        if stage.weights == "rows":
            total = sum(weights.values())
            for one in stage.sources:
                if weights[manifest.sources[one.source].name] * stage.period_draws != one.weight * total:
                    yield f"the weight of source {one.source} is not the recipe's"
    except (KeyError, TypeError, AttributeError, ValueError, ZeroDivisionError) as error:
        yield f"recipe is not a recipe: {error!r:.100}"


def _count_problems(manifest: Manifest) -> Iterator[str]:
    for number, counts in enumerate(manifest.counts):
        place = f"counts[{number}]"
        if not _in(counts.stage, manifest.stages):
            yield f"{place}.stage is {counts.stage}, and there are {len(manifest.stages)} stages"
            return
        stage = manifest.stages[counts.stage]
        if len(counts.sources) != len(stage.sources):
            yield f"{place}.sources are {len(counts.sources)}, those of the stage {len(stage.sources)}"
            return
        yield from (f"{place}{problem}" for problem in _problems_of_counts(counts, stage))
        yield from (f"{place}{problem}" for problem in _problems_of_end(counts, stage, manifest.cuts))
    for number, (before, after) in enumerate(pairwise(manifest.counts), 1):
        follows = manifest.stages[after.stage]
        if after.stage <= before.stage or (before.tasks[1], before.draws[1]) != (
            follows.first_task,
            follows.first_draw,
        ):
            yield f"counts[{number}] does not follow the stage before it"


def _problems_of_counts(counts: StageCounts, stage: Stage) -> Iterator[str]:
    if (counts.tasks[0], counts.draws[0]) != (stage.first_task, stage.first_draw):
        yield " does not begin where its stage begins"
    if counts.tasks[1] < counts.tasks[0] or counts.draws[1] < counts.draws[0]:
        yield " ends before it begins"
    num_draws, period = counts.draws[1] - counts.draws[0], stage.period_draws
    if sum(one.rows for one in counts.sources) != num_draws:
        yield f": the rows of the sources are not the {num_draws} draws of the stage"
    for source, one in zip(stage.sources, counts.sources, strict=True):
        if abs(one.rows * period - source.weight * num_draws) >= period:
            yield f": {one.rows} of {num_draws} draws is a row or more off the share of source {source.source}"
        if one.rows != one.documents + one.num_skipped:
            yield f": the rows of source {source.source} are not its documents and skipped rows"
        if one.truncated_documents > one.documents or (one.tokens + one.tokens_left_out and not one.documents):
            yield f": source {source.source} has more cut documents than documents, or tokens without any"


def _problems_of_end(counts: StageCounts, stage: Stage, cuts: Sequence[Cut]) -> Iterator[str]:
    """A stage ends with a whole task, or with one that a target cut."""
    first, stop = counts.tasks
    here = [cut for cut in cuts if first <= cut.task < stop]
    if any(cut.task != stop - 1 for cut in here):
        yield ": a task that is not the last of its stage was cut"
    elif first < stop:
        start, end = stage.task_draws(stop - 1)
        if counts.draws[1] != (start + here[0].draws if here else end):
            yield f".draws end at {counts.draws[1]}, and its last task does not"
    elif counts.draws[0] != counts.draws[1]:
        yield " has draws and no task"


def _shard_problems(manifest: Manifest) -> Iterator[str]:
    cuts = {cut.task: cut for cut in manifest.cuts}
    length = manifest.sequence.length
    if [cut.task for cut in manifest.cuts] != sorted(cuts):
        yield "cuts are not of tasks, rising"
    ranges = {counts.stage: range(*counts.tasks) for counts in manifest.counts}
    last = -1
    for number, shard in enumerate(manifest.shards):
        place = f"shards[{number}]"
        if shard.task <= last:
            yield f"{place}.task is {shard.task}, not after {last}"
        last = shard.task
        if shard.task not in ranges.get(shard.stage, range(0)):
            yield f"{place}: task {shard.task} is not of stage {shard.stage}"
            continue
        start, stop = manifest.stages[shard.stage].task_draws(shard.task)
        cut = cuts.get(shard.task)
        if shard.draws != (start, stop if cut is None else start + cut.draws) or shard.draws[1] > stop:
            yield f"{place}.draws are {list(shard.draws)}, those of task {shard.task} are {[start, stop]}, less its cut"
        if cut is not None and cut.sequences != shard.sequences:
            yield f"{place}.sequences are {shard.sequences}, the cut has {cut.sequences}"
        if shard.sequences < 1 or shard.tokens < shard.sequences:
            yield f"{place}: a sequence without a token"
        if shard.tokens + shard.padding != shard.sequences * length:
            yield f"{place}: tokens and padding are not its sequences"
        if shard.file.bytes < 4 * length * shard.sequences:
            yield f"{place}.file.bytes is too little for its sequences"


def _total_problems(manifest: Manifest) -> Iterator[str]:
    counts = [one for stage in manifest.counts for one in stage.sources]
    found = sums(manifest)
    for name in Totals.__slots__:
        if getattr(found, name) != getattr(manifest.totals, name):
            yield f"totals.{name} is {getattr(manifest.totals, name)}, the sum is {getattr(found, name)}"
    if found.tokens != sum(one.tokens for one in counts):
        yield f"the shards hold {found.tokens} tokens, the sources gave {sum(one.tokens for one in counts)}"
    if manifest.reference_check.different > manifest.reference_check.documents:
        yield "reference_check has more different documents than documents"
    if manifest.epochs.count < 1:
        yield "epochs.count is 0"


def sums(manifest: Manifest) -> Totals:
    """The totals of the counts and shards of a manifest."""
    counts = [one for stage in manifest.counts for one in stage.sources]
    return Totals(
        draws=sum(stage.draws[1] - stage.draws[0] for stage in manifest.counts),
        documents=sum(one.documents for one in counts),
        text_bytes=sum(one.text_bytes for one in counts),
        sequences=sum(shard.sequences for shard in manifest.shards),
        tokens=sum(shard.tokens for shard in manifest.shards),
        padding=sum(shard.padding for shard in manifest.shards),
        tokens_left_out=sum(one.tokens_left_out for one in counts),
        truncated_documents=sum(one.truncated_documents for one in counts),
    )


def _in(index: int, items: tuple[Any, ...]) -> bool:
    return 0 <= index < len(items)
