"""Guesses about a user's data: which files are one source, which column is the text, and how a recipe says it."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from remote_kit import environment
from servers import aws_environment, serve_bucket, serve_files, serve_hub
from sources_kit import WRITERS

from mixer.errors import DataError, MixerError, RecipeError, UsageError
from mixer.intake.begin import begin, seen_sources
from mixer.intake.columns import choose_text, profile_columns, text_at
from mixer.intake.draft import scalar
from mixer.intake.find import local_file
from mixer.intake.group import globs_of, grouped, safe_name
from mixer.intake.heads import heads_of_data, heads_of_recipe
from mixer.intake.peek import peek
from mixer.recipe import load_recipe, parse_recipe
from mixer.sources.find import find_files
from mixer.sources.pin import pin
from mixer.sources.pin_cache import PinCache

pytestmark = pytest.mark.quick

NAMES = [
    f"{folder}{name}.{suffix}"
    for folder in ("", "a/", "a/b/", "[c]/")
    for name in ("x", "y1", "y2", "z*")
    for suffix in ("csv", "txt", "csv.gz")
]
SENTENCE = "A sentence of several words. "
ROWS = [{"text": f"row {n}", "n": n, "meta": None, "files": None, "tags": None} for n in range(30)]


def sources_of(names: list[str], base: str = "corpus") -> dict[str, tuple[str, ...]]:
    return {group.name: group.patterns for group in grouped(names, base)[0]}


def test_folders_are_sources_and_so_are_files_by_their_names_without_digits():
    """Parts of one data set are one source, other names are others; all text files beside each other are one."""
    names = ["books/a.txt", "books/b.txt", "web/x/0.parquet", "web/y/1.parquet", "wiki-00000-of-00002.jsonl",
             "wiki-00001-of-00002.jsonl", "news.jsonl", "one.txt", "two.txt", "web/notes.csv"]  # fmt: skip
    assert sources_of(names) == {
        "books": ("books/*.txt",),
        "news": ("news.jsonl",),
        "corpus": ("*.txt",),
        "web": ("web/notes.csv",),
        "web-parquet": ("web/x/0.parquet", "web/y/1.parquet"),
        "wiki": ("wiki-*.jsonl",),
    }


def test_many_names_in_one_folder_are_one_source():
    """Nobody has twenty sources of one file each beside one another."""
    assert sources_of([f"{letter}.jsonl" for letter in "abcdefghijkl"]) == {"corpus": ("*.jsonl",)}


def test_a_general_name_gives_way_to_that_of_the_folder_around_it():
    """`data/train-0.parquet` is called as what it is in."""
    assert list(sources_of(["data/train-0.parquet", "data/train-1.parquet"], "fineweb")) == ["fineweb"]
    assert list(sources_of(["2024/a.csv", "2024/b.csv"], "logs")) == ["logs"]


def test_test_splits_and_files_that_are_no_data_are_left_out():
    """They are named, with the reason; a glob does not catch them."""
    groups, left_out = grouped(["train-0.csv", "train-1.csv", "test-0.csv", "README.txt", "licence.txt"], "qa")
    assert [(group.name, group.patterns) for group in groups] == [("qa", ("train-*.csv",))]
    assert [(one.name, one.why.split(",")[0]) for one in left_out] == [
        ("README.txt", "not data"),
        ("licence.txt", "not data"),
        ("test-0.csv", "looks like a test or validation split"),
    ]
    assert sources_of(["test/0.csv"]) == {"test": ("test/0.csv",)}  # all there is


@settings(max_examples=60, deadline=None)
@given(st.sets(st.sampled_from(NAMES)), st.data())
def test_patterns_match_exactly_the_files_of_a_source(tmp_path_factory, names, data):
    """Whatever else is in the folders."""
    wanted = sorted(data.draw(st.sets(st.sampled_from(sorted(names))) if names else st.just(set())))
    if not wanted:
        return
    folder = tmp_path_factory.mktemp("glob")
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    found = find_files(globs_of(wanted, names), folder, "place")
    assert sorted((found.base / path).relative_to(folder).as_posix() for path in found.paths) == wanted


@settings(max_examples=100, deadline=None)
@given(st.text())
def test_a_name_is_one_that_recipes_take_and_a_scalar_is_the_text_itself(text):
    """Whatever a file is called."""
    safe = safe_name(text)
    parse_recipe(
        {"target": {"rows": 1}, "sources": {safe: {"weight": 1, "path": "x"}}}, where="here", default_name="name"
    )
    if text.isprintable():
        assert yaml.safe_load(f"key: {scalar(text)}") == {"key": text}


@pytest.mark.parametrize(
    ("row", "path"),
    [
        ({"id": "a b", "content": SENTENCE}, "content"),
        ({"url": "http://a b/" * 90, "body": SENTENCE, "title": SENTENCE * 2}, "body"),
        ({"text": SENTENCE, "raw": SENTENCE * 3}, "text"),
        ({"summary": SENTENCE, "story_of_it": SENTENCE * 3}, "story_of_it"),
        ({"hash": "0" * 500, "word": "cat and dog"}, "word"),
        ({"meta": {"text": SENTENCE}, "n": 1}, "meta.text"),
        ({"repo": "a/b", "files": [{"path": "x.py", "text": SENTENCE}]}, "files[].text"),
        ({"turns": [SENTENCE, SENTENCE]}, "turns[]"),
        ({"n": 1, "text": ""}, None),
    ],
)
def test_the_text_is_the_likeliest_column(tmp_path, row, path):
    """By its name and by what is in it."""
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")
    seen = peek(local_file(tmp_path / "a.jsonl"), "jsonl", 10)
    choice = choose_text(profile_columns(seen.columns, seen.rows))
    assert (choice.column.path if choice else None) == path
    if path and "[]" not in path:
        assert text_at(row, path)


def test_two_columns_of_one_kind_are_ambiguous():
    """The likeliest is taken, and the other one is named."""
    choice = choose_text(
        profile_columns({"first": "text", "second": "text"}, [{"first": SENTENCE, "second": SENTENCE}])
    )
    assert choice is not None
    assert (choice.column.path, [one.path for one in choice.others], choice.is_ambiguous) == ("first", ["second"], True)


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_shows_its_first_rows(tmp_path, name):
    """Without reading all; what a footer tells is told."""
    WRITERS[name](tmp_path / name, ROWS, 4)
    seen = peek(
        local_file(tmp_path / name), {".parquet": "parquet", ".arrow": "arrow"}.get(Path(name).suffix, "jsonl"), 5
    )
    assert [row["text"] for row in seen.rows] == [f"row {n}" for n in range(5)]
    assert next(iter(seen.columns)) == "text"
    assert seen.num_rows == (30 if name == "a.parquet" else None)


@pytest.mark.parametrize(("suffix", "pack"), [("", bytes), (".gz", gzip.compress), (".zst", zstandard.compress)])
def test_tables_and_text_show_their_first_rows(tmp_path, suffix, pack):
    """Also compressed; an enormous first row is shown whole."""
    long = "word\n" * (1 << 20)
    for name, content, texts in [
        ("a.csv", 'id,text\n1,"one, two"\n2,"a ""b"""\n', ["one, two", 'a "b"']),
        ("b.csv", f'id,text\n1,"{long}"\n2,end\n', [long, "end"]),
        ("a.tsv", "text\tn\none\t1\n", ["one"]),
        ("a.txt", "one\r\ntwo\n", ["one\r\ntwo\n"]),
    ]:
        (tmp_path / f"{name}{suffix}").write_bytes(pack(content.encode()))
        format = {"txt": "text"}.get(name[2:], name[2:])
        assert [row["text"] for row in peek(local_file(tmp_path / f"{name}{suffix}"), format, 9).rows] == texts


def start(folder: Path, *data: str, recipe: str = "recipe.yaml"):
    cache = PinCache(folder / "cache")
    return begin(data, folder=folder, recipe=folder / recipe, cache=cache, made_from="mixer", on_pin=lambda *_: None)


def test_the_recipe_uses_every_row_once_by_paths_of_its_own_folder(tmp_path):
    """Weights are the rows, the target their sum; it is read as it was meant."""
    (tmp_path / "data/pages").mkdir(parents=True)
    for n in range(2):
        pq.write_table(
            pa.table({"content": [SENTENCE] * 3, "title": ["a b"] * 3}), tmp_path / f"data/pages/{n}.parquet"
        )
    (tmp_path / "data/a [1].csv").write_text(f"n,body\n1,{SENTENCE}\n2,{SENTENCE}\n")
    begun = start(tmp_path, "data", recipe="recipes/mine.yaml")
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/mine.yaml").write_text(begun.text)
    recipe = load_recipe(tmp_path / "recipes/mine.yaml")
    assert recipe.target is not None
    assert recipe.target.rows == 8
    assert {name: (one.weight, one.path, one.text.column) for name, one in recipe.sources.items()} == {
        "a-1": (2, ("../data/a [[]1].csv",), "body"),
        "pages": (6, ("../data/pages/*.parquet",), "content"),
    }
    assert "# text: title" in begun.text
    for name, source in recipe.sources.items():
        assert pin(name, source, tmp_path / "recipes").num_rows == source.weight


def test_files_with_other_columns_become_a_source_of_their_own(tmp_path):
    """A folder of mixed files does not fail at the first of them in a build."""
    (tmp_path / "mix").mkdir()
    for name, column in [("a", "content"), ("b", "body"), ("c", "content")]:
        pq.write_table(pa.table({column: [SENTENCE] * 3}), tmp_path / f"mix/{name}.parquet")
    begun = start(tmp_path, "mix/a.parquet", "mix/b.parquet", "mix/c.parquet")
    found = {one.name: (one.paths, one.seen.choice.column.path) for one in begun.sources if one.seen.choice}
    assert found["b"] == (("mix/b.parquet",), "body")
    grouped_found = start(tmp_path, "mix/*.parquet").sources
    assert {(one.paths, one.num_rows) for one in grouped_found} == {
        (("mix/a.parquet", "mix/c.parquet"), 6),
        (("mix/b.parquet",), 3),
    }


def test_rows_without_text_are_fetched_for(tmp_path):
    """Ids of Stack v2 are known by their columns."""
    item = pa.struct([("blob_id", pa.string()), ("path", pa.string()), ("src_encoding", pa.string())])
    files = pa.array([[{"blob_id": "0" * 40, "path": "a b.py", "src_encoding": "UTF-8"}]], pa.list_(item))
    pq.write_table(pa.table({"repo_name": ["a/b"], "files": files}), tmp_path / "ids.parquet")
    assert "contents: stack-v2" in start(tmp_path, "ids.parquet").text
    (head,), _ = heads_of_data("ids.parquet", None, folder=tmp_path, num_texts=3)
    assert head.note is not None


@pytest.mark.parametrize(
    ("data", "kind", "message"),
    [
        ("nothing", RecipeError, "matches no file"),
        ("no*thing", RecipeError, "matches no file"),
        ("odd", RecipeError, "1 file of .bin"),
        ("odd/a.bin", RecipeError, "neither its name nor its first bytes"),
        ("numbers.csv", DataError, "no column of text; columns are 'n'"),
        ("cut.parquet", DataError, "cannot be read"),
        ("array.json", DataError, "a JSON array"),
        ("utf16.csv", DataError, "UTF-16"),
        ("a.yaml", UsageError, "is a recipe"),
        ("pipe.jsonl", MixerError, "pipe.jsonl"),
    ],
)
def test_what_cannot_be_used_is_an_error_with_place_cause_and_remedy(tmp_path, data, kind, message):
    """A bad path, a folder of something else, a damaged file."""
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd/a.bin").write_bytes(bytes(100))
    (tmp_path / "numbers.csv").write_text("n\n1.5\n")
    (tmp_path / "cut.parquet").write_bytes(b"PAR1")
    (tmp_path / "array.json").write_text('[{"text": "a"}]')
    (tmp_path / "utf16.csv").write_bytes("text\na\n".encode("utf-16"))
    os.mkfifo(tmp_path / "pipe.jsonl")
    with pytest.raises(kind, match=message) as error:
        start(tmp_path, data)
    assert error.value.where
    assert error.value.hint


def test_a_damaged_file_among_others_is_left_out_and_named(tmp_path):
    """The recipe works without it."""
    pq.write_table(pa.table({"text": [SENTENCE]}), tmp_path / "good.parquet")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1")
    begun = start(tmp_path, ".")
    assert [one.name for one in begun.sources] == ["good"]
    assert [one.name for one in begun.left_out] == ["bad.parquet"]
    assert "#   bad.parquet: cannot be read" in begun.text


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "buckets/data"
    (folder / "pages").mkdir(parents=True)
    for n in range(3):
        pq.write_table(
            pa.table({"body": [SENTENCE] * 40, "n": range(40)}), folder / f"pages/{n}.parquet", row_group_size=9
        )
    (folder / "posts.csv").write_text("id,content\n" + f"1,{SENTENCE}\n" * 30)
    (folder / "a.txt.gz").write_bytes(gzip.compress(SENTENCE.encode()))
    return folder


def check_remote(tmp_path: Path, *data: str) -> None:
    """The recipe is read, its sources are pinned as it says, and their heads are read as a build reads them."""
    begun = start(tmp_path, *data)
    (tmp_path / "recipe.yaml").write_text(begun.text)
    recipe, cache = load_recipe(tmp_path / "recipe.yaml"), PinCache(tmp_path / "cache")
    rows = {name: pin(name, source, tmp_path, cache).num_rows for name, source in recipe.sources.items()}
    assert sorted(rows.values()) == [1, 30, 120]
    for name, source in recipe.sources.items():
        assert abs(float(source.weight) - rows[name]) <= 0.1 * rows[name]
    heads, _ = heads_of_recipe(recipe, None, root=tmp_path, cache=cache, num_texts=2)
    assert {head.texts[0] for head in heads} == {SENTENCE}
    assert {head.num_files for head in heads} == {1, 3}


def test_a_bucket_is_looked_into_by_ranges(tmp_path, tree):
    """Listing, footers and beginnings; the sources work in a plan."""
    with serve_bucket(tmp_path / "buckets") as server, environment(**aws_environment(server)):
        check_remote(tmp_path, "s3://data")
        with pytest.raises(RecipeError, match="matches no file"):
            start(tmp_path, "s3://data/nothing/*.csv")
        with open(tree / "long.jsonl", "w") as file:
            file.writelines(json.dumps({"text": SENTENCE * 40}) + "\n" for _ in range(20_000))
        named, _ = seen_sources(["s3://data/long.jsonl"], tmp_path)
        assert not named["long"].is_counted
        assert abs(named["long"].num_rows - 20_000) < 2_000
        assert sum(request.num_bytes for request in server.requests() if "long.jsonl" in request.target) < 6 << 20


def test_a_data_set_of_the_hub_is_named_as_one(tmp_path, tree):
    """By its card where that names its files; else by the folders in it, at its branch."""
    with serve_hub() as hub, environment(**hub.environment(tmp_path / "home")):
        hub.commit("lab/data", tree)
        check_remote(tmp_path, "hf://datasets/lab/data")
        (tree / "README.md").write_text("---\nconfigs:\n- config_name: all\n  data_files: pages/*.parquet\n---\n")
        hub.commit("lab/card", tree)
        begun = start(tmp_path, "hf://datasets/lab/card")
        assert "    hub: lab/card\n" in begun.text
        assert [one.num_rows for one in begun.sources] == [120]


def test_files_of_a_web_server_are_named_one_by_one(tmp_path, tree):
    """It cannot be listed."""
    with serve_files(tree) as server, environment():
        begun = start(tmp_path, f"{server.url}/posts.csv")
        assert [(one.name, one.paths) for one in begun.sources] == [("posts", (f"{server.url}/posts.csv",))]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"id;text\n1;hello world\n", "the fields look separated by ';'"),
        ("a.csv", b"id\ttext\n1\thello, world\n", "the fields look separated by"),
        ("a.csv", b"1,hello world text\n2,another text here\n", "its first row looks like data"),
        ("a.csv", "text\nhello\n".encode("utf-16"), "the file is UTF-16"),
        ("a.txt", "hello world\n".encode("utf-16"), "the file is UTF-16"),
    ],
)
def test_files_that_would_be_read_wrongly_are_left_out_and_named(tmp_path, name, content, message):
    """Others beside them are of use without them."""
    (tmp_path / "data/odd").mkdir(parents=True)
    (tmp_path / "data/odd" / name).write_bytes(content)
    (tmp_path / "data/good.jsonl").write_text(json.dumps({"text": SENTENCE}) + "\n")
    found = start(tmp_path, "data")
    assert [source.name for source in found.sources] == ["good"]
    assert [message in one.why for one in found.left_out] == [True]
    assert message in "".join(line for line in found.text.splitlines() if line.startswith("#"))


def test_a_source_that_a_plan_would_refuse_is_left_out(tmp_path):
    """Two columns of one name, which no reader can tell apart."""
    (tmp_path / "data/odd").mkdir(parents=True)
    (tmp_path / "data/odd/a.csv").write_text("text,text\none,two\n")
    (tmp_path / "data/good.jsonl").write_text(json.dumps({"text": SENTENCE}) + "\n")
    found = start(tmp_path, "data")
    assert [source.name for source in found.sources] == ["good"]
    assert len(found.left_out) == 1


def test_builds_and_names_that_are_not_utf_8_are_left_out(tmp_path):
    """And no glob of the recipe matches them."""
    (tmp_path / "data/out/shards").mkdir(parents=True)
    (tmp_path / "data/out/manifest.json").write_text("{}")
    (tmp_path / "data/out/shards/00000.arrow").touch()
    for name in (b"a.jsonl", b"b.jsonl", b"bad\xff.jsonl"):
        path = os.path.join(os.fsencode(tmp_path / "data"), name)
        with open(path, "w") as file:
            file.write(json.dumps({"text": SENTENCE}) + "\n")
    found = start(tmp_path, "data")
    assert sum(source.num_rows for source in found.sources) == 2
    assert {one.why for one in found.left_out} == {"a build of mixer", "its name is not UTF-8"}


def test_a_line_break_in_a_path_stays_in_its_comment(tmp_path):
    """The recipe is read back before it is written."""
    folder = tmp_path / "odd\nfolder"
    folder.mkdir()
    (folder / "a.jsonl").write_text(json.dumps({"text": SENTENCE}) + "\n")
    recipe = folder / "mine.yaml"
    made_from = f"mixer init '{folder}'"
    cache = PinCache(tmp_path / "cache")
    begun = begin(
        [str(folder)], folder=tmp_path, recipe=recipe, cache=cache, made_from=made_from, on_pin=lambda *_: None
    )
    recipe.write_text(begun.text)
    assert pin("a", next(iter(load_recipe(recipe).sources.values())), folder).num_rows == 1


def test_a_lone_part_has_the_name_of_its_folder():
    """`train-00000-of-00001` says nothing of what is in it."""
    for name in ("train-00000-of-00001.parquet", "part.0.parquet", "shard_0001.jsonl"):
        assert [group.name for group in grouped([name], "finemath")[0]] == ["finemath"]
