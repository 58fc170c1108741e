"""Records and their JSON values: there and back, and nothing of another type taken for them."""

from __future__ import annotations

import copy
import json
import typing
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from manifest_kit import staged_manifest

from mixer.digest import canonical_json
from mixer.shards.decode import ShapeError, decode, encode
from mixer.shards.records import Cut, Manifest, PlanRecord, ShardFile, SourceCounts, Stage, TaskRecord

pytestmark = pytest.mark.quick

LARGEST = 2**63 - 1
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, LARGEST) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


def values_of(kind: Any) -> st.SearchStrategy:
    """Any value of a type of a record's field."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if is_dataclass(kind):
        hints = typing.get_type_hints(kind, include_extras=True)
        return st.builds(kind, **{field.name: values_of(hints[field.name]) for field in fields(kind)})
    if origin is typing.Annotated:
        return st.from_regex(arguments[1], fullmatch=True)
    if origin is typing.Literal:
        return st.sampled_from(arguments)
    if origin is tuple:
        if arguments[1:] == (...,):
            return st.lists(values_of(arguments[0]), max_size=2).map(tuple)
        return st.tuples(*map(values_of, arguments))
    if origin is dict:
        return st.dictionaries(st.text(max_size=3), values_of(arguments[1]), max_size=2)
    if len(arguments) == 2 and type(None) in arguments:
        return st.none() | values_of(next(one for one in arguments if one is not type(None)))
    return {int: st.integers(0, LARGEST), str: st.text(max_size=4), bool: st.booleans(), Any: JSON}[kind]


@pytest.mark.parametrize("kind", [Manifest, PlanRecord, TaskRecord], ids=lambda kind: kind.__name__)
@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_any_record_comes_back_from_its_json(kind: type, data: st.DataObject) -> None:
    """Through text as well: what is written down is all that a record says."""
    record = data.draw(values_of(kind))
    assert decode(kind, json.loads(canonical_json(encode(record)))) == record


def places(value: Any, place: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Every place below a JSON value by its name, with what holds it and the key of it there."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        name = f"{place}[{key}]" if isinstance(value, list) else f"{place}.{key}" if place else str(key)
        if name not in ("recipe", "hints") and not name.endswith("].recipe"):  # JSON of any shape
            yield name, value, key
            yield from places(inner, name)


WHOLE = encode(staged_manifest())
PLACES = [name for name, _, _ in places(WHOLE)]


def at(value: Any, wanted: str) -> tuple[Any, Any]:
    return next((holder, key) for name, holder, key in places(value) if name == wanted)


@pytest.mark.parametrize("place", PLACES)
def test_a_wrong_type_is_named(place: str) -> None:
    """At every place of a manifest, each value that is of none of its types."""
    value = copy.deepcopy(WHOLE)
    holder, key = at(value, place)
    before = holder[key]
    for wrong in (-1, LARGEST + 1, 1.0, True, "one", None, [], {}, [None, None]):
        if fits(place, before, wrong):
            continue
        holder[key] = wrong
        with pytest.raises(ShapeError) as caught:
            decode(Manifest, value)
        assert str(caught.value).startswith(place), wrong


def fits(place: str, before: Any, wrong: Any) -> bool:
    """Whether a value is right at a place of the manifest above."""
    if place == "parent" or place.endswith(("bos_id", "eos_id")):
        return wrong is None
    if isinstance(before, bool):
        return isinstance(wrong, bool)
    if isinstance(before, str):
        return wrong == "one" and place.rpartition(".")[2] in ("name", "split", "fingerprint")
    if isinstance(before, list):
        return wrong == [] and not place.endswith((".tasks", ".draws"))
    return place.endswith("skipped") and wrong == {}


@pytest.mark.parametrize("place", [name for name in PLACES if not name.endswith("]") and "skipped." not in name])
def test_a_missing_key_is_named(place: str) -> None:
    """Every key of a manifest: no id covers some of them, so nothing else would notice."""
    value = copy.deepcopy(WHOLE)
    holder, key = at(value, place)
    del holder[key]
    with pytest.raises(ShapeError) as caught:
        decode(Manifest, value)
    assert str(caught.value) == f"{place} is missing"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (2**63, "draws is 9223372036854775808, not an integer from 0 to 2^63 - 1"),
        (10**400, "draws is a huge integer, not an integer from 0 to 2^63 - 1"),
        (True, "draws is True, not an integer"),
        (-1, "draws is -1, not an integer"),
        (0.0, "draws is 0.0, not an integer"),
        ("1" * 1000, "draws is '1111"),
    ],
)
def test_an_integer_is_one_that_an_int64_holds(value: Any, words: str) -> None:
    """Booleans are integers to Python, and not here; a long value is cut in the message."""
    with pytest.raises(ShapeError) as caught:
        decode(Cut, {"task": 0, "draws": value, "sequences": 1})
    assert str(caught.value).startswith(words)
    assert len(str(caught.value)) < 160
    assert decode(Cut, {"task": 0, "draws": LARGEST, "sequences": 1}).draws == LARGEST


def test_keys_that_a_record_does_not_have_are_left_alone() -> None:
    """A later mixer may write more: what a reader must know is in `features`."""
    assert decode(Cut, {"task": 1, "draws": 2, "sequences": 3, "more": []}) == Cut(task=1, draws=2, sequences=3)


def test_what_is_no_object_is_said_without_a_place() -> None:
    """The outermost value has no name."""
    with pytest.raises(ShapeError, match="the value is a list, not an object"):
        decode(Cut, [])


def test_counts_add_up_by_reason() -> None:
    """Reasons of both, in the order of their names: equal sums are equal records."""
    one = SourceCounts(rows=3, documents=1, skipped={"null_text": 1, "too_long": 1}, tokens=5)
    other = SourceCounts(rows=1, skipped={"bad_row": 1})
    both = SourceCounts(rows=4, documents=1, skipped={"bad_row": 1, "null_text": 1, "too_long": 1}, tokens=5)
    assert one + other == other + one == both
    assert list((one + other).skipped) == list((other + one).skipped) == ["bad_row", "null_text", "too_long"]
    assert both.num_skipped == 3


def test_a_stage_knows_the_draws_of_its_tasks() -> None:
    """Counted from the stage's first task and draw."""
    stage: Stage = staged_manifest().stages[1]
    assert [stage.task_draws(task) for task in (2, 3, 4)] == [(12, 16), (16, 20), (20, 24)]
    assert stage.period_draws == 2


def test_counts_of_a_source_are_those_of_all_its_stages() -> None:
    """`b` is in both stages, at another place in each."""
    manifest = staged_manifest()
    assert [counts.rows for counts in manifest.source_counts] == [8, 9, 5]
    assert [counts.tokens for counts in manifest.source_counts] == [35, 21, 17]
    assert [manifest.cut_of(task) for task in (3, 4)] == [None, Cut(task=4, draws=2, sequences=1)]


@pytest.mark.parametrize("key", ["bytes", "xxh3", "state"])
def test_a_key_of_a_shards_file_may_not_be_missing(key: str) -> None:
    """No id covers it, so nothing else would notice that its name was damaged."""
    value = encode(ShardFile(bytes=1, xxh3="0" * 32))
    del value[key]
    with pytest.raises(ShapeError, match=f"{key} is missing"):
        decode(ShardFile, value)
