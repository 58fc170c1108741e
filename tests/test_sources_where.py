"""The predicate language: what it means, what it refuses, and that nothing in it is run."""

from __future__ import annotations

from operator import eq, ge, gt, le, lt, ne
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixer.errors import RecipeError
from mixer.sources.row_filter import parse_where

pytestmark = pytest.mark.quick

BATCH = pa.record_batch(
    {
        "n": pa.array([1, 2, 3, None], pa.int64()),
        "score": pa.array([0.5, None, 2.5, float("nan")], pa.float64()),
        "lang": pa.array(["en", "de", None, "fr"]).dictionary_encode(),
        "ok": pa.array([True, False, None, True]),
        "meta": pa.array([{"a": {"b": "x"}}, {"a": None}, None, {"a": {"b": "y"}}]),
        "odd": pa.array([{"WARC-Type": "r"}, None, None, None]),
    }
)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("n >= 2", [1, 2]),
        ("n != 2", [0, 2]),
        ("2 <= n < 3", [1]),
        ("n == 2.0 or n > 2.5", [1, 2]),
        ("n > -1", [0, 1, 2]),
        ("n in [1, 3]", [0, 2]),
        ("n in [1, 2.5]", [0]),
        ("n not in [1, 3]", [1]),
        ("score > n", []),
        ("score < n", [0, 2]),
        ("score >= 0", [0, 2]),
        ("lang == 'en'", [0]),
        ("lang in ['en', 'fr']", [0, 3]),
        ("lang not in ['en', 'fr']", [1]),
        ("lang is null", [2]),
        ("lang is not null and n is null", [3]),
        ("ok", [0, 3]),
        ("not ok", [1]),
        ("ok == false", [1]),
        ("ok or lang is null", [0, 2, 3]),
        ("not (ok and n == 1)", [1, 2]),
        ("meta.a.b == 'x'", [0]),
        ("meta.a.b is null", [1, 2]),
        ("odd['WARC-Type'] == \"r\"", [0]),
        ("  n >= 2\n and n <= 2 ", [1]),
    ],
)
def test_a_predicate_keeps_the_rows_for_which_it_is_true(text: str, kept: list[int]) -> None:
    """Null is neither true nor false, and is not kept."""
    mask = parse_where(text).mask(BATCH)
    assert [row for row, keep in enumerate(mask.to_pylist()) if keep] == kept
    assert mask.null_count == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read, at position 1"),
        ("n == 3 4", "cannot be read, at position "),
        ("n >= 3 and", "cannot be read, at position 11"),
        ("n > 1 or n + 1 > 3", "a column is expected, at position 10"),
        ("__import__('os').system('x') == 0", "a column is expected, at position 1"),
        ("f(n)", "a comparison is expected, at position 1"),
        ("[x for x in y]", "a comparison is expected, at position 1"),
        ("lambda: 0", "a comparison is expected, at position 1"),
        ("n[0] == 1", "a column is expected, at position 1"),
        ("n == f'{n}'", "a column, a number or a string is expected, at position 6"),
        ("n == null", "'is null' or 'is not null' is expected"),
        ("n is 3", "null is expected after 'is' and 'is not', at position 6"),
        ("n in 3", "a list of numbers or a list of strings is expected after 'in', at position 6"),
        ("n in []", "a list of numbers"),
        ("n in [1, 'a']", "a list of numbers"),
        ("n in [null]", "a list of numbers"),
        ("3 in [3]", "a column is expected, at position 1"),
        ("n == -'a'", "a column, a number or a string is expected, at position 6"),
        ("n == [1]", "a column, a number or a string is expected"),
        ("1 < 2", "names no column"),
        ("true", "a comparison is expected"),
        ("n == b'x'", "a column, a number or a string is expected"),
        ("n in ('a', 'b')", "a list is expected after 'in', with brackets: in ['a', 'b'], at position 6"),
        ("not " * 2000 + "n", "is nested too deeply"),
        ("n" + ".a" * 3000 + " == 1", "cannot be read"),
        ("é == 'é' and n + 1", "a comparison is expected, at position 14"),
        ("n == '\ud800'", "a lone surrogate is not text, at position 7"),
        ("n == '\\ud800'", "a lone surrogate is not text, at position 6"),
        ("n == \0", "cannot be read"),
        ("(" * 300 + "n" + ")" * 300, "cannot be read"),
    ],
)
def test_what_is_not_in_the_language_is_refused_with_its_position(text: str, message: str) -> None:
    """The error says where, and what is allowed."""
    with pytest.raises(RecipeError) as caught:
        parse_where(text, "sources.wiki.where")
    assert message in caught.value.message
    assert caught.value.where == "sources.wiki.where"
    assert "is not null" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("n => 3", "n >= 3"),
        ("n =< 3", "n <= 3"),
        ("n = 3", "n == 3"),
        ("n === 3", "n == 3"),
        ("n <> 3", "n != 3"),
        ("n > 1 && b", "n > 1 and b"),
        ("n>1&&b", "n>1 and b"),
        ("n > 1 || b", "n > 1 or b"),
        ("n > 1 & b", "n > 1 and b"),
        ("!b", "not b"),
        ("n > 1 and (!b)", "n > 1 and (not b)"),
        ("~b", "not b"),
        ("n > 1 AND b", "n > 1 and b"),
        ("n > 1 OR NOT b", "n > 1 or not b"),
        ("n IS NOT NULL", "n is not null"),
        ("n is NULL", "n is null"),
        ("b == TRUE", "b == true"),
        ("lang IN ['en']", "lang in ['en']"),
        ("lang == '=>' and n = 3 && b", "lang == '=>' and n == 3 and b"),
        ("n is null && b", "n is null and b"),
        ("AND = 3", "AND == 3"),
        ("like = 3", "like == 3"),
    ],
)
def test_a_slip_is_marked_and_the_right_spelling_given(text: str, right: str) -> None:
    """What SQL, C and other languages write; the whole predicate is shown as it should be."""
    with pytest.raises(RecipeError) as caught:
        parse_where(text)
    assert caught.value.hint == f"write {right}"
    assert parse_where(right)
    first, shown, carets = caught.value.message.split("\n")
    position = int(first.partition("at position ")[2].rstrip(":"))
    wrong = first.split("'")[1]
    assert shown == f"    {text}"
    assert carets == " " * (4 + position - 1) + "^" * len(wrong)
    assert text[position - 1 :].startswith(wrong)


def test_an_operator_that_there_is_not_is_marked() -> None:
    """`like` has no spelling here; the hint lists what there is."""
    with pytest.raises(RecipeError) as caught:
        parse_where("n > 1 and lang like 'e%'")
    assert caught.value.message == (
        "there is no 'like' here, at position 16:\n    n > 1 and lang like 'e%'\n                   ^^^^"
    )
    assert "is not null" in str(caught.value.hint)


def test_a_long_predicate_is_shown_round_the_place() -> None:
    """The caret stays under it."""
    with pytest.raises(RecipeError) as caught:
        parse_where("a == 1 and " * 60 + "b => 3" + " and c == 1" * 60)
    _, shown, carets = caught.value.message.split("\n")
    assert len(shown) < 120
    assert shown[carets.index("^") :].startswith("=> 3")


@pytest.mark.parametrize("text", ["n == 'a'", "lang > 3", "n", "meta == 1", "lang in [1]", "n == 1" + "0" * 30])
def test_a_comparison_of_unlike_types_names_the_types(text: str) -> None:
    """A column is never cast to what it happens to be compared with."""
    with pytest.raises(RecipeError, match="does not fit the types of the columns"):
        parse_where(text).mask(BATCH)


def test_the_columns_and_the_types_that_they_need_are_known() -> None:
    """JSON lines are parsed with these types; a column tested for null may be of any."""
    predicate = parse_where("a.b > 1 and (c in ['x'] or not d) and e is null and 'y' != f['g-h']")
    assert predicate.columns == {"a.b", "c", "d", "e", "f.g-h"}
    assert predicate.literal_types == {"a.b": float, "c": str, "d": bool, "f.g-h": str}


def predicates() -> st.SearchStrategy[tuple[str, Any]]:
    """Texts of predicates over `n`, each with a function of n to True, False or None."""
    number = st.integers(-2, 2)
    signs = {"==": eq, "!=": ne, "<": lt, "<=": le, ">": gt, ">=": ge}
    compared = st.sampled_from(sorted(signs))
    leaf = st.one_of(
        st.builds(lambda op, k: (f"n {op} {k}", lambda n: None if n is None else signs[op](n, k)), compared, number),
        st.builds(lambda ks: (f"n in {ks}", lambda n: None if n is None else n in ks), st.lists(number, min_size=1)),
        st.just(("n is null", lambda n: n is None)),
    )

    def both(one: tuple, word: str, other: tuple) -> tuple[str, Any]:
        decisive = word == "or"

        def truth(n: int | None) -> bool | None:
            values = (one[1](n), other[1](n))
            return decisive if decisive in values else None if None in values else not decisive

        return f"({one[0]} {word} {other[0]})", truth

    def negated(one: tuple) -> tuple[str, Any]:
        return f"not ({one[0]})", lambda n: None if one[1](n) is None else not one[1](n)

    return st.recursive(
        leaf, lambda inner: st.builds(both, inner, st.sampled_from(["and", "or"]), inner) | st.builds(negated, inner)
    )


@settings(max_examples=60, deadline=None)
@given(predicate=predicates(), values=st.lists(st.none() | st.integers(-3, 3), max_size=6))
def test_truth_is_three_valued(predicate: tuple[str, Any], values: list[int | None]) -> None:
    """Any nesting of and, or, not equals Kleene's tables applied row by row."""
    text, truth = predicate
    mask = parse_where(text).mask(pa.record_batch({"n": pa.array(values, pa.int64())}))
    assert mask.to_pylist() == [truth(value) is True for value in values]
