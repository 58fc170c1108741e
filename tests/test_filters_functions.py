"""Users' functions as filters: what they are given, what they may give, and what they do wrong."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import pytest
from filters_kit import column, verdicts

from mixer.curate.filters.load import load_filter
from mixer.digest import canonical_json
from mixer.errors import RecipeError

pytestmark = pytest.mark.quick

SOURCE = """
import itertools
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

ALL_NAMES = ["not", "a", "function"]
_calls = itertools.count()

def long_enough(batch, least=3, *, unit="characters"):
    assert batch.schema.names == ["text"] and batch.schema.field("text").type == pa.large_string()
    return {"keep": pc.greater_equal(pc.utf8_length(batch["text"]), least), "length": pc.utf8_length(batch["text"])}

def with_reasons(batch):
    lengths = pc.utf8_length(batch["text"]).to_numpy()
    reasons = np.where(lengths > 5, "long", np.where(lengths < 2, "short", None))
    return pa.table({"keep": (lengths >= 2) & (lengths <= 5), "reason": pa.array(reasons)})

def some_reasons(batch):
    return pa.record_batch({"keep": pa.array([False] * len(batch)), "reason": pa.nulls(len(batch), pa.string())})

def value(batch):
    return {"value": np.where(pc.utf8_length(batch["text"]).to_numpy() > 2, np.nan, 1.0)}

def needs(batch, least): return {"keep": [True] * len(batch)}
def free(batch, **others): return {"keep": [True] * len(batch)}
def raises(batch): raise KeyError("x")
def fewer(batch): return {"keep": [True] * (len(batch) - 1)}
def longer(batch): return {"keep": [True] * len(batch), "more": list(range(len(batch) + 2))}
def nothing(batch): return None
def no_columns(batch): return {}
def no_arrays(batch): return {"keep": object()}
def numbers(batch): return {"keep": [1] * len(batch)}
def nulls(batch): return {"keep": pa.nulls(len(batch), pa.bool_())}
def number_reasons(batch): return {"keep": [False] * len(batch), "reason": [[1]] * len(batch)}
def many(batch): return {"keep": [False] * len(batch), "reason": [str(row) for row in batch["text"]]}
def changing(batch): return {"keep": [next(_calls) % 2 == 0] * len(batch)}
def of_others(batch): return {"keep": pc.greater(pc.utf8_length(batch["text"]), pc.mean(pc.utf8_length(batch["text"])))}
def of_batches(batch): return {"score": np.full(len(batch), 1 + len(batch) * 1e-7)}
def numbered(batch): return {"number": np.arange(len(batch))}
def of_size(batch): return {"keep": [True] * len(batch), **({"big": [1] * len(batch)} if len(batch) > 20 else {})}
def no_batch(): return {}
"""
TEXTS = ["abc", "a", "", "ünïc", "abcdefgh"]


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module of a user's on the path."""
    path = tmp_path / "own_rules.py"
    path.write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_rules", raising=False)
    return path


def test_a_function_gives_verdicts_and_columns() -> None:
    """The reason is its name unless it gives one."""
    found = load_filter("own_rules:long_enough", {"least": 4}, place="here").evaluate(column([*TEXTS, None]))
    assert found.reasons == ("passed", "long_enough")
    assert found.passed.tolist() == [False, False, False, True, True, True]
    assert found.columns["length"].to_pylist() == [3, 1, 0, 4, 8, None]
    assert verdicts("own_rules:with_reasons", TEXTS) == ["passed", "short", "short", "passed", "long"]
    assert verdicts("own_rules:some_reasons", ["a"]) == ["some_reasons"]
    assert verdicts("own_rules:free", ["a"], anything=1, goes=[2]) == ["passed"]


def test_a_function_may_give_values_alone() -> None:
    """Then everything passes; NaN is as good as any."""
    found = load_filter("own_rules:value", {}, place="here").evaluate(column(TEXTS))
    assert found.passed.all()
    assert [str(one) for one in found.columns["value"].to_pylist()] == ["nan", "1.0", "1.0", "nan", "nan"]
    assert len(load_filter("own_rules:value", {}, place="here").evaluate(column([]))) == 0
    assert verdicts("own_rules:free", []) == []
    assert verdicts("own_rules:of_batches", TEXTS) == ["passed"] * 5  # the last digits may depend on the batch


def test_the_identity_has_the_digest_of_the_source(module: Path) -> None:
    """Another byte in the file is another filter, and so is another parameter."""
    one = load_filter("own_rules:long_enough", {"least": 4, "unit": "x"}, place="here").identity
    digest = hashlib.sha256(SOURCE.encode()).hexdigest()
    parameters = {"least": 4, "unit": "x"}
    assert one == {"filter": "own_rules:long_enough", "source": f"sha256:{digest}", "parameters": parameters}
    canonical_json(dict(load_filter("own_rules:long_enough", {"least": 0.5}, place="here").identity))
    module.write_text(SOURCE + "\n# changed\n")
    del sys.modules["own_rules"]
    assert load_filter("own_rules:long_enough", parameters, place="here").identity != one


MISTAKES: list[tuple[str, dict[str, Any], str]] = [
    ("own_rule:f", {}, "there is no module 'own_rule'"),
    ("own_rules:long_enogh", {}, "'own_rules' has no function 'long_enogh'; did you mean 'long_enough'?"),
    ("own_rules:ALL_NAMES", {}, "has no function 'ALL_NAMES'"),
    ("own_rules:long_enough", {"leest": 3}, "leest is not a parameter; did you mean 'least'?"),
    ("own_rules:needs", {}, "own_rules:needs needs least"),
    ("own_rules:no_batch", {}, "own_rules:no_batch does not take a batch"),
    ("math:sin", {}, "math:sin has no source"),
]


@pytest.mark.parametrize(("name", "parameters", "message"), MISTAKES, ids=[name for name, *_ in MISTAKES])
def test_a_mistake_is_said_before_any_text_is_read(name: str, parameters: dict[str, Any], message: str) -> None:
    """With the place in the recipe."""
    with pytest.raises(RecipeError) as raised:
        load_filter(name, parameters, place="r.yaml: curate.steps[0].filter")
    assert message in str(raised.value)
    assert str(raised.value.where).startswith("r.yaml: curate.steps[0].filter")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("raise ValueError('at import')", "cannot be imported: ValueError: at import"),
        ("import no_such_package", "cannot be imported: ModuleNotFoundError"),
        ("def f(:", "cannot be imported: SyntaxError"),
    ],
)
def test_a_module_that_cannot_be_imported_is_said(module: Path, code: str, message: str) -> None:
    """Whatever it raises; a package that it imports is not taken for the module."""
    module.write_text(code)
    with pytest.raises(RecipeError) as raised:
        load_filter("own_rules:f", {}, place="here")
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("raises", "own_rules:raises raised KeyError: 'x'"),
        ("fewer", "gives 299 values of 'keep' for 300 texts"),
        ("longer", "gives 302 values of 'more' for 300 texts"),
        ("nothing", "gives NoneType; expected columns"),
        ("no_columns", "gives dict without columns; expected columns"),
        ("numbers", "gives 'keep' of type int64; expected bool without nulls"),
        ("nulls", "expected bool without nulls"),
        ("no_arrays", "gives what is no array: "),
        ("number_reasons", "gives 'reason' of type list"),
        ("many", "gives 300 reasons; the most is 255"),
        ("changing", "gives keep True and then False for row"),
        ("of_others", "gives keep "),
        ("numbered", "gives number "),
        ("of_size", "gives other columns for other rows"),
    ],
)
def test_what_a_function_does_wrong_is_said(function: str, message: str) -> None:
    """Also that it gives something else the next time, or that a row's verdict depends on other rows."""
    rules = load_filter(f"own_rules:{function}", {}, place="r.yaml: curate.steps[0].filter")
    with pytest.raises(RecipeError) as raised:
        rules.evaluate(column(["x" * (row % 7) + str(row) for row in range(300)]))
    assert message in str(raised.value)
    assert raised.value.where == "r.yaml: curate.steps[0].filter"
