"""Recipes that are wrong in ways nobody would think of, or that are no recipes: one clear error, and soon."""

from __future__ import annotations

import gzip
import os
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from recipe_mutants import GOOD, fault_of

from mixer.errors import RecipeError
from mixer.recipe import Recipe, load_recipe, parse_recipe
from mixer.recipe.yaml_text import MAX_DEPTH, read_yaml

SMALL = "target: {tokens: 10M}\nsources:\n  wiki: {weight: 1, path: x}\n"


def refused(folder: Path, text: str, *overrides: str) -> RecipeError:
    (folder / "r.yaml").write_text(text)
    with pytest.raises(RecipeError) as caught:
        load_recipe(folder / "r.yaml", overrides)
    return caught.value


def loaded(folder: Path, text: str, *overrides: str) -> Recipe:
    (folder / "r.yaml").write_text(text)
    return load_recipe(folder / "r.yaml", overrides)


# YAML that is more than it seems


@pytest.mark.parametrize(
    ("first", "more"),
    [("[x, x]", "[*{0}, *{0}]"), ("{x: 1}", "{{<<: [*{0}, *{0}]}}"), ("{x: 1}", "{{y: *{0}, z: *{0}}}")],
)
def test_aliases_of_aliases_are_refused_by_what_they_stand_for(tmp_path, first, more):
    """600 bytes would be 16 million values; a merged mapping counts as often as it is merged."""
    bomb = f"a0: &a0 {first}\n" + "".join(f"a{n}: &a{n} {more.format(f'a{n - 1}')}\n" for n in range(1, 25))
    began = time.perf_counter()
    error = refused(tmp_path, bomb + SMALL)
    assert "the aliases repeat more than 100,000 values" in error.message
    assert error.message.startswith("line ")
    assert time.perf_counter() - began < 2


def test_aliases_that_repeat_little_are_fine(tmp_path):
    """A thousand sources that share what they say are an everyday recipe."""
    names = "".join(f"  s{n}: *wiki\n" for n in range(1000))
    recipe = loaded(tmp_path, SMALL.replace("{w", "&wiki {w") + names)
    assert len(recipe.sources) == 1001
    assert recipe.sources["s7"] == recipe.sources["wiki"]


def test_each_node_is_visited_once():
    """A value with two aliases is one object, and a key that comes twice in it is said once."""
    value, problems = read_yaml("a: &a {x: 1, x: 2}\nb: *a\nc: [*a, *a]", "r")
    assert value["a"] is value["b"] is value["c"][0] is value["c"][1]
    assert [problem.place for problem in problems] == ["r: a.x"]


@pytest.mark.parametrize("text", ["a: " + "[" * 1000 + "]" * 1000, "a: " + '{"a": ' * 1000 + "1" + "}" * 1000])
def test_what_is_nested_a_thousand_deep_is_refused_where_it_gets_too_deep(tmp_path, text):
    """In YAML and in JSON."""
    error = refused(tmp_path, text + "\n")
    assert f"is nested more than {MAX_DEPTH} levels deep" in error.message
    assert error.message.startswith("line 1, column ")


def test_a_mapping_that_is_nested_a_thousand_deep_is_refused():
    """What comes from Python or from the manifest of a build has no line; its key is shown."""
    deep: dict = {}
    for _ in range(1000):
        deep = {"a": deep}
    with pytest.raises(RecipeError, match=f"is nested more than {MAX_DEPTH} levels deep"):
        parse_recipe({"sequence": deep}, where="r", default_name="r")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("!!bool 'x'", "the tag '!!bool' does not fit 'x'"),
        ("!!bool ''", "the tag '!!bool' does not fit ''"),
        ("!!int 'x'", "the tag '!!int' does not fit 'x'"),
        ("!!float x", "the tag '!!float' does not fit 'x'"),
        ("!!null x", "the tag '!!null' does not fit 'x'"),
        ("!!timestamp x", "the tag '!!timestamp' does not fit 'x'"),
        ("!!timestamp 2001-01-01", "the tag '!!timestamp' does not fit '2001-01-01'"),
        ("!!binary aGk=", "the tag '!!binary' does not fit 'aGk='"),
        ("!!set {x}", "the tag '!!set' does not fit"),
        ("!!omap [a: 1]", "the tag '!!omap' does not fit"),
        ("!!str [x]", "the tag '!!str' does not fit"),
        ("!mine 1", "the tag '!mine' does not fit '1'"),
        ("!!python/object/new:os.system [ls]", "the tag '!!python/object/new:os.system' does not fit"),
        ("9" * 500, "a number has at most 400 digits"),
        ('"\\ud800"', "the text has a lone surrogate, which is not Unicode"),
        ('"\\UFFFFFFFF"', "is not YAML"),
    ],
)
def test_a_value_that_is_not_plain_data_is_refused_with_its_line(tmp_path, text, message):
    """An odd tag, a number that no number is, half a character: line and column, and no traceback."""
    error = refused(tmp_path, f"{SMALL}\nseed: {text}\n")
    assert message in error.message
    assert error.hint


def test_tags_that_say_what_is_there_are_fine(tmp_path):
    """`!!str 5` is how YAML spells the text 5."""
    assert loaded(tmp_path, f"{SMALL}\nname: !!str 5\nseed: !!int '7'\n").normalised()["name"] == "5"


def test_a_lone_equals_sign_is_text():
    """YAML 1.1 has a type for it that nothing reads."""
    assert read_yaml("=: =", "r") == ({"=": "="}, [])


# Numbers and names


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("target.passes.wiki=9223372036854775808", "target.passes.wiki: must be at most 9223372036854775807"),
        (
            f"max_passes=1{'0' * 100}",
            "must be at most 9223372036854775807, not a number of about 99 digits",
        ),
        ("sources.wiki.weight=1e308", "weight: must be between 1e-150 and 1e150: weights are relative, so scale them"),
        ("sources.wiki.weight=1e-308", "weight: must be between 1e-150 and 1e150"),
        (f"sources.wiki.weight={'9' * 400}", "weight: must be between 1e-150 and 1e150"),
        (f"sources.wiki.contents.min_bytes_per_token={'9' * 400}", "must be a number above 0"),
        ("name=" + "x" * 129, "name: must be at most 128 characters long, not 129"),
    ],
)
def test_numbers_and_names_have_bounds(tmp_path, override, message):
    """What no build could do is refused when the recipe is read."""
    assert message in str(refused(tmp_path, SMALL, override))


def test_a_name_becomes_a_file_name_so_its_length_has_a_bound(tmp_path):
    """128 characters are fine, of a recipe and of a source; a file's own name is held to it as well."""
    assert loaded(tmp_path, SMALL, f"name={'x' * 128}", f"sources.{'y' * 128}={{weight: 1, path: z}}").sources
    assert "at most 128 characters" in str(refused(tmp_path, SMALL, f"sources.{'y' * 129}={{weight: 1, path: z}}"))
    (tmp_path / f"{'n' * 200}.yaml").write_text(SMALL)
    with pytest.raises(RecipeError, match="name: must be at most 128 characters long, not 200") as caught:
        load_recipe(tmp_path / f"{'n' * 200}.yaml")
    assert "without `name`, a recipe is named after its file" in str(caught.value.hint)


def test_a_name_of_5000_letters_does_not_fill_the_screen(tmp_path):
    """Neither as a source, a key, an override, nor as a file to extend."""
    for text in (f"{SMALL}  {'y' * 5000}: {{weight: 1, path: z}}\n", f"{SMALL}{'k' * 900}: 1\n"):
        assert len(str(refused(tmp_path, text))) < 1000
    for override in (f"{'k' * 5000}=1", f"seed={'v' * 5000}", f"sources.{'y' * 900}.weight=1", "a." * 5000 + "=1"):
        assert len(str(refused(tmp_path, SMALL, override))) < 1000
    assert len(refused(tmp_path, f"extends: {'e' * 5000}\n{SMALL}").message) < 1000


# Overrides that contradict each other


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("target.tokens=1M", "target.rows=5"),
        ("target.tokens=1M", "target={rows: 5}"),
        ("seed=1", "seed=2"),
        ("seed=1", "seed="),
        ("sources.wiki.weight=1", "sources.wiki={weight: 2}"),
        ("sources.wiki={weight: 2}", "sources.wiki.weight=3"),
        ("sources.wiki.weight=2", "sources.wiki="),
        ("sequence=", "sequence.length=64"),
        ("weights=rows", "weights=tokens"),
    ],
)
def test_overrides_that_contradict_each_other_are_an_error_that_names_both(tmp_path, first, second):
    """Of two values of one key neither is what was meant for sure."""
    error = refused(tmp_path, SMALL, first, "max_passes=9", second)
    assert f"--set {second}: contradicts --set {first}" in str(error)
    assert error.hint == "give one of them"


def test_overrides_that_agree_are_fine(tmp_path):
    """The same twice, parts of one mapping, and a target that was taken away first."""
    recipe = loaded(
        tmp_path,
        SMALL,
        *("seed=3", "seed=3", "sequence.length=64", "sequence={bos: false}", "sequence.length=64"),
        *("target.tokens=", "target.rows=5", "sources.b={weight: 1}", "sources.b.path=x"),
    )
    assert (recipe.seed, recipe.sequence.length, recipe.sequence.bos, recipe.target.rows) == (3, 64, False, 5)


# The hint at the schema


@pytest.mark.parametrize(
    ("text", "helps"),
    [
        (f"{SMALL}sede: 1\n", True),
        (SMALL.replace("weight: 1, ", ""), True),
        (SMALL.replace("path: x", "text: a"), True),
        (f"{SMALL}seed: x\n", True),
        (f"{SMALL}weights: bytes\n", True),
        (f"{SMALL}seed: -1\n", False),
        (f"{SMALL}max_passes: 2\n".replace("tokens: 10M", "passes: {wiki: 3}"), False),
        (SMALL.replace("path: x", "path: ftp://x"), False),
        (SMALL.replace("path: x", "path: x, text: 'a[]b'"), False),
        (SMALL.replace("10M", "10Q"), False),
    ],
)
def test_the_schema_is_hinted_at_where_it_helps(tmp_path, text, helps):
    """For a key that is unknown or missing and a value of the wrong type; not for a value that is out of reach."""
    assert ("mixer schema" in str(refused(tmp_path, text).hint)) is helps


# What is no recipe


def write_parquet(path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), path)


def write_arrow(path: Path) -> None:
    pyarrow.feather.write_feather(pa.table({"a": [1]}), path, compression="uncompressed")


def write_stream(path: Path) -> None:
    table = pa.table({"a": [1]})
    with pa.ipc.new_stream(path, table.schema) as out:
        out.write_table(table)


def in_bytes(data: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data)


def folder_with(*names: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.mkdir()
        for name in names:
            (path / name).touch()

    return write


@pytest.mark.parametrize(
    ("write", "what", "remedy"),
    [
        (write_parquet, "is a Parquet file, not a recipe", "path: FILE"),
        (write_arrow, "is an Arrow file, not a recipe", "path: FILE"),
        (write_stream, "is an Arrow stream, not a recipe", "path: FILE"),
        (in_bytes(gzip.compress(SMALL.encode())), "is compressed with gzip, not a recipe", "gunzip"),
        (in_bytes(b"\x28\xb5\x2f\xfd\0"), "is compressed with zstd, not a recipe", "zstd -d"),
        (in_bytes(b"PK\x03\x04"), "is a ZIP archive, not a recipe", "unpack it"),
        (in_bytes(b'[{"a": 1},\n {"a": 2}]'), "is a JSON array, not a recipe", "begin with `sources:`"),
        (in_bytes(b'{"text": "a"}\n{"text": "b"}\n'), "is a file of JSON lines, not a recipe", "path: FILE"),
        (in_bytes(b'{"format": "mixer", "shards": []}'), "is the manifest of a build, not a recipe", "mixer inspect"),
        (folder_with("manifest.json", "shards"), "is the folder of a build, not a recipe", "mixer inspect"),
        (folder_with("state.json"), "is a data set that `datasets` saved, not a recipe", "path: "),
        (
            folder_with("b.yaml", "a.yaml", "c.txt"),
            "is a folder, not a recipe",
            "its files: a.yaml, b.yaml",
        ),
        (folder_with(), "is a folder, not a recipe", "give the path of a recipe"),
    ],
)
def test_what_is_given_in_place_of_a_recipe_is_named(tmp_path, write, what, remedy):
    """By its content, whatever it is called; and what to do instead."""
    path = tmp_path / "r.yaml"
    write(path)
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert (caught.value.where, caught.value.message) == (str(path), what)
    assert remedy in str(caught.value.hint)


def test_a_recipe_in_json_is_a_recipe(tmp_path):
    """An object of JSON is YAML."""
    text = '{"target": {"tokens": "10M"},\n"sources": {"wiki": {"weight": 1, "path": "x"}}}'
    assert loaded(tmp_path, text) == loaded(tmp_path, SMALL)


def test_a_device_without_an_end_is_refused():
    """A recipe is read as far as recipes go."""
    with pytest.raises(RecipeError, match="is larger than 64 MiB, not a recipe"):
        load_recipe(Path("/dev/zero"))


def test_a_recipe_that_may_not_be_read_is_refused(tmp_path):
    """Nor one with a name that no file has."""
    with pytest.raises(RecipeError, match="cannot be read"):
        load_recipe(Path("a\0b"))
    with pytest.raises(RecipeError, match="cannot be read: File name too long"):
        load_recipe(tmp_path / ("x" * 5000))


# Cost


def seconds_of(call: Callable[[], object]) -> float:
    """The best of three runs, in seconds of this process."""
    times = []
    for _ in range(3):
        began = time.process_time()
        call()
        times.append(time.process_time() - began)
    return min(times)


def sources(number: int, text: str = "weight: 1, path: x") -> str:
    return "target: {tokens: 10M}\nsources:\n" + "".join(f"  s{n}: {{{text}}}\n" for n in range(number))


def load_many(folder: Path, number: int) -> None:
    loaded(folder, sources(number))


def load_wrong(folder: Path, number: int) -> None:
    refused(folder, sources(number, "wieght: 1, path: ftp://x"))


def load_removed(folder: Path, number: int) -> None:
    (folder / "base.yaml").write_text(sources(number))
    removed = "".join(f"  t{n}: null\n  s{n}: {{weight: 2, path: null}}\n" for n in range(number))
    refused(folder, f"extends: base.yaml\nsources:\n{removed}")


def load_chain(folder: Path, number: int) -> None:
    for n in range(number):
        base = f"extends: c{n + 1}.yaml\n" if n < number - 1 else SMALL
        (folder / f"c{n}.yaml").write_text(f"{base}seed: {n}\n")
    assert load_recipe(folder / "c0.yaml").seed == 0


@pytest.mark.parametrize(
    ("load", "number"), [(load_many, 300), (load_wrong, 200), (load_removed, 150), (load_chain, 100)]
)
def test_twice_the_recipe_costs_about_twice_the_time(tmp_path, load, number):
    """Sources, problems, what a layer takes away and files that extend each other: near linear."""
    load(tmp_path, number)
    once = seconds_of(lambda: load(tmp_path, number))
    assert seconds_of(lambda: load(tmp_path, 2 * number)) < 3 * once


# Mutants


@pytest.mark.parametrize("text", GOOD)
def test_what_the_mutants_are_made_from_is_good(tmp_path, text):
    """Else they would all fail at the same place."""
    assert loaded(tmp_path, text).sources


def test_no_mutant_of_a_good_recipe_ends_in_anything_but_a_recipe_or_one_clear_error(tmp_path):
    """A few hundred; `python tests/recipe_mutants.py 0 20000` tries more."""
    faults = {number: fault for number in range(300) if (fault := fault_of(number, tmp_path))}
    assert not faults, next(iter(faults.items()))


def test_odd_bytes_of_the_command_line_are_a_clear_error(tmp_path):
    """What a shell passes on need not be UTF-8."""
    for text in (b"seed=\xff", b"\xff=1", b"sources.\xe9.weight=1", b"name=a\xffb"):
        assert str(refused(tmp_path, SMALL, os.fsdecode(text))).encode()


def test_a_recipe_whose_name_is_not_utf8_says_what_to_do(tmp_path):
    """The file is read; its name cannot be the recipe's."""
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.yaml"))
    path.write_text(SMALL)
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert str(caught.value).encode()
    assert "without `name`, a recipe is named after its file" in str(caught.value.hint)
    path.write_text(f"name: mine\n{SMALL}")
    assert load_recipe(path).name == "mine"
