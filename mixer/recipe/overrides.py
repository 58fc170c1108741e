"""Overrides from the command line: `--set target.tokens=10M` as one more layer of a recipe."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mixer.errors import RecipeError
from mixer.recipe.layers import Draft
from mixer.recipe.problems import COMMAND_LINE, Key, Problem, Unknown, shortened
from mixer.recipe.yaml_text import MAX_DEPTH, read_yaml

_MAX_KEY_LETTERS = 1000


def add_overrides(draft: Draft, overrides: Sequence[str]) -> None:
    """Lay each `KEY=VALUE` over a draft, in order; errors become problems of the draft.

    Two that contradict each other are wrong: neither can be what both mean.
    """
    accepted: list[_Override] = []
    for text in overrides:
        override = _read(draft, text)
        if override is not None:
            accepted.append(override)
            draft.add(override.layer(), COMMAND_LINE)
    draft.problems += _conflicts(accepted)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Override:
    text: str
    key: Key
    value: Any

    def layer(self) -> dict[str, Any]:
        """The recipe with this override alone."""
        layer = self.value
        for name in reversed(self.key):
            layer = {name: layer}
        return dict(layer)


def _read(draft: Draft, text: str) -> _Override | None:
    dotted, equals, written = text.partition("=")
    at_draft = draft.tree.get("sources")
    sources = at_draft if isinstance(at_draft, dict) else {}
    message = unknown = None
    key: Key = ()
    if len(dotted) > _MAX_KEY_LETTERS or dotted.count(".") > MAX_DEPTH:
        message = "is longer than any key of a recipe"
    else:
        key = _key(dotted.strip(), sources)
        if not equals or not all(key):
            message = "must be KEY=VALUE with a dotted key, such as target.tokens=10M"
        elif key[0] == "extends":
            message = "can be in a file only"
        elif key[0] == "sources" and len(key) > 2 and key[1] not in sources:
            message = f"{shortened(key[1])!r} is not a source of this recipe"
            unknown = Unknown(name=key[1], known=tuple(sources))
    value = None
    if message is None:
        try:
            value, problems = read_yaml(written, COMMAND_LINE)
            draft.problems += problems
        except RecipeError as err:
            message = f"the value is not YAML: {err.message}"
    if message is None:
        return _Override(text=text, key=key, value=value)
    draft.problems.append(Problem(place=f"{COMMAND_LINE} {shortened(text)}", message=message, unknown=unknown))
    return None


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


def _conflicts(overrides: Sequence[_Override]) -> Iterator[Problem]:
    """Each override that another before it contradicts: another value of one key, or another kind of target."""
    said: dict[Key, tuple[_Override, Any]] = {}
    inside: dict[Key, _Override] = {}
    for override in overrides:
        for key, value in _leaves(override.key, override.value):
            above = next((key[:end] for end in range(1, len(key)) if key[:end] in said), None)
            earlier = None
            if key in said and not _same(said[key][1], value):
                earlier = said[key][0]
            elif above is not None:
                earlier = said[above][0]
            elif key in inside:
                earlier = inside[key]
            if earlier is not None and earlier is not override:
                yield Problem(
                    place=f"{COMMAND_LINE} {shortened(override.text)}",
                    message=f"contradicts {COMMAND_LINE} {shortened(earlier.text)}",
                    hint="give one of them",
                )
                break
            said[key] = override, value
            for end in range(1, len(key)):
                inside[key[:end]] = override
    yield from _two_targets(said)


def _two_targets(said: Mapping[Key, tuple[_Override, Any]]) -> Iterator[Problem]:
    """More than one kind of target, in several overrides: in one, the recipe's own rule says it."""
    kinds = {key[1]: override for key, (override, value) in said.items() if _is_target(key, value)}
    first, *others = dict.fromkeys(override.text for override in kinds.values()) or [None]
    for other in others:
        yield Problem(
            place=f"{COMMAND_LINE} {shortened(other)}",
            message=f"contradicts {COMMAND_LINE} {shortened(str(first))}: a recipe has one target",
            hint="give one of them",
        )


def _is_target(key: Key, value: Any) -> bool:
    return len(key) > 1 and key[0] == "target" and value is not None


def _leaves(key: Key, value: Any) -> Iterator[tuple[Key, Any]]:
    """The keys in a value that hold no other, each with what it holds."""
    if isinstance(value, dict) and value:
        for name, part in value.items():
            yield from _leaves((*key, name), part)
    else:
        yield key, value


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)
