"""YAML as recipes read it: plain data, every key once, and no surprises.

PyYAML reads the text as far as its nodes; the values are made here, so that a recipe can hold data only. Where
YAML 1.1 surprises, YAML 1.2 is followed: `1e-5` is a number, `12:30` and `2024-01-01` are text, `010` is not eight,
and a key is the text it is written as.

An alias is the value that it names, not a copy, so each node is visited once. What comes after reads a value wherever
it stands; so a text whose aliases repeat more than `MAX_REPEATED` values is refused, and one nested deeper than
`MAX_DEPTH`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

import yaml

from mixer.errors import RecipeError
from mixer.recipe.problems import Key, Problem, place

MAX_DEPTH = 64
"""Levels of lists and mappings in each other; a recipe needs five."""
MAX_REPEATED = 100_000
"""Values that all aliases together may stand for, beyond those that are written."""
_TAG = "tag:yaml.org,2002:"
_MERGE = f"{_TAG}merge"
# Read as YAML 1.2 does, or not at all: a lone `=` is text.
_REPLACED = {f"{_TAG}int", f"{_TAG}float", f"{_TAG}timestamp", f"{_TAG}value"}
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9_]*)$")
_FLOAT = re.compile(
    r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*|[0-9][0-9_]*(?=[eE]))(?:[eE][-+]?[0-9]+)?$"
    r"|[-+]?\.(?:inf|Inf|INF)$|\.(?:nan|NaN|NAN)$"
)
_MAX_DIGITS = 400
"""More than any number needs; Python refuses to read or write those of more than 4,300."""
_BOOLS = yaml.constructor.SafeConstructor.bool_values
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_PLAIN_DATA = "a recipe is plain data: remove the tag, or quote the text"


class _Loader(yaml.SafeLoader):
    """PyYAML's way from text to nodes, with a bound on their depth."""

    depth = 0

    yaml_implicit_resolvers = {  # noqa: RUF012 (PyYAML's own way)
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in _REPLACED]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """The next node, with what is in it.

        Raises:
            MarkedYAMLError: it is nested deeper than `MAX_DEPTH`.
        """
        if self.depth > MAX_DEPTH:
            mark = self.peek_event().start_mark
            raise yaml.MarkedYAMLError(problem=f"is nested more than {MAX_DEPTH} levels deep", problem_mark=mark)
        self.depth += 1
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node


_Loader.add_implicit_resolver(f"{_TAG}int", _INT, list("-+0123456789"))
_Loader.add_implicit_resolver(f"{_TAG}float", _FLOAT, list("-+.0123456789"))


def read_yaml(text: bytes | str, where: str) -> tuple[Any, list[Problem]]:
    """The value of a YAML text (None if there is none), and its keys that are wrong.

    Linear in the text. A value that has several aliases is one object.

    Raises:
        RecipeError: it is not YAML, not plain data, nested too deeply, or its aliases repeat too much.
    """
    try:
        node = _Loader(text).get_single_node()
    except yaml.MarkedYAMLError as err:
        hint = "quote text that has ': ' or ' #', or begins with * & ! % @ ` [ or {; indent with spaces"
        if err.problem and err.problem.startswith("is nested"):
            hint = f"a recipe needs few levels; quote text that begins with {'[ or {'}"
        raise RecipeError(_marked(err), where=where, hint=hint) from err
    except yaml.reader.ReaderError as err:
        hint = "save the file as UTF-8 text"
        raise RecipeError(f"is not text at byte {err.position}: {err.reason}", where=where, hint=hint) from err
    except (ValueError, OverflowError) as err:  # an escape beyond Unicode, such as "\UFFFFFFFF"
        raise RecipeError(f"is not YAML: {err}", where=where, hint="check the escapes in quoted text") from err
    if node is None:
        return None, []
    values = _Values(where=where)
    return values.at(node, ()).value, values.problems


def _marked(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    message = ", ".join(filter(None, (error.context, error.problem)))
    return f"{_position(mark)}: {message}" if mark else message


def _position(mark: yaml.Mark) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """What a node says."""

    value: Any
    size: int
    """Values in it, itself included, each alias counted in full."""


@dataclass(slots=True, kw_only=True)
class _Values:
    """The values of the nodes of one text, each made once."""

    where: str
    problems: list[Problem] = field(default_factory=list)
    done: dict[int, _Read | None] = field(default_factory=dict)
    """By the node's id; None while it is being read."""

    def at(self, node: yaml.Node, key: Key) -> _Read:
        """The value of a node, first met at `key`."""
        known = self.done.get(id(node), self)
        if isinstance(known, _Read):
            return known
        if known is None:
            self._refuse(node, "refers to itself", "write it out, without the alias")
        self.done[id(node)] = None
        match node:
            case yaml.ScalarNode():
                read = _Read(value=self._scalar(node), size=1)
            case yaml.SequenceNode():
                read = self._list(node, key)
            case _:
                read = self._mapping(node, key)
        if read.size > len(self.done) + MAX_REPEATED:
            message = f"the aliases repeat more than {MAX_REPEATED:,} values"
            self._refuse(node, message, "use fewer aliases of aliases, or write a list once")
        self.done[id(node)] = read
        return read

    def _list(self, node: yaml.SequenceNode, key: Key) -> _Read:
        self._check_tag(node, "seq")
        items = [self.at(item, (*key, number)) for number, item in enumerate(node.value)]
        return _Read(value=[item.value for item in items], size=1 + sum(item.size for item in items))

    def _mapping(self, node: yaml.MappingNode, key: Key) -> _Read:
        self._check_tag(node, "map")
        merged: dict[str, Any] = {}
        own: dict[str, Any] = {}
        lines: dict[str, int] = {}
        size = 1
        for name, value in node.value:
            if not isinstance(name, yaml.ScalarNode):
                self._refuse(name, "a key must be text", "quote text that begins with [ or {")
            if name.tag == _MERGE:
                for each in self._merges(value, key):
                    size += each.size
                    merged = each.value | merged
                continue
            text, line = self._text(name), name.start_mark.line + 1
            if text in lines:
                message = f"appears twice, on lines {lines[text]} and {line}"
                self.problems.append(Problem(place=place(self.where, (*key, text)), message=message))
            lines[text] = line
            read = self.at(value, (*key, text))
            size += read.size
            own[text] = read.value
        return _Read(value=merged | own, size=size)

    def _merges(self, node: yaml.Node, key: Key) -> Iterator[_Read]:
        """The mappings that `<<` lays under another; what an earlier one says holds."""
        for each in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            if not isinstance(each, yaml.MappingNode):
                self._refuse(each, "'<<' takes a mapping, or a list of mappings", "name one by its alias: <<: *base")
            yield self.at(each, key)

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        text = node.value
        match node.tag.removeprefix(_TAG):
            case "str" | "merge":
                return self._text(node)
            case "null" if text in ("", "~", "null", "Null", "NULL"):
                return None
            case "bool" if text.lower() in _BOOLS:
                return _BOOLS[text.lower()]
            case "int" if _INT.match(text) and len(text) <= _MAX_DIGITS:
                return int(text.replace("_", ""))
            case "float" if (_FLOAT.match(text) or _INT.match(text)) and len(text) <= _MAX_DIGITS:
                return float(re.sub(r"(?i)\.(?=inf|nan)", "", text).replace("_", ""))
            case "int" | "float" if len(text) > _MAX_DIGITS:
                self._refuse(node, f"a number has at most {_MAX_DIGITS} digits", "quote it if it is text")
        self._refuse_tag(node)

    def _text(self, node: yaml.ScalarNode) -> str:
        if _SURROGATE.search(node.value):
            self._refuse(
                node, "the text has a lone surrogate, which is not Unicode", "write the character itself, as UTF-8"
            )
        return str(node.value)

    def _check_tag(self, node: yaml.Node, name: str) -> None:
        if node.tag != f"{_TAG}{name}":
            self._refuse_tag(node)

    def _refuse_tag(self, node: yaml.Node) -> NoReturn:
        tag = node.tag.replace(_TAG, "!!", 1)
        what = f" {node.value[:40]!a}" if isinstance(node, yaml.ScalarNode) else ""
        self._refuse(node, f"the tag {tag[:60]!a} does not fit{what}", _PLAIN_DATA)

    def _refuse(self, node: yaml.Node, message: str, hint: str) -> NoReturn:
        raise RecipeError(f"{_position(node.start_mark)}: {message}", where=self.where, hint=hint)
