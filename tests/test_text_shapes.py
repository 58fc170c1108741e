"""The shapes in which repositories come: joined files with headers, in every format and by every shorthand."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mixer.errors import DataError, RecipeError
from mixer.recipe import Recipe, parse_recipe, recipe_of
from mixer.recipe.template import parse_template
from mixer.sources.pin import pin
from mixer.sources.reader import SourceReader

pytestmark = pytest.mark.quick

ROWS: list[dict[str, Any]] = [
    {
        "repo": "r0",
        "files": [{"path": "a.py", "text": "x = 1", "size": 5}, {"path": "b.c", "text": "int x;", "size": 6}],
    },
    {"repo": "r1", "files": []},
    {"repo": "r2", "files": [{"path": "c.md", "text": "# é", "size": 4}]},
]
SCHEMA = pa.schema(
    [
        ("repo", pa.string()),
        ("files", pa.list_(pa.struct([("path", pa.string()), ("text", pa.string()), ("size", pa.int64())]))),
    ]
)
TEMPLATE = {"list": "files", "template": "<{path}>\n{text}", "separator": "\n"}


def make_recipe(text: Any, path: str, **source: Any) -> Recipe:
    sources = {"code": {"weight": 1, "path": path, "text": text, **source}}
    return parse_recipe({"target": {"rows": 1}, "sources": sources}, where="r.yaml", default_name="r")


def read(root: Path, text: Any, path: str, **source: Any) -> list[str | None]:
    """The text of every kept row, by a recipe's source."""
    parsed = make_recipe(text, path, **source).sources["code"]
    snapshot = pin("code", parsed, root)
    reader = SourceReader("code", parsed, snapshot)
    kept = snapshot.block_kept.tolist()
    return [
        text
        for block, rows in enumerate(kept)
        for found in reader.read(block, 0, rows)
        for text in found.text.to_pylist()
    ]


def _parquet(folder: Path, rows: list[dict]) -> str:
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), folder / "a.parquet", row_group_size=2)
    return "a.parquet"


def _arrow(folder: Path, rows: list[dict]) -> str:
    with pa.ipc.new_file(str(folder / "a.arrow"), SCHEMA) as writer:
        writer.write_table(pa.Table.from_pylist(rows, SCHEMA), max_chunksize=2)
    return "a.arrow"


def _json_lines(folder: Path, rows: list[dict]) -> str:
    content = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "a.json.gz").write_bytes(gzip.compress(content.encode()))
    return "a.json.gz"


def _saved(folder: Path, rows: list[dict]) -> str:
    datasets.Dataset.from_list(rows).save_to_disk(folder / "saved", num_shards=2)
    return "saved"


FORMATS = [_parquet, _arrow, _json_lines, _saved]


@pytest.mark.parametrize("write", FORMATS)
def test_files_are_joined_with_a_header_in_every_format(tmp_path: Path, write: Callable) -> None:
    """The same text from each, `save_to_disk` folders among them."""
    path = write(tmp_path, ROWS)
    assert read(tmp_path, TEMPLATE, path) == ["<a.py>\nx = 1\n<b.c>\nint x;", None, "<c.md>\n# é"]


@pytest.mark.parametrize("write", FORMATS)
def test_the_text_may_have_another_name(tmp_path: Path, write: Callable) -> None:
    """`files[].content`, as some have kept it; here under the name of the path."""
    assert read(tmp_path, "files[].path", write(tmp_path, ROWS)) == ["a.pyb.c", None, "c.md"]


def test_where_and_order_go_with_a_template(tmp_path: Path) -> None:
    """The columns of all three are read."""
    text = TEMPLATE | {"order": "size"}
    path = _parquet(tmp_path, [ROWS[0] | {"files": ROWS[0]["files"][::-1]}, *ROWS[1:]])
    assert read(tmp_path, text, path, where="repo == 'r0'") == ["<a.py>\nx = 1\n<b.c>\nint x;"]


def test_only_the_fields_of_the_template_are_read(tmp_path: Path) -> None:
    """A column that is damaged and not needed does no harm."""
    path = tmp_path / _parquet(tmp_path, ROWS)
    footer = pq.read_metadata(path)
    names = [footer.row_group(0).column(number).path_in_schema for number in range(footer.num_columns)]
    column = footer.row_group(0).column(names.index("files.list.element.size"))
    start = column.dictionary_page_offset or column.data_page_offset
    content = bytearray(path.read_bytes())
    content[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    path.write_bytes(content)
    assert read(tmp_path, TEMPLATE, path.name) == ["<a.py>\nx = 1\n<b.c>\nint x;", None, "<c.md>\n# é"]
    with pytest.raises(DataError, match="cannot be read"):
        read(tmp_path, TEMPLATE | {"order": "size"}, path.name)


def test_a_template_is_part_of_the_identity_and_no_template_is_none() -> None:
    """Recipes of before have the normal form of before."""
    plain = make_recipe({"list": "files", "field": "text"}, "a").normalised()["sources"]["code"]["text"]
    assert plain == {"list": "files", "field": "text", "separator": "", "prefix": "", "order": "stored"}
    recipe = make_recipe(TEMPLATE, "a")
    assert recipe.normalised()["sources"]["code"]["text"]["template"] == TEMPLATE["template"]
    assert recipe_of(recipe.normalised()) == recipe


@pytest.mark.parametrize(
    ("text", "literals", "fields"),
    [
        ("{text}", ("", ""), ("text",)),
        ("{path}\n{text}", ("", "\n", ""), ("path", "text")),
        ("{{{a.b}}} {a.b}", ("{", "} ", ""), ("a.b", "a.b")),
        ("# {a b}!", ("# ", "!"), ("a b",)),
    ],
)
def test_a_template_is_literals_with_fields_between(text: str, literals: tuple, fields: tuple) -> None:
    """Braces are doubled; a name may have anything that a column may."""
    assert parse_template(text) == (literals, fields)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ({"template": "no field"}, r"template: names no field: write \{text\} for a field"),
        ({"template": ""}, "template: names no field"),
        ({"template": "{text"}, "template: has a brace alone"),
        ({"template": "text}"}, "template: has a brace alone"),
        ({"template": "{}"}, "template: has something other than a name in braces"),
        ({"template": "{a.}"}, "template: has something other than a name in braces"),
        ({"template": "{text!r}"}, "template: has something other than a name in braces"),
        ({"template": "{text:>8}"}, "template: has something other than a name in braces"),
        ({"template": "{text[0]}"}, "template: has something other than a name in braces"),
        ({"template": 5}, "template: must be text, not 5"),
        ({"template": "{text}", "field": "text"}, "text: takes a field or a template, not both"),
        ({"template": "{text}", "list": None, "column": "text"}, "text: takes template only with a list"),
        ({"templat": "{text}"}, "templat: is not a key; did you mean 'template'"),
    ],
)
def test_a_template_that_is_none_is_told_with_its_place(text: dict[str, Any], message: str) -> None:
    """And with how one is written."""
    with pytest.raises(RecipeError, match=message):
        make_recipe({"list": "files", **text}, "a")


@pytest.mark.parametrize("write", [_parquet, _arrow, _json_lines])
@pytest.mark.parametrize(
    ("template", "kind", "message"),
    [
        ("{paht}{text}", RecipeError, "column 'files.paht' is not in the source"),
        ("{size}{text}", RecipeError, "column 'files.size' is of type int"),
    ],
)
def test_a_field_that_is_not_there_or_no_text_is_named(
    tmp_path: Path, write: Callable, template: str, kind: type[Exception], message: str
) -> None:
    """Before anything is built."""
    with pytest.raises(kind, match=message):
        read(tmp_path, {"list": "files", "template": template}, write(tmp_path, ROWS[:1]))
