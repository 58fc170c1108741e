"""A reader in JavaScript, written from format.md alone, reads what mixer builds and finds what was changed in it."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import xxhash
from workshop import SOURCES, Workshop

import mixer
from mixer.feed.order import Order

READER = Path(__file__).parent / "javascript"
PAGE = Path(mixer.__file__).parent / "format.md"
# What npm says if it reaches no registry.
OFFLINE = re.compile(r"ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH|ENOTCACHED")
MIN_NODE_MAJOR = 20
LISTS = ("cu_seqlens", "segment_source", "segment_row", "segment_pass", "segment_start")


@dataclass(frozen=True)
class Reader:
    """The reader, with its packages."""

    folder: Path

    def __call__(self, *arguments: str | Path) -> dict[str, Any]:
        """The line that the reader prints; its exit code must say the same."""
        command = ["node", str(self.folder / "read_build.mjs"), *map(str, arguments)]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert ran.stderr == ""
        line: dict[str, Any] = json.loads(ran.stdout)
        assert ran.returncode == (0 if line["fine"] else 1)
        return line


@pytest.fixture(scope="session")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True, timeout=60).stdout
    if int(version.removeprefix("v").split(".")[0]) < MIN_NODE_MAJOR:
        pytest.skip(f"the reader needs Node {MIN_NODE_MAJOR} or newer, not {version.strip()}")
    folder = tmp_path_factory.mktemp("javascript") / "reader"
    shutil.copytree(READER, folder, ignore=shutil.ignore_patterns("node_modules"))
    install = ["npm", "ci", "--omit=dev", "--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=1"]
    ran = subprocess.run(install, cwd=folder, capture_output=True, text=True, timeout=300)
    if ran.returncode != 0 and OFFLINE.search(ran.stderr):
        pytest.skip(f"npm reaches no registry: {OFFLINE.findall(ran.stderr)[0]}")
    assert ran.returncode == 0, ran.stderr
    return Reader(folder)


def without_predicates() -> dict[str, Any]:
    """The six sources, of which every row is kept, so that the reader knows the row of each draw."""
    sources = copy.deepcopy(SOURCES)
    del sources["edu"]["where"]
    return sources


RECIPES: dict[str, dict[str, Any]] = {
    "concat": {},
    "best-fit": {"sequence": {"packing": "best-fit"}, "sources": without_predicates()},
    "a predicate and a target in sequences": {"sequence": {"packing": "best-fit"}, "target": {"sequences": 101}},
    "a seed of 63 bits": {"seed": 2**62, "target": {"tokens": 12_000}},
    "weights in tokens": {"weights": "tokens", "target": {"tokens": 12_000}},
    "a target in rows": {"target": {"rows": 201}, "sequence": {"bos": False}},
    "redrawn epochs": {"target": {"tokens": 4_000}, "epochs": {"count": 3, "mode": "redraw"}},
    "a source that ends it": {"when_exhausted": "stop"},
}


@pytest.mark.parametrize("changes", RECIPES.values(), ids=RECIPES.keys())
def test_a_build_is_as_the_page_says(
    changes: dict[str, Any], reader: Reader, workshop: Workshop, tmp_path: Path
) -> None:
    """Files, rules, rows and packing of every kind of build are those that the page describes."""
    built = workshop.build(tmp_path / "out", workshop.recipe(**changes))
    totals = {"sequences": built.totals.sequences, "tokens": built.totals.tokens}
    assert reader(tmp_path / "out") == {"fine": True, "id": built.id, **totals}


def test_the_vectors_of_the_page_are_right(reader: Reader) -> None:
    """Every vector that the page prints comes out of another implementation of the page."""
    assert reader("--vectors", PAGE) == {"fine": True}


def test_a_wrong_vector_is_found(reader: Reader, tmp_path: Path) -> None:
    """The reader does recompute the vectors: a changed one, one without a rule, and a page without any are refused."""
    page = PAGE.read_text()
    changed = page.replace("its permutation of 8               1 2", "its permutation of 8               2 1")
    changed = changed.replace("## 8.", "    a vector of another kind   1 2 3\n\n## 8.", 1)
    (tmp_path / "changed.md").write_text(changed)
    problems = reader("--vectors", tmp_path / "changed.md")["problems"]
    assert len(problems) == 2
    assert "its permutation of 8" in problems[0]
    assert "a vector of another kind" in problems[1]
    (tmp_path / "empty.md").write_text("# Nothing\n")
    assert len(reader("--vectors", tmp_path / "empty.md")["problems"]) == 14


def test_the_order_of_training_is_mixers(reader: Reader, workshop: Workshop, tmp_path: Path) -> None:
    """Every epoch begins with the sequences with which mixer's own begins, reshuffled and redrawn."""
    for mode, num_parts in (("reshuffle", 1), ("redraw", 3)):
        recipe = workshop.recipe(target={"tokens": 4_000}, epochs={"count": 3, "mode": mode}, seed=2**62)
        built = workshop.build(tmp_path / mode, recipe)
        order = Order(np.array([shard.sequences for shard in built.shards]), recipe.seed, num_parts=num_parts)
        for epoch in (0, 1, 5):
            expected = order.sequences(epoch, np.arange(16)).tolist()
            assert reader(tmp_path / mode, "--order", str(epoch)) == {"fine": True, "sequences": expected}


def identity(value: Any) -> str:
    """The sha256 of a value's canonical JSON."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def without(value: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: item for key, item in value.items() if key not in keys}


class Forger:
    """Changes a build, and recomputes every id and digest, so that only the meaning is wrong."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.manifest = json.loads((out / "manifest.json").read_text())
        self.plan = json.loads((out / "plan.json").read_text())
        self.records = [json.loads(path.read_text()) for path in sorted((out / "tasks").iterdir())]

    def change_both(self, change: Callable[[dict[str, Any]], object]) -> None:
        """Makes a change in the plan and in what the manifest repeats of it."""
        change(self.plan)
        change(self.manifest)

    def change_shard(self, task: int, change: Callable[[dict[str, list[Any]]], object], **options: Any) -> None:
        """Changes the columns of a shard, as lists, and says the digests of the result."""
        path = self.out / f"shards/{task:05d}.arrow"
        with pa.ipc.open_file(path.read_bytes()) as shard:
            schema, batches = shard.schema, [shard.get_batch(number) for number in range(shard.num_record_batches)]
        columns = pa.Table.from_batches(batches, schema).to_pydict()
        change(columns)
        table = pa.Table.from_pydict(columns, schema)
        write_shard(path, table, options.pop("schema", schema), batches[0].num_rows, **options)
        self.say(task, digests_of(table) | {"file": file_of(path)})

    def say(self, task: int, values: dict[str, Any]) -> None:
        """Says something in the record of a task and in the manifest."""
        self.records[task].update(values)
        self.manifest["shards"][task].update(values)

    def sign(self) -> None:
        """Writes the files with the ids and digests that belong to them."""
        plan, manifest = self.plan, self.manifest
        plan["id"] = manifest["plan"] = identity(without(plan, "id", "hints"))
        for record in self.records:
            record["plan"] = plan["id"]
            record["digest"] = identity(without(record, "digest"))
            self._write(f"tasks/{record['task']:05d}.json", record)
        self._write("plan.json", plan)
        kept = {key: plan[key] for key in ("format_version", "features", "seed", "split", "sources", "stages")}
        tokenizer = without(plan["tokenizer"], "name")
        manifest["prefix_id"] = identity(kept | {"tokenizer": tokenizer, "cuts": manifest["cuts"]})
        shards = [without(shard, "file") for shard in manifest["shards"]]
        manifest["id"] = identity(without(manifest, "id", "hints", "reference_check") | {"shards": shards})
        self._write("manifest.json", manifest)

    def _write(self, name: str, value: Any) -> None:
        (self.out / name).write_text(json.dumps(value))


def write_shard(path: Path, table: pa.Table, schema: pa.Schema, batch_rows: int, **options: Any) -> None:
    batches = table.to_batches(max_chunksize=batch_rows)
    with pa.ipc.new_file(path, schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        for batch in batches:
            writer.write_batch(pa.RecordBatch.from_arrays(batch.columns, schema=schema))


def digests_of(table: pa.Table) -> dict[str, str]:
    """The digests of a shard's content, by the words of the page."""
    combined = table.combine_chunks()

    def column(name: str) -> Any:
        return combined.column(name).chunk(0)

    parts = [column("input_ids").flatten(), column("next_id"), column("num_pad")]
    for name in LISTS:
        parts += [column(name).value_lengths(), column(name).flatten()]
    content = b"".join(part.to_numpy().tobytes() for part in parts)
    return {
        "content_xxh3": xxhash.xxh3_128_hexdigest(content),
        "content_sha256": hashlib.sha256(content).hexdigest(),
    }


def file_of(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    return {"bytes": len(content), "xxh3": xxhash.xxh3_128_hexdigest(content), "state": "present"}


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(bytes(content))


def flip_a_bit(out: Path) -> None:
    flip(out / "shards/00002.arrow", 4_000)


def swap_shards(out: Path) -> None:
    os.rename(out / "shards/00000.arrow", out / "shards/spare")
    os.rename(out / "shards/00001.arrow", out / "shards/00000.arrow")
    os.rename(out / "shards/spare", out / "shards/00001.arrow")


def make_a_link(out: Path) -> None:
    os.rename(out / "shards/00001.arrow", out.parent / "elsewhere.arrow")
    (out / "shards/00001.arrow").symlink_to(out.parent / "elsewhere.arrow")


def edit_a_count(out: Path) -> None:
    record = json.loads((out / "tasks/00003.json").read_text())
    record["counts"][0]["text_bytes"] += 1
    (out / "tasks/00003.json").write_text(json.dumps(record))


def edit_the_only(folder: str, old: str, new: str) -> Callable[[Path], None]:
    def damage(out: Path) -> None:
        edit(next(path for path in sorted((out / folder).iterdir()) if old in path.read_text()), old, new)

    return damage


def put_another_plan(out: Path) -> None:
    forger = Forger(out)
    forger.plan["recipe"]["when_exhausted"] = "stop"
    forger.plan["id"] = identity(without(forger.plan, "id", "hints"))
    (out / "plan.json").write_text(json.dumps(forger.plan))


def repeat_a_key(out: Path) -> None:
    edit(out / "manifest.json", "{", '{"seed": 1, ')


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a flipped bit of a shard": (flip_a_bit, "shards/00002.arrow: file.xxh3"),
    "a shard cut short": (lambda out: os.truncate(out / "shards/00002.arrow", 9_000), "shards/00002.arrow: file.bytes"),
    "swapped shards": (swap_shards, "shards/00000.arrow: file."),
    "a shard that is missing": (lambda out: (out / "shards/00004.arrow").unlink(), "shards/00004.arrow: is missing"),
    "a link in place of a shard": (make_a_link, "shards/00001.arrow: is not a regular file"),
    "a file among the shards": (lambda out: (out / "shards/notes").touch(), "shards/notes: is not the shard of a task"),
    "an edited manifest": (
        lambda out: edit(out / "manifest.json", '"mode": "reshuffle"', '"mode": "redraw"'),
        "manifest.json: id is",
    ),
    "a key that comes twice": (repeat_a_key, 'manifest.json: has the key "seed" twice'),
    "another format version": (
        lambda out: edit(out / "manifest.json", '"format_version": 2', '"format_version": 3'),
        "manifest.json: has the format version 3",
    ),
    "a feature that is not known": (
        lambda out: edit(out / "manifest.json", '"features": []', '"features": ["columns"]'),
        "manifest.json: uses features that this reader does not know: columns",
    ),
    "an edited record": (edit_a_count, "tasks/00003.json: digest is"),
    "a record that is missing": (lambda out: (out / "tasks/00003.json").unlink(), "tasks/00003.json: is missing"),
    "the plan of another build": (put_another_plan, "manifest.json: plan is not the id of plan.json"),
    "an edited snapshot": (edit_the_only("snapshots", "part.2.", "part.3."), ".json: has the sha256"),
    "an edited selection": (edit_the_only("selections", "score", "Score"), ".json: has the sha256"),
}


@pytest.mark.parametrize(("damage", "problem"), DAMAGES.values(), ids=DAMAGES.keys())
def test_damage_is_found(
    damage: Callable[[Path], object], problem: str, reader: Reader, copy_of_finished: Path
) -> None:
    """What happens to files by accident, or by an editor, is found and named."""
    damage(copy_of_finished)
    found = reader(copy_of_finished)
    assert not found["fine"]
    assert any(problem in text for text in found["problems"]), found


def other_weights(forger: Forger) -> None:
    """Books and maths change places: sums and periods stay."""

    def change(plan: dict[str, Any]) -> None:
        sources = plan["stages"][0]["sources"]
        sources[0]["weight"], sources[5]["weight"] = sources[5]["weight"], sources[0]["weight"]

    forger.change_both(change)


def other_weights_and_recipe(forger: Forger) -> None:
    """The weights of the recipe change as well, so that only the rows can tell."""
    other_weights(forger)

    def change(plan: dict[str, Any]) -> None:
        for recipe in (plan["recipe"], plan["stages"][0]["recipe"]):
            books, maths = recipe["sources"]["books"], recipe["sources"]["maths"]
            books["weight"], maths["weight"] = maths["weight"], books["weight"]

    forger.change_both(change)


def other_seed(forger: Forger) -> None:
    def change(plan: dict[str, Any]) -> None:
        plan["seed"] = plan["recipe"]["seed"] = 2

    forger.change_both(change)


def other_name(forger: Forger) -> None:
    forger.manifest["name"] = forger.manifest["recipe"]["name"] = "other"


def more_tokens(forger: Forger) -> None:
    record = forger.records[1]
    record["tokens"] += 1
    record["padding"] -= 1


def moved_padding(forger: Forger) -> None:
    """All sums hold, but the shard has another number of padding ids."""
    forger.records[-1]["limit"]["amount"] -= 1
    forger.records[0]["counts"][2]["tokens"] += 1
    forger.manifest["counts"][0]["sources"][2]["tokens"] += 1
    for counts in (forger.records[0], forger.manifest["shards"][0], forger.manifest["totals"]):
        counts["tokens"] += 1
        counts["padding"] -= 1


def flipped_id(forger: Forger) -> None:
    """One id of a shard changes, with the digest of its file: its content differs from the digest that binds."""
    kept = {key: forger.records[0][key] for key in ("content_xxh3", "content_sha256")}
    forger.change_shard(0, lambda columns: columns["input_ids"][0].__setitem__(5, 42))
    forger.say(0, kept)


def id_beyond_the_vocabulary(forger: Forger) -> None:
    size = forger.plan["tokenizer"]["vocab_size"]
    forger.change_shard(0, lambda columns: columns["input_ids"][0].__setitem__(5, size))


def other_next_id(forger: Forger) -> None:
    forger.change_shard(1, lambda columns: columns["next_id"].__setitem__(3, 42))


def other_row(forger: Forger) -> None:
    """A document of one segment claims to be of a row that the source does not have."""

    def change(columns: dict[str, list[Any]]) -> None:
        rows, place = next((rows, rows.index(row)) for rows in columns["segment_row"] for row in rows[1:-1])
        rows[place] += 10_000

    forger.change_shard(1, change)


def nullable_field(forger: Forger) -> None:
    path = forger.out / "shards/00000.arrow"
    schema = pa.ipc.open_file(path.read_bytes()).schema
    forger.change_shard(0, lambda columns: None, schema=schema.set(1, schema.field(1).with_nullable(True)))


def compressed(forger: Forger) -> None:
    forger.change_shard(0, lambda columns: None, compression="zstd")


FORGERIES: dict[str, tuple[Callable[[Forger], object], str]] = {
    "other weights than the recipe's": (other_weights, "plan.json: stages[0].sources have other weights"),
    "other weights in the recipe too": (other_weights_and_recipe, "but the weights draw"),
    "another seed": (other_seed, "is not among the task's draws"),
    "another name in the manifest": (other_name, "manifest.json: name is not that of plan.json"),
    "more tokens in a record": (more_tokens, "tasks/00001.json: tokens are not the sum"),
    "other padding": (moved_padding, "shards/00000.arrow: padding is"),
    "another id in a shard": (flipped_id, "shards/00000.arrow: content_xxh3"),
    "an id beyond the vocabulary": (id_beyond_the_vocabulary, "sequence 0: input_ids are not all in the vocabulary"),
    "another next_id": (other_next_id, "sequence 3: next_id is not the first id of the next sequence"),
    "another row": (other_row, "shards/00001.arrow: "),
    "a nullable field": (nullable_field, "shards/00000.arrow: next_id is nullable"),
    "a compressed shard": (compressed, "shards/00000.arrow: cannot be read as Arrow"),
}


@pytest.mark.parametrize(("forge", "problem"), FORGERIES.values(), ids=FORGERIES.keys())
def test_a_forgery_is_found(
    forge: Callable[[Forger], object], problem: str, reader: Reader, copy_of_finished: Path
) -> None:
    """With all ids recomputed, what the files say is still held against the rows, the rules and the recipe."""
    forger = Forger(copy_of_finished)
    forge(forger)
    forger.sign()
    found = reader(copy_of_finished)
    assert not found["fine"]
    assert any(problem in text for text in found["problems"]), found


def test_a_signed_build_that_nobody_changed_is_fine(reader: Reader, copy_of_finished: Path) -> None:
    """The forger's ids are the page's, so that forgeries fail for what they change."""
    forger = Forger(copy_of_finished)
    forger.change_shard(0, lambda columns: None)
    forger.sign()
    assert reader(copy_of_finished)["fine"]


def test_a_deleted_shard_is_no_damage(reader: Reader, copy_of_finished: Path) -> None:
    """A shard may be deleted on purpose: the manifest says so under the same id, and the record stays."""
    (copy_of_finished / "shards/00001.arrow").unlink()
    manifest = json.loads((copy_of_finished / "manifest.json").read_text())
    manifest["shards"][1]["file"]["state"] = "deleted"
    (copy_of_finished / "manifest.json").write_text(json.dumps(manifest))
    assert reader(copy_of_finished) == {
        "fine": True,
        "id": manifest["id"],
        "sequences": manifest["totals"]["sequences"],
        "tokens": manifest["totals"]["tokens"],
    }
