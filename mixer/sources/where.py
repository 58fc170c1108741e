"""Which rows of a source are kept: a small predicate language over columns.

    int_score >= 3 and metadata.lang in ['en', 'de'] and license is not null

Python's own parser reads it and a fixed list of nodes is understood; nothing is ever evaluated as Python. Truth is
three-valued as in SQL: a comparison with null is null, and a row is kept only where the whole predicate is true.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from mixer.errors import RecipeError

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
    "allowed are columns (a.b for a field of a struct), numbers, strings, true, false, == != < <= > >=, "
    "in [..], not in [..], is null, is not null, and, or, not, ( )"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicate:
    """A checked predicate over the columns of a record batch."""

    text: str
    # Dotted paths of the columns that it reads.
    columns: frozenset[str]
    tree: ast.expr

    def mask(self, batch: pa.RecordBatch) -> pa.BooleanArray:
        """Which rows of a batch are kept: bool[rows] without nulls (null counts as false).

        Raises:
            RecipeError: a column is compared with a value of another type.
        """
        try:
            return pc.fill_null(_truth(self.tree, batch), False)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as err:
            types = ", ".join(f"{path} is {column(batch, path).type}" for path in sorted(self.columns))
            raise RecipeError(
                f"'{self.text}' does not fit the types of the columns: {types}",
                where="where",
                hint="compare a column with a value of its own type",
            ) from err


def parse_where(text: str) -> Predicate:
    """Parse a predicate.

    Raises:
        RecipeError: the text is not in the language; the message names the position.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as err:
        position = getattr(err, "offset", None) or 1
        hint = f"write == for equality; {_HINT}" if "=" in text else _HINT
        raise RecipeError(f"'{text}' cannot be read at position {position}", where="where", hint=hint) from err
    columns = frozenset(_check_truth(tree, text))
    if not columns:
        raise RecipeError(f"'{text}' names no column", where="where", hint=_HINT)
    return Predicate(text=text, columns=columns, tree=tree)


def column(batch: pa.RecordBatch, path: str) -> pa.Array:
    """The column at a dotted path; a null struct has null fields."""
    first, *rest = path.split(".")
    array = batch.column(first)
    return pc.struct_field(array, rest) if rest else array


def literals(predicate: Predicate) -> dict[str, type]:
    """The Python type that each column is compared with: float, str or bool; columns only tested for null are left out."""
    found: dict[str, type] = {}
    for node in ast.walk(predicate.tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            values = [value for side in sides for value in _literal_values(side)]
            kinds = [
                bool if isinstance(v, bool) else str if isinstance(v, str) else float for v in values if v is not None
            ]
            for path in (path for side in sides if (path := _path(side)) is not None):
                if kinds:
                    found.setdefault(path, kinds[0])
        elif isinstance(node, (ast.BoolOp, ast.UnaryOp)):
            operands = node.values if isinstance(node, ast.BoolOp) else [node.operand]
            found.update({path: bool for operand in operands if (path := _path(operand)) is not None})
    if (path := _path(predicate.tree)) is not None:
        found[path] = bool
    return found


def _refuse(node: ast.AST, text: str, what: str) -> RecipeError:
    position = getattr(node, "col_offset", 0) + 1
    return RecipeError(f"'{text}': {what} at position {position}", where="where", hint=_HINT)


def _path(node: ast.AST) -> str | None:
    """The dotted path of a column, or None for anything else."""
    if isinstance(node, ast.Attribute):
        parent = _path(node.value)
        return None if parent is None else f"{parent}.{node.attr}"
    return node.id if isinstance(node, ast.Name) and node.id not in _WORDS else None


def _literal_values(node: ast.AST) -> list:
    """The values of a literal, of a negative number or of a list of them; empty for anything else."""
    if isinstance(node, ast.List):
        return [value for item in node.elts for value in _literal_values(item)]
    if isinstance(node, ast.Name) and node.id in _WORDS:
        return [_WORDS[node.id]]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return [-value for value in _literal_values(node.operand)]
    if isinstance(node, ast.Constant) and isinstance(node.value, (str, bool, int, float, type(None))):
        return [node.value]
    return []


def _check_truth(node: ast.AST, text: str) -> Iterator[str]:
    """Check a node that must be true or false; give the columns under it."""
    if isinstance(node, ast.BoolOp):
        for value in node.values:
            yield from _check_truth(value, text)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield from _check_truth(node.operand, text)
    elif isinstance(node, ast.Compare):
        yield from _check_compare(node, text)
    elif (path := _path(node)) is not None:
        yield path
    else:
        raise _refuse(node, text, "a comparison is expected")


def _check_compare(node: ast.Compare, text: str) -> Iterator[str]:
    sides = [node.left, *node.comparators]
    for left, operator, right in zip(sides, node.ops, node.comparators):
        if isinstance(operator, (ast.In, ast.NotIn)):
            values = _literal_values(right)
            if not isinstance(right, ast.List) or not values or len(values) != len(right.elts) or None in values:
                raise _refuse(right, text, "a list of numbers or strings is expected after 'in'")
            if len({isinstance(value, str) for value in values}) > 1 or _path(left) is None:
                raise _refuse(left, text, "a column and a list of values of one type are expected round 'in'")
        elif isinstance(operator, (ast.Is, ast.IsNot)):
            if _literal_values(right) != [None] or _path(left) is None:
                raise _refuse(right, text, "'is' is for 'column is null' and 'column is not null'")
        elif type(operator) not in _COMPARE:
            raise _refuse(node, text, "an unknown operator")
        elif None in _literal_values(left) + _literal_values(right):
            raise _refuse(right, text, "null is compared with 'is null' or 'is not null', not with a sign,")
    for side in sides:
        if (path := _path(side)) is not None:
            yield path
        elif not _literal_values(side):
            raise _refuse(side, text, "a column, a number or a string is expected")


def _truth(node: ast.AST, batch: pa.RecordBatch) -> pa.Array:
    if isinstance(node, ast.BoolOp):
        join = pc.and_kleene if isinstance(node.op, ast.And) else pc.or_kleene
        truth = _truth(node.values[0], batch)
        for value in node.values[1:]:
            truth = join(truth, _truth(value, batch))
        return truth
    if isinstance(node, ast.UnaryOp):
        return pc.invert(_truth(node.operand, batch))
    if isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
        truth = _compare(sides[0], node.ops[0], sides[1], batch)
        for left, operator, right in zip(sides[1:], node.ops[1:], sides[2:]):
            truth = pc.and_kleene(truth, _compare(left, operator, right, batch))
        return truth
    truth = column(batch, _path(node))
    if not pa.types.is_boolean(truth.type) and not pa.types.is_null(truth.type):
        raise pa.ArrowTypeError("a column by itself must be a boolean")
    return truth.cast(pa.bool_())


def _compare(left: ast.AST, operator: ast.cmpop, right: ast.AST, batch: pa.RecordBatch) -> pa.Array:
    values = _value(left, batch)
    if isinstance(operator, ast.Is):
        return pc.is_null(values)
    if isinstance(operator, ast.IsNot):
        return pc.is_valid(values)
    if isinstance(operator, (ast.In, ast.NotIn)):
        found = pc.is_in(values, value_set=pa.array(_literal_values(right)))
        found = found if isinstance(operator, ast.In) else pc.invert(found)
        return pc.if_else(pc.is_valid(values), found, pa.scalar(None, pa.bool_()))
    return _COMPARE[type(operator)](values, _value(right, batch))


def _value(node: ast.AST, batch: pa.RecordBatch) -> pa.Array | pa.Scalar:
    path = _path(node)
    return column(batch, path) if path is not None else pa.scalar(_literal_values(node)[0])
