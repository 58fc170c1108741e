"""Templates of text: literal text with the names of fields in braces, as in "{path}\\n{text}". Pure."""

from __future__ import annotations

from functools import lru_cache
from string import Formatter
from typing import NamedTuple


class Template(NamedTuple):
    """A template, read: `literals[0]`, `fields[0]`, `literals[1]`, ... `literals[-1]`."""

    literals: tuple[str, ...]
    # Dotted names, at least one; a name may come twice.
    fields: tuple[str, ...]


@lru_cache(maxsize=64)
def parse_template(text: str) -> Template:
    """The template that a text is; `{{` and `}}` stand for braces.

    `"{path}:\\n{text}"` has the literals `""`, `":\\n"`, `""` and the fields `path`, `text`.

    Raises:
        ValueError: a brace is alone, there is something other than a name in braces, or there is no name at all.
    """
    literals, fields = [""], []
    try:
        for literal, name, form, conversion in Formatter().parse(text):
            literals[-1] += literal
            if name is None:
                continue
            if form or conversion or not all(part.strip() for part in name.split(".")) or "[" in name:
                raise ValueError("has something other than a name in braces")
            fields.append(name)
            literals.append("")
    except ValueError as err:
        raise ValueError(f"{_reason(str(err))}: write {{text}} for a field and {{{{ for a brace") from err
    if not fields:
        raise ValueError("names no field: write {text} for a field")
    return Template(tuple(literals), tuple(fields))


def _reason(message: str) -> str:
    return message if message.startswith("has ") else "has a brace alone"
