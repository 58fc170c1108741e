"""Overrides of the command line: `--set target.tokens=10M` as one more layer of a recipe."""

from __future__ import annotations

from collections.abc import Collection

from mixer.errors import RecipeError
from mixer.recipe.layers import Draft
from mixer.recipe.problems import COMMAND_LINE, Key, Problem, suggestion
from mixer.recipe.yaml_text import read_yaml


def add_override(draft: Draft, override: str) -> None:
    """Lay `KEY=VALUE` over a draft; what is wrong with it becomes one of the draft's problems."""
    dotted, equals, text = override.partition("=")
    written = draft.tree.get("sources")
    sources = written if isinstance(written, dict) else {}
    key = _key(dotted.strip(), sources)
    message = None
    if not equals or not all(key):
        message = "must be KEY=VALUE with a dotted key, such as target.tokens=10M"
    elif key[0] == "extends":
        message = "can be in a file only"
    elif key[0] == "sources" and len(key) > 2 and key[1] not in sources:
        message = f"{key[1]!r} is not a source of this recipe{suggestion(key[1], sources)}"
    try:
        layer, problems = read_yaml(text, COMMAND_LINE)
    except RecipeError as err:
        message = message or f"the value is not YAML: {err.message}"
    if message:
        draft.problems.append(Problem(place=f"{COMMAND_LINE} {override}", message=message))
        return
    for name in reversed(key):
        layer = {name: layer}
    draft.problems += problems
    draft.add(layer, COMMAND_LINE)


def _key(dotted: str, sources: Collection[str]) -> Key:
    """The key that dots spell, where names of sources may have dots as well."""
    head, *rest = dotted.split(".")
    if head == "target" and len(rest) > 1:
        return (head, rest[0], ".".join(rest[1:]))
    if head != "sources":
        return (head, *rest)
    known = [length for length in range(1, len(rest) + 1) if ".".join(rest[:length]) in sources]
    length = max(known, default=1)
    return (head, ".".join(rest[:length]), *rest[length:])
