"""Wrong recipes by the command line: 2 where the recipe or the call is to be mended, 1 where the data are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mixer.cli.main import run

ROWS = [
    {"text": f"row {n}", "n": n, "lang": "en", "tags": ["a", "b"], "files": [{"path": "p", "text": "t", "size": n}]}
    for n in range(20)
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good data in two formats, and damaged ones."""
    root = tmp_path_factory.mktemp("world")
    table = pa.Table.from_pylist(ROWS)
    pq.write_table(table, root / "a.parquet")
    (root / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (root / "cut.parquet").write_bytes((root / "a.parquet").read_bytes()[:500])
    (root / "bad.jsonl").write_text('{"text": "a"}\n{"text": \n')
    (root / "empty.jsonl").touch()
    (root / "deep/er").mkdir(parents=True)
    pq.write_table(table, root / "deep/er/a.parquet")
    return root


def planned(root: Path, capsys: pytest.CaptureFixture[str], recipe: dict[str, Any], *overrides: str) -> tuple[int, str]:
    """The exit code of a plan, and the kind, message and hint of its error."""
    (root / "r.yaml").write_text(json.dumps(recipe))
    arguments = [part for override in overrides for part in ("--set", override)]
    code = run(["plan", str(root / "r.yaml"), "--json", *arguments])
    error = capsys.readouterr().err.strip()
    return code, error and "{error}: {message}; {hint}".format(**json.loads(error.splitlines()[-1]))


def of_source(**keys: Any) -> dict[str, Any]:
    return {"target": {"rows": 10}, "sources": {"wiki": {"weight": 1, "path": "a.parquet", **keys}}}


def of_recipe(**keys: Any) -> dict[str, Any]:
    return {**of_source(), **keys}


@pytest.mark.parametrize("path", ["a.parquet", "a.jsonl"])
@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"text": "txet"}, "column 'txet' is not in the source"),
        ({"text": "n"}, "column 'n' is of type int"),
        ({"text": "tags"}, "column 'tags' is at list level 1; expected 0"),
        ({"text": "text[]"}, "column 'text' is at list level 0; expected 1"),
        ({"text": "files[].size"}, "column 'files.size' is of type int"),
        ({"text": {"list": "files", "template": "{path} {size}"}}, "column 'files.size' is of type int"),
        ({"where": "x > 3"}, "column 'x' is not in the source"),
        ({"where": "n == 'a'"}, "does not fit"),
        ({"where": "lang > 3"}, "does not fit"),
        ({"where": "lang in [1, 2]"}, "does not fit"),
        ({"where": "n"}, "does not fit"),
        ({"where": "files.size > 1"}, "column 'files.size' is inside a list"),
        ({"where": "n => 3"}, "write n >= 3"),
        ({"where": "n > 1000"}, "'n > 1000' keeps none of the 20 rows"),
        ({"format": "arrow"}, "begins as a file of the format"),
    ],
)
def test_what_a_source_asks_of_its_data_in_vain_is_2(world, capsys, path, keys, words):
    """Columns, types, lists, predicates and formats: in every format of the data."""
    code, error = planned(world, capsys, of_source(path=path, **keys))
    assert (code, error.split(":")[0]) == (2, "RecipeError")
    assert words in error


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        (of_source(path="b.parquet"), "'b.parquet' matches no file"),
        (of_source(path="deep"), "name files with a glob: deep/**/*.parquet"),
        (of_source(path="deep/*"), "name files with a glob: deep/*/*.parquet"),
        (of_source(path="x" * 300), "is not a path"),
        (of_source(path=["a.parquet", "a.jsonl"]), "files of several formats"),
        (of_recipe(max_passes=1, target={"rows": 100}), "the mix cannot be met"),
        (of_recipe(when_exhausted="error", target={"rows": 100}), "the mix cannot be met"),
        (of_recipe(target={"sequences": 2**62}), "are numbered with 62 bits"),
        (of_recipe(target={"passes": {"wiki": 2**63 - 1}}), "are numbered with 62 bits"),
        (of_recipe(epochs={"count": 2**63 - 1, "mode": "redraw"}), "are numbered with 62 bits"),
    ],
)
def test_what_no_source_can_give_is_2(world, capsys, recipe, words):
    """A path, a target and a number out of reach; never a bug."""
    code, error = planned(world, capsys, recipe)
    assert (code, error.split(":")[0]) == (2, "RecipeError")
    assert words in error


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("cut.parquet", "cannot be read"),
        ("bad.jsonl", "row 1 (line 2)"),
        ("empty.jsonl", "its files are empty"),
    ],
)
def test_data_that_are_damaged_or_empty_are_1(world, capsys, path, words):
    """No other recipe would read them."""
    code, error = planned(world, capsys, of_source(path=path))
    assert (code, error.split(":")[0]) == (1, "DataError")
    assert words in error


def test_the_same_override_twice_is_2(world, capsys):
    """Both are named."""
    code, error = planned(world, capsys, of_source(), "target.tokens=1M", "target.rows=5")
    assert code == 2
    assert "--set target.tokens=1M" in error


def test_what_is_not_a_recipe_is_2(world, capsys):
    """A data file or a folder in its place."""
    for name, words in (("a.parquet", "is a Parquet file, not a recipe"), ("a.jsonl", "is a file of JSON lines")):
        assert run(["plan", str(world / name)]) == 2
        assert words in capsys.readouterr().err
    assert run(["build", str(world)]) == 2
    assert "is a folder, not a recipe" in capsys.readouterr().err
