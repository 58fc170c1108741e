"""Tables made elsewhere as row attributes: joined by a column, or by file and row; rows left out by such a table."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner
from workshop import Workshop

from mixer.cli.main import app
from mixer.errors import DataError, MixerError, RecipeError, UsageError
from mixer.recipe import Recipe, parse_recipe
from mixer.sources.pin import pin
from mixer.survey.join import JoinedSet, join_table, read_table

ROWS = 23


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A source of two files with ids from 0 on."""
    folder = tmp_path / "data"
    (folder / "a").mkdir(parents=True)
    rows = [{"id": f"id-{number}", "text": f"document number {number}"} for number in range(ROWS)]
    pq.write_table(pa.Table.from_pylist(rows[:15]), folder / "a/0.parquet", row_group_size=4)
    pq.write_table(pa.Table.from_pylist(rows[15:]), folder / "a/1.parquet", row_group_size=4)
    return folder


def recipe(**source: Any) -> Recipe:
    mapping = {
        "target": {"passes": {"a": 1}},
        "sequence": {"length": 16},
        "sources": {"a": {"weight": 1, "path": "a/*.parquet", **source}},
    }
    return parse_recipe(mapping, where="test", default_name="joined")


def write(folder: Path, columns: dict[str, Any]) -> Path:
    path = folder / "table.parquet"
    pq.write_table(pa.table(columns), path)
    return path


def join(root: Path, path: Path, **arguments: Any) -> JoinedSet:
    source = recipe().sources["a"]
    usual = {"key": "id", "on_missing": "null", "folder": root / "sets"}
    return join_table("a", source, pin("a", source, root), read_table(path), path=path, **usual | arguments)


def values(joined: JoinedSet) -> list[dict[str, Any]]:
    found = joined.attributes
    return [row for number in range(found.num_blocks) for row in found.values(number).to_pylist()]


def test_columns_come_to_their_rows_by_key(root: Path) -> None:
    """In any order, with entries that no row has and rows without an entry."""
    ids = [20, 3, 7, 99]
    path = write(
        root,
        {
            "id": [f"id-{number}" for number in ids],
            "score": [number / 8 for number in ids],
            "topic": ["b", None, "a", "c"],
            "good": [True, False, None, True],
            "size": pa.array(ids, pa.int32()),
        },
    )
    joined = join(root, path)
    assert (joined.num_matched, joined.num_missing, joined.num_unused) == (3, ROWS - 3, 1)
    nothing = {"score": None, "topic": None, "good": None, "size": None}
    expected = {
        20: {"score": 2.5, "topic": "b", "good": True, "size": 20},
        3: {"score": 0.375, "topic": None, "good": False, "size": 3},
        7: {"score": 0.875, "topic": "a", "good": None, "size": 7},
    }
    assert values(joined) == [expected.get(number, nothing) for number in range(ROWS)]
    assert [one.kind for one in joined.attributes.header.columns] == ["float64", "label", "bool", "int64"]


def test_columns_come_to_their_rows_by_file_and_row(root: Path) -> None:
    """By a file's name, or more of its path."""
    path = write(root, {"file": ["1.parquet", "a/0.parquet", "0.parquet"], "row": [7, 14, 0], "n": [1, 2, 3]})
    expected = {22: 1, 14: 2, 0: 3}
    assert [row["n"] for row in values(join(root, path, key=None))] == [expected.get(one) for one in range(ROWS)]


def test_rows_without_an_entry_may_be_dropped(root: Path) -> None:
    """By a column `keep` that the set gets, or that the table has."""
    path = write(root, {"id": ["id-1", "id-2"], "score": [0.5, 0.25]})
    assert [row["keep"] for row in values(join(root, path, on_missing="drop"))] == [
        one in (1, 2) for one in range(ROWS)
    ]
    path = write(root, {"id": ["id-1", "id-2"], "keep": [True, False]})
    kept = [row["keep"] for row in values(join(root, path, on_missing="drop"))]
    assert kept == [one == 1 for one in range(ROWS)]


@pytest.mark.parametrize(
    ("columns", "arguments", "kind", "message"),
    [
        ({"id": ["id-1", "id-1"], "n": [1, 2]}, {}, DataError, "1 keys are there more than once"),
        ({"id": ["id-1", None], "n": [1, 2]}, {}, DataError, "1 keys are null"),
        (
            {"id": ["id-1"], "n": [1]},
            {"on_missing": "error"},
            DataError,
            "22 of 23 rows have no entry in table",
        ),
        ({"id": ["id-1"], "keep": [True]}, {}, DataError, "22 of 23 rows have no entry"),
        ({"id": ["id-1"]}, {}, UsageError, "no column beside its key"),
        ({"url": ["id-1"], "n": [1]}, {}, UsageError, "there is no column 'id'; columns are 'url', 'n'"),
        ({"id": ["id-1"], "n": [1]}, {"key": None}, UsageError, "there is no column 'file'"),
        ({"id": ["id-1"], "n": [[1]]}, {}, UsageError, "column 'n' is of type list"),
        (
            {"file": ["2.parquet"], "row": [0], "n": [1]},
            {"key": None},
            DataError,
            "no file of sources.a is '2",
        ),
        ({"file": ["parquet"], "row": [0], "n": [1]}, {"key": None}, DataError, "no file of sources.a is 'parquet'"),
        ({"file": ["0.parquet"], "row": [15], "n": [1]}, {"key": None}, DataError, "has 15 rows, and no row 15"),
        ({"file": ["0.parquet"] * 2, "row": [1, 1], "n": [1, 2]}, {"key": None}, DataError, "more than once"),
    ],
)
def test_what_does_not_join_is_refused(
    root: Path, columns: dict[str, Any], arguments: dict[str, Any], kind: type[MixerError], message: str
) -> None:
    """With the file; nothing is left behind."""
    with pytest.raises(kind, match=message):
        join(root, write(root, columns), **arguments)
    assert not list((root / "sets").glob("*"))


@pytest.mark.parametrize(
    ("columns", "exclude"),
    [
        ({"id": ["id-0", "id-20", "id-20", "elsewhere"]}, {"path": "table.parquet", "key": "id"}),
        ({"file": ["0.parquet", "1.parquet"], "row": [0, 5], "why": ["spam", "spam"]}, "table.parquet"),
    ],
)
def test_a_build_leaves_out_rows_that_a_table_names(
    workshop: Workshop, root: Path, tmp_path: Path, columns: dict[str, Any], exclude: Any
) -> None:
    """Each once, however often it is named; a change of the table is another build."""
    write(root, columns)
    made = recipe(exclude=exclude)
    manifest = workshop.build(tmp_path / "out", made, root=root)
    drawn = {row for shard in workshop.rows(tmp_path / "out", manifest) for one in shard for row in one["segment_row"]}
    assert drawn - {-1} == set(range(ROWS)) - {0, 20}
    write(root, {key: value[:1] for key, value in columns.items()})
    assert workshop.build(tmp_path / "less", made, root=root).id != manifest.id


@pytest.mark.parametrize(
    ("columns", "exclude", "message"),
    [
        (None, "gone.parquet", "there is no file"),
        ({"id": ["id-0"]}, "table.parquet", "there is no column 'file'"),
        ({"id": [f"id-{one}" for one in range(ROWS)]}, {"path": "table.parquet", "key": "id"}, "keep none of the 23"),
    ],
)
def test_an_exclusion_that_does_not_fit_is_the_recipes_fault(
    workshop: Workshop, root: Path, tmp_path: Path, columns: dict[str, Any] | None, exclude: Any, message: str
) -> None:
    """With its place."""
    if columns is not None:
        write(root, columns)
    with pytest.raises(RecipeError, match=message) as caught:
        workshop.build(tmp_path / "out", recipe(exclude=exclude), root=root)
    assert "sources.a" in str(caught.value.where)


@pytest.fixture
def run(root: Path, tmp_path: Path) -> Callable[..., Any]:
    def command(*arguments: str) -> Any:
        return CliRunner().invoke(app, [*arguments, "--root", str(root), "--cache", str(tmp_path / "cache")])

    return command


def test_attach_prints_what_to_write_into_the_recipe(root: Path, tmp_path: Path, run: Callable[..., Any]) -> None:
    """And the recipe with it builds."""
    path = write(root, {"id": [f"id-{one}" for one in range(ROWS)], "score": [one / 10 for one in range(ROWS)]})
    (tmp_path / "r.yaml").write_text("sources: {a: {weight: 1, path: 'a/*.parquet'}}\ntarget: {rows: 5}\n")
    found = run("attach", str(tmp_path / "r.yaml"), "a", str(path), "--key", "id", "--json")
    assert found.exit_code == 0, found.output
    answer = json.loads(found.stdout)
    assert {key: answer[key] for key in ("rows", "matched", "missing", "unused")} == {
        "rows": ROWS,
        "matched": ROWS,
        "missing": 0,
        "unused": 0,
    }
    assert Path(answer["path"]).is_file()
    words = run("attach", str(tmp_path / "r.yaml"), "a", str(path), "--key", "id")
    assert f"sources: {{a: {{attributes: {{NAME: {answer['path']}}}}}}}" in words.output
    assert "23 of 23 rows have an entry" in words.output
    assert run("attach", str(tmp_path / "r.yaml"), "b", str(path)).exit_code != 0
