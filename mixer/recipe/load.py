"""A recipe's way from YAML to a checked `Recipe`: the files it extends, `--set`, then every rule at once."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mixer.digest import decimal_number
from mixer.errors import RecipeError
from mixer.recipe.curation import with_floats
from mixer.recipe.layers import Draft
from mixer.recipe.mistaken import MAGIC_BYTES, Mistaken, mistaken_bytes, mistaken_folder, mistaken_text
from mixer.recipe.model import Recipe
from mixer.recipe.overrides import add_overrides
from mixer.recipe.problems import Finding, Problem, place, printable, recipe_error, schema_problems
from mixer.recipe.rules import broken_rules
from mixer.recipe.yaml_text import read_yaml

MAX_BYTES = 1 << 26
"""A recipe of 32,767 sources has a tenth of it; whatever is larger is something else, such as /dev/zero."""


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe of a YAML file, with overrides from the command line on top.

    `extends: other.yaml`, relative to the file it is in, lays this file over the other: mappings merge, anything
    else replaces, null takes away (`wiki: null` removes a source), and the target is replaced whole. The name of
    the other is not inherited. Sources' paths are relative to ONE folder, wherever they were written: that of
    `path`, unless the caller has another.

    An override is `KEY=VALUE`: the key dotted, the value YAML, as in `target.tokens=10M`; no value is null.

    Raises:
        RecipeError: a file is missing, is not YAML, or extends itself; or else anything is wrong with the recipe,
            all of it at once, each problem with its place.
    """
    path = Path(path)
    draft = Draft(where=_shown(path))
    for file, mapping in reversed(_read_files(path, draft)):
        draft.add(mapping, _shown(file))
    add_overrides(draft, overrides)
    return _finished(draft, path.stem)


def parse_recipe(mapping: Mapping[str, Any], *, where: str, default_name: str) -> Recipe:
    """The recipe of a mapping.

    Args:
        mapping: what a YAML file would hold, but for `extends`: there is no file it could be relative to.
        where: the place that problems are reported at.
        default_name: the recipe's name if the mapping has none.

    Raises:
        RecipeError: anything is wrong with it, all of it at once, each problem with its place.
    """
    draft = Draft(where=where)
    draft.add(mapping, where)
    return _finished(draft, default_name)


def recipe_of(normalised: dict[str, Any]) -> Recipe:
    """The recipe of which `normalised` is the normal form, the result of `Recipe.normalised`.

    Raises:
        RecipeError: it is not a recipe.
    """
    return parse_recipe(_with_numbers(normalised), where="normalised recipe", default_name="")


def _finished(draft: Draft, default_name: str) -> Recipe:
    tree = {"name": default_name, **draft.tree}
    recipe = None
    try:
        recipe = Recipe.model_validate(tree)
    except ValidationError as err:
        for finding in schema_problems(err, tree):
            draft.report(_of_the_file(finding, draft))
    for finding in broken_rules(tree):
        draft.report(finding)
    if recipe is None or draft.problems:
        raise recipe_error(draft.problems, draft.where)
    return recipe


def _of_the_file(finding: Finding, draft: Draft) -> Finding:
    """The finding, with a remedy if it is about the name that the file gave."""
    if finding.key == ("name",) and "name" not in draft.tree:
        return replace(finding, hint="without `name`, a recipe is named after its file: rename the file, or set `name`")
    return finding


def _read_files(path: Path, draft: Draft) -> list[tuple[Path, dict[str, Any]]]:
    """The file at `path`, the one that it extends, and so on, without the keys that belong to the file alone."""
    files = [(path, _read_file(path, draft))]
    seen = {os.path.realpath(path)}
    while (base := files[-1][1].pop("extends", None)) is not None:
        child, asked_at = files[-1][0], place(_shown(files[-1][0]), ("extends",))
        if not isinstance(base, str) or not base.isprintable() or not base:
            draft.problems.append(Problem(place=asked_at, message="must be the path of a recipe"))
            break
        parent = child.parent / base
        real = os.path.realpath(parent)
        if real in seen:
            way = " -> ".join(_shown(file) for file in [*(file for file, _ in files), parent])
            raise RecipeError(f"is circular: {way}", where=asked_at, hint="remove one of them")
        seen.add(real)
        if not os.path.exists(parent):
            message = f"there is no file {_shown(parent)[:300]}"
            raise RecipeError(message, where=asked_at, hint="the path is relative to the file that it is in")
        files.append((parent, _read_file(parent, draft)))
        files[-1][1].pop("name", None)
    return files


def _read_file(path: Path, draft: Draft) -> dict[str, Any]:
    where = _shown(path)
    text = _recipe_text(path, where)
    mapping, problems = read_yaml(text, where)
    if not isinstance(mapping, dict):
        found = "is empty" if mapping is None else "has a list" if isinstance(mapping, list) else "has one value"
        message = f"a recipe is a mapping of keys, but this file {found}"
        raise RecipeError(message, where=where, hint="begin with `sources:`; recipes/sample.yaml is an example")
    draft.problems += problems
    return mapping


def _recipe_text(path: Path, where: str) -> bytes:
    """The bytes of a file that may be a recipe.

    Raises:
        RecipeError: it cannot be read, or is something else.
    """
    text = b""
    mistaken: Mistaken | None
    try:
        if path.is_dir():
            mistaken = mistaken_folder(os.listdir(path), where)
        else:
            with path.open("rb") as file:
                text = file.read(MAGIC_BYTES)
                mistaken = mistaken_bytes(text)
                if mistaken is None:
                    text += file.read(MAX_BYTES)
                    mistaken = mistaken_text(text, where)
    except (OSError, ValueError) as err:  # ValueError: a null byte in the path
        reason = getattr(err, "strerror", None) or str(err)
        raise RecipeError(f"cannot be read: {reason}", where=where, hint="give the path of a recipe") from err
    if mistaken is None and len(text) > MAX_BYTES:
        mistaken = Mistaken(f"larger than {MAX_BYTES >> 20} MiB", "give the path of a recipe, a YAML file")
    if mistaken is not None:
        raise RecipeError(f"is {mistaken.what}, not a recipe", where=where, hint=mistaken.hint)
    return text


def _shown(path: Path) -> str:
    return printable(os.path.normpath(path))


def _with_numbers(normalised: dict[str, Any]) -> dict[str, Any]:
    """A normal form with its decimals as the numbers that a recipe has."""
    sources = {}
    for name, source in normalised.get("sources", {}).items():
        source = {**source, "weight": decimal_number(source["weight"])}
        contents = source.get("contents")
        if contents is not None and contents.get("min_bytes_per_token") is not None:
            ratio = float(contents["min_bytes_per_token"])
            source["contents"] = {**contents, "min_bytes_per_token": ratio}
        sources[name] = source
    more: dict[str, Any] = {"sources": sources}
    if normalised.get("curate") is not None:
        more["curate"] = _curate_with_numbers(normalised["curate"])
    if normalised.get("holdout") is not None:
        more["holdout"] = {**normalised["holdout"], "fraction": float(normalised["holdout"]["fraction"])}
    return {**normalised, **more}


def _curate_with_numbers(curate: dict[str, Any]) -> dict[str, Any]:
    steps = []
    for step in curate["steps"]:
        ((kind, spec),) = step.items()
        shares = {key: float(spec[key]) for key in ("share", "similarity") if key in spec}
        parameters = {"parameters": with_floats(spec["parameters"])} if "parameters" in spec else {}
        steps.append({kind: {**spec, **shares, **parameters}})
    return {**curate, "steps": steps, "most_lost": float(curate["most_lost"])}
