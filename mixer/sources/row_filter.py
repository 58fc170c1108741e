"""The choice of a source's rows: a small predicate language over columns.

    int_score >= 3 and metadata.lang in ['en', 'de'] and license is not null

Python's own parser reads it, and only a fixed list of nodes is allowed; nothing is ever run as Python. Truth is
three-valued as in SQL: a comparison with null is null, and a row is kept only where the whole predicate is true.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mixer.errors import RecipeError
from mixer.sources.row_filter_hints import corrected, marked, slips_in

_MAX_DEPTH = 100
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_COMPARE = {
    ast.Eq: pc.equal,
    ast.NotEq: pc.not_equal,
    ast.Lt: pc.less,
    ast.LtE: pc.less_equal,
    ast.Gt: pc.greater,
    ast.GtE: pc.greater_equal,
}
_WORDS = {"true": True, "false": False, "null": None}
_HINT = (
    "allowed are columns (a.b or a['b'] for a field of a struct), numbers, strings, true, false, "
    "== != < <= > >=, in [..], not in [..], is null, is not null, and, or, not, ( )"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicate:
    """A checked predicate over the columns of a record batch."""

    text: str
    # Where it stands, for messages: sources.wiki.where
    place: str
    tree: ast.expr
    # Dotted paths of the columns that it reads.
    columns: frozenset[str]

    def mask(self, batch: pa.RecordBatch) -> pa.BooleanArray:
        """Which rows of a batch are kept: bool[rows] without nulls (null counts as false).

        Raises:
            RecipeError: a column is compared with a value of another type.
        """
        try:
            return pc.fill_null(_truth(self.tree, batch), False)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError, OverflowError) as err:
            types = ", ".join(f"{path} is {column_at(batch, path).type}" for path in sorted(self.columns))
            raise RecipeError(
                f"'{self.text}' does not fit the types of the columns: {types}",
                where=self.place,
                hint="compare a column with a value of its own type",
            ) from err

    @property
    def literal_types(self) -> dict[str, type]:
        """The type of each column's use: float, str or bool; columns that are only tested for null are left out."""
        return dict(_uses(self.tree))


def parse_where(text: str, place: str = "where") -> Predicate:
    """Parse a predicate.

    Raises:
        RecipeError: the text is not in the language; the message marks the place, and shows the right spelling of
            what other languages write.
    """
    text = text.replace("\n", " ").strip()
    try:
        tree, columns = _parsed(text)
    except _NotAllowedError as err:
        raise _wrong(text, err.start, err.stop, str(err), place) from err
    if not columns:
        raise _wrong(text, 0, len(text), "names no column", place)
    return Predicate(text=text, place=place, tree=tree, columns=columns)


def _parsed(text: str) -> tuple[ast.expr, frozenset[str]]:
    """The tree of a predicate and the columns that it reads.

    Raises:
        _NotAllowedError: it is not in the language.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # A backslash in a string is the user's business.
            tree = ast.parse(text, mode="eval").body
        _check_depth(tree)
        return tree, frozenset(_check_truth(tree))
    except _NodeError as err:
        # Python counts bytes of UTF-8.
        start, stop = (len(text.encode()[:end].decode(errors="ignore")) for end in _span(err.node))
        raise _NotAllowedError(start, stop, str(err)) from err
    except UnicodeEncodeError as err:
        raise _NotAllowedError(err.start, err.end, "a lone surrogate is not text") from err
    except (SyntaxError, ValueError, RecursionError, MemoryError) as err:
        start = (getattr(err, "offset", None) or len(text) + 1) - 1  # No offset: the text ends too early.
        raise _NotAllowedError(start, start + 1, "cannot be read") from err


def _wrong(text: str, start: int, stop: int, message: str, place: str) -> RecipeError:
    """The error for a text that is not in the language; a slip in it is the cause, wherever Python stumbled."""
    slips, hint = slips_in(text), _HINT
    if slips:
        start, stop, right = slips[0]
        wrong = text[start:stop]
        message = f"'{wrong}' should be '{right}'" if right else f"there is no '{wrong}' here"
        if (better := corrected(text, slips)) and _is_predicate(better):
            hint = f"write {better}"
    return RecipeError(f"{message}, at position {start + 1}:{marked(text, start, stop)}", where=place, hint=hint)


def _is_predicate(text: str) -> bool:
    try:
        return bool(_parsed(text)[1])
    except _NotAllowedError:
        return False


def _span(node: ast.AST) -> tuple[int, int]:
    start = getattr(node, "col_offset", 0)
    return start, getattr(node, "end_col_offset", None) or start + 1


def column_at(batch: pa.RecordBatch, path: str) -> pa.Array:
    """The column at a dotted path; a null struct has null fields."""
    first, *rest = path.split(".")
    array = batch.column(first)
    return pc.struct_field(array, rest) if rest else array


class _NotAllowedError(Exception):
    """What is wrong with `text[start:stop]`."""

    def __init__(self, start: int, stop: int, message: str) -> None:
        super().__init__(message)
        self.start, self.stop = start, stop


class _NodeError(Exception):
    """What is wrong with a node of the tree."""

    def __init__(self, node: ast.AST, message: str) -> None:
        super().__init__(message)
        self.node = node


def _check_depth(tree: ast.AST) -> None:
    """Limit the depth of the tree so that every walk through it is safe, however deep the caller is."""
    level = [tree]
    for _ in range(_MAX_DEPTH):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        if not level:
            return
    raise _NodeError(next((node for node in level if hasattr(node, "col_offset")), tree), "is nested too deeply")


def _path(node: ast.AST) -> str | None:
    """The dotted path of a column, or None for anything else."""
    match node:
        case ast.Name(id=name) if name.lower() not in _WORDS:
            return name
        case ast.Attribute(value=parent, attr=name) | ast.Subscript(value=parent, slice=ast.Constant(value=str(name))):
            above = _path(parent)
            return above and f"{above}.{name}"
    return None


def _literals(node: ast.AST) -> list[Any]:
    """The value of a literal, or those of a list of literals; empty for anything else."""
    match node:
        case ast.Constant(value=str(value)) if not value.isascii() and _SURROGATE.search(value):
            raise _NodeError(node, "a lone surrogate is not text")
        case ast.Constant(value=bool() | int() | float() | str() | None as value):
            return [value]
        case ast.Name(id=name) if name in _WORDS:
            return [_WORDS[name]]
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return [-value]
        case ast.List(elts=items):
            return [value for item in items for value in _literals(item)]
    return []


def _check_truth(node: ast.AST) -> Iterator[str]:
    """Check a node that must be true or false; returns the columns under it."""
    match node:
        case ast.BoolOp(values=values):
            for value in values:
                yield from _check_truth(value)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield from _check_truth(operand)
        case ast.Compare(left=left, ops=operators, comparators=rights):
            for side, operator, right in zip([left, *rights], operators, rights):
                yield from _check_comparison(side, operator, right)
        case _ if (path := _path(node)) is not None:
            yield path
        case _:
            raise _NodeError(node, "a comparison is expected")


def _check_comparison(left: ast.expr, operator: ast.cmpop, right: ast.expr) -> Iterator[str]:
    values = _literals(right)
    if isinstance(operator, (ast.In, ast.NotIn)):
        complete = isinstance(right, ast.List) and 0 < len(right.elts) == len(values) and None not in values
        if isinstance(right, ast.Tuple):
            raise _NodeError(right, "a list is expected after 'in', with brackets: in ['a', 'b']")
        if not complete or len({_use(value) for value in values}) != 1:
            raise _NodeError(right, "a list of numbers or a list of strings is expected after 'in'")
    elif isinstance(operator, (ast.Is, ast.IsNot)):
        if values != [None]:
            raise _NodeError(right, "null is expected after 'is' and 'is not'")
    elif None in _literals(left) + values:
        raise _NodeError(left, "'is null' or 'is not null' is expected, not a comparison with null")
    elif _path(right) is None and (not values or isinstance(right, ast.List)):
        raise _NodeError(right, "a column, a number or a string is expected")
    if _path(left) is None and (type(operator) not in _COMPARE or not _literals(left) or isinstance(left, ast.List)):
        raise _NodeError(left, "a column is expected")
    yield from (path for side in (left, right) if (path := _path(side)) is not None)


def _use(value: Any) -> type:
    return type(value) if isinstance(value, (bool, str)) else float


def _uses(node: ast.AST) -> Iterator[tuple[str, type]]:
    """Each column that is compared with a literal or used as a boolean, and its required type."""
    match node:
        case ast.BoolOp(values=values):
            for value in values:
                yield from _uses(value)
        case ast.UnaryOp(operand=operand):
            yield from _uses(operand)
        case ast.Compare(left=left, comparators=rights):
            sides = [left, *rights]
            uses = [_use(value) for side in sides for value in _literals(side) if value is not None]
            yield from ((path, uses[0]) for side in sides if uses and (path := _path(side)) is not None)
        case _ if (path := _path(node)) is not None:
            yield path, bool


def _truth(node: ast.AST, batch: pa.RecordBatch) -> pa.Array:
    match node:
        case ast.BoolOp(op=operator, values=[first, *rest]):
            join = pc.and_kleene if isinstance(operator, ast.And) else pc.or_kleene
            truth = _truth(first, batch)
            for value in rest:
                truth = join(truth, _truth(value, batch))
            return truth
        case ast.UnaryOp(operand=operand):
            return pc.invert(_truth(operand, batch))
        case ast.Compare(left=left, ops=operators, comparators=rights):
            truths = [_compare(*sides, batch) for sides in zip([left, *rights], operators, rights)]
            truth = truths[0]
            for other in truths[1:]:
                truth = pc.and_kleene(truth, other)
            return truth
    truth = _value(node, batch)
    if truth.type not in (pa.bool_(), pa.null()):
        raise pa.ArrowTypeError("a column by itself must be a boolean")
    return truth.cast(pa.bool_())


def _compare(left: ast.AST, operator: ast.cmpop, right: ast.AST, batch: pa.RecordBatch) -> pa.Array:
    values = _value(left, batch)
    match operator:
        case ast.Is():
            return pc.is_null(values)
        case ast.IsNot():
            return pc.is_valid(values)
        case ast.In() | ast.NotIn():
            found = _is_in(values, pa.array(_literals(right)))
            found = found if isinstance(operator, ast.In) else pc.invert(found)
            return pc.if_else(pc.is_valid(values), found, pa.scalar(None, pa.bool_()))
    return _COMPARE[type(operator)](values, _value(right, batch))


def _is_in(values: pa.Array, wanted: pa.Array) -> pa.Array:
    pc.equal(values[:0], wanted[0])  # Raises where the types do not compare: a cast might go through.
    if pa.types.is_integer(values.type) and pa.types.is_floating(wanted.type):
        values = values.cast(pa.float64())  # `x in [1, 2.5]` on integers.
    return pc.is_in(values, value_set=wanted.cast(values.type))


def _value(node: ast.AST, batch: pa.RecordBatch) -> pa.Array | pa.Scalar:
    path = _path(node)
    if path is None:
        return pa.scalar(_literals(node)[0])
    array = column_at(batch, path)
    return array.cast(array.type.value_type) if pa.types.is_dictionary(array.type) else array
