"""The rules between keys of a recipe. Pure.

They check the written keys, not a finished `Recipe`, so that they report in the same run as the
rules of single keys; what has the wrong type is left to those.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mixer.recipe.model import Source
from mixer.recipe.problems import SCHEMA_HINT, Finding, Key, Unknown

TARGET_KINDS = ("tokens", "rows", "sequences", "passes")
_SOURCE_KEYS = frozenset(Source.model_fields)
_LIST_ONLY = ("field", "template", "separator", "prefix", "order")


def broken_rules(tree: dict[str, Any]) -> Iterator[Finding]:
    """Each broken rule between keys.

    Args:
        tree: a recipe as written, without nulls.
    """
    sources = _mapping(tree.get("sources"))
    yield from _target_rules(tree, sources)
    if tree.get("split") == "validation" and "holdout" not in tree:
        yield Finding(key=("split",), message="needs holdout, which says what is kept from training")
    yield from _curate_rules(_mapping(tree.get("curate")), sources)
    for name, source in sources.items():
        if isinstance(source, dict):
            yield from _place_rules(name, source)
            yield from _contents_rules(name, source)
        text = _mapping(source).get("text")
        if isinstance(text, dict) and (message := _text_rule(text)):
            yield Finding(key=("sources", name, "text"), message=message)


def _target_rules(tree: dict[str, Any], sources: dict[str, Any]) -> Iterator[Finding]:
    if "target" not in tree:
        if tree.get("when_exhausted") != "stop":
            message = f"is missing: give one of {', '.join(TARGET_KINDS)}, or set when_exhausted: stop"
            yield Finding(key=("target",), message=message)
        return
    target = _mapping(tree["target"])
    kinds = [kind for kind in TARGET_KINDS if kind in target]
    if len(kinds) > 1 or tree["target"] == {}:
        found = f", not {' and '.join(kinds)}" if kinds else ""
        yield Finding(key=("target",), message=f"takes exactly one of {', '.join(TARGET_KINDS)}{found}")
    for name, passes in _mapping(target.get("passes")).items():
        if name not in sources:
            near = Unknown(name=name, known=sources)
            yield Finding(key=("target", "passes", name), message="is not a source of this recipe", unknown=near)
            continue
        most = _mapping(sources[name]).get("max_passes", tree.get("max_passes"))
        if isinstance(passes, int) and isinstance(most, int) and most < passes:
            message = f"asks for {passes} passes, but max_passes allows {most}"
            yield Finding(key=("target", "passes", name), message=message, hint="ask for fewer passes, or allow more")


def _curate_rules(curate: dict[str, Any], sources: dict[str, Any]) -> Iterator[Finding]:
    """Names of sources in `curate` are those of the recipe, and `prefer` has each once."""
    prefer = _listed(curate.get("prefer"))
    named: list[tuple[Key, Any]] = [(("curate", "prefer", place), name) for place, name in enumerate(prefer)]
    for number, step in enumerate(_listed(curate.get("steps"))):
        for kind, spec in _mapping(step).items():
            names = _listed(_mapping(spec).get("sources"))
            named += [(("curate", "steps", number, kind, "sources", place), name) for place, name in enumerate(names)]
    for key, name in named:
        if isinstance(name, str) and name not in sources:
            near = Unknown(name=name, known=sources)
            yield Finding(key=key, message="is not a source of this recipe", unknown=near)
    again = sorted({name for name in _listed(prefer) if isinstance(name, str) and prefer.count(name) > 1})
    if again:
        yield Finding(key=("curate", "prefer"), message=f"names {again[0]} twice")


def _place_rules(name: str, source: dict[str, Any]) -> Iterator[Finding]:
    if "path" in source and "hub" in source:
        yield Finding(key=("sources", name, "hub"), message="takes the place of path: give one of them")
    elif "path" not in source and "hub" not in source and source.keys() <= _SOURCE_KEYS:
        # Said unless an unknown key may be the missing one misspelt.
        yield Finding(key=("sources", name, "path"), message="is missing", hint=SCHEMA_HINT)
    if "config" in source and "hub" not in source:
        message = "is of a data set of the hub: give hub: ORG/NAME instead of path"
        yield Finding(key=("sources", name, "config"), message=message)


def _contents_rules(name: str, source: dict[str, Any]) -> Iterator[Finding]:
    if "contents" not in source:
        return
    if source.get("format", "parquet") not in ("auto", "parquet"):
        message = "must be parquet where contents are fetched: the rows that point at them are"
        yield Finding(key=("sources", name, "format"), message=message)
    if _mapping(source["contents"]).get("signed") is True:
        blobs = _mapping(source["contents"]).get("blobs", "s3://")
        if isinstance(blobs, str) and not blobs.startswith("s3://"):
            yield Finding(key=("sources", name, "contents", "signed"), message="is for blobs at s3:// addresses")


def _text_rule(text: dict[str, Any]) -> str | None:
    extra = [key for key in _LIST_ONLY if key in text]
    if not text.keys() <= {"column", "list", *_LIST_ONLY}:
        return None  # it is said of the unknown key, which may be the missing one misspelt
    if "column" in text and "list" in text:
        return "takes a column or a list, not both"
    if "column" in text and extra:
        return f"takes {' and '.join(extra)} only with a list, not with a column"
    if "column" not in text and "list" not in text:
        return "needs a column or a list"
    if "field" in text and "template" in text:
        return "takes a field or a template, not both: the template names its fields"
    if text.get("order", "stored") != "stored" and not text.keys() & {"field", "template"}:
        return "needs a field if order is given: items are sorted by another field of their struct"
    return None


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
