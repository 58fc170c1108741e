"""One sequence of a build, decoded, with its segments."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mixer.errors import IntegrityError, TokenizerError, UsageError
from mixer.report.console import visible
from mixer.report.numbers import counted
from mixer.shards.locate import Locator, Place
from mixer.shards.records import Manifest
from mixer.shards.row_files import RowFiles

if TYPE_CHECKING:
    from rich.console import Console

    from mixer.tokens.tokenizer import Tokenizer

HEAD_CHARS, TAIL_CHARS = 700, 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A document's tokens in one sequence: positions `start` to `stop`.

    `document_start` is the first of them in its document; the row is number `row_in_file` of its `file`. `source` and
    `file` are None and `row`, `row_in_file` and `pass_number` -1 for padding.
    """

    start: int
    stop: int
    source: str | None
    row: int
    file: str | None
    row_in_file: int
    pass_number: int
    document_start: int
    bos: bool
    eos: bool
    text: str

    def as_json(self) -> dict[str, Any]:
        """JSON values; `pass` is a word of Python, so its field has another name."""
        fields = dataclasses.asdict(self)
        return {("pass" if name == "pass_number" else name): value for name, value in fields.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequence:
    """Sequence `number` of a build, row `row` of a shard; `next_id` follows it, -100 where nothing does."""

    number: int
    shard: str
    row: int
    next_id: int
    num_pad: int
    segments: tuple[Segment, ...]

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        return dataclasses.asdict(self) | {"segments": [segment.as_json() for segment in self.segments]}


def locate(number: int, manifest: Manifest) -> Place:
    """The place of a sequence, counted over all shards in the manifest's order. Pure.

    Raises:
        UsageError: there is no such sequence.
    """
    total = manifest.totals.sequences
    if not 0 <= number < total:
        raise UsageError(
            f"there is no sequence {number}",
            where="--sequence",
            hint=f"choose one of 0 to {total - 1}" if total else "the build has no sequences",
        )
    return Locator.of(manifest).place(number)


def read_sequence(folder: Path, manifest: Manifest, number: int, tokenizer: Tokenizer) -> Sequence:
    """Read and decode one sequence.

    Raises:
        UsageError: there is no such sequence.
        TokenizerError: the tokenizer is not the build's.
        IntegrityError: the shard is missing or unreadable.
    """
    from mixer.shards.rules import batch_problem
    from mixer.shards.shard import REBUILD_HINT, check_shard_schema, open_shard, read_batch, read_columns

    place = locate(number, manifest)
    check_tokenizer(tokenizer, manifest)
    shard = manifest.shards[place.shard]
    path = folder / shard.path
    reader = open_shard(path)
    check_shard_schema(reader, manifest.sequence.length, path)
    whole = read_batch(reader, place.batch, path)
    if problem := batch_problem(whole, manifest):
        raise IntegrityError(f"record batch {place.batch}: {problem}", where=str(path), hint=REBUILD_HINT)
    if place.row_in_batch >= len(whole):
        raise IntegrityError(
            f"record batch {place.batch} has {len(whole)} sequences", where=str(path), hint=REBUILD_HINT
        )
    columns = read_columns(whole.slice(place.row_in_batch, 1))
    names = manifest.source_names
    ids, segments, start = columns.input_ids[0], [], 0
    files = RowFiles(folder, manifest)
    for run, stop in enumerate(columns.run_stop.tolist()):
        source, row = int(columns.segment_source[run]), int(columns.segment_row[run])
        file, row_in_file = files.place(source, row) if source >= 0 else (None, -1)
        inner = ids[start:stop] if source >= 0 else ids[:0]
        bos = len(inner) > 0 and inner[0] == tokenizer.bos_id and manifest.sequence.bos
        eos = len(inner) > 0 and inner[-1] == tokenizer.eos_id and manifest.sequence.eos
        segments.append(
            Segment(
                start=start,
                stop=stop,
                source=names[source] if source >= 0 else None,
                row=row,
                file=file,
                row_in_file=row_in_file,
                pass_number=int(columns.segment_pass[run]),
                document_start=int(columns.segment_start[run]),
                bos=bool(bos),
                eos=bool(eos),
                text=tokenizer.decode(inner[int(bos) : len(inner) - int(eos)]),
            )
        )
        start = stop
    return Sequence(
        number=number,
        shard=shard.path,
        row=place.row,
        next_id=int(columns.next_id[0]),
        num_pad=int(columns.num_pad[0]),
        segments=tuple(segments),
    )


def check_tokenizer(tokenizer: Tokenizer, manifest: Manifest) -> None:
    """Refuse a tokenizer that differs from the build's.

    Raises:
        TokenizerError: the fingerprints differ.
    """
    asked = manifest.tokenizer.fingerprint
    if tokenizer.fingerprint != asked:
        raise TokenizerError(
            f"has fingerprint {tokenizer.fingerprint}; the build was made with {asked}",
            where=f"tokenizer {tokenizer.name}",
            hint="give the folder of the build's recipe as --root, with the same tokenizer in it",
        )


def print_sequence(sequence: Sequence, console: Console, *, full: bool, wrap: bool) -> None:
    """Print a sequence for people: a header for each segment, then its text, shortened in the middle unless full."""
    from rich.text import Text

    console.print(
        Text(
            f"sequence {sequence.number:,} is row {sequence.row:,} of {sequence.shard}: "
            f"{counted(len(sequence.segments), 'segment')}, {sequence.num_pad:,} ids of padding, "
            + (f"next id {sequence.next_id}" if sequence.next_id >= 0 else "no next id"),
            style="bold",
        )
    )
    for segment in sequence.segments:
        console.print()
        console.print(Text(f"── {_header(segment)}", style="cyan"))
        if segment.source is not None:
            console.print(_text(segment, full=full), soft_wrap=not wrap)


def _header(segment: Segment) -> str:
    span = f"{segment.start:,}..{segment.stop:,}"
    if segment.source is None:
        return f"{span}  padding"
    first = segment.document_start
    return (
        f"{span}  {segment.source} row {segment.row:,} ({segment.file}, row {segment.row_in_file:,}), "
        f"pass {segment.pass_number}, "
        f"tokens {first:,}..{first + segment.stop - segment.start:,} of its document"
    )


def print_row(header: str, text: str | None, console: Console, *, full: bool, wrap: bool) -> None:
    """Print a row of a source: a header, then its text, shortened in the middle unless full."""
    from rich.text import Text

    console.print(Text(visible(header), style="bold"), soft_wrap=not wrap)
    if text is not None:
        console.print()
        console.print(_shortened(text, full=full), soft_wrap=not wrap)


def _text(segment: Segment, *, full: bool) -> Any:
    from rich.text import Text

    text = Text()
    if segment.bos:
        text.append("<BOS>", style="reverse")
    text.append(_shortened(segment.text, full=full))
    if segment.eos:
        text.append("<EOS>", style="reverse")
    return text


def _shortened(content: str, *, full: bool) -> Any:
    """A text, or its beginning and end."""
    from rich.text import Text

    text = Text()
    left_out = len(content) - HEAD_CHARS - TAIL_CHARS
    if full or left_out <= 0:
        text.append(visible(content))
    else:
        text.append(visible(content[:HEAD_CHARS]))
        text.append(f" … {left_out:,} characters left out … ", style="reverse")
        text.append(visible(content[-TAIL_CHARS:]))
    return text
