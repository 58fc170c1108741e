"""Documents out of record batches: columns of any string type, and lists joined."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sources_kit import TextSpec

from mixer.sources.text import documents, invalid_rows, text_offsets

pytestmark = pytest.mark.quick

FILES = TextSpec(list="files", field="body")


def texts(values: Any, kind: pa.DataType | None, spec: TextSpec) -> list[str | None]:
    result = documents(pa.record_batch({spec.list or "text": pa.array(values, kind)}), spec)
    assert result.type == pa.large_string()
    result.validate(full=True)
    return result.to_pylist()


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())], ids=str
)
def test_every_string_type_is_text(kind: pa.DataType) -> None:
    """Null and empty text pass through."""
    assert texts(["a", None, "", "é"], kind, TextSpec(column="text")) == ["a", None, "", "é"]


def test_a_dotted_column_goes_into_structs() -> None:
    """A null struct has null text."""
    assert texts([{"a": {"b": "x"}}, {"a": None}, None], None, TextSpec(column="text.a.b")) == ["x", None, None]


def test_the_items_of_a_list_are_joined_with_a_prefix_before_each() -> None:
    """This is how a repository of the Stack becomes one document."""
    rows = [[{"body": "a"}, {"body": "b"}], [{"body": "c"}], [], None]
    assert texts(rows, None, TextSpec(list="files", field="body", prefix="\n\n")) == ["\n\na\n\nb", "\n\nc", None, None]


def test_the_separator_stands_between_items_only() -> None:
    """With a prefix, each item is separator, prefix, item, but for the first."""
    rows = [[{"body": "a"}, {"body": "b"}, {"body": "c"}]]
    assert texts(rows, None, TextSpec(list="files", field="body", separator="-", prefix="#")) == ["#a-#b-#c"]


def test_null_items_are_left_out_and_empty_ones_are_not() -> None:
    """A list with nothing but nulls has no text; one with an empty string has."""
    rows = [[{"body": None}, {"body": "a"}, None], [{"body": None}], [{"body": ""}]]
    assert texts(rows, None, TextSpec(list="files", field="body", separator="-")) == ["a", None, ""]


def test_items_are_sorted_by_another_field_stably_with_nulls_last() -> None:
    """Rows do not mix."""
    rows = [
        [
            {"body": "3", "path": None},
            {"body": "1", "path": "a"},
            {"body": "0", "path": "A"},
            {"body": "2", "path": "a"},
        ],
        [{"body": "y", "path": "2"}, {"body": "x", "path": "1"}],
    ]
    assert texts(rows, None, TextSpec(list="files", field="body", order="path")) == ["0123", "xy"]


@pytest.mark.parametrize("kind", [pa.list_(pa.string()), pa.large_list(pa.large_string())], ids=str)
def test_a_list_of_strings_needs_no_field(kind: pa.DataType) -> None:
    """Items are the strings themselves."""
    assert texts([["a", None, "b"], [], None], kind, TextSpec(list="files", separator=" ")) == ["a b", None, None]


TEMPLATE = TextSpec(list="files", template="{path}\n{body}", separator="\n")


def test_a_template_makes_an_item_of_several_fields() -> None:
    """A header with the path before each file."""
    rows = [[{"body": "x = 1", "path": "a.py"}, {"body": "", "path": "b.py"}], [], None]
    assert texts(rows, None, TEMPLATE) == ["a.py\nx = 1\nb.py\n", None, None]


def test_an_item_with_a_null_in_its_template_is_left_out() -> None:
    """As an item is whose one field is null; an empty field is not null."""
    rows = [
        [{"body": None, "path": "a"}, {"body": "1", "path": None}, {"body": "2", "path": ""}, None],
        [{"body": None, "path": "b"}],
    ]
    assert texts(rows, None, TEMPLATE) == ["\n2", None]


def test_a_template_may_repeat_fields_have_braces_and_go_into_structs() -> None:
    """And be put in another order than that of the fields."""
    rows = [[{"body": {"text": "b"}, "path": "p"}]]
    spec = TextSpec(list="files", template="{{{path}}} {body.text}{path}", prefix="# ")
    assert texts(rows, None, spec) == ["# {p} bp"]


def test_a_template_takes_every_string_type() -> None:
    """Mixed within one item."""
    kind = pa.list_(pa.struct([("body", pa.large_string()), ("path", pa.dictionary(pa.int8(), pa.string()))]))
    assert texts([[{"body": "1", "path": "a"}, {"body": "2", "path": "a"}]], kind, TEMPLATE) == ["a\n1\na\n2"]


def test_a_template_reads_a_struct_of_lists_in_order() -> None:
    """`datasets` used to store a sequence of dicts that way."""
    rows = [{"body": ["2", "1"], "path": ["b", "a"]}, None, {"body": [], "path": []}]
    spec = TextSpec(list="files", template="{path}{body}", order="path")
    assert texts(rows, None, spec) == ["a1b2", None, None]


def test_a_field_of_a_list_may_be_within_a_struct() -> None:
    """`files[].body.text`, with a template or without."""
    rows = [[{"body": {"text": "a"}}, {"body": None}, {"body": {"text": "b"}}]]
    assert texts(rows, None, TextSpec(list="files", field="body.text")) == ["ab"]


def test_a_list_of_fixed_size_is_a_list() -> None:
    """A null list takes room in the values and is still no text."""
    assert texts([["a", "b"], None, ["c", "d"]], pa.list_(pa.string(), 2), TextSpec(list="files")) == ["ab", None, "cd"]


def test_a_struct_of_lists_is_read_like_a_list_of_structs() -> None:
    """`datasets` used to store a sequence of dicts that way."""
    rows = [{"body": ["b", "a"], "path": ["2", "1"]}, None, {"body": [], "path": []}]
    assert texts(rows, None, TextSpec(list="files", field="body", order="path")) == ["ab", None, None]


def test_values_hidden_under_a_null_list_do_not_show() -> None:
    """Arrow allows a null list to span values."""
    lists = pa.ListArray.from_arrays([0, 1, 3, 4], pa.array(["a", "x", "y", "b"]), mask=pa.array([False, True, False]))
    assert documents(pa.record_batch({"files": lists}), TextSpec(list="files")).to_pylist() == ["a", None, "b"]


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(
        st.none()
        | st.lists(
            st.none()
            | st.tuples(
                st.none() | st.text("ab\n", max_size=3), st.integers(0, 2), st.none() | st.text("{}p", max_size=2)
            )
        )
    ),
    separator=st.sampled_from(["", "-"]),
    prefix=st.sampled_from(["", "\n\n"]),
    order=st.sampled_from(["stored", "rank"]),
    template=st.none() | st.lists(st.sampled_from(["{body}", "{path}", "{{", "}}", "x\n"]), max_size=4),
    cut=st.integers(0, 3),
)
def test_joining_equals_plain_python(
    rows: list, separator: str, prefix: str, order: str, template: list[str] | None, cut: int
) -> None:
    """For any lists and templates, sliced anywhere."""
    kind = pa.list_(pa.struct([("body", pa.string()), ("rank", pa.int32()), ("path", pa.string())]))
    items = [None if row is None else [i and dict(zip(("body", "rank", "path"), i)) for i in row] for row in rows]
    written = "{body}" if template is None else "".join([*template, "{path}"])
    needed = [name for name in ("body", "path") if f"{{{name}}}" in written]
    batch = pa.record_batch({"files": pa.array(items, kind)}).slice(cut)

    def joined(row: list | None) -> str | None:
        found = [item for item in row or [] if item and all(item[name] is not None for name in needed)]
        if order == "rank":
            found.sort(key=lambda item: item["rank"])
        return separator.join(prefix + written.format(**item) for item in found) if found else None

    item = {"field": "body"} if template is None else {"template": written}
    spec = TextSpec(list="files", separator=separator, prefix=prefix, order=order, **item)
    assert documents(batch, spec).to_pylist() == [joined(row) for row in items[cut:]]


def test_rows_that_are_not_utf8_are_found() -> None:
    """Wherever they are, and none where there are none."""
    raw = pa.array([b"ok", b"\xff", b"\xc3\xa9", b"\xed\xa0\x80", b""], pa.large_binary())
    text = pa.LargeStringArray.from_buffers(len(raw), *raw.buffers()[1:])
    assert invalid_rows(text) == [1, 3]
    assert invalid_rows(text[2:3]) == []
    assert invalid_rows(text[:0]) == []


def test_offsets_are_those_of_the_slice() -> None:
    """One more than rows; differences are the lengths in bytes."""
    text = pa.array(["a", "é", "", "xyz"], pa.large_string())[1:]
    assert np.diff(text_offsets(text)).tolist() == [2, 0, 3]
    assert text_offsets(text[:0]).tolist() == [0]
