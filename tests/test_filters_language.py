"""The filter of languages: labels, scores, and what stays."""

from __future__ import annotations

import pytest
from filters_kit import column

from mixer.curate.filters.load import load_filter
from mixer.digest import canonical_json
from mixer.errors import RecipeError

ENGLISH = "The cat sits on the mat and looks out of the window, as cats do when it rains."
GERMAN = "Die Katze sitzt auf der Matte und schaut aus dem Fenster, wie Katzen das bei Regen tun."
JAPANESE = "猫は雨が降るとマットの上に座って窓の外を見ています。"


def test_languages_that_are_kept_pass_and_others_have_a_reason() -> None:
    """Another language, or one that the classifier is not sure of."""
    texts = [ENGLISH, None, GERMAN, JAPANESE, "", "42", "\n".join([ENGLISH] * 3)]
    found = load_filter("language", {"keep": ["en", "de"]}, place="here").evaluate(column(texts))
    reasons = [found.reasons[code] for code in found.reason]
    assert reasons == ["passed"] * 3 + ["language", "language_score", "language_score", "passed"]
    labels, scores = (found.columns[name].to_pylist() for name in ("language", "language_score"))
    assert labels[:4] == ["en", None, "de", "ja"]
    assert scores[1] is None
    assert all(score > 0.8 for score in (scores[0], scores[2], scores[3]))
    assert all(0 <= score <= 1 for score in scores if score is not None)


def test_the_least_score_is_a_parameter() -> None:
    """The score itself is still enough."""
    sure = load_filter("language", {"keep": ["en"], "min_score": 0}, place="here").evaluate(column(["42", ENGLISH]))
    assert sure.passed.tolist() == [True, True]
    strict = load_filter("language", {"keep": ["en"], "min_score": 1}, place="here").evaluate(column(["42", ENGLISH]))
    assert strict.passed.tolist() == [False, False]


def test_enormous_and_binary_documents_have_a_language() -> None:
    """The first 10,000 characters decide; NUL and other control characters do no harm."""
    texts = [ENGLISH * 200 + GERMAN * 100_000, "\x00\x01" * 1000, f"{ENGLISH}\x00{ENGLISH}", "x" * 1_000_000]
    found = load_filter("language", {"keep": ["en"]}, place="here").evaluate(column(texts))
    assert found.columns["language"].to_pylist()[0] == "en"
    assert found.passed.tolist()[0]
    assert len(found) == 4


def test_the_identity_has_the_digest_of_the_model() -> None:
    """The order of languages changes nothing."""
    one, other = (
        load_filter("language", {"keep": keep}, place="here").identity for keep in (["de", "en"], ["en", "de"])
    )
    assert one == other
    assert one["parameters"] == {"keep": ["de", "en"], "min_score": "0.65"}
    assert one["model"] == "lid.176.ftz sha256:8f3472cfe8738a7b6099e8e999c3cbfae0dcd15696aac7d7738a8039db603e83"
    canonical_json(dict(one))


def test_mistakes_are_said() -> None:
    """A language by its name, none at all, a score above 1."""
    for parameters, message in [
        ({"keep": ["english"]}, "parameters.keep: 'english' is not one of the 176 languages"),
        ({"keep": ["EN"]}, "'EN' is not one of the 176 languages"),
        ({"keep": []}, "parameters.keep: must not be empty"),
        ({}, "parameters.keep: is missing"),
        ({"keep": ["en"], "min_score": 65}, "parameters.min_score: must be at most 1, not 65"),
        ({"keep": ["en"], "minscore": 0.5}, "minscore is not a parameter; did you mean 'min_score'?"),
    ]:
        with pytest.raises(RecipeError) as raised:
            load_filter("language", parameters, place="here")
        assert message in str(raised.value)
