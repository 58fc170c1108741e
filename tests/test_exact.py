"""Digests of rows: equal for what counts as equal, and for nothing else."""

from __future__ import annotations

import datetime
import math
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st
from test_words import by_hand, column, hash_of

from mixer.curate.exact import normalised_digests, text_digests, value_digests
from mixer.curate.words import words_of
from mixer.digest import xxh3
from mixer.errors import DataError

pytestmark = pytest.mark.quick

TEXTS = st.lists(st.none() | st.text("aB .猫\x00\u2019", max_size=12), max_size=8)


def hexes(digests: np.ndarray) -> list[str | None]:
    """The digests as hex digits; None where there is none."""
    assert digests.dtype == np.uint64
    return [f"{high:016x}{low:016x}" if high or low else None for high, low in digests.tolist()]


def normalised(texts: list[str | None]) -> list[str | None]:
    return hexes(normalised_digests(column(texts), words_of(column(texts))))


def of(*values: Any, type: pa.DataType | None = None) -> list[str | None]:
    return hexes(value_digests(pa.array(values, type)))


def value_by_hand(value: Any) -> str | None:
    """The digest of a value of Python."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, str | bytes):
        return xxh3(value.encode() if isinstance(value, str) else value)
    kind, data = {
        bool: lambda: ("integer", int(value).to_bytes(16, "little", signed=True)),
        int: lambda: ("integer", int(value).to_bytes(16, "little", signed=True)),
        float: lambda: ("float", np.array([value + 0.0], "<f8").tobytes()),
        list: lambda: ("list", digests_of(value)),
        tuple: lambda: ("struct", digests_of(value)),
        dict: lambda: ("struct", digests_of(list(value.values()))),
    }[type(value)]()
    return xxhash.xxh3_128_hexdigest(data, seed=xxhash.xxh3_64_intdigest(kind.encode()))


def digests_of(values: Any) -> bytes:
    return b"".join(bytes.fromhex(value_by_hand(one) or "0" * 32) for one in values)


def test_the_digests_of_the_format_page() -> None:
    """Of the words of a text, and of its bytes."""
    assert normalised(["It's"]) == ["c9a3b94ab767eee60dc5b4096d78540c"]
    assert hexes(text_digests(column(["It's"]))) == [xxh3(b"It's")] == ["8ac9122ae4b6941d5c92f6ffffad9e86"]


@settings(deadline=None)
@given(texts=TEXTS)
def test_a_text_has_the_digest_of_its_bytes(texts: list[str | None]) -> None:
    """None for a null; also of a slice of a column, and as a column's values."""
    expected = [None if text is None else xxh3(text.encode()) for text in texts]
    assert hexes(text_digests(column(texts))) == expected
    assert hexes(text_digests(column(["before", *texts, "after"])[1:-1])) == expected
    assert hexes(value_digests(column(texts))) == expected


@settings(deadline=None)
@given(texts=TEXTS)
def test_words_have_the_digest_of_their_hashes(texts: list[str | None]) -> None:
    """A text without words has that of its bytes."""
    expected = []
    for text in texts:
        hashes = b"".join(hash_of(word).to_bytes(8, "little") for word, _ in by_hand(text or ""))
        expected.append(None if text is None else xxh3(hashes or text.encode()))
    assert normalised(texts) == expected


def test_what_makes_a_difference_to_words() -> None:
    """Case, punctuation and white space do not; words, their order and their borders do."""
    same = normalised(["The cat, it's out", "the\n CAT (it s) out", "THE-cat_it’s__out!"])
    assert len(set(same)) == 1
    others = normalised(
        ["the cat it s out", "the cat its out", "the cat it out s", "the cat it s out out", "...", "", "!"]
    )
    assert others[0] == same[0]
    assert len(set(others)) == len(others)


def test_odd_and_enormous_texts() -> None:
    """Control characters, the highest code points, three million bytes."""
    texts = ["\x00", "\x00\x00", "\ufffd\ud7ff\U0010ffff", "", "ab " * 1_000_000]
    assert hexes(text_digests(column(texts))) == [xxh3(text.encode()) for text in texts]
    assert normalised(texts)[:4] == [xxh3(text.encode()) for text in ("\x00", "\x00\x00")] + [
        xxh3(hash_of(texts[2]).to_bytes(8, "little")),
        xxh3(b""),
    ]


def test_a_null_that_hides_bytes_is_no_duplicate() -> None:
    """Arrow allows any bytes there."""
    offsets, mask = pa.py_buffer(np.array([0, 3, 6])), pa.py_buffer(bytes([0b01]))
    hiding = pa.LargeStringArray.from_buffers(2, offsets, pa.py_buffer(b"oneone"), mask)
    assert hexes(text_digests(hiding)) == [xxh3(b"one"), None]
    assert hexes(normalised_digests(hiding, words_of(hiding))) == [xxh3(hash_of("one").to_bytes(8, "little")), None]
    numbers = pa.Array.from_buffers(pa.int32(), 2, [mask, pa.py_buffer(np.array([5, 5], np.int32))])
    assert hexes(value_digests(numbers)) == [*of(5), None]


@pytest.mark.parametrize(
    "type",
    [
        pa.string(),
        pa.string_view(),
        pa.dictionary(pa.int8(), pa.string()),
        pa.dictionary(pa.uint64(), pa.large_string()),
        pa.run_end_encoded(pa.int32(), pa.string()),
    ],
    ids=str,
)
def test_how_text_is_stored_makes_no_difference(type: pa.DataType) -> None:
    """Nor that it is a slice, or in chunks."""
    values = ["a", "", None, "bb", "bb", "a"]
    plain = pa.array(values)
    stored = pc.run_end_encode(plain) if pa.types.is_run_end_encoded(type) else plain.cast(type)
    expected = [value_by_hand(value) for value in values]
    assert hexes(value_digests(stored)) == expected
    assert hexes(value_digests(stored[2:5])) == expected[2:5]
    assert hexes(value_digests(pa.chunked_array([stored[:2], stored[2:]]))) == expected
    assert hexes(value_digests(pa.chunked_array([], type))) == []


@pytest.mark.parametrize("type", [pa.binary(), pa.large_binary(), pa.binary_view()], ids=str)
def test_bytes_have_the_digest_of_text(type: pa.DataType) -> None:
    assert of(b"a", None, b"", type=type) == of("a", None, "")


INTEGERS = [getattr(pa, f"{sign}int{width}")() for sign in ("", "u") for width in (8, 16, 32, 64)]


@settings(deadline=None)
@given(values=st.lists(st.none() | st.integers(-(2**63), 2**64 - 1), max_size=6))
def test_integers_of_any_width_are_compared_by_value(values: list[int | None]) -> None:
    """Where they fit; -1 is not 2^64 - 1."""
    for type in INTEGERS:
        bits, is_signed = type.bit_width, pa.types.is_signed_integer(type)
        least, most = (-(1 << bits - 1), (1 << bits - 1) - 1) if is_signed else (0, (1 << bits) - 1)
        some = [one for one in values if one is None or least <= one <= most]
        assert of(*some, type=type) == [value_by_hand(one) for one in some]
    assert of(True, False, None) == [value_by_hand(one) for one in (1, 0, None)]


@pytest.mark.parametrize("type", [pa.float16(), pa.float32(), pa.float64()], ids=str)
def test_floats_are_compared_by_value(type: pa.DataType) -> None:
    """Zero has one sign, and NaN equals nothing."""
    values = [1.5, -0.0, 0.0, math.nan, None, math.inf]
    stored = pa.array(
        np.array([0 if one is None else one for one in values]), mask=np.array([one is None for one in values])
    )
    assert hexes(value_digests(stored.cast(type))) == [value_by_hand(one) for one in values]
    assert of(1.0) != of(1)


NESTED = [
    ([[1, 2], [], None, [None], [2, 1]], pa.list_(pa.int32())),
    ([[1, 2], [], None, [None], [2, 1]], pa.large_list(pa.int8())),
    ([[1, 2], [], None, [None], [2, 1]], pa.list_view(pa.int64())),
    ([[1, 2], [], None, [None], [2, 1]], pa.large_list_view(pa.int64())),
    ([[1, 2], None, [2, 1]], pa.list_(pa.int64(), 2)),
    ([{"a": 1, "b": ["x"]}, None, {"a": None, "b": None}], pa.struct({"a": pa.int8(), "b": pa.list_(pa.string())})),
    ([[("a", 1)], None, [], [("b", 1), ("a", 1)]], pa.map_(pa.string(), pa.int64())),
    ([{}, None], pa.struct([])),
]


@pytest.mark.parametrize(("values", "type"), NESTED, ids=lambda one: str(one) if isinstance(one, pa.DataType) else "")
def test_nested_values_have_digests_of_digests(values: list[Any], type: pa.DataType) -> None:
    """Also of a slice."""
    expected = [value_by_hand(value) for value in values]
    stored = pa.array(values, type)
    assert hexes(value_digests(stored)) == expected
    assert hexes(value_digests(stored[1:])) == expected[1:]


@pytest.mark.parametrize(
    "values",
    [
        [datetime.date(2020, 1, 1), datetime.date(2020, 1, 2)],
        [datetime.datetime(2020, 1, 1), datetime.datetime(2020, 1, 1, 1)],
        [datetime.time(1), datetime.time(2)],
        [datetime.timedelta(1), datetime.timedelta(2)],
        [Decimal("1.5"), Decimal("2.5")],
        [pa.MonthDayNano((1, 2, 3)), pa.MonthDayNano((1, 2, 4))],
    ],
    ids=lambda values: type(values[0]).__name__,
)
def test_other_values_are_compared_within_their_type(values: list[Any]) -> None:
    """Equal ones are equal, others not; nulls and slices as ever."""
    stored = pa.array([values[0], None, values[1], values[0]])
    found = hexes(value_digests(stored))
    assert found[1] is None
    assert (found[0], len({*found})) == (found[3], 3)
    assert hexes(value_digests(stored[1:])) == found[1:]


def test_values_of_different_kinds_are_different() -> None:
    """A number is not its digits, nor a list of it, nor a date of so many days."""
    days = pa.array([1], pa.int32()).cast(pa.date32())
    found = [*of(1), *of("1"), *of(1.0), *of([1]), *of({"a": 1}), *of([[1]]), *of(b"\x01"), *hexes(value_digests(days))]
    assert len(set(found)) == len(found)


def test_types_without_values_and_without_order() -> None:
    """Nulls have no digest; values of unions are refused; those of an extension are as they are stored."""
    assert of(None, None, type=pa.null()) == [None, None]
    union = pa.UnionArray.from_sparse(pa.array([0, 1], pa.int8()), [pa.array([1, 2]), pa.array(["a", "b"])])
    with pytest.raises(DataError, match="cannot be compared"):
        value_digests(union)
    stored = pa.ExtensionArray.from_storage(pa.json_(pa.string()), pa.array(["{}", None]))
    assert hexes(value_digests(stored)) == of("{}", None)
