"""Filters in columns: the verdict and the reason of datatrove's classes on every document tried."""

from __future__ import annotations

import numpy as np
import pytest
from filters_kit import CLASSES, SENTENCE_END, assert_same, column, installed_texts, odd_documents, verdicts
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mixer.curate.filters import chunk
from mixer.curate.filters.load import load_filter
from mixer.curate.filters.sentences import sentence_spans

LOOSE = {
    "gopher-quality": {"min_doc_words": 3, "min_avg_word_length": 1, "max_avg_word_length": 50, "min_stop_words": 1},
    "gopher-repetition": {"top_n_grams": [[1, 0.5], [2, 0.6]], "dup_n_grams": [[2, 0.3], [1, 0.8]]},
    "c4": {"min_num_sentences": 2, "min_words_per_line": 2, "filter_no_terminal_punct": True},
    "fineweb-quality": {"line_punct_thr": 0.01, "short_line_thr": 0.99, "char_duplicates_ratio": 0.5},
}


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("loose", [False, True], ids=["defaults", "loose"])
def test_texts_of_this_installation_get_the_same_verdicts(name: str, loose: bool) -> None:
    """And the same reasons; most reasons that there are occur."""
    found = assert_same(name, list(installed_texts()), **(LOOSE[name] if loose else {}))
    assert len(set(found)) >= (3 if name == "c4" else 5)


@pytest.mark.parametrize("name", CLASSES)
@settings(deadline=None, max_examples=60)
@given(texts=st.lists(odd_documents(), min_size=1, max_size=5), loose=st.booleans())
def test_odd_documents_get_the_same_verdicts(name: str, texts: list[str], loose: bool) -> None:
    """White space of all scripts, line breaks, bullets, ellipses, no words, long words, what repeats itself."""
    assert_same(name, texts, **(LOOSE[name] if loose else {}))


def enormous() -> list[str]:
    noise = np.random.default_rng(0).integers(0, 256, 100_000, dtype=np.uint8).tobytes()
    words = np.random.default_rng(1).integers(0, 5000, 60_000)
    return [
        "",
        " ",
        "\n" * 1000,
        "x" * 1_500_000,
        "é" * 400_000 + " tail",
        noise.decode("latin-1"),
        noise.decode("utf-8", errors="replace"),
        " ".join(f"w{word:x}" for word in words),
        "the end of it all. " * 15_000,
        "a\n\n" * 20_000,
        "[" + "1" * 300_000 + "]",
        "." * 100_000,
        ")" * 100_000,
    ]


@pytest.mark.parametrize("name", CLASSES)
def test_enormous_and_binary_documents_get_the_same_verdicts(name: str) -> None:
    """Megabytes in one word, in one line, of one n-gram; noise; nothing."""
    assert_same(name, enormous())


@pytest.mark.parametrize("name", CLASSES)
def test_documents_around_make_no_difference(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor do chunks, slices of an array, and nulls, which pass."""
    touching = [
        "",
        "...",
        "- a",
        "[1",
        "2]",
        "\r",
        "\n",
        "java",
        "script",
        "the a..",
        ".. the",
        "the a.",
        "..",
        "\n\n",
        "\na",
    ]
    for parameters in ({}, LOOSE[name], {"min_doc_words": 1, "max_symbol_word_ratio": 0.3}):
        if name != "gopher-quality" and "max_symbol_word_ratio" in parameters:
            continue
        texts = [*installed_texts()[::25], *touching, *touching[::-1]]
        rules = load_filter(name, parameters, place="here")
        monkeypatch.undo()
        whole = verdicts(name, texts, **parameters)
        for size in (1, 5000):
            monkeypatch.setattr(chunk, "_CHUNK_BYTES", size)
            found = rules.evaluate(column(["before", *texts])[1:])
            assert [found.reasons[code] for code in found.reason] == whole
        found = rules.evaluate(column([None, *texts[:50], None]))
        assert [found.reasons[code] for code in found.reason] == ["passed", *whole[:50], "passed"]
    assert len(rules.evaluate(column([]))) == 0


def test_white_space_around_makes_no_paragraphs_but_lines() -> None:
    """Two of four paragraphs are none too many, one of three is."""
    texts = ["\n\na\n\na\n\nb", "a\n\na\n\nb\n\n\n", " \n\na\n\na\n\nb\n\nc", "\n\n", "\na\n", "a\nb\n\nb\nc\nd\ne\n"]
    assert assert_same("gopher-repetition", texts)[:3] == ["dup_para_frac", "dup_para_frac", "top_2_gram"]


def test_line_feeds_are_no_characters_of_fineweb() -> None:
    """5 of 10 characters are of a repeated line, or 5 of 11 with the line feed."""
    parameters = {"line_punct_thr": 0, "short_line_thr": 1, "char_duplicates_ratio": 0.48, "new_line_ratio": 1}
    assert assert_same("fineweb-quality", ["aaaa.\naaaa.", "aaaa.\n\naaab."], **parameters) == [
        "char_dup_ratio",
        "passed",
    ]


@settings(deadline=None)
@example(text="One.))) Two.)))) Three”) four.”)")
@given(text=odd_documents())
def test_sentences_end_with_words_that_end_them(text: str) -> None:
    """Up to three closing quotes or brackets aside; what is left is a sentence."""
    ends = [found.end() for found in SENTENCE_END.finditer(text)]
    spans = sentence_spans(text)
    assert [stop for _, stop in spans][: len(ends)] == ends
    assert len(spans) - len(ends) == bool(text[ends[-1] if ends else 0 :].strip())
    assert all(text[start:stop].strip() == text[start:stop] != "" for start, stop in spans)
