"""What is written down of a build, as frozen records: plan, task records, manifest (format.md, sections 4 to 6).

Every integer of these records is at least 0 and below 2^63; `decode.py` holds what is read against the types here, and
`consistency.py` the fields against one another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

FORMAT_VERSION = 2
FEATURES: frozenset[str] = frozenset()
"""Names of what a build may use besides this version of the format, as far as this reader knows them."""

Sha256 = Annotated[str, r"[0-9a-f]{64}"]
Xxh3 = Annotated[str, r"[0-9a-f]{32}"]
Packing = Literal["concat", "best-fit"]
WeightKind = Literal["rows", "tokens"]
LimitKind = Literal["tokens", "sequences"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerEntry:
    """The tokenizer: `fingerprint` covers vocabulary, rules and special ids; an id is None where there is none."""

    name: str
    fingerprint: str
    vocab_size: int
    bos_id: int | None
    eos_id: int | None
    pad_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceRules:
    """How documents become sequences; a record batch has `batch_sequences` of them, but a shard's last."""

    length: int
    packing: Packing
    bos: bool
    eos: bool
    batch_sequences: int

    @property
    def num_specials(self) -> int:
        """Tokens that a document has besides its text's."""
        return self.bos + self.eos


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceEntry:
    """A source by its number: its name, the identity of its snapshot, and the rows in that."""

    name: str
    snapshot: Sha256
    num_rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSource:
    """A source in a stage.

    `source` is its number; `weight` its integer weight in rows, which the draws follow; `selection` the identity of
    what is kept of its snapshot; `first_draw` the number, among the draws of this source in this selection, of its
    first draw in the stage; `pass_rows` the rows of each pass, which repeat after the last.
    """

    source: int
    weight: int
    selection: Sha256
    first_draw: int
    pass_rows: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A range of tasks with constant weights, sources and rules; where it ends is said by what comes after it.

    `weights` is the kind of the recipe's weights; `recipe` the part of the recipe that says which rows there are and
    what becomes of them.
    """

    first_task: int
    first_draw: int
    weights: WeightKind
    task_tokens: int
    draws_per_task: int
    sequence: SequenceRules
    recipe: dict[str, Any]
    sources: tuple[StageSource, ...]

    @property
    def period_draws(self) -> int:
        """The sum of the weights: the draws repeat after so many."""
        return sum(source.weight for source in self.sources)

    def task_draws(self, task: int) -> tuple[int, int]:
        """The draws [start, stop) of a whole task."""
        start = self.first_draw + (task - self.first_task) * self.draws_per_task
        return start, start + self.draws_per_task


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """What is still wanted of a target when a task begins: it ends with the first whole sequence that reaches it."""

    kind: LimitKind
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A task that a target cut: only its first `draws` draws, and of what they make the first `sequences` sequences."""

    task: int
    draws: int
    sequences: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """Where a build that continues another began: what came before `task` has this prefix id."""

    prefix_id: Sha256
    task: int
    draw: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceCounts:
    """What came of the draws of one source.

    rows = documents + all skipped; `tokens` are in the sequences, `tokens_left_out` came after a cut;
    `truncated_documents` have tokens in more than one sequence; `text_bytes` of UTF-8 text of the documents.
    """

    rows: int = 0
    documents: int = 0
    skipped: dict[str, int]
    text_bytes: int = 0
    tokens: int = 0
    tokens_left_out: int = 0
    truncated_documents: int = 0

    def __add__(self, other: SourceCounts) -> SourceCounts:
        reasons = sorted(self.skipped.keys() | other.skipped.keys())
        return SourceCounts(
            rows=self.rows + other.rows,
            documents=self.documents + other.documents,
            skipped={reason: self.skipped.get(reason, 0) + other.skipped.get(reason, 0) for reason in reasons},
            text_bytes=self.text_bytes + other.text_bytes,
            tokens=self.tokens + other.tokens,
            tokens_left_out=self.tokens_left_out + other.tokens_left_out,
            truncated_documents=self.truncated_documents + other.truncated_documents,
        )

    @property
    def num_skipped(self) -> int:
        """Rows that were drawn and gave no document."""
        return sum(self.skipped.values())


NOTHING = SourceCounts(skipped={})


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardFile:
    """A shard as a file: in no id, since its bytes depend on the library that encodes it, and it may be deleted."""

    bytes: int
    xxh3: Xxh3
    state: Literal["present", "deleted"] = "present"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardEntry:
    """The shard that a task made: `tokens + padding = sequences x length`; `draws` are [start, stop)."""

    task: int
    stage: int
    draws: tuple[int, int]
    sequences: int
    tokens: int
    padding: int
    content_xxh3: Xxh3
    content_sha256: Sha256
    file: ShardFile

    @property
    def path(self) -> str:
        """Its place in the build's folder."""
        return shard_path(self.task)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceCheck:
    """How many documents were also encoded by the reference implementation, and how many came out different."""

    documents: int = 0
    different: int = 0

    def __add__(self, other: ReferenceCheck) -> ReferenceCheck:
        return ReferenceCheck(documents=self.documents + other.documents, different=self.different + other.different)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRecord:
    """A finished task; `counts` are by the sources of its stage.

    `limit` is what was wanted when it was made, None where it was made whole; `cut` what that came to. `content_` and
    `file` are the shard's, as in the manifest; None where it made no sequence.
    """

    plan: Sha256
    task: int
    stage: int
    draws: tuple[int, int]
    limit: Limit | None
    cut: Cut | None
    sequences: int
    tokens: int
    padding: int
    counts: tuple[SourceCounts, ...]
    reference_check: ReferenceCheck
    content_xxh3: Xxh3 | None
    content_sha256: Sha256 | None
    file: ShardFile | None

    @property
    def shard(self) -> ShardEntry | None:
        """The manifest's entry of its shard; None where it made no sequence."""
        if self.content_xxh3 is None or self.content_sha256 is None or self.file is None:
            return None
        return ShardEntry(
            task=self.task,
            stage=self.stage,
            draws=self.draws,
            sequences=self.sequences,
            tokens=self.tokens,
            padding=self.padding,
            content_xxh3=self.content_xxh3,
            content_sha256=self.content_sha256,
            file=self.file,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRecord:
    """`plan.json`: what is built. With the task records it is all that somebody needs who follows a build."""

    id: Sha256
    features: tuple[str, ...]
    name: str
    recipe: dict[str, Any]
    tokenizer: TokenizerEntry
    seed: int
    split: str
    parent: Parent | None
    sources: tuple[SourceEntry, ...]
    stages: tuple[Stage, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StageCounts:
    """What came of a stage: tasks and draws [start, stop), and counts by the sources of the stage."""

    stage: int
    tasks: tuple[int, int]
    draws: tuple[int, int]
    sources: tuple[SourceCounts, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochsEntry:
    """How often the sequences are read: all of them each time (`reshuffle`), or a part of them (`redraw`)."""

    count: int
    mode: Literal["reshuffle", "redraw"]

    @property
    def num_parts(self) -> int:
        """Into how many parts the sequences are cut, one an epoch."""
        return self.count if self.mode == "redraw" else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Sums over all stages and shards of the build."""

    draws: int
    documents: int
    text_bytes: int
    sequences: int
    tokens: int
    padding: int
    tokens_left_out: int
    truncated_documents: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """`manifest.json`: the immutable record of a finished build."""

    id: Sha256
    features: tuple[str, ...]
    name: str
    plan: Sha256
    prefix_id: Sha256
    recipe: dict[str, Any]
    tokenizer: TokenizerEntry
    seed: int
    split: str
    parent: Parent | None
    sources: tuple[SourceEntry, ...]
    stages: tuple[Stage, ...]
    cuts: tuple[Cut, ...]
    counts: tuple[StageCounts, ...]
    shards: tuple[ShardEntry, ...]
    epochs: EpochsEntry
    totals: Totals
    reference_check: ReferenceCheck
    hints: dict[str, Any]

    @property
    def sequence(self) -> SequenceRules:
        """The sequence rules of the build's own stages, which all have one length."""
        return self.stages[self.counts[0].stage if self.counts else -1].sequence

    @property
    def source_names(self) -> list[str]:
        """Names of the sources; their indices are what shards hold."""
        return [source.name for source in self.sources]

    @property
    def source_counts(self) -> list[SourceCounts]:
        """Counts of each source over all stages, by its number."""
        totals = [NOTHING] * len(self.sources)
        for stage in self.counts:
            for entry, counts in zip(self.stages[stage.stage].sources, stage.sources, strict=True):
                totals[entry.source] += counts
        return totals

    def cut_of(self, task: int) -> Cut | None:
        """Where a task was cut; None where it is whole."""
        return next((cut for cut in self.cuts if cut.task == task), None)


def shard_path(task: int) -> str:
    """The place of a task's shard in the build's folder."""
    return f"shards/{task:05d}.arrow"


def record_path(task: int) -> str:
    """The place of a task's record in the build's folder."""
    return f"tasks/{task:05d}.json"
