"""The keys of a recipe that are about remote sources."""

from __future__ import annotations

from typing import Any

import pytest

from mixer.errors import RecipeError
from mixer.recipe import Recipe, parse_recipe, recipe_of


def parse(source: dict[str, Any], **keys: Any) -> Recipe:
    tree = {"target": {"rows": 1}, "sources": {"wiki": {"weight": 1, **source}}, **keys}
    return parse_recipe(tree, where="r.yaml", default_name="r")


def test_a_data_set_of_the_hub_takes_the_place_of_a_path() -> None:
    """It is in the recipe's identity as it is written, and a path that is not there is not."""
    recipe = parse({"hub": "Zyphra/Zyda-2@refs/convert/parquet", "config": "fwe3"})
    normalised = recipe.normalised()["sources"]["wiki"]
    assert (normalised["hub"], normalised["config"]) == ("Zyphra/Zyda-2@refs/convert/parquet", "fwe3")
    assert "path" not in normalised
    assert recipe_of(recipe.normalised()) == recipe


def test_a_recipe_with_paths_has_the_identity_that_it_had_before() -> None:
    """No new key is in it."""
    assert sorted(parse({"path": "x"}).normalised()["sources"]["wiki"]) == [
        "format",
        "max_passes",
        "path",
        "text",
        "weight",
        "where",
    ]
    assert "cache" not in parse({"path": "x"}, cache={"dir": "/scratch/mixer", "size": "1.5TB"}).normalised()


@pytest.mark.parametrize(
    ("written", "size"), [("200GB", 200 * 10**9), ("1GiB", 1 << 30), (5_000, 5_000), (4e10, 4 * 10**10)]
)
def test_the_size_of_the_cache_is_in_bytes(written: str | int, size: int) -> None:
    """`10B` of it are ten."""
    assert parse({"path": "x"}, cache={"size": written}).cache.size == size


@pytest.mark.parametrize(
    ("source", "cache", "message"),
    [
        ({}, {}, "sources.wiki.path: is missing"),
        ({"path": "x", "hub": "a/b"}, {}, "sources.wiki.hub: takes the place of path: give one of them"),
        ({"path": "x", "config": "c"}, {}, "sources.wiki.config: is of a data set of the hub: give hub: ORG/NAME"),
        ({"hub": "zyda"}, {}, "sources.wiki.hub: must be ORG/NAME or ORG/NAME@REVISION, not 'zyda'"),
        ({"pth": "x"}, {}, "sources.wiki.pth: is not a key; did you mean 'path'?"),
        ({"path": "x"}, {"size": "large"}, "cache.size: 'large' is not a size"),
        ({"path": "x"}, {"size": 0}, "cache.size: must be at least 1, not 0"),
        ({"path": "x"}, {"dri": "y"}, "cache.dri: is not a key; did you mean 'dir'?"),
    ],
)
def test_what_is_wrong_with_them_is_said(source: dict[str, Any], cache: dict[str, Any], message: str) -> None:
    """With its place, and once."""
    with pytest.raises(RecipeError) as caught:
        parse(source, cache=cache)
    assert message in str(caught.value)
    assert "problems" not in caught.value.message
