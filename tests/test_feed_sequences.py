"""Random access to a build, labels and borders, against a plain reading of the shards by pyarrow."""

from __future__ import annotations

import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from workshop import Workshop

import mixer.feed
from mixer.errors import FormatError, IntegrityError, UsageError
from mixer.feed.sequences import IGNORED
from mixer.shards.manifest import load_manifest

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def rows(finished: Path) -> list[dict]:
    """All sequences of the finished build, as Python values."""
    shards = load_manifest(finished).shards
    return [row for shard in shards for row in pa.ipc.open_file(finished / shard.path).read_all().to_pylist()]


def slow_labels(row: dict, *, across_documents: bool, ends: bool) -> list[int]:
    """The label of each position, one at a time."""
    length, real = len(row["input_ids"]), len(row["input_ids"]) - row["num_pad"]
    following = [*row["input_ids"], row["next_id"]]
    labels = []
    for place in range(length):
        label = following[place + 1]
        if place >= real or (place == real - 1 and row["num_pad"]):
            label = IGNORED
        if not across_documents and (place + 1 in row["cu_seqlens"][:-1] or (place == length - 1 and ends)):
            label = IGNORED
        labels.append(label)
    return labels


@pytest.mark.parametrize("across_documents", [True, False])
def test_labels_are_the_following_ids(finished: Path, rows: list[dict], across_documents: bool) -> None:
    """No position is lost: the last one's label is `next_id`; padding has none; documents may be kept apart."""
    sequences = mixer.feed.open(finished)
    eos = sequences.manifest.tokenizer.eos_id
    labels = sequences[:].labels(across_documents=across_documents)
    expected = [slow_labels(row, across_documents=across_documents, ends=row["input_ids"][-1] == eos) for row in rows]
    assert labels.tolist() == expected
    assert (labels[:, -1] >= 0).any()


def test_every_way_of_asking_gives_the_same_rows(finished: Path, rows: list[dict]) -> None:
    """A number, a negative one, a slice, an index array in any order, across shards; ids alone and with the rest."""
    sequences = mixer.feed.open(str(finished / "manifest.json"))
    count = len(rows)
    assert len(sequences) == count
    wanted = np.array([count - 1, 0, 7, 7, -2])
    batch = sequences[wanted]
    chosen = [rows[number] for number in wanted.tolist()]
    assert batch.input_ids.tolist() == sequences.ids(wanted).tolist() == [row["input_ids"] for row in chosen]
    assert batch.next_id.tolist() == [row["next_id"] for row in chosen]
    assert batch.num_pad.tolist() == [row["num_pad"] for row in chosen]
    assert batch.row.tolist() == [value for row in chosen for value in row["segment_row"]]
    assert batch.source.tolist() == [value for row in chosen for value in row["segment_source"]]
    assert batch.pass_number.tolist() == [value for row in chosen for value in row["segment_pass"]]
    assert batch.start.tolist() == [value for row in chosen for value in row["segment_start"]]
    assert sequences[3:count:5].input_ids.tolist() == [row["input_ids"] for row in rows[3:count:5]]
    assert sequences[-1].input_ids.tolist() == [rows[-1]["input_ids"]]
    assert sequences.ids(5).tolist() == rows[5]["input_ids"]
    assert not sequences.ids(5).flags.writeable
    for outside in (count, -count - 1):
        with pytest.raises(IndexError, match="outside"):
            sequences[outside]


@pytest.mark.parametrize(
    "wanted",
    [True, np.True_, 1.7, np.float64(1), "1", None, [True, False], np.ones(3, dtype=bool), np.array([0.5]), [1.7],
     10**20, -(10**20), [0, 10**20], np.array([2**64 - 1], dtype=np.uint64), slice(0, 1.5), slice("a", None)],
)  # fmt: skip
def test_what_is_no_index_is_refused(finished: Path, wanted: Any) -> None:
    """A mask would be read as the numbers 0 and 1, and 1.7 as 1; huge and negative ones are outside."""
    sequences = mixer.feed.open(finished)
    for read in (sequences.__getitem__, sequences.ids):
        with pytest.raises(IndexError, match=r"outside the|is not an index of sequences"):
            read(wanted)
    for outside in (len(sequences), -len(sequences) - 1):
        with pytest.raises(IndexError, match="outside the"):
            sequences[outside]
    assert len(sequences[[]].next_id) == 0


def test_borders_positions_and_segments_of_a_batch(finished: Path, rows: list[dict]) -> None:
    """As flash attention takes them: sequences end to end; positions start anew at every border."""
    batch = mixer.feed.open(finished)[:4]
    borders = [0]
    positions, segments = [], []
    for row in rows[:4]:
        base = borders[-1]
        borders += [base + stop for stop in row["cu_seqlens"][1:]]
        lengths = np.diff(row["cu_seqlens"]).tolist()
        positions.append([place for length in lengths for place in range(length)])
        numbers = [0 if source < 0 else n + 1 for n, source in enumerate(row["segment_source"])]
        segments.append([number for number, length in zip(numbers, lengths, strict=True) for _ in range(length)])
    assert batch.cu_seqlens().tolist() == borders
    assert batch.max_seqlen() == max(np.diff(borders))
    assert batch.position_ids().tolist() == positions
    assert batch.segment_ids().tolist() == segments


def test_a_set_travels_to_another_process(finished: Path) -> None:
    """Pickled for a spawned worker it carries no maps, and opens its own."""
    sequences = mixer.feed.open(finished)
    before = sequences.ids(3).tolist()
    other = pickle.loads(pickle.dumps(sequences))
    assert other._shards._opened.cache_info().currsize == 0
    assert other.ids(3).tolist() == before


def test_closing_leaves_no_maps_behind(finished: Path) -> None:
    """What was mapped is let go of."""

    def maps() -> int:
        return sum(str(finished) in line for line in Path("/proc/self/maps").read_text().splitlines())

    sequences = mixer.feed.open(finished)
    sequences.ids(slice(None))
    assert maps() > 0
    sequences.close()
    assert maps() == 0


def test_a_shard_that_is_not_the_manifests_is_refused(copy_of_finished: Path) -> None:
    """Missing, cut short, or of the same size with another byte: as `verify` asks."""
    path = copy_of_finished / "shards/00001.arrow"
    whole = path.read_bytes()
    first = load_manifest(copy_of_finished).shards[0].sequences
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 1
    path.write_bytes(damaged)
    mixer.feed.open(copy_of_finished).ids(first)
    with pytest.raises(IntegrityError, match=r"00001\.arrow: its digest is"):
        mixer.feed.open(copy_of_finished, verify="digest")[first]
    path.write_bytes(whole[:-1])
    with pytest.raises(IntegrityError, match=r"00001\.arrow: it has .* bytes, the manifest says"):
        mixer.feed.open(copy_of_finished)[first]
    path.unlink()
    sequences = mixer.feed.open(copy_of_finished)
    sequences[0]
    with pytest.raises(IntegrityError, match=r"00001\.arrow: cannot read the shard"):
        sequences[first]
    with pytest.raises(UsageError, match="nothing, size or digest"):
        mixer.feed.open(copy_of_finished, verify="all")  # type: ignore[arg-type]


def test_a_manifest_of_a_newer_format_is_refused(copy_of_finished: Path) -> None:
    """With the version that this mixer reads."""
    path = copy_of_finished / "manifest.json"
    path.write_text(path.read_text().replace('"format_version": 2', '"format_version": 3'))
    with pytest.raises(FormatError, match="format version 3; this mixer reads 2"):
        mixer.feed.open(copy_of_finished)


def test_a_training_node_needs_numpy_and_pyarrow_alone(finished: Path) -> None:
    """With every other package blocked, a build is opened and read, and a run resumed."""
    code = """
import sys
class Only:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] not in {*sys.stdlib_module_names, "numpy", "pyarrow", "mixer"}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Only())
import mixer.feed, mixer.feed.features, mixer.feed.trace, numpy
sequences = mixer.feed.open(sys.argv[1])
cursor = mixer.feed.Cursor.start(sequences)
order = cursor.order(sequences)
print(sequences[order.sequences(0, numpy.arange(3))].labels().shape, cursor.resumed(cursor.state_dict()) == cursor)
mixer.feed.trace.trace_step(sequences, cursor, step=0, rank=0, world=1, batch=2, epochs=1)
assert "pyarrow.compute" not in sys.modules  # half a second and 50 MB
"""
    done = subprocess.run([sys.executable, "-c", code, str(finished)], cwd=REPOSITORY, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("(3, 64) True\n", "")


def test_best_fit_builds_are_read_as_well(workshop: Workshop, tmp_path: Path) -> None:
    """Padding in most sequences, and labels that end with their document."""
    workshop.build(tmp_path / "out", workshop.recipe(sequence={"packing": "best-fit"}, target={"sequences": 30}))
    batch = mixer.feed.open(tmp_path / "out")[:]
    assert int((batch.num_pad > 0).sum()) > 0
    for sequence in np.flatnonzero(batch.num_pad).tolist():
        assert (batch.labels()[sequence, -int(batch.num_pad[sequence]) - 1 :] == IGNORED).all()
    shutil.rmtree(tmp_path / "out")
