"""Recipes: what loads, what it means, and what is said of everything that is wrong."""

from __future__ import annotations

import json
import pickle
import re
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from mixer.digest import canonical_json, identity
from mixer.errors import RecipeError, UsageError
from mixer.recipe import Recipe, TextSpec, load_recipe, parse_bytes, parse_count, parse_recipe, recipe_of, recipe_schema
from mixer.recipe.sizes import COUNT_PATTERN

RECIPES = Path(__file__).parent.parent / "recipes"
WIKI = {"wiki": {"weight": 1, "path": "wiki/*.parquet"}}
SMALL = {"target": {"tokens": "10M"}, "sources": WIKI}


def parse(**keys: Any) -> Recipe:
    return parse_recipe({**SMALL, **keys}, where="r.yaml", default_name="r")


def problems(**keys: Any) -> list[str]:
    """The lines of the error that a recipe raises, without the hint."""
    with pytest.raises(RecipeError) as caught:
        parse_recipe(keys, where="r.yaml", default_name="r")
    lines = str(caught.value).split("\n  hint:")[0].split("\n  ")
    assert lines[1:] == [] or lines[0] == f"r.yaml: {len(lines) - 1} problems"
    return lines[1:] or lines


def source_problems(**keys: Any) -> list[str]:
    return problems(target={"tokens": 1}, sources={"wiki": {**WIKI["wiki"], **keys}})


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)


# Sizes


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0", 0),
        ("1_000_000", 10**6),
        ("10K", 10**4),
        ("10B", 10**10),
        ("10G", 10**10),
        ("809b", 809 * 10**9),
        ("5.5T", 55 * 10**11),
        ("64Mi", 2**26),
        ("1.5 ki", 1536),
        ("1e9", 10**9),
        ("8.09e11", 809 * 10**9),
        ("0.1M", 10**5),
        ("9007199254740993", 2**53 + 1),
    ],
)
def test_a_human_count_is_an_exact_integer(text, count):
    """No float rounds a count."""
    assert parse_count(text) == count


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("10", 10),
        ("10B", 10),
        ("512MB", 512 * 10**6),
        ("512mb", 512 * 10**6),
        ("50M", 5 * 10**7),
        ("2TB", 2 * 10**12),
        ("4Ki", 4096),
        ("0.5KiB", 512),
        ("64MiB", 2**26),
        ("1GiB", 2**30),
        ("1TiB", 2**40),
    ],
)
def test_a_human_number_of_bytes_is_an_exact_integer(text, count):
    """Of bytes, B is a byte; in a count it is a billion."""
    assert parse_bytes(text) == count


@pytest.mark.parametrize(
    "text",
    [
        "",
        "M",
        "-1",
        "+1",
        "1,000",
        "10MB",
        "10Q",
        "1.5",
        "0.0001K",
        ".5K",
        "1e-3",
        "1e999",
        "1_",
        "1__0",
        "1" * 5000,
        "٣",
    ],
)
def test_what_is_no_whole_count_is_refused(text):
    """A unit of bytes, a fraction of a token, a sign and foreign digits are errors, not guesses."""
    with pytest.raises(UsageError, match="is not"):
        parse_count(text)


def test_a_number_of_bytes_that_is_not_whole_is_refused():
    """Half a byte is an error."""
    with pytest.raises(UsageError, match=r"'0\.5B' is not a whole number: it is 0\.5"):
        parse_bytes("0.5B")


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.sampled_from(["", "K", "M", "B", "G", "T", "Ki", "Mi", "Gi", "Ti"]))
def test_a_count_is_linear_in_its_number(number, unit):
    """`12K` is twelve times `1K`."""
    assert parse_count(f"{number}{unit}") == number * parse_count(f"1{unit}")


@settings(deadline=None, max_examples=60)
@given(st.from_regex(r"[0-9_.]{1,4}(e\+?[0-9]{1,3})? ?[kKmbBgTiQ]{0,2}", fullmatch=True))
def test_the_schema_has_the_pattern_of_what_a_count_is(text):
    """An editor accepts what mixer accepts, but for counts that are not whole."""
    try:
        parse_count(text)
        accepted = True
    except UsageError as err:
        accepted = "not a whole number" in err.message
    assert accepted == bool(re.fullmatch(COUNT_PATTERN, text))


# What a recipe means


def test_a_small_recipe_gets_every_default():
    """The normal form has all keys, so that a later default cannot change an old recipe."""
    assert parse().normalised() == {
        "name": "r",
        "seed": 0,
        "tokenizer": "llama3",
        "sequence": {"length": 8192, "packing": "concat", "bos": True, "eos": True},
        "weights": "rows",
        "target": {"tokens": 10_000_000},
        "when_exhausted": "repeat",
        "max_passes": None,
        "task_tokens": None,
        "max_document_tokens": None,
        "on_bad_row": "error",
        "epochs": {"count": 1, "mode": "reshuffle"},
        "sources": {
            "wiki": {
                "weight": "1",
                "path": ["wiki/*.parquet"],
                "format": "auto",
                "text": {"column": "text"},
                "where": None,
                "max_passes": None,
            }
        },
    }


def test_fields_and_sources_keep_their_order():
    """Fields are as the design lists them, sources as written."""
    names = ["zeta", "alpha", "b-2.c"]
    recipe = parse(sources={name: {"weight": 1, "path": "x"} for name in names})
    assert list(recipe.sources) == names
    assert list(Recipe.model_fields)[:6] == ["name", "seed", "tokenizer", "sequence", "weights", "target"]
    assert list(Recipe.model_fields)[-5:] == ["epochs", "holdout", "split", "curate", "sources"]


@pytest.mark.parametrize(
    ("written", "spec"),
    [
        ("text", TextSpec(column="text")),
        ("meta.body", TextSpec(column="meta.body")),
        ({"column": "a[]b"}, TextSpec(column="a[]b")),
        ("files[].text", TextSpec(list="files", field="text")),
        ("repo.files[].body.text", TextSpec(list="repo.files", field="body.text")),
        ("lines[]", TextSpec(list="lines")),
        (
            {"list": "files", "field": "text", "separator": "\n", "prefix": "# ", "order": "path"},
            TextSpec(list="files", field="text", separator="\n", prefix="# ", order="path"),
        ),
    ],
)
def test_a_text_has_one_normal_form(written, spec):
    """A shorthand and the mapping it stands for are one value."""
    recipe = parse(sources={"wiki": {"weight": 1, "path": "x", "text": written}})
    assert recipe.sources["wiki"].text == spec


def test_two_spellings_of_a_recipe_have_one_identity():
    """Sizes, shorthands, defaults, nulls and the order of keys are spelling."""
    first = parse(
        target={"tokens": "1.5M"},
        task_tokens="1Mi",
        epochs=None,
        sources={
            "a": {"weight": 40.0, "path": "x", "text": "files[].text", "where": " n > 1\n"},
            "b": {"path": ["y"], "weight": 1},
        },
    )
    second = parse(
        sources={
            "b": {"weight": 1, "path": "y", "format": "auto", "text": {"column": "text"}},
            "a": {"weight": 40, "path": ["x"], "text": {"list": "files", "field": "text"}, "where": "n > 1"},
        },
        epochs={"count": 1},
        task_tokens=1048576,
        target={"tokens": 1500000, "rows": None},
        seed=0,
    )
    assert first == second
    assert identity(first.normalised()) == identity(second.normalised())
    assert identity(first.normalised()) != identity(parse(seed=1).normalised())


@pytest.mark.parametrize("weight", ["40", "0.1", "1e-5", "0.30000000000000004", "1e23", "123456789012345678901"])
def test_a_weight_is_what_was_written(weight, tmp_path):
    """The fraction of a weight's text is exact: 0.1 is one tenth."""
    write(tmp_path, r=f"when_exhausted: stop\nsources: {{a: {{weight: {weight}, path: x}}}}")
    recipe = load_recipe(tmp_path / "r.yaml")
    assert Fraction(str(recipe.sources["a"].weight)) == Fraction(weight)
    assert recipe_of(json.loads(canonical_json(recipe.normalised()))) == recipe


def test_a_whole_float_is_a_count():
    """YAML reads 8.09e11 as a float; as a count it is exact."""
    assert parse(target={"tokens": 8.09e11}).target.tokens == 809 * 10**9


@pytest.mark.parametrize(
    "path",
    [
        "hf://datasets/o/n@main/data/a /*.parquet",
        "s3://bucket/a.parquet",
        "gs://b/a",
        "https://h/a",
        "/abs/*.gz",
        "../a",
    ],
)
def test_local_and_remote_paths_are_kept_as_written(path):
    """A space at a directory's end is part of its name."""
    assert parse(sources={"a": {"weight": 1, "path": path}}).sources["a"].path == (path,)


def test_a_recipe_is_frozen_and_can_be_sent_to_a_worker():
    """Nothing changes a recipe once it is there."""
    recipe = parse()
    with pytest.raises(ValidationError, match="frozen"):
        recipe.seed = 5
    with pytest.raises(ValidationError, match="frozen"):
        recipe.sources["wiki"].weight = 5
    assert pickle.loads(pickle.dumps(recipe)) == recipe


names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,5}", fullmatch=True)
words = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8).filter(
    str.strip
)
positive = st.integers(1, 2**63 - 1)
texts = st.one_of(
    words.filter(lambda word: "[]" not in word),
    st.fixed_dictionaries({"column": words}),
    st.fixed_dictionaries(
        {"list": words, "field": words}, optional={"separator": words, "prefix": words, "order": words}
    ),
    st.fixed_dictionaries({"list": words}, optional={"prefix": words}),
)
weights = st.one_of(st.integers(1, 10**30), st.floats(min_value=1e-150, max_value=1e150))
sources = st.fixed_dictionaries(
    {"weight": weights, "path": st.one_of(st.just("a b /*.gz"), st.lists(st.sampled_from("xyz"), min_size=1))},
    optional={
        "format": st.sampled_from(["auto", "parquet", "arrow", "jsonl"]),
        "text": texts,
        "where": words,
        "max_passes": st.integers(3, 9),
    },
)
recipes = st.fixed_dictionaries(
    {
        "sources": st.dictionaries(names, sources, min_size=1, max_size=4),
        "target": st.one_of(
            st.fixed_dictionaries({"tokens": positive}),
            st.fixed_dictionaries({"rows": st.sampled_from(["10K", "1.5M", 7])}),
            st.fixed_dictionaries({"sequences": st.sampled_from(["64Mi", 1])}),
        ),
    },
    optional={
        "name": names,
        "seed": st.integers(0, 2**63 - 1),
        "tokenizer": words,
        "sequence": st.fixed_dictionaries({"length": st.integers(2, 2**20)}, optional={"bos": st.booleans()}),
        "weights": st.sampled_from(["rows", "tokens"]),
        "when_exhausted": st.sampled_from(["repeat", "stop", "error"]),
        "max_passes": st.one_of(st.none(), positive),
        "task_tokens": st.sampled_from([None, "1Mi", "64Mi", "5M", 2**20]),
        "max_document_tokens": positive,
        "on_bad_row": st.sampled_from(["error", "skip"]),
        "epochs": st.fixed_dictionaries({"count": positive, "mode": st.sampled_from(["reshuffle", "redraw"])}),
    },
)


@settings(deadline=None, max_examples=60)
@given(recipes)
def test_the_normal_form_reads_back_as_the_same_recipe(written):
    """A manifest holds a recipe without loss, through canonical JSON."""
    recipe = parse_recipe(written, where="r.yaml", default_name="r")
    stored = json.loads(canonical_json(recipe.normalised()))
    assert recipe_of(stored) == recipe
    assert recipe_of(stored).normalised() == recipe.normalised()


@settings(deadline=None, max_examples=30)
@given(recipes)
def test_a_file_says_what_its_mapping_says(written):
    """JSON is YAML here: no number or text changes on its way through a file's loader."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "r.yaml"
        path.write_text(json.dumps(written))
        assert load_recipe(path) == parse_recipe(written, where="r.yaml", default_name="r")


# What is wrong with a recipe


def test_all_problems_are_reported_at_once():
    """Ten mistakes are one run, each with its place."""
    found = problems(
        seed=-1,
        sequence={"length": "8192", "packing": "best_fit"},
        target={"tokens": "10Q", "rows": 5},
        wieghts="rows",
        task_tokens="1K",
        sources={
            "wiki": {"weigth": 1, "path": []},
            "a b": {"weight": 0, "path": ["x", 3], "text": {"column": "a", "prefix": "b"}},
        },
    )
    assert [line.split(": ")[1] for line in found] == [
        "seed",
        "sequence.length",
        "sequence.packing",
        "target.tokens",
        "task_tokens",
        "sources.wiki.path",
        "sources.wiki.weigth",
        "sources.a b",
        "sources.a b.weight",
        "sources.a b.path[1]",
        "wieghts",
        "target",
        "sources.a b.text",
    ]
    assert found[1] == "r.yaml: sequence.length: must be a whole number, not '8192'"
    assert found[2] == (
        "r.yaml: sequence.packing: must be 'concat' or 'best-fit', not 'best_fit'; did you mean 'best-fit'?"
    )


def test_a_misspelt_key_is_one_problem_and_gets_the_right_one():
    """`weigth` is not also a missing `weight`."""
    assert problems(target={"rows": 1}, sources={"wiki": {"weigth": 1, "path": "x"}}) == [
        "r.yaml: sources.wiki.weigth: is not a key; did you mean 'weight'?"
    ]


@pytest.mark.parametrize(
    ("keys", "place", "near"),
    [
        ({"extend": "x"}, "extend", "extends"),
        ({"epochs": {"cuont": 1}}, "epochs.cuont", "count"),
        ({"target": {"token": 1}}, "target.token", "tokens"),
        ({"sequence": {"pack": "concat"}}, "sequence.pack", "packing"),
        (
            {"sources": {"wiki": {"weight": 1, "path": "x", "text": {"colum": "a"}}}},
            "sources.wiki.text.colum",
            "column",
        ),
    ],
)
def test_a_near_miss_is_suggested_in_every_part(keys, place, near):
    """Each part of a recipe knows its own keys."""
    assert problems(**{**SMALL, **keys}) == [f"r.yaml: {place}: is not a key; did you mean {near!r}?"]


@pytest.mark.parametrize("weight", [0, -1, 0.0, True, False, float("nan"), float("inf"), "40", "10K", [1]])
def test_a_weight_that_is_no_positive_number_is_refused(weight):
    """A source never gets a weight that the user did not write as a number."""
    (line,) = source_problems(weight=weight)
    assert line.startswith("r.yaml: sources.wiki.weight: must be ")


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        (
            {"path": "ftp://h/x"},
            "path: has the unknown scheme 'ftp'; known are hf, s3, gs, https, http and plain paths",
        ),
        ({"path": " "}, "path: must not be empty"),
        ({"path": ["x", ""]}, "path[1]: must not be empty"),
        ({"path": 5}, "path: must be text or a list of text, not 5"),
        ({"path": None}, "path: is missing"),
        ({"path": "\ud800"}, "path: must be Unicode text, but has a lone surrogate at 0"),
        (
            {"format": "xlsx"},
            "format: must be 'auto', 'parquet', 'arrow', 'jsonl', 'csv', 'tsv', 'text', 'text-lines' or "
            "'text-paragraphs', not 'xlsx'",
        ),
        ({"where": "  "}, "where: must not be empty"),
        ({"where": 3}, "where: must be text, not 3"),
        ({"max_passes": 0}, "max_passes: must be at least 1, not 0"),
        ({"max_passes": True}, "max_passes: must be a whole number, not true"),
        ({"text": ["a"]}, "text: must be a column, LIST[].FIELD, or a mapping"),
        ({"text": ""}, "text: must not be empty"),
        ({"text": {"column": ""}}, "text.column: must not be empty"),
        ({"text": {}}, "text: needs a column or a list"),
        ({"text": {"prefix": "a"}}, "text: needs a column or a list"),
        ({"text": {"column": "a", "list": "b"}}, "text: takes a column or a list, not both"),
        ({"text": {"column": "a", "order": "b"}}, "text: takes order only with a list, not with a column"),
        (
            {"text": {"list": "a", "order": "b"}},
            "text: needs a field if order is given: items are sorted by another field of their struct",
        ),
        (
            {"text": "a[]b"},
            "text: must be a column, LIST[] or LIST[].FIELD, such as files[].text, not 'a[]b'",
        ),
    ],
)
def test_each_mistake_in_a_source_is_said_in_plain_words(keys, line):
    """The message has the place, the rule and what was found."""
    assert source_problems(**keys) == [f"r.yaml: sources.wiki.{line}"]


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ({"name": "a b"}, "name: must be of letters, digits, '.', '_' and '-', the first a letter or digit, not 'a b'"),
        (
            {"name": "a\n"},
            "name: must be of letters, digits, '.', '_' and '-', the first a letter or digit, not 'a\\n'",
        ),
        ({"seed": 2**63}, "seed: must be at most 9223372036854775807, not 9223372036854775808"),
        ({"seed": "1"}, "seed: must be a whole number, not '1'"),
        ({"tokenizer": ""}, "tokenizer: must not be empty"),
        ({"sequence": {"length": 1}}, "sequence.length: must be at least 2, not 1"),
        ({"sequence": {"length": 2**20 + 1}}, "sequence.length: must be at most 1048576, not 1048577"),
        ({"sequence": {"bos": 1}}, "sequence.bos: must be true or false, not 1"),
        ({"sequence": 8192}, "sequence: must be a mapping, not 8192"),
        ({"target": {"tokens": 0}}, "target.tokens: must be at least 1, not 0"),
        ({"target": {"rows": True}}, "target.rows: must be a whole number, not true"),
        ({"target": {"rows": 0.5}}, "target.rows: must be a whole number, not 0.5"),
        ({"target": {}}, "target: takes exactly one of tokens, rows, sequences, passes"),
        (
            {"target": {"rows": 1, "sequences": 2}},
            "target: takes exactly one of tokens, rows, sequences, passes, not rows and sequences",
        ),
        ({"target": {"passes": {}}}, "target.passes: must not be empty"),
        ({"target": {"passes": {"wiki": 0}}}, "target.passes.wiki: must be at least 1, not 0"),
        (
            {"target": {"passes": {"wikki": 1}}},
            "target.passes.wikki: is not a source of this recipe; did you mean 'wiki'?",
        ),
        ({"target": {"passes": {"x": 1}}}, "target.passes.x: is not a source of this recipe; there are wiki"),
        (
            {"target": {"passes": {"wiki": 3}}, "max_passes": 2},
            "target.passes.wiki: asks for 3 passes, but max_passes allows 2",
        ),
        (
            {"target": None},
            "target: is missing: give one of tokens, rows, sequences, passes, or set when_exhausted: stop",
        ),
        ({"task_tokens": "65Mi"}, "task_tokens: must be at most 67108864, not 68157440"),
        ({"max_document_tokens": 0}, "max_document_tokens: must be at least 1, not 0"),
        ({"epochs": {"count": 0}}, "epochs.count: must be at least 1, not 0"),
        ({"sources": {}}, "sources: must not be empty"),
        ({"sources": None}, "sources: is missing"),
        ({"sources": ["a"]}, "sources: must be a mapping, not a list"),
        ({"sources": {"wiki": "x"}}, "sources.wiki: must be a mapping, not 'x'"),
        (
            {"sources": {**WIKI, "b": None}},
            "sources.b: is empty, and there is no source of this name to remove",
        ),
    ],
)
def test_each_mistake_in_a_recipe_is_said_in_plain_words(keys, line):
    """The message has the place, the rule and what was found."""
    assert problems(**{**SMALL, **keys}) == [f"r.yaml: {line}"]


def test_more_than_one_source_of_passes_is_refused():
    """Passes of two sources cannot both be met exactly."""
    lines = problems(target={"passes": {"wiki": 1, "b": 1}}, sources={**WIKI, "b": WIKI["wiki"]})
    assert lines == ["r.yaml: target.passes: has too many entries; the most is 1"]


def test_a_source_may_be_read_more_often_than_the_recipe_says():
    """A source's max_passes is nearer than the recipe's."""
    recipe = parse(max_passes=2, target={"passes": {"a": 3}}, sources={"a": {**WIKI["wiki"], "max_passes": 3}})
    assert recipe.target.passes == {"a": 3}


def test_a_target_may_be_left_out_where_the_sources_end_the_build():
    """`when_exhausted: stop` needs no target."""
    assert parse(target=None, when_exhausted="stop").target is None


def test_keys_that_are_not_text_are_reported():
    """A mapping from Python can have any keys; each gets its place."""
    with pytest.raises(RecipeError) as caught:
        parse_recipe({**SMALL, 7: 1}, where="r", default_name="r")
    assert (caught.value.where, caught.value.message) == ("r: [7]", "must have text as its keys, not 7")


def test_a_single_problem_has_its_place_as_where():
    """Programs find the place of a problem in `where`."""
    with pytest.raises(RecipeError) as caught:
        parse(seed=-1)
    assert (caught.value.where, caught.value.message) == ("r.yaml: seed", "must be at least 0, not -1")
    assert caught.value.exit_code == 2


# YAML


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a recipe is a mapping of keys, but this file is empty"),
        ("# nothing\n", "a recipe is a mapping of keys, but this file is empty"),
        ("- a\n", "a recipe is a mapping of keys, but this file has a list"),
        ("hello", "a recipe is a mapping of keys, but this file has one value"),
        ("a: b: c", "line 1, column 5: mapping values are not allowed here"),
        ("seed: 1\nsources: {", "line 2, column 11: while parsing a flow node, expected the node content"),
        ("a:\n\tb: 1", "line 2, column 1: while scanning for the next token, found character '\\t'"),
        ("a: 1\n---\nb: 1", "line 2, column 1: expected a single document"),
        ("? [a]\n: 1", "line 1, column 3: a key must be text"),
        (
            "name: !!python/object/apply:os.getcwd []",
            "line 1, column 7: the tag '!!python/object/apply",
        ),
        ("name: !!timestamp 2001-13-40", "line 1, column 7: the tag '!!timestamp' does not fit '2001-13-40'"),
        ("a: &a [*a]", "line 1, column 4: refers to itself"),
        ("a: " + "[" * 5000, "line 1, column 68: is nested more than 64 levels deep"),
        ("seed: " + "1" * 5000, "line 1, column 7: a number has at most 400 digits"),
        ("a\0b", "is not text at byte 1"),
    ],
)
def test_a_file_that_is_no_yaml_mapping_says_where_it_breaks(text, message, tmp_path):
    """Every broken file is a RecipeError with line and column, and none runs code."""
    write(tmp_path, r=text)
    with pytest.raises(RecipeError) as caught:
        load_recipe(tmp_path / "r.yaml")
    assert caught.value.where == str(tmp_path / "r.yaml")
    assert caught.value.message.startswith(message)
    assert caught.value.hint


def test_bytes_that_are_not_utf8_are_refused(tmp_path):
    """A recipe is text."""
    (tmp_path / "r.yaml").write_bytes(b"name: \xe9\n")
    with pytest.raises(RecipeError, match="is not text at byte 6"):
        load_recipe(tmp_path / "r.yaml")


def test_a_key_that_comes_twice_is_reported_with_both_lines(tmp_path):
    """The second of two sources of one name does not silently win."""
    text = "sources:\n  wiki: {weight: 1, path: x}\n  wiki: {weight: 2, path: y, path: z}\nsede: 1\ntarget: {rows: 1}\n"
    write(tmp_path, r=text)
    with pytest.raises(RecipeError) as caught:
        load_recipe(tmp_path / "r.yaml")
    place = tmp_path / "r.yaml"
    assert caught.value.message.split("\n  ") == [
        "3 problems",
        f"{place}: sources.wiki: appears twice, on lines 2 and 3",
        f"{place}: sources.wiki.path: appears twice, on lines 3 and 3",
        f"{place}: sede: is not a key; did you mean 'seed'?",
    ]


def test_yaml_holds_no_surprises(tmp_path):
    """Keys are text, dates and clock times are text, exponents are numbers, anchors work."""
    write(
        tmp_path,
        r="""
name: 2024-01-01
tokenizer: 12:30
target: {sequences: 1e3}
sources:
  on: &on {weight: 1e-5, path: x, text: "files[].text"}
  2024: {<<: *on, weight: 2}
""",
    )
    recipe = load_recipe(tmp_path / "r.yaml")
    assert (recipe.name, recipe.tokenizer, recipe.target.sequences) == ("2024-01-01", "12:30", 1000)
    assert {name: source.weight for name, source in recipe.sources.items()} == {"on": 1e-5, "2024": 2}
    assert recipe.sources["2024"].text.list == "files"


def test_a_file_that_is_missing_or_a_folder_is_refused(tmp_path):
    """The error names the file."""
    with pytest.raises(RecipeError, match=r"no\.yaml: cannot be read: No such file"):
        load_recipe(tmp_path / "no.yaml")
    with pytest.raises(RecipeError, match="is a folder, not a recipe"):
        load_recipe(tmp_path)


def test_a_recipe_is_named_after_its_file_unless_it_says_otherwise(tmp_path):
    """A stem that cannot be a name is an error, as a name would be."""
    text = "target: {rows: 1}\nsources: {a: {weight: 1, path: x}}\n"
    write(tmp_path, base=text, other=f"name: own\n{text}", **{"my recipe": text})
    assert load_recipe(tmp_path / "base.yaml").name == "base"
    assert load_recipe(tmp_path / "other.yaml").name == "own"
    with pytest.raises(RecipeError, match=r"my recipe\.yaml: name: must be of letters"):
        load_recipe(tmp_path / "my recipe.yaml")


# Extending


BASE = """
name: base
seed: 7
sequence: {length: 512, packing: best-fit}
target: {tokens: 10M}
sources:
  wiki: {weight: 1, path: [a, b], text: {list: files, field: text}}
  books: {weight: 2, path: c}
  old: {weight: 3, path: d}
"""


def test_a_recipe_extends_another(tmp_path):
    """Mappings merge, lists and scalars replace, null removes, the target is replaced whole, the name is its own."""
    (tmp_path / "sub").mkdir()
    write(tmp_path, base=BASE)
    write(
        tmp_path / "sub",
        child="""
extends: ../base.yaml
seed: null
sequence: {length: 1024}
target: {rows: 5}
sources:
  wiki: {path: [z], text: {prefix: "\\n"}}
  old: null
  new: {weight: 9, path: e}
""",
    )
    recipe = load_recipe(tmp_path / "sub" / "child.yaml")
    assert recipe == parse_recipe(
        {
            "sequence": {"length": 1024, "packing": "best-fit"},
            "target": {"rows": 5},
            "sources": {
                "wiki": {"weight": 1, "path": "z", "text": {"list": "files", "field": "text", "prefix": "\n"}},
                "books": {"weight": 2, "path": "c"},
                "new": {"weight": 9, "path": "e"},
            },
        },
        where="",
        default_name="child",
    )
    assert list(recipe.sources) == ["wiki", "books", "new"]


def test_a_recipe_extends_through_several_files(tmp_path):
    """The nearest file wins."""
    write(
        tmp_path,
        base=BASE,
        middle="extends: base.yaml\nseed: 8\nsequence: {bos: false}",
        top="extends: middle.yaml\nseed: 9",
    )
    recipe = load_recipe(tmp_path / "top.yaml")
    assert (recipe.name, recipe.seed, recipe.sequence.length, recipe.sequence.bos) == ("top", 9, 512, False)


def test_a_problem_is_reported_at_the_file_that_wrote_it(tmp_path, monkeypatch):
    """One goes to the right file at once."""
    monkeypatch.chdir(tmp_path)
    base = BASE.replace("weight: 2", "weight: 0").replace("10M", "10Q").replace("packing", "pack")
    write(tmp_path, base=base, child="extends: base.yaml\ntarget: {rows: 0}\nsources: {bookz: null}")
    with pytest.raises(RecipeError) as caught:
        load_recipe(Path("child.yaml"), ["seed=x"])
    assert caught.value.message.split("\n  ") == [
        "5 problems",
        "child.yaml: sources.bookz: is empty, and there is no source of this name to remove; did you mean 'books'?",
        "--set seed: must be a whole number, not 'x'",
        "base.yaml: sequence.pack: is not a key; did you mean 'packing'?",
        "child.yaml: target.rows: must be at least 1, not 0",
        "base.yaml: sources.books.weight: must be above 0, not 0; to leave a source out, remove it",
    ]
    assert caught.value.where == "child.yaml"


def test_extending_in_a_circle_is_refused(tmp_path, monkeypatch):
    """The circle is shown, whatever the files are called on the way."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path, a="extends: b.yaml", b="extends: ./a.yaml", alone="extends: alone.yaml")
    with pytest.raises(RecipeError, match=r"^b\.yaml: extends: is circular: a\.yaml -> b\.yaml -> a\.yaml"):
        load_recipe(Path("a.yaml"))
    with pytest.raises(RecipeError, match=r"alone\.yaml -> alone\.yaml"):
        load_recipe(Path("alone.yaml"))


def test_extending_a_file_that_is_not_there_is_refused(tmp_path, monkeypatch):
    """The error names both files."""
    monkeypatch.chdir(tmp_path)
    write(
        tmp_path,
        a="extends: sub/no.yaml",
        b='extends: ["a.yaml"]\ntarget: {rows: 1}\nsources: {a: {weight: 1, path: x}}',
    )
    with pytest.raises(RecipeError, match=r"^a\.yaml: extends: there is no file sub/no\.yaml"):
        load_recipe(Path("a.yaml"))
    with pytest.raises(RecipeError, match=r"^b\.yaml: extends: must be the path of a recipe"):
        load_recipe(Path("b.yaml"))


# Overrides


def override(folder: Path, *overrides: str) -> Recipe:
    write(folder, base=BASE + "  b-2.c: {weight: 4, path: f}\n")
    return load_recipe(folder / "base.yaml", overrides)


def test_an_override_sets_one_key(tmp_path):
    """Values are YAML: sizes, lists, mappings, text with spaces, and nothing for null."""
    recipe = override(
        tmp_path,
        "sequence.length=64",
        "sources.wiki.where=n >= 3 and m == 'a'",
        "sources.wiki.path=[p, 'q*']",
        'sources.wiki.text.prefix="\\n"',
        "sources.books={weight: 5}",
        "sources.b-2.c.weight=0.25",
        "sources.old=",
        "seed=",
    )
    assert (recipe.sequence.length, recipe.sequence.packing, recipe.seed) == (64, "best-fit", 0)
    assert recipe.sources["wiki"].where == "n >= 3 and m == 'a'"
    assert recipe.sources["wiki"].path == ("p", "q*")
    assert recipe.sources["wiki"].text == TextSpec(list="files", field="text", prefix="\n")
    assert [(name, source.weight) for name, source in recipe.sources.items()] == [
        ("wiki", 1),
        ("books", 5),
        ("b-2.c", 0.25),
    ]


def test_an_override_replaces_the_whole_target(tmp_path):
    """Only one kind of target can be set, so what the files say of another does not hold."""
    assert override(tmp_path, "target.rows=1K").normalised()["target"] == {"rows": 1000}
    assert override(tmp_path, "target.tokens=", "target.rows=1K").normalised()["target"] == {"rows": 1000}
    assert override(tmp_path, "target.passes.b-2.c=2").normalised()["target"] == {"passes": {"b-2.c": 2}}


def test_overrides_are_checked_like_the_file(tmp_path):
    """Every wrong override is reported in the same run."""
    with pytest.raises(RecipeError) as caught:
        override(
            tmp_path,
            "sources.wikki.weight=3",
            "seed",
            "=3",
            "a..b=1",
            "name=[",
            "extends=x",
            "seed.x=1",
            "sequence.lenght=4",
            "target.tokenz=3",
        )
    assert [line.rsplit(";", 1)[-1].strip() for line in caught.value.message.split("\n  ")] == [
        "9 problems",
        "did you mean 'wiki'?",
        "--set seed: must be KEY=VALUE with a dotted key, such as target.tokens=10M",
        "--set =3: must be KEY=VALUE with a dotted key, such as target.tokens=10M",
        "--set a..b=1: must be KEY=VALUE with a dotted key, such as target.tokens=10M",
        "--set name=[: the value is not YAML: line 1, column 2: while parsing a flow node, "
        "expected the node content, but found '<stream end>'",
        "--set extends=x: can be in a file only",
        "--set seed: must be a whole number, not a mapping",
        "did you mean 'length'?",
        "did you mean 'tokens'?",
    ]


# The schema


def test_the_schema_describes_every_key():
    """An editor can complete and explain each key of each part."""
    schema = recipe_schema()
    parts = {"Recipe": schema, **schema["$defs"]}
    named = [
        "CacheSpec",
        "ContentsSpec",
        "CurateSpec",
        "CurateStep",
        "DecontaminateSpec",
        "EpochsSpec",
        "ExactSpec",
        "ExcludeSpec",
        "FilterSpec",
        "HoldoutSpec",
        "NearSpec",
        "Recipe",
        "SequenceSpec",
        "Source",
        "Target",
        "TextSpec",
        "TokenizerSpec",
    ]
    assert sorted(parts) == named
    for part in parts.values():
        assert part["additionalProperties"] is False
        assert all(described.get("description") for described in part["properties"].values())
    assert list(schema["properties"]) == ["extends", *Recipe.model_fields]
    assert json.loads(json.dumps(schema)) == schema


def test_the_schema_accepts_human_sizes_and_shorthands():
    """What mixer takes is not marked as a mistake."""
    schema = recipe_schema()
    tokens = schema["$defs"]["Target"]["properties"]["tokens"]["anyOf"]
    assert [kind["type"] for kind in tokens] == ["integer", "string", "null"]
    assert tokens[1]["pattern"] == COUNT_PATTERN
    source = schema["$defs"]["Source"]["properties"]
    assert [kind["type"] for kind in source["path"]["anyOf"]] == ["string", "array", "null"]
    assert source["text"]["anyOf"] == [{"type": "string"}, {"$ref": "#/$defs/TextSpec"}]
    assert source["weight"]["exclusiveMinimum"] == 0


def test_the_schema_asks_for_a_whole_recipe_unless_another_is_extended():
    """A child may leave out what its base has."""
    schema = recipe_schema()
    assert "required" not in schema
    assert schema["if"] == {"not": {"required": ["extends"]}}
    assert schema["then"]["required"] == ["sources"]


# The recipes of the project


def test_the_sample_recipe_mixes_six_sources_by_rows():
    """The first recipe a user runs."""
    recipe = load_recipe(RECIPES / "sample.yaml")
    assert (recipe.name, recipe.seed, recipe.target.tokens) == ("sample", 1, 10_000_000)
    assert {name: source.weight for name, source in recipe.sources.items()} == {
        "dclm": 40,
        "fineweb-edu": 44,
        "dolma": 3,
        "zyda": 2,
        "stack-v2": 10,
        "finemath": 1,
    }
    assert recipe.sources["stack-v2"].text == TextSpec(list="files", field="text", prefix="\n\n")
    assert recipe.sources["dclm"].path == ("../sample/dclm/*.jsonl.zst",)


def test_the_mixture_of_llama3_on_zyda2_loads():
    """The address with the space at its directory's end is kept."""
    recipe = load_recipe(RECIPES / "llama3-8b-zyda2.yaml")
    assert recipe.target.tokens == 809 * 10**9
    assert recipe.sources["zyda"].path[0].endswith("zyda_crossdeduped-filtered /*/*.parquet")
    assert [source.weight for source in recipe.sources.values()] == [40, 44, 3, 2, 10, 1]


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.name)
def test_every_recipe_of_the_project_loads_and_reads_back(path):
    """No recipe is left behind when the rules change."""
    recipe = load_recipe(path)
    assert recipe_of(recipe.normalised()) == recipe
