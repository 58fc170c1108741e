"""A second, slow and obvious implementation of a build: what the columnar code must equal.

It shares nothing with `mixer` but the keyed permutation (`mixer.rng`) and the parsed recipe. Rows are dicts, tokens
are Python lists, weights are Fractions, and the encoder is tiktoken with the pattern that Meta's package has.
"""

from __future__ import annotations

import gzip
import io
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from pathlib import Path

import pyarrow.ipc as ipc
import pyarrow.parquet as pq
import zstandard

from mixer import rng
from mixer.recipe import Recipe, Source

BOS, EOS, PAD = 128000, 128001, 128004
NO_ID = -100
META_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
Encode = Callable[[str], list[int]]
Run = tuple[int, int, int, int, int]
"""Tokens of one run, and its source, row, pass and first token; padding is (tokens, -1, -1, -1, 0)."""


@cache
def llama3() -> Encode:
    """tiktoken over Meta's rank file; special strings are plain text."""
    import llama_models
    import tiktoken
    from tiktoken.load import load_tiktoken_bpe

    ranks = load_tiktoken_bpe(str(Path(llama_models.__file__).parent / "llama3" / "tokenizer.model"))
    encoding = tiktoken.Encoding(name="oracle", pat_str=META_PATTERN, mergeable_ranks=ranks, special_tokens={})
    return encoding.encode_ordinary


@dataclass
class Row:
    """A row that can be drawn: its ordinal among all rows of the source, and its text."""

    ordinal: int
    text: str | None


@dataclass
class Document:
    """A drawn row with its tokens, BOS and EOS included; no tokens where it was skipped."""

    source: int
    row: int
    pass_number: int
    tokens: list[int]


@dataclass
class Shard:
    """The rows of one task's shard, as `pyarrow.Table.to_pylist` gives them, and the draws they hold."""

    task: int
    draws: tuple[int, int]
    rows: list[dict]
    skipped: dict[int, int] = field(default_factory=dict)
    documents: list[Document] = field(default_factory=list)

    @property
    def num_tokens(self) -> int:
        return sum(len(row["input_ids"]) - row["num_pad"] for row in self.rows)


Keeps = Callable[[str, int, dict], bool]
"""Whether a row of a source is kept, by its ordinal and its record."""


def build(
    recipe: Recipe,
    root: Path,
    draws_per_task: int,
    max_draws: int | None,
    encode: Encode,
    keeps: Keeps | None = None,
) -> list[Shard]:
    """The shards of a recipe, task by task, to its target; rows are kept by `where` unless `keeps` says."""
    sources = dict(sorted(recipe.sources.items()))  # numbered by name
    blocks = [read_source(name, source, root, keeps or keeps_by_where(source)) for name, source in sources.items()]
    names = list(sources)
    drawn = draws([source.weight for source in sources.values()])
    target = recipe.target.model_dump() if recipe.target else {}
    kind = "tokens" if target.get("tokens") else "sequences"
    wanted = target.get("tokens") or target.get("sequences")
    order: list[int] = []
    shards: list[Shard] = []
    while True:
        start, stop = len(order), len(order) + draws_per_task
        stop = stop if max_draws is None else min(stop, max_draws)
        if start >= stop:
            return shards
        before = [order.count(source) for source in range(len(names))]
        slots = [next(drawn) for _ in range(start, stop)]
        order += slots
        by_draw = draw_documents(recipe, names, blocks, slots, before, encode)
        task = len(shards)
        shard = finish(recipe, names, task, start, slots, by_draw, None)
        if wanted is None:
            shards.append(shard)
            continue
        reached = shard.num_tokens if kind == "tokens" else len(shard.rows)
        if reached < wanted:
            wanted -= reached
            shards.append(shard)
            continue
        length = recipe.sequence.length
        needed = wanted * length if kind == "sequences" else math.ceil(wanted / length) * length
        total, num_draws = 0, len(slots)
        for draw, document in enumerate(by_draw):
            total += len(document.tokens)
            if total >= needed:
                num_draws = draw + 1
                break
        last = finish(recipe, names, task, start, slots[:num_draws], by_draw[:num_draws], (kind, wanted))
        return [*shards, last]


def keeps_by_where(source: Source) -> Keeps:
    return lambda name, ordinal, record: source.where is None or bool(eval(source.where, {}, record))


def read_source(name: str, source: Source, root: Path, keeps: Keeps) -> list[list[Row]]:
    """The rows that can be drawn, block by block; ordinals count all rows."""
    paths = [path for pattern in source.path for path in root.glob(pattern)]
    base = root.joinpath(*Path(source.path[0]).parts[:-1])
    blocks, ordinal = [], 0
    for path in sorted(paths, key=lambda path: path.relative_to(base).as_posix()):
        for records in read_blocks(path):
            block = []
            for record in records:
                if keeps(name, ordinal, record):
                    block.append(Row(ordinal=ordinal, text=text_of(record, source)))
                ordinal += 1
            blocks.append(block)
    return blocks


def read_blocks(path: Path) -> Iterator[list[dict]]:
    """The records of each block of a file."""
    if path.suffix == ".parquet":
        file = pq.ParquetFile(path)
        for group in range(file.num_row_groups):
            yield file.read_row_group(group).to_pylist()
    elif path.suffix == ".arrow":
        reader = ipc.open_file(path)
        for number in range(reader.num_record_batches):
            yield reader.get_batch(number).to_pylist()
    else:
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
        elif path.suffix == ".zst":
            data = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data), read_across_frames=True).read()
        yield [json.loads(line) for line in data.split(b"\n") if line.strip()]


def text_of(record: dict, source: Source) -> str | None:
    """The text of a record: a column, or the items of a list joined."""
    spec = source.text
    if spec.column is not None:
        return record[spec.column]
    items = [item[spec.field] if spec.field else item for item in record[spec.list] or []]
    texts = [item for item in items if item is not None]
    return spec.separator.join(spec.prefix + text for text in texts) if texts else None


def draws(weights: list[int | float]) -> Iterator[int]:
    """The source of each draw: of those that would not come too early, the one with the nearest deadline."""
    exact = [Fraction(str(weight)) for weight in weights]
    share = [weight / sum(exact) for weight in exact]
    counts = [0] * len(weights)
    draw = 0
    while True:
        chosen = min(
            (math.ceil((count + 1) / share[source]) - 1, source)
            for source, count in enumerate(counts)
            if math.floor(count / share[source]) <= draw
        )[1]
        counts[chosen] += 1
        draw += 1
        yield chosen


def draw_documents(
    recipe: Recipe, names: list[str], blocks: list[list[list[Row]]], slots: list[int], before: list[int], encode: Encode
) -> list[Document]:
    """The document that each draw takes, in the order of the draws."""
    nth = list(before)
    documents = []
    for source in slots:
        pass_number, place = divmod(nth[source], sum(len(block) for block in blocks[source]))
        order = rng.permutation(len(blocks[source]), recipe.seed, "blocks", names[source], pass_number)
        rows = [row for block in order.tolist() for row in blocks[source][block]]
        row = rows[place]
        documents.append(Document(source, row.ordinal, pass_number, tokens_of(recipe, row.text, encode)))
        nth[source] += 1
    return documents


def tokens_of(recipe: Recipe, text: str | None, encode: Encode) -> list[int]:
    """BOS, ids, EOS; nothing for a row that is skipped."""
    if not text:
        return []
    tokens = [BOS] * recipe.sequence.bos + encode(text) + [EOS] * recipe.sequence.eos
    longest = recipe.max_document_tokens
    return [] if longest is not None and len(tokens) > longest else tokens


def finish(
    recipe: Recipe,
    names: list[str],
    task: int,
    start: int,
    slots: list[int],
    by_draw: list[Document],
    limit: tuple[str, int] | None,
) -> Shard:
    """Shuffle the documents of each source among the source's slots, pack them, and stop at the limit."""
    placed: list[Document | None] = [None] * len(slots)
    skipped = {}
    for source, name in enumerate(names):
        own = [slot for slot, drawn in enumerate(slots) if drawn == source]
        perm = rng.permutation(len(own), recipe.seed, "documents", name, task).tolist()
        for nth, slot in enumerate(own):
            placed[own[perm[nth]]] = by_draw[slot]
        skipped[source] = sum(not by_draw[slot].tokens for slot in own)
    documents = [document for document in placed if document is not None and document.tokens]
    length = recipe.sequence.length
    pack = end_to_end if recipe.sequence.packing == "concat" else best_fit
    rows = [as_row(documents, *packed, length) for packed in pack(documents, length)]
    if limit is not None:
        rows = rows[: sequences_until(rows, *limit)]
    return Shard(task, (start, start + len(slots)), rows, skipped, documents)


def sequences_until(rows: list[dict], kind: str, amount: int) -> int:
    """How many sequences meet the limit."""
    reached = 0
    for number, row in enumerate(rows):
        reached += len(row["input_ids"]) - row["num_pad"] if kind == "tokens" else 1
        if reached >= amount:
            return number + 1
    return len(rows)


Packed = tuple[list[tuple[int, int, int]], int]
"""Segments (document, start, tokens) of a sequence from left to right, and the id that follows."""


def end_to_end(documents: list[Document], length: int) -> Iterator[Packed]:
    """Token by token."""
    stream = [(number, place) for number, document in enumerate(documents) for place in range(len(document.tokens))]
    for start in range(0, len(stream), length):
        segments: list[tuple[int, int, int]] = []
        for number, place in stream[start : start + length]:
            if segments and segments[-1][0] == number:
                segments[-1] = (number, segments[-1][1], segments[-1][2] + 1)
            else:
                segments.append((number, place, 1))
        following = stream[start + length] if start + length < len(stream) else None
        yield segments, documents[following[0]].tokens[following[1]] if following else NO_ID


def best_fit(documents: list[Document], length: int) -> Iterator[Packed]:
    """Best-fit decreasing, one piece after the other."""
    for segments in best_fit_pieces([len(document.tokens) for document in documents], length):
        number, start, tokens = segments[-1]
        full = sum(segment[2] for segment in segments) == length
        goes_on = start + tokens < len(documents[number].tokens)
        yield segments, documents[number].tokens[start + tokens] if full and goes_on else NO_ID


def best_fit_pieces(lengths: list[int], length: int) -> list[list[tuple[int, int, int]]]:
    """The segments of each sequence: the longest piece first, into the fullest sequence with room for it.

    Among sequences with equal room the one that came to have it last is taken.
    """
    pieces = [
        (number, start, min(length, tokens - start))
        for number, tokens in enumerate(lengths)
        for start in range(0, tokens, length)
    ]
    bins: list[list[tuple[int, int, int]]] = []
    rooms: list[int] = []
    since: list[int] = []
    for step, piece in enumerate(sorted(pieces, key=lambda piece: -piece[2])):
        fitting = [number for number, room in enumerate(rooms) if room >= piece[2]]
        if fitting:
            chosen = min(fitting, key=lambda number: (rooms[number], -since[number]))
        else:
            chosen = len(bins)
            bins.append([])
            rooms.append(length)
            since.append(step)
        bins[chosen].append(piece)
        rooms[chosen] -= piece[2]
        since[chosen] = step
    return sorted(sorted(held) for held in bins)


def as_row(documents: list[Document], segments: list[tuple[int, int, int]], next_id: int, length: int) -> dict:
    """One sequence with all its columns."""
    ids = [token for number, start, count in segments for token in documents[number].tokens[start : start + count]]
    runs: list[Run] = []
    for number, start, count in segments:
        document = documents[number]
        runs.append((count, document.source, document.row, document.pass_number, start))
    if num_pad := length - len(ids):
        runs.append((num_pad, -1, -1, -1, 0))
    borders = [0]
    for run in runs:
        borders.append(borders[-1] + run[0])
    return {
        "input_ids": ids + [PAD] * num_pad,
        "next_id": next_id,
        "num_pad": num_pad,
        "cu_seqlens": borders,
        "segment_source": [run[1] for run in runs],
        "segment_row": [run[2] for run in runs],
        "segment_pass": [run[3] for run in runs],
        "segment_start": [run[4] for run in runs],
    }
