"""Exports, read back by the trainers' own readers, against a plain reading of the shards."""

from __future__ import annotations

import csv
import gzip
import json
import os
import re
import subprocess
import sys
import tempfile
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datatrove.utils.dataset import DatatroveFolderDataset
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from workshop import Workshop

from mixer.export.export import export
from mixer.export.shards import token_dtype
from mixer.shards.manifest import load_manifest

Key = tuple[int, int, int]


def small_tokenizer(path: Path) -> str:
    """A tokenizer.json of 300 ids, so that each takes two bytes."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    specials = ["<s>", "</s>", "<pad>"]
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=specials, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(["the of and the of and 1234 don't"], trainer)
    tokenizer.save(str(path))
    return str(path)


@pytest.fixture(scope="session", params=["concat", "best-fit", "small vocabulary"])
def build(request: pytest.FixtureRequest, workshop: Workshop, finished: Path, tmp_path_factory: Any) -> Path:
    """A build of each packing and of each width of ids; all of several shards, and all end inside a document."""
    if request.param == "concat":
        return finished
    folder = tmp_path_factory.mktemp("build")
    changes: dict[str, Any] = {"sequence": {"packing": "best-fit"}}
    if request.param == "small vocabulary":
        changes["tokenizer"] = small_tokenizer(folder / "tokenizer.json")
    workshop.build(folder / "out", workshop.recipe(**changes))
    return folder / "out"


SMALL_FILE_BYTES = 25 * 64 * 4
"""About 25 sequences a file of samples, so that every shard becomes several."""


def sequences(build: Path) -> list[dict]:
    """The rows of all shards."""
    return [row for shard in Workshop.rows(build, load_manifest(build)) for row in shard]


def slow_documents(rows: list[dict]) -> list[tuple[Key, list[int]]]:
    """The documents of a shard's rows in order of appearance, one segment at a time.

    The end of a build may leave out a segment between two others: what comes after it is a document of its own.
    """
    pieces: dict[Key, list[tuple[int, int, list[int]]]] = {}
    for row in rows:
        borders = zip(row["cu_seqlens"], row["cu_seqlens"][1:])
        names = zip(row["segment_source"], row["segment_row"], row["segment_pass"], row["segment_start"], strict=True)
        for (start, stop), (*key, place) in zip(borders, names, strict=True):
            if key[0] >= 0:
                found = pieces.setdefault((key[0], key[1], key[2]), [])
                found.append((place, sum(map(len, pieces.values())), row["input_ids"][start:stop]))
    whole: list[tuple[int, Key, list[int]]] = []
    for key, found in pieces.items():
        expected = None
        for place, appearance, ids in sorted(found):
            if place == expected:
                first, _, before = whole.pop()
                whole.append((min(first, appearance), key, before + ids))
            else:
                whole.append((appearance, key, ids))
            expected = place + len(ids)
    return [(key, ids) for _, key, ids in sorted(whole)]


def documents(build: Path) -> list[list[tuple[Key, list[int]]]]:
    """The documents of each shard."""
    return [slow_documents(rows) for rows in Workshop.rows(build, load_manifest(build))]


def read_back(reader: str, folder: Path, result: Path) -> dict[str, np.ndarray]:
    """What `peer_readers.py` finds in an export; its temporary files are kept away from those of others."""
    result.parent.mkdir()
    script = Path(__file__).with_name("peer_readers.py")
    # A short path: torch puts a socket into it, whose whole name may have 107 bytes, and waits for ever otherwise.
    with tempfile.TemporaryDirectory(prefix="m-") as temporary:
        environment = {**os.environ, "TMPDIR": temporary, "OMP_NUM_THREADS": "1"}
        subprocess.run([sys.executable, script, reader, folder, result], env=environment, check=True, timeout=300)
    with np.load(result) as found:
        return dict(found)


def lists(found: dict[str, np.ndarray], name: str) -> list[list[int]]:
    """Lists of different lengths, as `peer_readers.py` saved them."""
    return [one.tolist() for one in np.split(found[name], np.cumsum(found[f"{name}_lengths"])[:-1])]


def test_flat_ids_are_all_sequences_without_padding(build: Path, tmp_path: Path) -> None:
    """In the order of the manifest, as many as its tokens."""
    record = export(build, "bin", tmp_path)
    expected = [one for row in sequences(build) for one in row["input_ids"][: len(row["input_ids"]) - row["num_pad"]]]
    found = np.memmap(tmp_path / "train.bin", dtype=record["dtype"], mode="r")
    assert found.tolist() == expected
    assert len(expected) == record["tokens"] == load_manifest(build).totals.tokens
    assert json.loads((tmp_path / "export.json").read_bytes()) == record


def test_mosaicml_streaming_reads_each_sequence(build: Path, tmp_path: Path) -> None:
    """Alone, in batches and shuffled; the files are those that its own writer would have written."""

    def shared() -> set[str]:
        # What Streaming calls its shared memory: a number and what it is for.
        return {path.name for path in Path("/dev/shm").iterdir() if re.fullmatch(r"\d{6}_\w+", path.name)}

    before = shared()
    record = export(build, "mds", tmp_path / "mds", file_bytes=SMALL_FILE_BYTES)
    found = read_back("mds", tmp_path / "mds", tmp_path / "work/result.npz")
    rows = sequences(build)
    assert len(list((tmp_path / "mds").glob("*.mds"))) > len(load_manifest(build).shards)
    assert found["tokens"].dtype == record["dtype"]
    assert found["tokens"].tolist() == found["batched_tokens"].tolist() == [row["input_ids"] for row in rows]
    assert found["next_id"].tolist() == found["batched_next_id"].tolist() == [row["next_id"] for row in rows]
    assert found["num_pad"].tolist() == [row["num_pad"] for row in rows]
    borders = [row["cu_seqlens"] for row in rows]
    assert lists(found, "cu_seqlens") == lists(found, "batched_cu_seqlens") == borders
    assert sorted(found["shuffled"].tolist()) == sorted(found["tokens"].tolist())
    assert found["shuffled"].tolist() != found["tokens"].tolist()
    assert found["as_its_writer"].all()
    assert shared() <= before


def test_litdata_reads_each_sequence_and_the_id_after_it(build: Path, tmp_path: Path) -> None:
    """Alone, in batches and shuffled; the files are those that its own writer would have written."""
    record = export(build, "litdata", tmp_path / "litdata", file_bytes=SMALL_FILE_BYTES)
    found = read_back("litdata", tmp_path / "litdata", tmp_path / "work/result.npz")
    pad = record["tokenizer"]["pad_id"]
    expected = [[*row["input_ids"], pad if row["next_id"] == -100 else row["next_id"]] for row in sequences(build)]
    assert len(list((tmp_path / "litdata").glob("*.bin"))) > len(load_manifest(build).shards)
    assert found["blocks"].dtype == record["dtype"]
    assert found["blocks"].tolist() == found["iterated"].tolist() == expected
    # Two workers take turns in their batches.
    assert sorted(found["batched"].tolist()) == sorted(found["shuffled"].tolist()) == sorted(expected)
    assert found["shuffled"].tolist() != expected
    assert found["as_its_writer"].all()


def test_olmo_has_each_document_and_where_it_is_from(build: Path, tmp_path: Path) -> None:
    """Documents end to end in each file; a line of the metadata for each of them."""
    record = export(build, "olmo", tmp_path)
    names = load_manifest(build).source_names
    for number, expected in enumerate(documents(build)):
        ids = np.memmap(tmp_path / f"{number:05}.npy", dtype=record["dtype"], mode="r")
        with gzip.open(tmp_path / f"{number:05}.csv.gz", "rt", newline="") as file:
            lines = list(csv.reader(file))
        assert [ids[int(line[0]) : int(line[1])].tolist() for line in lines] == [one for _, one in expected]
        assert [line[2:] for line in lines] == [
            [f"{names[source]}/{row}/{turn}", names[source], str(row)] for (source, row, turn), _ in expected
        ]
        assert int(lines[-1][1]) == len(ids)


def test_olmo_core_reads_the_stream_and_each_document(build: Path, tmp_path: Path) -> None:
    """Windows of each file; and documents, or pieces of long ones, by the borders beside the ids."""
    export(build, "olmo", tmp_path / "olmo")
    found = read_back("olmo", tmp_path / "olmo", tmp_path / "work/result.npz")
    length = load_manifest(build).sequence.length
    windows, pieces = [], []
    for shard in documents(build):
        ids = [one for _, document in shard for one in document]
        windows += [ids[start : start + length] for start in range(0, len(ids) - length + 1, length)]
        for _, document in shard:
            pieces += [document[start : start + length] for start in range(0, len(document), length)]
    assert found["windows"].tolist() == windows
    assert sorted(lists(found, "pieces")) == sorted(pieces)


def test_datatrove_reads_ids_and_positions(build: Path, tmp_path: Path) -> None:
    """Its own reader gives our ids in windows, and positions that begin anew with each document."""
    record = export(build, "nanotron", tmp_path)
    size = np.dtype(record["dtype"]).itemsize
    data = DatatroveFolderDataset(str(tmp_path), seq_len=15, token_size=size, return_positions=True)
    windows = iter(data)
    for number, shard in enumerate(documents(build)):
        ids = [one for _, document in shard for one in document]
        places = [place for _, document in shard for place in range(len(document))]
        for start in range(0, len(ids) - 15, 16):
            window = next(windows)
            assert window["input_ids"].tolist() == ids[start : start + 16]
            positions, expected = window["positions"].tolist(), places[start : start + 16]
            # The reader counts from the window's start where a document began before it.
            assert positions == [min(place, at) for at, place in enumerate(expected)]
        ends = np.fromfile(tmp_path / f"{number:05}.ds.index", dtype=np.uint64).tolist()
        assert ends == list(accumulate(len(document) for _, document in shard))
        name, count, _ = (tmp_path / f"{number:05}.ds.metadata").read_text().split("\n")
        assert (name, count) == (f"{record['tokenizer']['name']}|{size}", str(len(ids)))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_megatron_reads_each_document(build: Path, tmp_path: Path) -> None:
    """`IndexedDataset` of megatron-core, over the whole build."""
    from megatron.core.datasets.indexed_dataset import IndexedDataset

    record = export(build, "megatron", tmp_path)
    data = IndexedDataset(str(tmp_path / "train"))
    expected = [document for shard in documents(build) for _, document in shard]
    assert data[0].dtype == record["dtype"]
    assert [data[number].tolist() for number in range(len(data))] == expected
    assert data.document_indices.tolist() == list(range(len(expected) + 1))


@pytest.mark.parametrize(("vocab_size", "expected"), [(50_257, "uint16"), (65_536, "uint16"), (65_537, "uint32")])
def test_ids_take_two_bytes_where_all_fit(vocab_size: int, expected: str) -> None:
    """The border is the vocabulary's size, not its largest id."""
    assert token_dtype(vocab_size).name == expected
