"""Shards, their digests and their manifest; and a verifier that believes neither."""

from __future__ import annotations

import copy
import hashlib
import json
import re
import shutil
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st
from workshop import Workshop, contents

from mixer.digest import xxh3_file
from mixer.errors import FormatError, IntegrityError
from mixer.shards.decode import decode
from mixer.shards.files import check_files
from mixer.shards.ids import manifest_id
from mixer.shards.manifest import load_manifest, load_named, prefix_of
from mixer.shards.records import Manifest
from mixer.shards.shard import shard_schema
from mixer.verify.shards import find_damage

pytestmark = pytest.mark.quick

LISTS = {
    "cu_seqlens": "i",
    "segment_source": "h",
    "segment_row": "q",
    "segment_pass": "i",
    "segment_start": "i",
}


def content_digests(rows: list[dict]) -> dict[str, str]:
    """The digests of a shard's content as the format defines them, value by value."""
    state, sha256 = xxhash.xxh3_128(), hashlib.sha256()

    def add(code: str, values: list[int]) -> None:
        for digest in (state, sha256):
            digest.update(struct.pack(f"<{len(values)}{code}", *values))

    add("i", [token for row in rows for token in row["input_ids"]])
    add("i", [row["next_id"] for row in rows])
    add("i", [row["num_pad"] for row in rows])
    for name, code in LISTS.items():
        add("i", [len(row[name]) for row in rows])
        add(code, [value for row in rows for value in row[name]])
    return {"content_xxh3": state.hexdigest(), "content_sha256": sha256.hexdigest()}


def damages(out: Path) -> list[str]:
    return [str(error) for error in find_damage(out, load_manifest(out))]


def rewrite(out: Path, number: int, rows: list[dict], *, batch: int, schema: pa.Schema | None = None) -> None:
    """Put other rows into a shard, with digests and a manifest that agree with them."""
    manifest = json.loads((out / "manifest.json").read_bytes())
    path = out / load_manifest(out).shards[number].path
    schema = schema or shard_schema(load_manifest(out).sequence.length)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        for start in range(0, len(rows), batch):
            writer.write_batch(pa.RecordBatch.from_pylist(rows[start : start + batch], schema=schema))
    file = {"bytes": path.stat().st_size, "xxh3": xxh3_file(path), "state": "present"}
    manifest["shards"][number] |= {"file": file, **content_digests(rows)}
    publish(out, manifest)


def publish(out: Path, manifest: dict[str, Any]) -> None:
    """Write a manifest with the id that its content has."""
    manifest["id"] = manifest_id(manifest)
    (out / "manifest.json").write_text(json.dumps(manifest))


def rows_of(out: Path, number: int) -> list[dict]:
    return Workshop.rows(out, load_manifest(out))[number]


def test_a_finished_build_has_no_damage(finished: Path) -> None:
    """Every digest and every invariant holds, also the quick check's."""
    assert damages(finished) == []
    check_files(finished, load_manifest(finished))


def test_the_content_digests_are_those_of_the_values(finished: Path) -> None:
    """Computed value by value, little-endian, in the order of the format."""
    manifest = load_manifest(finished)
    for shard, rows in zip(manifest.shards, Workshop.rows(finished, manifest), strict=True):
        assert content_digests(rows) == {
            "content_xxh3": shard.content_xxh3,
            "content_sha256": shard.content_sha256,
        }


def test_a_rewrite_of_the_same_rows_is_no_damage(copy_of_finished: Path) -> None:
    """The tests below damage a value, not the way it is written."""
    before = load_manifest(copy_of_finished)
    rewrite(copy_of_finished, 1, rows_of(copy_of_finished, 1), batch=before.sequence.batch_sequences)
    assert damages(copy_of_finished) == []
    assert load_manifest(copy_of_finished).id == before.id


def first_padded(rows: list[dict]) -> dict:
    return next(row for row in rows if row["num_pad"])


def set_in(row: dict, name: str, place: int, value: int) -> None:
    row[name][place] = value


def drop_last_run(row: dict, names: tuple[str, ...]) -> None:
    for name in names:
        del row[name][-1]


RUNS = ("segment_source", "segment_row", "segment_pass", "segment_start")
DAMAGES: dict[str, tuple[Callable[[dict], Any], str]] = {
    "id too large": (lambda row: set_in(row, "input_ids", 3, 128256), "an id is outside 0..128255"),
    "id negative": (lambda row: set_in(row, "input_ids", 0, -1), "an id is outside 0..128255"),
    "next_id too large": (lambda row: row.update(next_id=128256), "a next_id is neither an id nor -100"),
    "next_id negative": (lambda row: row.update(next_id=-1), "a next_id is neither an id nor -100"),
    "no segment": (lambda row: row.update(cu_seqlens=[0], **{name: [] for name in RUNS}), "a sequence has no segment"),
    "no border": (lambda row: row.update(cu_seqlens=[], **{name: [] for name in RUNS}), "a sequence has no segment"),
    "start not 0": (lambda row: set_in(row, "cu_seqlens", 0, 1), "cu_seqlens do not run from 0 to 64"),
    "end not 64": (lambda row: set_in(row, "cu_seqlens", -1, 63), "cu_seqlens do not run from 0 to 64"),
    "empty run": (
        lambda row: row.update(cu_seqlens=[0, 0, *row["cu_seqlens"][1:]], **{name: [0, *row[name]] for name in RUNS}),
        "cu_seqlens do not rise",
    ),
    "source unknown": (lambda row: set_in(row, "segment_source", 0, 6), "a segment_source is not a source"),
    "source below -1": (lambda row: set_in(row, "segment_source", 0, -2), "a segment_source is not a source"),
    "row too large": (lambda row: set_in(row, "segment_row", 0, 10**6), "a segment_row is beyond its source's rows"),
    "row negative": (lambda row: set_in(row, "segment_row", 0, -1), "segment_row is wrong for a run"),
    "pass negative": (lambda row: set_in(row, "segment_pass", 0, -1), "segment_pass is wrong for a run"),
    "start negative": (lambda row: set_in(row, "segment_start", 0, -5), "segment_start is wrong for a run"),
    "one run missing": (lambda row: drop_last_run(row, RUNS[1:2]), "segment_row has not one entry a run"),
    "padding not told": (lambda row: row.update(num_pad=5), "num_pad is not the length of the padding run"),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_a_broken_rule_is_reported_with_its_record_batch(copy_of_finished: Path, what: str) -> None:
    """Though all digests and the manifest's id agree with the damaged rows."""
    damage, expected = DAMAGES[what]
    batch = load_manifest(copy_of_finished).sequence.batch_sequences
    rows = rows_of(copy_of_finished, 1)
    damage(rows[batch + 2])
    rewrite(copy_of_finished, 1, rows, batch=batch)
    found = damages(copy_of_finished)
    assert f"{copy_of_finished}/shards/00001.arrow: record batch 1: {expected}" in found[0]


def continued(rows: list[dict], inside_batch: bool, batch: int) -> int:
    """A sequence that goes on with a document, within a record batch or at its beginning."""
    found = (n for n, row in enumerate(rows) if row["segment_start"][0] > 0 and bool(n % batch) is inside_batch)
    return next(found)


@pytest.mark.parametrize("inside_batch", [True, False])
def test_a_broken_joint_is_reported(copy_of_finished: Path, inside_batch: bool) -> None:
    """Neighbouring sequences are one stream, within a record batch and across its border."""
    batch = load_manifest(copy_of_finished).sequence.batch_sequences
    whole = rows_of(copy_of_finished, 1)
    place = continued(whole, inside_batch, batch)
    for change, expected in (
        (
            lambda rows: set_in(rows[place], "segment_start", 0, 7777),
            "does not continue where the one before it",
        ),
        (lambda rows: rows[place - 1].update(next_id=5), "next_id is not the first id of the next sequence"),
        (lambda rows: set_in(rows[place], "input_ids", 0, 5), "next_id is not the first id of the next sequence"),
    ):
        rows = copy.deepcopy(whole)
        change(rows)
        rewrite(copy_of_finished, 1, rows, batch=batch)
        assert f"record batch {place // batch}: a " in damages(copy_of_finished)[0]
        assert expected in damages(copy_of_finished)[0]


def test_a_document_that_begins_in_its_middle_is_reported(copy_of_finished: Path) -> None:
    """Only the first segment of a sequence may go on with a document, and no shard's first sequence does."""
    batch = load_manifest(copy_of_finished).sequence.batch_sequences
    for place, run, expected in (
        (
            next(n for n, row in enumerate(rows_of(copy_of_finished, 1)) if row["segment_source"][1:2] > [-1]),
            1,
            "inside",
        ),
        (0, 0, "the first sequence does not begin a document"),
    ):
        rows = rows_of(copy_of_finished, 1)
        set_in(rows[place], "segment_start", run, 3)
        rewrite(copy_of_finished, 1, rows, batch=batch)
        assert expected in damages(copy_of_finished)[0]
        rows = rows_of(copy_of_finished, 1)
        set_in(rows[place], "segment_start", run, 0)
        rewrite(copy_of_finished, 1, rows, batch=batch)


PADDED: dict[str, tuple[Callable[[dict], Any], str]] = {
    "other ids": (lambda row: set_in(row, "input_ids", -1, 5), "padding holds other ids than the padding id"),
    "next_id": (lambda row: row.update(next_id=5), "a padded sequence has a next_id"),
    "too short": (lambda row: row.update(num_pad=row["num_pad"] - 1), "num_pad is not the length"),
    "row": (lambda row: set_in(row, "segment_row", -1, 0), "segment_row is wrong for a run"),
    "pass": (lambda row: set_in(row, "segment_pass", -1, 0), "segment_pass is wrong for a run"),
    "start": (lambda row: set_in(row, "segment_start", -1, 1), "segment_start is wrong for a run"),
    "in front": (
        lambda row: row.update({name: row[name][::-1] for name in RUNS}),
        "padding stands before the end of a sequence",
    ),
}


@pytest.mark.parametrize("what", PADDED)
def test_broken_padding_is_reported(copy_of_finished: Path, what: str) -> None:
    """Padding is the padding id, at the end, counted, without a source."""
    damage, expected = PADDED[what]
    rows = rows_of(copy_of_finished, 0)
    damage(first_padded(rows))
    rewrite(copy_of_finished, 0, rows, batch=load_manifest(copy_of_finished).sequence.batch_sequences)
    assert expected in damages(copy_of_finished)[0]


@pytest.mark.parametrize("name", ["next_id", "cu_seqlens", *RUNS])
@pytest.mark.parametrize("inside", [False, True])
def test_nulls_are_reported_and_do_not_crash_the_verifier(copy_of_finished: Path, name: str, inside: bool) -> None:
    """Neither a null value nor a null inside of a list passes; the schema says that there are none."""
    if inside and name == "next_id":
        inside = False
    manifest = load_manifest(copy_of_finished)
    rows = rows_of(copy_of_finished, 1)
    if inside:
        rows[3][name][0] = None
    else:
        rows[3][name] = None
    path = copy_of_finished / manifest.shards[1].path
    schema = shard_schema(64)
    loose = pa.schema([pa.field(field.name, _nullable(field.type)) for field in schema])
    step = manifest.sequence.batch_sequences
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        for start in range(0, len(rows), step):
            batch = pa.RecordBatch.from_pylist(rows[start : start + step], schema=loose)
            columns = [_as(column, field.type) for column, field in zip(batch.columns, schema)]
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
    value = json.loads((copy_of_finished / "manifest.json").read_bytes())
    value["shards"][1]["file"] |= {"xxh3": xxh3_file(path), "bytes": path.stat().st_size}
    publish(copy_of_finished, value)
    found = damages(copy_of_finished)
    assert any("00001.arrow: record batch 0: " in one for one in found), found


def _nullable(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(kind.value_type, kind.list_size)
    return pa.list_(kind.value_type) if pa.types.is_list(kind) else kind


def _as(column: pa.Array, kind: pa.DataType) -> pa.Array:
    """The same buffers under a type that promises no nulls."""
    if column.type == kind or not pa.types.is_nested(kind):
        return column
    children = [column.values if pa.types.is_list(kind) else column.flatten()]
    buffers = column.buffers()[: 2 if pa.types.is_list(kind) else 1]
    return pa.Array.from_buffers(kind, len(column), buffers, children=children)


def test_another_schema_is_reported(copy_of_finished: Path) -> None:
    """Types and metadata are part of the format."""
    schema = shard_schema(64).remove_metadata()
    rewrite(copy_of_finished, 0, rows_of(copy_of_finished, 0), batch=16, schema=schema)
    assert "00000.arrow: the schema is not that of format version 2" in damages(copy_of_finished)[0]


def test_record_batches_of_another_size_are_reported(copy_of_finished: Path) -> None:
    """Readers compute where a sequence is from the size of a record batch."""
    rewrite(copy_of_finished, 0, rows_of(copy_of_finished, 0), batch=5)
    assert damages(copy_of_finished)[0].startswith(
        f"{copy_of_finished}/shards/00000.arrow: record batch 0: 5 sequences"
    )


@pytest.mark.parametrize("change", ["missing", "extra"])
def test_missing_and_extra_sequences_are_reported(copy_of_finished: Path, change: str) -> None:
    """The number of sequences, their tokens, and the tokens per source are those of the manifest."""
    rows = rows_of(copy_of_finished, 1)
    count = len(rows)
    rows = rows[:-1] if change == "missing" else [*rows, rows[0]]
    rewrite(copy_of_finished, 1, rows, batch=16)
    told = f"00001.arrow: {len(rows)} sequences instead of {count}"
    assert any(told in damage for damage in damages(copy_of_finished))


def test_swapped_shards_are_reported(copy_of_finished: Path) -> None:
    """A shard under another's name is damage in both places."""
    shards = copy_of_finished / "shards"
    (shards / "00000.arrow").rename(shards / "x")
    (shards / "00001.arrow").rename(shards / "00000.arrow")
    (shards / "x").rename(shards / "00001.arrow")
    found = damages(copy_of_finished)
    assert any("00000.arrow: " in one for one in found)
    assert any("00001.arrow: " in one for one in found)


def test_a_missing_shard_is_reported_by_name(copy_of_finished: Path) -> None:
    """By the full check and by the quick one."""
    (copy_of_finished / "shards/00002.arrow").unlink()
    assert f"{copy_of_finished}/shards/00002.arrow: the shard is missing" in damages(copy_of_finished)[0]
    with pytest.raises(IntegrityError, match=r"00002\.arrow"):
        check_files(copy_of_finished, load_manifest(copy_of_finished))


def test_an_extra_shard_is_reported(copy_of_finished: Path) -> None:
    """`datasets.load_dataset` would read it as part of the build."""
    shutil.copy(copy_of_finished / "shards/00000.arrow", copy_of_finished / "shards/99999.arrow")
    assert any("99999.arrow" in one for one in damages(copy_of_finished))


@pytest.mark.parametrize("cut", [0, 1, 7, 100, -1])
def test_a_shard_cut_short_is_reported(copy_of_finished: Path, cut: int) -> None:
    """At any place, even with nothing left."""
    path = copy_of_finished / "shards/00001.arrow"
    data = path.read_bytes()
    path.write_bytes(data[:cut])
    assert any(str(path) in one for one in damages(copy_of_finished))


@pytest.fixture(scope="module")
def flippable(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes, Manifest]:
    """A build of one shard, small enough to try all of its regions."""
    out = tmp_path_factory.mktemp("flips") / "out"
    shutil.copytree(finished, out)
    manifest = load_manifest(out)
    manifest = replace(manifest, shards=manifest.shards[-1:])
    path = out / manifest.shards[0].path
    return path, path.read_bytes(), manifest


@settings(deadline=None, max_examples=60)
@given(data=st.data(), bit=st.integers(0, 7), region=st.sampled_from(["head", "data", "tail"]))
def test_any_flipped_bit_is_reported(
    flippable: tuple[Path, bytes, Manifest], data: st.DataObject, bit: int, region: str
) -> None:
    """Magic, schema, metadata, buffers, padding, footer: the damage is found, and the shard is named."""
    path, whole, manifest = flippable
    bounds = {"head": (0, 3000), "data": (0, len(whole) - 1), "tail": (len(whole) - 3000, len(whole) - 1)}[region]
    place = data.draw(st.integers(*bounds))
    damaged = bytearray(whole)
    damaged[place] ^= 1 << bit
    path.write_bytes(damaged)
    try:
        found = [str(error) for error in find_damage(path.parents[1], manifest) if str(path) in str(error)]
        assert found, place
    finally:
        path.write_bytes(whole)


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/passwd", "5" * 63, "G" * 64, "", 5])
def test_a_name_out_of_the_folder_is_refused(copy_of_finished: Path, name: Any) -> None:
    """Files beside the shards are named by their digests, and shards by their tasks: no other path can be said."""
    for change in ("snapshot", "selection"):
        manifest = json.loads((copy_of_finished / "manifest.json").read_bytes())
        (manifest["sources"] if change == "snapshot" else manifest["stages"][0]["sources"])[0][change] = name
        publish(copy_of_finished / "..", manifest)
        with pytest.raises(FormatError, match=rf"{change} is .*, not of the form"):
            load_manifest(copy_of_finished / "../manifest.json")


def test_an_edited_manifest_is_not_believed(copy_of_finished: Path) -> None:
    """Its id is that of its content."""
    manifest = json.loads((copy_of_finished / "manifest.json").read_bytes())
    manifest["totals"]["tokens"] += 1
    (copy_of_finished / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(IntegrityError, match="edited or damaged"):
        load_manifest(copy_of_finished)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", IntegrityError),
        ("{", IntegrityError),
        ("[]", FormatError),
        ("{}", FormatError),
        ('{"format": "mixer", "format_version": 3}', FormatError),
        ('{"format": "mixer", "format_version": 1}', FormatError),
        ('{"format": "mixer", "format_version": true}', FormatError),
        ('{"format": "mixer", "format_version": 2}', FormatError),
        ('{"format": "mixer", "format_version": 2, "shards": [1], "sources": []}', FormatError),
        ('{"format": "mixer", "format_version": 2, "shards": [], "sources": [], "x": NaN}', IntegrityError),
        ('{"format": "mixer", "format_version": 2, "shards": [], "sources": [], "x": "\\ud800"}', FormatError),
    ],
)
def test_what_is_no_manifest_is_refused(tmp_path: Path, text: str, error: type[Exception]) -> None:
    """With an error of mixer's, whatever is in the file."""
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(error):
        load_manifest(tmp_path)
    assert list(contents(tmp_path)) == ["manifest.json"]


def test_totals_that_do_not_add_up_are_a_wrong_format(copy_of_finished: Path) -> None:
    """Totals and tokens per source are held against the manifest's own shards, before any is read."""
    whole = json.loads((copy_of_finished / "manifest.json").read_bytes())
    for edit, words in (
        (lambda value: value["totals"].update(sequences=1), "totals.sequences is 1, the sum is"),
        (
            lambda value: value["counts"][0]["sources"][0].update(tokens=3),
            "the shards hold .* tokens, the sources gave",
        ),
    ):
        manifest = copy.deepcopy(whole)
        edit(manifest)
        publish(copy_of_finished, manifest)
        with pytest.raises(FormatError, match=f"the manifest contradicts itself: {words}"):
            load_manifest(copy_of_finished)


def test_tokens_of_sources_that_are_not_those_of_the_shards_are_reported(copy_of_finished: Path) -> None:
    """A manifest that agrees with itself is held against what the shards hold."""
    manifest = json.loads((copy_of_finished / "manifest.json").read_bytes())
    first, second = manifest["counts"][0]["sources"][:2]
    first["tokens"] -= 3
    second["tokens"] += 3
    publish(copy_of_finished, manifest)
    found = damages(copy_of_finished)
    assert any("books: the shards hold" in one for one in found)
    assert any("the task records of stage 0 have counts that differ" in one for one in found)


def test_datasets_reads_the_same_sequences(finished: Path, tmp_path: Path) -> None:
    """`datasets.load_dataset` of the folder: the same columns, types and rows, in order."""
    import datasets

    loaded = datasets.load_dataset(str(finished), split="train", cache_dir=str(tmp_path))
    manifest = load_manifest(finished)
    expected = [row for shard in Workshop.rows(finished, manifest) for row in shard]
    assert loaded.column_names == shard_schema(64).names
    assert loaded.features["input_ids"] == datasets.List(datasets.Value("int32"), length=64)
    assert loaded.features["segment_source"] == datasets.List(datasets.Value("int16"))
    assert loaded.features["segment_row"] == datasets.List(datasets.Value("int64"))
    assert loaded.to_list() == expected


@pytest.mark.parametrize("kind", ["snapshots", "selections"])
def test_a_damaged_snapshot_or_selection_is_reported(copy_of_finished: Path, kind: str) -> None:
    """Each is in a file of its own, whose name is the sha256 of its bytes."""
    manifest = load_manifest(copy_of_finished)
    number = manifest.source_names.index("crawl")
    chosen = manifest.stages[0].sources[number].selection
    name = manifest.sources[number].snapshot if kind == "snapshots" else chosen
    path = copy_of_finished / kind / f"{name}.json"
    value = load_named(copy_of_finished, kind, name)
    if kind == "snapshots":
        assert [file["rows"] for file in value["files"]] == [[18]] * 3
    path.write_bytes(path.read_bytes().replace(b'"rows":[18]', b'"rows":[19]', 1) + b" " * (kind == "selections"))
    with pytest.raises(IntegrityError, match="its sha256 differs from its name"):
        load_named(copy_of_finished, kind, name)
    assert any(str(path) in one for one in damages(copy_of_finished))
    path.unlink()
    assert any(str(path) in one for one in damages(copy_of_finished))


def _set_weight(value: dict[str, Any]) -> None:
    value["recipe"]["sources"]["maths"]["weight"] = "0.8"


RECIPE_EDITS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "weight": (_set_weight, "the weight of source"),
    "packing": (lambda value: value["recipe"]["sequence"].update(packing="best-fit"), r"recipe\.sequence\.packing"),
    "epochs": (lambda value: value["recipe"]["epochs"].update(count=9), r"recipe\.epochs"),
    "stage": (lambda value: value["stages"][0]["recipe"].update(on_bad_row="skip"), "recipe of the stage"),
    "none": (lambda value: value.update(recipe={}), "not a recipe"),
}


@pytest.mark.parametrize("name", RECIPE_EDITS)
def test_a_manifest_that_says_otherwise_than_its_recipe_is_found(copy_of_finished: Path, name: str) -> None:
    """With ids that fit again: what can be said twice has to agree."""
    edit, expected = RECIPE_EDITS[name]
    value = json.loads((copy_of_finished / "manifest.json").read_bytes())
    edit(value)
    value["prefix_id"] = prefix_of(decode(Manifest, value))
    value["id"] = manifest_id(value)
    (copy_of_finished / "manifest.json").write_text(json.dumps(value))
    found = [str(error) for error in find_damage(copy_of_finished, load_manifest(copy_of_finished))]
    assert any(re.search(expected, words) for words in found)
