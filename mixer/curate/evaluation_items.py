"""The items of evaluation sets that training text is searched for: read from files, each distinct one once.

evals/humaneval.jsonl, line 3: {"prompt": "def add(a, b):", "canonical_solution": "return a + b", ...}
fields [prompt, canonical_solution]  ->  "def add(a, b):\\nreturn a + b"
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mixer.curate.item_records import ItemRecord, iter_records
from mixer.curate.words import words_of
from mixer.errors import DataError, RecipeError, shown_names
from mixer.stores.block_cache import BlockCache


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemSet:
    """One evaluation set, as a recipe names it."""

    name: str
    # Local files or globs, or addresses of one store: JSON lines, Parquet or Arrow.
    paths: tuple[str, ...]
    # What an item is made of, in this order: columns; a dot goes into a struct, or into each struct of a list.
    fields: tuple[str, ...]
    # The column that names an item, if any.
    id_field: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationItems:
    """Items with distinct words, in the order of their sets, files and lines."""

    # LargeString[items]: the fields of each, one to a line.
    text: pa.LargeStringArray
    # Where each comes from, such as `humaneval: evals/h.jsonl, line 3 (HumanEval/2)`.
    places: tuple[str, ...]
    # int32[items]: the number of its set.
    set_number: np.ndarray
    sets: tuple[str, ...]
    # sha256 (hex) of the items' words: the number of each item's words and their hashes, as little-endian uint64.
    digest: str
    # Items that were left out of each set, because an earlier item has the same words.
    num_repeated: tuple[int, ...]
    # Records of each set that lack a field or have null there, by field.
    num_missing: tuple[dict[str, int], ...]

    def __len__(self) -> int:
        return len(self.text)


def load_items(sets: Sequence[ItemSet], root: Path, blocks: BlockCache | None = None) -> EvaluationItems:
    """The items of evaluation sets. Python per item: sets are small.

    Args:
        sets: what to read.
        root: the folder that relative paths start from.
        blocks: where files of stores are kept; needed for addresses alone.

    Raises:
        RecipeError: paths match nothing or are of another format, or a field is in no record of its set.
        DataError: a file cannot be read, a record has something else than text in a field, or an item has no words.
    """
    texts: list[str] = []
    places: list[str] = []
    set_number: list[int] = []
    num_missing: list[dict[str, int]] = []
    for number, one in enumerate(sets):
        missing = dict.fromkeys(one.fields, 0)
        first = len(texts)
        columns = {name.partition(".")[0] for name in (*one.fields, one.id_field) if name}
        for record in iter_records(one.name, one.paths, sorted(columns), root, blocks):
            texts.append(_text_of(record, one.fields, missing))
            places.append(record.place + _id_of(record, one.id_field))
            set_number.append(number)
        _check_fields(one, missing, len(texts) - first)
        num_missing.append(missing)
    return _distinct(pa.array(texts, pa.large_string()), places, set_number, [one.name for one in sets], num_missing)


def _distinct(
    text: pa.LargeStringArray,
    places: Sequence[str],
    set_number: Sequence[int],
    sets: Sequence[str],
    num_missing: Sequence[dict[str, int]],
) -> EvaluationItems:
    """The items without those whose words an earlier one has.

    Raises:
        DataError: one has no words.
    """
    words = words_of(text)
    hashes = words.hashes.astype("<u8").tobytes()
    state = hashlib.sha256()
    num_repeated = [0] * len(sets)
    seen: set[bytes] = set()
    kept = []
    for item, (start, stop) in enumerate(zip(words.offsets[:-1].tolist(), words.offsets[1:].tolist())):
        if start == stop:
            raise DataError(
                "the item has no words", where=places[item], hint="name fields with text, or remove the record"
            )
        own = hashes[8 * start : 8 * stop]
        if own in seen:
            num_repeated[set_number[item]] += 1
            continue
        seen.add(own)
        kept.append(item)
        state.update((stop - start).to_bytes(8, "little") + own)
    return EvaluationItems(
        text=text.take(pa.array(kept, pa.int64())),
        places=tuple(places[item] for item in kept),
        set_number=np.array(set_number, dtype=np.int32)[kept],
        sets=tuple(sets),
        digest=state.hexdigest(),
        num_repeated=tuple(num_repeated),
        num_missing=tuple(num_missing),
    )


def _text_of(record: ItemRecord, fields: Sequence[str], missing: dict[str, int]) -> str:
    """The fields of a record, one to a line; those without a value are counted and left out."""
    parts = []
    for field in fields:
        found = list(_strings_at(record.values, field.split("."), field, record.place))
        missing[field] += not found
        parts += found
    text = "\n".join(parts)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError("the text has a lone surrogate", where=record.place, hint="fix or remove the record") from error
    return text


def _strings_at(value: Any, names: Sequence[str], field: str, place: str) -> Iterator[str]:
    """The strings at a path, through lists, nulls left out."""
    if value is None:
        return
    if isinstance(value, list):
        for item in value:
            yield from _strings_at(item, names, field, place)
    elif names and isinstance(value, dict):
        yield from _strings_at(value.get(names[0]), names[1:], field, place)
    elif not names and isinstance(value, str):
        yield value
    else:
        raise DataError(
            f"field '{field}' holds {type(value).__name__}; expected text or a list of text",
            where=place,
            hint="name the fields that hold the text of an item",
        )


def _id_of(record: ItemRecord, id_field: str | None) -> str:
    value: Any = record.values
    for name in id_field.split(".") if id_field else ():
        value = value.get(name) if isinstance(value, dict) else None
    return "" if value is None or value is record.values else f" ({value})"


def _check_fields(one: ItemSet, missing: dict[str, int], num_records: int) -> None:
    """Raises: RecipeError: there is no record, or a field that none of them has."""
    if not num_records:
        raise RecipeError("its files have no records", where=one.name, hint="remove the set, or fix its path")
    absent = [field for field, count in missing.items() if count == num_records]
    if absent:
        raise RecipeError(
            f"no record has a value in {shown_names(absent)}", where=one.name, hint="name fields that records have"
        )
