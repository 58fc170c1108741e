"""Filters in columns, with parameters of all kinds: still the verdict and the reason of datatrove's classes."""

from __future__ import annotations

from typing import Any

from filters_kit import assert_same, odd_documents
from hypothesis import given, settings
from hypothesis import strategies as st

RATIOS = [0.0, 0.1, 0.2, 0.25, 0.3, 1 / 3, 0.5, 2 / 3, 0.75, 0.9, 1.0]


@st.composite
def quality_parameters(draw: st.DrawFn) -> dict[str, Any]:
    def some(values: list[Any]) -> Any:
        return draw(st.sampled_from([None, 0, *values]))

    return {
        "min_doc_words": some([1, 3]),
        "max_doc_words": some([5, 10]),
        "min_avg_word_length": some([2, 3.5]),
        "max_avg_word_length": some([4, 7.25]),
        "max_symbol_word_ratio": some(RATIOS),
        "max_bullet_lines_ratio": some(RATIOS),
        "max_ellipsis_lines_ratio": some(RATIOS),
        "max_non_alpha_words_ratio": some(RATIOS),
        "min_stop_words": some([1, 3]),
        "stop_words": draw(
            st.none() | st.lists(st.sampled_from(["the", "a", "", "x y", "é", "w" * 1001, "日本語", "a..."]))
        ),
    }


@settings(deadline=None, max_examples=100)
@given(texts=st.lists(odd_documents(30), min_size=1, max_size=4), parameters=quality_parameters())
def test_gopher_quality_takes_all_parameters(texts: list[str], parameters: dict[str, Any]) -> None:
    """Also null and 0, which leave a rule out, and ratios that are met exactly."""
    assert_same("gopher-quality", texts, **parameters)


@settings(deadline=None, max_examples=100)
@given(
    texts=st.lists(odd_documents(45), min_size=1, max_size=4),
    limits=st.lists(st.sampled_from([None, *RATIOS]), min_size=4, max_size=4),
    top=st.lists(st.tuples(st.integers(1, 5), st.sampled_from(RATIOS)), max_size=3),
    repeated=st.lists(st.tuples(st.integers(1, 11), st.sampled_from(RATIOS)), max_size=4),
)
def test_gopher_repetition_takes_all_parameters(
    texts: list[str], limits: list[Any], top: list[Any], repeated: list[Any]
) -> None:
    """n-grams of any size in any order, also the same size twice."""
    names = ["dup_line_frac", "dup_para_frac", "dup_line_char_frac", "dup_para_char_frac"]
    assert_same("gopher-repetition", texts, top_n_grams=top, dup_n_grams=repeated, **dict(zip(names, limits)))


@settings(deadline=None, max_examples=100)
@given(
    texts=st.lists(odd_documents(45), min_size=1, max_size=4),
    counts=st.tuples(st.integers(-1, 4), st.integers(-1, 4), st.sampled_from([-1, 0, 3, 999, 1000])),
    flags=st.lists(st.booleans(), min_size=6, max_size=6),
)
def test_c4_takes_all_parameters(texts: list[str], counts: tuple[int, int, int], flags: list[bool]) -> None:
    """Citations, policies, brackets and lorem ipsum, each rule on or off."""
    numbers = dict(zip(["min_num_sentences", "min_words_per_line", "max_word_length"], counts))
    names = "remove_citations filter_no_terminal_punct filter_lorem_ipsum filter_javascript filter_curly_bracket"
    assert_same("c4", texts, **numbers, **dict(zip([*names.split(), "filter_policy"], flags)))


@settings(deadline=None, max_examples=100)
@given(
    texts=st.lists(odd_documents(45), min_size=1, max_size=4),
    ratios=st.lists(st.sampled_from(RATIOS), min_size=4, max_size=4),
    length=st.integers(0, 40),
    zero=st.booleans(),
    stops=st.none() | st.lists(st.sampled_from([".", "。", "a", "\r", " ", "\U0001f600"]), min_size=1).map(tuple),
)
def test_fineweb_quality_takes_all_parameters(
    texts: list[str], ratios: list[float], length: int, zero: bool, stops: tuple[str, ...] | None
) -> None:
    """Any characters may end a line."""
    names = ["line_punct_thr", "short_line_thr", "char_duplicates_ratio", "new_line_ratio"]
    others = {"short_line_length": length, "line_punct_exclude_zero": zero, "stop_chars": stops}
    assert_same("fineweb-quality", texts, **dict(zip(names, ratios)), **others)
