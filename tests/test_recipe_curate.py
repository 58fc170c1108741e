"""`curate` in a recipe: what it takes, its normal form, and what it says of mistakes."""

from __future__ import annotations

from typing import Any

import pytest

from mixer.errors import RecipeError
from mixer.recipe import Recipe, parse_recipe, recipe_of

pytestmark = pytest.mark.quick

STEPS = [
    {"filter": {"name": "c4", "parameters": {"x": 0.5, "y": "0.5", "z": [1, 2.5]}, "sources": ["b", "a"]}},
    {"decontaminate": {"against": "evals/*.jsonl", "fields": ["prompt", "solution"]}},
    {"exact": {"on": "url", "scope": "within"}},
    {"near": {"similarity": 0.8}},
]


def recipe(curate: Any) -> Recipe:
    sources = {"a": {"weight": 1, "path": "a/*.jsonl"}, "b": {"weight": 2.5, "path": "b/*.parquet"}}
    mapping = {"sources": sources, "target": {"tokens": 1000}, "curate": curate}
    return parse_recipe(mapping, where="x.yaml", default_name="x")


def test_the_normal_form_has_every_default_and_no_float() -> None:
    """A number is not the text that looks like it, and the normal form is that of the recipe it gives."""
    normal = recipe({"prefer": ["b"], "steps": STEPS}).normalised()
    assert normal["curate"] == {
        "prefer": ["b"],
        "prefer_by": None,
        "steps": [
            {
                "filter": {
                    "name": "c4",
                    "parameters": {"x": {"decimal": "0.5"}, "y": "0.5", "z": [1, {"decimal": "2.5"}]},
                    "sources": ["a", "b"],
                }
            },
            {
                "decontaminate": {
                    "against": ["evals/*.jsonl"],
                    "fields": ["prompt", "solution"],
                    "ngrams": 13,
                    "share": "0.5",
                    "sources": [],
                }
            },
            {"exact": {"on": "url", "scope": "within", "sources": []}},
            {"near": {"ngrams": 5, "bands": 14, "rows": 8, "similarity": "0.8", "scope": "across", "sources": []}},
        ],
        "most_lost": "0.95",
    }
    again = recipe_of(normal)
    assert again.normalised() == normal
    assert again == recipe({"prefer": ["b"], "steps": STEPS})


def test_a_recipe_without_it_has_the_identity_that_it_had() -> None:
    """No key is added."""
    assert "curate" not in recipe(None).normalised()


def test_a_step_knows_its_kind() -> None:
    """And what it says."""
    steps = recipe({"steps": STEPS}).curate.steps
    assert [step.kind for step in steps] == ["filter", "decontaminate", "exact", "near"]
    assert [step.spec.sources for step in steps] == [("a", "b"), (), (), ()]


@pytest.mark.parametrize(
    ("curate", "problem"),
    [
        ({}, "curate.steps: is missing"),
        ([], "curate: must be a mapping, not a list"),
        ({"steps": []}, "curate.steps: must not be empty"),
        ({"steps": [{}]}, "curate.steps[0]: takes exactly one of filter, decontaminate, exact, near"),
        ({"steps": [{"exact": {}, "near": {}}]}, "curate.steps[0]: takes exactly one of .*, not exact and near"),
        ({"steps": [{"exakt": {}}]}, "curate.steps[0].exakt: is not a key; did you mean 'exact'"),
        ({"steps": [{"near": {"similarty": 1}}]}, "near.similarty: is not a key; did you mean 'similarity'"),
        ({"steps": [{"near": {"similarity": 70}}]}, "similarity: must be a number above 0 and at most 1"),
        ({"steps": [{"near": {"bands": 64}}]}, "near: has 64 bands of 8 slots; the most are 254 slots in all"),
        ({"steps": [{"near": {"scope": "cross"}}]}, "scope: .*did you mean 'across'"),
        ({"steps": [{"near": {"sources": ["aa"]}}]}, r"sources\[0\]: is not a source .*did you mean 'a'"),
        ({"steps": [{"near": {}}], "prefer": ["c"]}, r"curate.prefer\[0\]: is not a source of this recipe"),
        ({"steps": [{"near": {}}], "prefer": ["a", "a"]}, "curate.prefer: names a twice"),
        ({"steps": [{"filter": {}}]}, "filter.name: is missing"),
        ({"steps": [{"decontaminate": {"against": "x", "fields": []}}]}, "fields: must not be empty"),
    ],
)
def test_mistakes_are_named(curate: Any, problem: str) -> None:
    """With their place and what was meant."""
    with pytest.raises(RecipeError) as caught:
        recipe(curate)
    pattern = problem.replace("[0]", r"\[0\]") if r"\[" not in problem else problem
    assert caught.match(pattern)
