"""The recipe as a frozen, typed value: every key, what it means, and the one normal form.

The classes hold the rules of single keys; the rules between keys are in `rules.py`. `parse_recipe`
applies both, so it is the way to make a `Recipe`. The line under a field is what an editor shows of it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    Tag,
    model_serializer,
    model_validator,
)

from mixer.recipe.curation import CurateSpec
from mixer.recipe.fields import (
    MAX_SOURCES,
    AttributeName,
    Bytes,
    Condition,
    Count,
    Filled,
    Hub,
    ItemTemplate,
    Name,
    Names,
    Paths,
    Positive,
    Ratio,
    Seed,
    Share,
    Special,
    TaskTokens,
    Text,
    TokenId,
    VocabSize,
    Weight,
    expand_contents,
    expand_exclude,
    expand_text,
)
from mixer.recipe.part import RecipePart

ONE_NAME, RULES = "[name]", "[rules]"
"""The two ways to write a tokenizer, as pydantic's places name them."""


class TokenizerSpec(RecipePart):
    """A rank file and what it does not carry: how text is split, and the special ids."""

    ranks: Filled
    """The rank file, in tiktoken's format: a path, or llama3 or llama4."""
    pattern: Filled | None = None
    """The regular expression that splits text, or the name of a known one: llama3, o200k, cl100k, r50k or qwen."""
    specials: dict[Filled, TokenId] = Field(default_factory=dict)
    """The special strings and their ids; those of the known file unless given."""
    vocab_size: VocabSize | None = None
    """One more than the largest id unless given."""
    bos: Special | None = None
    """What begins a document: a name of specials, or an id."""
    eos: Special | None = None
    """What ends a document: a name of specials, or an id."""
    pad: Special | None = None
    """What fills up a sequence: a name of specials, or an id; that of eos unless given."""

    @model_serializer(mode="wrap")
    def _only_what_is_said(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = serialize(self)
        return {key: value for key, value in fields.items() if value not in (None, {})}


class SequenceSpec(RecipePart):
    """The sequences that documents are packed into."""

    length: Annotated[int, Field(ge=2, le=2**20)] = 8192
    """Token ids in a sequence, 2 to 1048576."""
    packing: Literal["concat", "best-fit"] = "concat"
    """concat: documents end to end, cut at every length; best-fit: fewest documents cut."""
    bos: bool = True
    """Begin each document with the tokenizer's beginning-of-sequence id."""
    eos: bool = True
    """End each document with the tokenizer's end-of-sequence id."""


class Target(RecipePart):
    """How much to build: exactly one of tokens, rows, sequences or passes."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    tokens: Count | None = None
    """Build the first whole sequence that reaches this many tokens, such as 809B."""
    rows: Count | None = None
    """Draw this many rows, such as 100M."""
    sequences: Count | None = None
    """Build this many sequences."""
    passes: Annotated[dict[str, Positive], Field(min_length=1, max_length=1)] | None = None
    """Draw until one named source was read this many times, such as {finemath: 3}."""

    @model_serializer
    def _only_the_one(self) -> dict[str, Any]:
        return {kind: value for kind, value in self if value is not None}


class TextSpec(RecipePart):
    """Where a row's text is: one column, or the items of a list joined into one document."""

    model_config = ConfigDict(json_schema_extra={"not": {"required": ["column", "list"]}})

    column: Filled | None = None
    """The text column; a dot goes into a struct, as in meta.text."""
    list: Filled | None = None
    """The list column whose items make the document, such as files."""
    field: Filled | None = None
    """The text field of the list's structs; left out where the items are text themselves."""
    template: ItemTemplate | None = None
    """An item made of several text fields of the list's structs, in braces, such as "{path}\\n{text}"."""
    separator: Text = ""
    """What goes between two items."""
    prefix: Text = ""
    """What goes before every item, the first included."""
    order: Filled = "stored"
    """stored, or the field of the list's structs to sort the items by, such as path."""

    @model_serializer
    def _only_what_applies(self) -> dict[str, Any]:
        if self.column:
            return {"column": self.column}
        # A recipe without a template has the normal form, and so the identity, that it had before there were any.
        return {key: value for key, value in self if key != "column" and (key != "template" or value is not None)}


class ContentsSpec(RecipePart):
    """Text that rows only point at, fetched before the build: what `mixer fetch` does, as a step of a recipe."""

    data_set: Literal["stack-v2"] = "stack-v2"
    """What the rows are of: stack-v2, rows as in the-stack-v2-train-smol-ids."""
    blobs: Annotated[Filled, Field(exclude=True)] = "s3://softwareheritage/content"
    """Where the blobs are: s3://BUCKET/PREFIX or https://HOST/PREFIX; no part of the recipe's identity."""
    signed: Annotated[bool, Field(exclude=True)] = False
    """Sign requests for blobs with your AWS credentials; no part of the recipe's identity."""
    languages: Names = ()
    """Only files of these languages; of any unless given."""
    license_types: Names = ()
    """Only files of these types, such as permissive; of any unless given."""
    vendored: bool = True
    """Whether vendored files are wanted."""
    generated: bool = True
    """Whether files that a program wrote are wanted."""
    min_bytes: Bytes | None = None
    """Only files of at least this size."""
    max_bytes: Bytes | None = None
    """Only files of at most this size, such as 1MB."""
    min_bytes_per_token: Ratio | None = None
    """Only files of at least so much text a token of the recipe's tokenizer, such as 2."""
    on_missing: Literal["drop-file", "drop-repo", "error"] = "drop-file"
    """What a blob that is not there does: drop its file, or its repository, or end the fetch."""
    on_damaged: Literal["drop-file", "drop-repo", "error"] = "error"
    """What a blob does whose bytes are not those of its digest."""


class ExcludeSpec(RecipePart):
    """Rows to leave out, in a Parquet file: removals, or the rows that a run has seen."""

    path: Filled
    """The file."""
    key: Filled | None = None
    """A column that the source has too, such as id; unless given the file has the columns file and row."""


class Source(RecipePart):
    """One named input data set."""

    weight: Weight
    """The source's share of the draws, relative to the other weights: in rows, or as weights says."""
    path: Paths | None = None
    """Files of the source: a path, glob or hf://, s3://, gs://, https:// address, or a list of them."""
    hub: Hub | None = None
    """A data set of the hub in place of a path: ORG/NAME, or ORG/NAME@REVISION."""
    config: Filled | None = None
    """The config of that data set, as its card names it; its train split is read."""
    format: Literal["auto", "parquet", "arrow", "jsonl", "csv", "tsv", "text", "text-lines", "text-paragraphs"] = "auto"
    """The files' format; auto tells it from their names. text: a file is a document; or each of its lines, or of its
    paragraphs."""
    text: Annotated[TextSpec, BeforeValidator(expand_text, json_schema_input_type=str | TextSpec)] = TextSpec(
        column="text"
    )
    """The text column, or LIST[].FIELD such as files[].text, or a mapping that says more."""
    contents: (
        Annotated[ContentsSpec, BeforeValidator(expand_contents, json_schema_input_type=str | ContentsSpec)] | None
    ) = None
    """The rows have no text: it is fetched first, into files[].text. stack-v2, or a mapping that says more."""
    where: Condition | None = None
    """Only rows for which this holds are drawn, such as int_score >= 3."""
    attributes: dict[AttributeName, Filled] = Field(default_factory=dict)
    """Row attributes by the names that where uses: the DIGEST.json of a set that mixer attach or mixer curate made."""
    exclude: (
        Annotated[ExcludeSpec, BeforeValidator(expand_exclude, json_schema_input_type=str | ExcludeSpec)] | None
    ) = None
    """Rows to leave out: a Parquet file with file and row, or a mapping that names its key."""
    max_passes: Positive | None = None
    """The source is read at most this many times; overrides the recipe's max_passes."""

    @model_validator(mode="before")
    @classmethod
    def _text_that_is_fetched(cls, written: Any) -> Any:
        """Where contents are fetched, the text is theirs unless the recipe says more of it."""
        if not isinstance(written, dict) or written.get("contents") is None or "text" in written:
            return written
        return written | {"text": {"list": "files", "field": "text"}}

    @model_serializer(mode="wrap")
    def _only_the_place_given(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = serialize(self)
        optional = {"path", "hub", "config", "contents", "attributes", "exclude"}
        return {key: value for key, value in fields.items() if value not in (None, {}) or key not in optional}


class EpochsSpec(RecipePart):
    """How often a trainer reads the mixture."""

    count: Positive = 1
    """The number of epochs."""
    mode: Literal["reshuffle", "redraw"] = "reshuffle"
    """reshuffle: the same sequences in a new order; redraw: the draws go on, so big sources bring new rows."""


class HoldoutSpec(RecipePart):
    """Rows that no training build draws, chosen by their text: the same in every recipe and source."""

    fraction: Annotated[Share, Field(lt=1)]
    """The share of all texts, such as 0.001; those of a smaller share are among those of a larger one."""
    tokens: Count | None = None
    """Tokens of the validation build; the share of the target unless given."""


class CacheSpec(RecipePart):
    """Where blocks of remote sources are kept on this machine, and how much of them."""

    dir: Filled | None = None
    """The folder; that of --cache unless given."""
    size: Bytes | None = None
    """The most that it holds, such as 200GB; 50GB unless given."""


class Recipe(RecipePart):
    """A mixture: what to draw from which sources, how much, and how to pack it."""

    name: Name
    """The recipe's name; the stem of its file unless given."""
    seed: Seed = 0
    """The key of everything random."""
    tokenizer: Annotated[
        Annotated[Filled, Tag(ONE_NAME)] | Annotated[TokenizerSpec, Tag(RULES)],
        Discriminator(lambda value: RULES if isinstance(value, dict | TokenizerSpec) else ONE_NAME),
    ] = "llama3"
    """llama3 or llama4, a path to a tokenizer.json or a rank file, a hub id, or a rank file with its rules."""
    sequence: SequenceSpec = SequenceSpec()
    """Length, packing and borders of the sequences."""
    weights: Literal["rows", "tokens"] = "rows"
    """What the sources' weights are shares of. Rows are not tokens: one row may hold a whole repository."""
    target: Target | None = None
    """How much to build; may be left out only with when_exhausted: stop."""
    when_exhausted: Literal["repeat", "stop", "error"] = "repeat"
    """What happens when a source runs out: read it again, end the build there, or refuse to build."""
    max_passes: Positive | None = None
    """No source is read more often than this."""
    task_tokens: TaskTokens | None = None
    """Tokens of one task, 1Ki to 64Mi; from 1Mi on, by the total, unless given."""
    max_document_tokens: Count | None = None
    """Longer documents are skipped and counted."""
    on_bad_row: Literal["error", "skip"] = "error"
    """What a row that cannot be read does: end the build, or be skipped and counted."""
    cache: Annotated[CacheSpec, Field(exclude=True)] = CacheSpec()
    """Where blocks of remote sources are kept on this machine; no part of the recipe's identity."""
    epochs: EpochsSpec = EpochsSpec()
    """How often a trainer reads the mixture, and what differs from one time to the next."""
    holdout: HoldoutSpec | None = None
    """Rows that are kept from training, to validate with."""
    split: Literal["train", "validation"] = "train"
    """train: draw what is not held out; validation: only what is."""
    curate: CurateSpec | None = None
    """Which rows are worth it: steps of filters, decontamination and deduplication, each over what is left."""
    sources: Annotated[dict[Name, Source], Field(min_length=1, max_length=MAX_SOURCES)]
    """The sources by name."""

    @property
    def tokenizer_name(self) -> str:
        """What messages and tables call the tokenizer."""
        return self.tokenizer if isinstance(self.tokenizer, str) else self.tokenizer.ranks

    def normalised(self) -> dict[str, Any]:
        """The recipe's identity: JSON values, every default filled in, sizes as integers, decimals as text.

        Two spellings of one recipe give equal values. The order of keys, and so of the sources, means
        nothing here: the plan numbers the sources by name.
        """
        normal = self.model_dump(mode="json")
        # Without these a recipe has the identity that it had before they were.
        unsaid = {"curate": None, "holdout": None, "split": "train"}
        return {key: value for key, value in normal.items() if key not in unsaid or value != unsaid[key]}
