"""datatrove's filters through one adapter: by class and parameters, with a splitter that is said."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from filters_kit import CLASSES, by_datatrove, column, installed_texts, verdicts

from mixer.curate.filters.load import load_filter
from mixer.digest import canonical_json
from mixer.errors import DataError, RecipeError
from mixer.extras import MissingPackages

TEXTS = [
    "",
    " \n ",
    "The cat sat on the mat, and that is all there is to be said of it. " * 6,
    "One. Two! Three? Four... Five; (Six.) Seven",
    "\n".join(["x" * 250] * 3),
]


@pytest.mark.parametrize("name", CLASSES)
def test_the_classes_give_the_verdicts_of_the_columns(name: str) -> None:
    """With the same splitter."""
    texts = [*TEXTS, *installed_texts()[::20]]
    extra = {"filter_no_terminal_punct": False} if name == "c4" else {}
    theirs = verdicts(f"datatrove:{CLASSES[name]}", texts, **extra)
    assert theirs == verdicts(name, texts)
    assert len(set(theirs)) > 1


def test_filters_that_need_no_download_work() -> None:
    """Each class of datatrove's that reads text alone."""
    assert verdicts("datatrove:C4ParagraphFilter", TEXTS) == ["< 3 paragraphs"] * 4 + ["passed"]
    assert (
        verdicts("datatrove:RegexFilter", TEXTS, regex_exp="m[ao]t")
        == ["passed"] * 2 + ["RegexFilter"] + ["passed"] * 2
    )


def test_c4_by_sentences_goes_to_datatroves_code() -> None:
    """Which splits them as `splitter` says."""
    loose = {"split_paragraph": False, "min_num_sentences": 4, "min_words_per_line": 1}
    texts = [*TEXTS, *installed_texts()[::50]]
    assert verdicts("c4", texts, **loose) == by_datatrove("c4", texts, **loose)
    assert load_filter("c4", loose, place="here").identity["code"].startswith("datatrove ")


def test_spacy_splits_words_where_it_is_asked_to() -> None:
    """The verdicts are those of datatrove's default, and the identity names spaCy and the language."""
    from datatrove.data import Document
    from datatrove.pipeline.filters import GopherQualityFilter

    texts = [text for text in installed_texts()[::40] if len(text) < 20_000]
    plain = GopherQualityFilter()
    expected = [plain.filter(Document(text=text, id="")) for text in texts]
    found = verdicts("gopher-quality", texts, splitter="spacy")
    assert found == ["passed" if one is True else one[1] for one in expected]
    assert found != verdicts("gopher-quality", texts)
    identity = load_filter("gopher-quality", {"splitter": "spacy"}, place="here").identity
    assert identity["splitter"].startswith("spacy 3.")
    assert identity["language"] == "eng"
    german = {"splitter": "spacy", "language": "deu"}
    assert load_filter("gopher-quality", german, place="here").identity["language"] == "deu"
    canonical_json(dict(identity))


def test_two_splitters_in_one_process_do_not_mix() -> None:
    """datatrove remembers how it split the last texts."""
    text = ["don't!" * 3 + " it's the cat's." * 20]
    one, other = {}, {"splitter": "spacy"}
    found = [verdicts("gopher-quality", text, **parameters) for parameters in (one, other, one, other)]
    assert found[0] == found[2] != found[1] == found[3]
    classed = verdicts("datatrove:GopherQualityFilter", text), verdicts("datatrove:GopherQualityFilter", text, **other)
    assert classed == (found[0], found[1])


MISTAKES: list[tuple[str, dict[str, Any], str]] = [
    ("GopherQualityFiltr", {}, "did you mean 'GopherQualityFilter'?"),
    ("Nothing", {}, "is not a filter of datatrove"),
    ("GopherQualityFilter", {"min_doc_word": 1}, "min_doc_word is not a parameter; did you mean 'min_doc_words'?"),
    ("GopherQualityFilter", {"exclusion_writer": None}, "exclusion_writer is not a parameter"),
    ("GopherQualityFilter", {"splitter": "x"}, "must be 'spaces' or 'spacy'"),
    (
        "GopherQualityFilter",
        {"splitter": "spacy", "language": "engl"},
        "'engl' is not a language that datatrove splits",
    ),
    ("RegexFilter", {}, "RegexFilter needs regex_exp"),
    ("RegexFilter", {"regex_exp": "("}, "RegexFilter refuses its parameters: "),
    ("RegexFilter", {"regex_exp": "a", "splitter": "spaces"}, "splitter is not a parameter"),
    ("SamplerFilter", {}, "draws by key"),
    ("LambdaFilter", {}, "module:function"),
    ("URLFilter", {}, "it reads urls"),
    ("C4BadWordsFilter", {"keep_fraction": 0.5}, "keep_fraction is not a parameter"),
]


@pytest.mark.parametrize(("name", "parameters", "message"), MISTAKES, ids=[message[:30] for *_, message in MISTAKES])
def test_a_mistake_is_said_before_any_text_is_read(name: str, parameters: dict[str, Any], message: str) -> None:
    """With its place."""
    with pytest.raises(RecipeError) as raised:
        load_filter(f"datatrove:{name}", parameters, place="r.yaml: curate.steps[0].filter")
    assert message in str(raised.value)
    assert str(raised.value.where).startswith("r.yaml: curate.steps[0].filter")


@pytest.mark.parametrize(
    ("name", "parameters"), [("LanguageFilter", {}), ("GopherQualityFilter", {"splitter": "spacy"})]
)
def test_packages_that_a_class_needs_are_named(name: str, parameters: dict[str, Any]) -> None:
    """Those that no extra brings, too."""
    if name == "GopherQualityFilter":
        parameters = {**parameters, "language": "tha"}
    with pytest.raises(MissingPackages, match=r"fasteners|pythainlp"):
        load_filter(f"datatrove:{name}", parameters, place="here")


def test_a_document_on_which_datatrove_fails_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its code raises."""
    from datatrove.pipeline.filters import RegexFilter

    def failing(self: Any, document: Any) -> bool:
        raise KeyError(document.text[-1])

    monkeypatch.setattr(RegexFilter, "filter", failing)
    with pytest.raises(DataError, match=r"RegexFilter failed on the text 'abc'.*KeyError: 'c'"):
        verdicts("datatrove:RegexFilter", ["abc"], regex_exp="a")


def test_a_number_has_one_spelling_and_lists_become_tuples() -> None:
    """As the classes want them; the identity is JSON."""
    parameters = {"stop_chars": [".", "!"], "line_punct_thr": 0.5, "short_line_thr": 1, "new_line_ratio": 1}
    found = load_filter("datatrove:FineWebQualityFilter", parameters, place="here")
    assert found.identity["parameters"]["stop_chars"] == [".", "!"]
    assert found.identity["parameters"]["line_punct_thr"] == "0.5"
    assert found.evaluate(column(["One line!\nanother one.\nand then some more of them"])).passed.tolist() == [True]
    canonical_json(dict(found.identity))


@pytest.mark.parametrize("name", [*CLASSES, "datatrove:C4ParagraphFilter"])
def test_a_filter_of_columns_travels_to_another_process(name: str) -> None:
    """So do those of datatrove's classes."""
    one = load_filter(name, {}, place="here")
    other = pickle.loads(pickle.dumps(one))
    assert other.identity == one.identity
    assert other.evaluate(column(TEXTS)).reason.tolist() == one.evaluate(column(TEXTS)).reason.tolist()
