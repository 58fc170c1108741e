"""YAML as recipes read it: safe, every key once, and no surprises.

It is PyYAML's safe loader, so a recipe can hold data only. Where YAML 1.1 surprises, YAML 1.2 is followed:
`1e-5` is a number, `12:30` and `2024-01-01` are text, `010` is not eight, and a key is the text it is written as.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from mixer.errors import RecipeError
from mixer.recipe.problems import Key, Problem, place

_TAG = "tag:yaml.org,2002:"
_REPLACED = {f"{_TAG}int", f"{_TAG}float", f"{_TAG}timestamp"}
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9_]*)$")
_FLOAT = re.compile(
    r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*|[0-9][0-9_]*(?=[eE]))(?:[eE][-+]?[0-9]+)?$"
    r"|[-+]?\.(?:inf|Inf|INF)$|\.(?:nan|NaN|NAN)$"
)


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = {  # noqa: RUF012 (PyYAML's own way)
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in _REPLACED]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver(f"{_TAG}int", _INT, list("-+0123456789"))
_Loader.add_implicit_resolver(f"{_TAG}float", _FLOAT, list("-+.0123456789"))


def read_yaml(text: bytes | str, where: str) -> tuple[Any, list[Problem]]:
    """The value of a YAML text (None if there is none), and its keys that are wrong.

    Raises:
        RecipeError: it is not YAML, or not plain data.
    """
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None, []
        problems = _tidy(node, where, (), ())
        return loader.construct_document(node), problems
    except yaml.constructor.ConstructorError as err:
        hint = "a recipe is plain data: remove the tag, or quote the text"
        raise RecipeError(_marked(err), where=where, hint=hint) from err
    except yaml.MarkedYAMLError as err:
        hint = "quote text that has ': ' or ' #', or begins with * & ! % @ ` [ or {; indent with spaces"
        raise RecipeError(_marked(err), where=where, hint=hint) from err
    except yaml.reader.ReaderError as err:
        hint = "save the file as UTF-8 text"
        raise RecipeError(f"is not text at byte {err.position}: {err.reason}", where=where, hint=hint) from err
    except RecursionError as err:
        raise RecipeError("is nested too deeply, or refers to itself", where=where, hint="write it out") from err
    except ValueError as err:  # such as a number of 5,000 digits
        raise RecipeError(str(err), where=where, hint="quote it if it is text") from err


def _marked(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    message = ", ".join(filter(None, (error.context, error.problem)))
    return f"line {mark.line + 1}, column {mark.column + 1}: {message}" if mark else message


def _tidy(node: yaml.Node, where: str, key: Key, inside: tuple[yaml.Node, ...]) -> list[Problem]:
    """Make each key of a mapping text, in place, and find those that come twice."""
    if any(node is outer for outer in inside):
        raise RecursionError
    inside = (*inside, node)
    problems = []
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            problems += _tidy(item, where, (*key, number), inside)
    elif isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for name, value in node.value:
            if not isinstance(name, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a key must be text", problem_mark=name.start_mark)
            if name.tag != f"{_TAG}merge":
                name.tag = f"{_TAG}str"
                line = name.start_mark.line + 1
                if name.value in lines:
                    message = f"is there twice, on lines {lines[name.value]} and {line}"
                    problems.append(Problem(place=place(where, (*key, name.value)), message=message))
                lines[name.value] = line
            problems += _tidy(value, where, (*key, name.value), inside)
    return problems
