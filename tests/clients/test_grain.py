"""Grain's data loader, data sets and workers, as installed, over a real build."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import grain
import numpy as np
import pytest
from absl import flags
from grain.experimental import ThreadPrefetchIterDataset
from grain.multiprocessing import MultiprocessingOptions
from grain.samplers import SequentialSampler
from leftovers import assert_nothing_is_left, holdings
from snippets import run_example

import mixer.feed
import mixer.feed.grain
from mixer.errors import CursorError, UsageError
from mixer.feed.cursor import Cursor
from mixer.feed.features import to_features
from mixer.feed.grain import SequenceSource, StepDataset

NAMES = {
    "inputs",
    "inputs_position",
    "inputs_segmentation",
    "targets",
    "targets_position",
    "targets_segmentation",
}


@pytest.fixture(scope="module", autouse=True)
def _flags_are_parsed() -> None:
    """Grain's worker processes read absl's flags, which `absl.app.run` parses in a script."""
    flags.FLAGS.mark_as_parsed()


@pytest.fixture(scope="module")
def order(finished: Path) -> np.ndarray:
    """The ids of two epochs in training order, without Grain: int32[2 n, L]."""
    sequences = mixer.feed.open(finished)
    one = Cursor.start(sequences).order(sequences)
    return np.concatenate([sequences.ids(one.sequences(epoch, np.arange(len(sequences)))) for epoch in range(2)])


def slow_features(sequence: mixer.feed.Batch, across_documents: bool) -> dict[str, list[int]]:
    """The features of one sequence, token by token."""
    ids, stops = sequence.input_ids[0].tolist(), sequence.run_stops.tolist()
    made: dict[str, list[int]] = {name: [] for name in NAMES}
    labels = sequence.labels(across_documents=across_documents)[0].tolist()
    run, begin = 0, 0
    for place, (token, label) in enumerate(zip(ids, labels, strict=True)):
        if place == stops[run]:
            run, begin = run + 1, place
        padding = sequence.source[run] < 0
        segment = 0 if padding else 1 if across_documents else run + 1
        for side, one in (("inputs", token), ("targets", max(label, 0))):
            made[side].append(one)
            made[f"{side}_position"].append(place if across_documents else place - begin)
        made["inputs_segmentation"].append(segment)
        made["targets_segmentation"].append(segment if label >= 0 else 0)
    return made


@pytest.mark.parametrize("across_documents", [False, True])
def test_features_are_what_maxtext_reads(finished: Path, across_documents: bool) -> None:
    """Six int32 arrays: documents apart in segmentation and positions, nothing to learn where segmentation is 0."""
    source = SequenceSource(finished, across_documents=across_documents)
    padded = int(np.flatnonzero(source.sequences[:].num_pad)[0])
    for number in (0, 1, padded):
        features = source[number]
        assert {array.dtype for array in features.values()} == {np.dtype(np.int32)}
        found = {name: array.tolist() for name, array in features.items()}
        assert found == slow_features(source.sequences[number], across_documents)
    assert (source[padded]["inputs_segmentation"] == 0).any()


def test_a_source_is_grains_and_survives_pickling(finished: Path) -> None:
    """Grain's protocol by its own check, and the same sequences on the other side."""
    source = SequenceSource(finished)
    assert isinstance(source, grain.sources.RandomAccessDataSource)
    source[0]
    copy = pickle.loads(pickle.dumps(source))
    assert len(copy) == len(source)
    assert repr(copy) == repr(source)
    assert copy[7]["inputs"].tolist() == source[7]["inputs"].tolist() == source.sequences.ids(7).tolist()


@pytest.mark.parametrize("workers", [0, 2])
def test_grains_data_loader_reads_every_sequence(finished: Path, workers: int) -> None:
    """In its sampler's order, with its own workers and its own checkpoints."""
    source = SequenceSource(finished)

    def loader() -> Any:
        return grain.DataLoader(
            data_source=source,
            sampler=SequentialSampler(num_records=len(source)),
            operations=[grain.transforms.Batch(batch_size=4, drop_remainder=True)],
            worker_count=workers,
        )

    batches = iter(loader())
    first = [next(batches) for _ in range(5)]
    state = batches.get_state()
    rest = iter(loader())
    rest.set_state(state)
    made = [batch["inputs"].tolist() for batch in (*first, *rest)]
    # Worker w has the records that are w modulo the workers, and batches these.
    ids, crew = source.sequences[:].input_ids, max(1, workers)
    own = [ids[worker::crew] for worker in range(crew)]
    expected = [own[n % crew][n // crew * 4 : n // crew * 4 + 4].tolist() for n in range(len(made))]
    assert made == expected
    assert len(made) == sum(len(one) // 4 for one in own)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_map_dataset_pipeline_takes_the_source(finished: Path, workers: int) -> None:
    """Grain's own shuffle, batches and worker processes: each sequence once."""
    source = SequenceSource(finished)
    dataset = grain.MapDataset.source(source).shuffle(seed=3).batch(7).to_iter_dataset()
    batches = iter(dataset.mp_prefetch(MultiprocessingOptions(num_workers=workers)))
    rows = np.concatenate([batch["inputs"] for batch in batches])
    batches.close()
    assert sorted(rows.tolist()) == sorted(source.sequences[:].input_ids.tolist())
    assert rows.tolist() != source.sequences[:].input_ids.tolist()


@pytest.mark.parametrize("stop", [0, 1, 9])
def test_a_run_goes_on_with_other_processes_and_batches(finished: Path, order: np.ndarray, stop: int) -> None:
    """Two processes x 3, one x 4, three x 1: one state for all, and together the one stream."""
    state: str | None = None
    done = 0
    for world, batch in ((2, 3), (1, 4), (3, 1)):
        ranks = [
            iter(StepDataset(finished, batch_size=batch, rank=rank, world=world, epochs=None)) for rank in range(world)
        ]
        taken = []
        for rank in ranks:
            if state is not None:
                rank.set_state(json.loads(state))
            taken.append([next(rank)["inputs"] for _ in range(stop)])
        (state,) = {json.dumps(rank.get_state()) for rank in ranks}
        for step in range(stop):
            together = np.stack([taken[rank][step] for rank in range(world)], axis=1).reshape(world * batch, -1)
            assert together.tolist() == order[done : done + world * batch].tolist()
            done += world * batch


def test_threads_that_read_ahead_keep_the_cursor(finished: Path, order: np.ndarray) -> None:
    """The state is of what was handed out, and loads into a data set without threads; nothing is left."""
    before = holdings(finished)
    dataset = StepDataset(finished, batch_size=5)
    ahead = iter(ThreadPrefetchIterDataset(dataset, prefetch_buffer_size=4))
    seen = [next(ahead)["inputs"] for _ in range(3)]
    state = ahead.get_state()
    ahead.close()
    dataset.sequences.close()
    assert_nothing_is_left(finished, before)
    assert state["consumed"] == 15
    plain = iter(StepDataset(finished, batch_size=5))
    plain.set_state(state)
    seen.append(next(plain)["inputs"])
    assert np.concatenate(seen).tolist() == order[:20].tolist()


def test_worker_processes_make_every_nth_step(finished: Path, order: np.ndarray) -> None:
    """In training order, to the end of the epochs; Grain's own state resumes with as many workers; nothing is left."""
    before = holdings(finished)
    dataset = StepDataset(finished, batch_size=7, epochs=2)
    workers = dataset.mp_prefetch(MultiprocessingOptions(num_workers=2))
    batches = iter(workers)
    seen = [next(batches)["inputs"].copy() for _ in range(3)]  # Grain's shared memory is freed with its arrays
    state = batches.get_state()
    batches.close()
    again = iter(workers)
    again.set_state(json.loads(json.dumps(state)))
    seen += [batch["inputs"].copy() for batch in again]
    again.close()
    assert np.concatenate(seen).tolist() == order[: len(order) // 7 * 7].tolist()
    del batches, again
    assert_nothing_is_left(finished, before)


def test_steps_go_through_grains_transformations(finished: Path, order: np.ndarray) -> None:
    """A map over batches, and the cursor beneath it."""
    batches = iter(StepDataset(finished, batch_size=3).map(lambda batch: batch["inputs"].sum()))
    assert [int(next(batches)) for _ in range(2)] == [int(order[:3].sum()), int(order[3:6].sum())]
    assert batches.get_state()["consumed"] == 6


@pytest.mark.parametrize(("last", "steps"), [("drop", 0), ("pad", 1)])
def test_the_last_step_is_dropped_or_padded_as_asked(finished: Path, last: Any, steps: int) -> None:
    """By name; a padded step begins another epoch."""
    count = len(mixer.feed.open(finished))
    batch = count // 2 + 1
    made = list(StepDataset(finished, batch_size=batch, epochs=1, last=last))
    assert len(made) == 1 + steps


def test_wrong_ranks_steps_and_states_are_refused(finished: Path) -> None:
    """With the reason."""
    with pytest.raises(UsageError, match="rank 2 of 2"):
        StepDataset(finished, batch_size=1, rank=2, world=2)
    with pytest.raises(UsageError, match="is larger than the one epoch"):
        StepDataset(finished, batch_size=10**6, epochs=1)
    with pytest.raises(ValueError, match="sequential_slice"):
        StepDataset(finished, batch_size=1).set_slice(slice(0, None, 2), sequential_slice=True)
    other = iter(StepDataset(finished, batch_size=1, seed=99)).get_state()
    with pytest.raises(CursorError, match="another order: its seed is 99"):
        iter(StepDataset(finished, batch_size=1)).set_state(other)


def test_a_step_is_the_batch_of_the_feed(finished: Path) -> None:
    """All six features, not the ids alone."""
    sequences = mixer.feed.open(finished)
    numbers = Cursor.start(sequences).order(sequences).sequences(0, np.arange(4))
    expected = to_features(sequences.batch(numbers))
    found = next(iter(StepDataset(finished, batch_size=4)))
    assert {name: array.tolist() for name, array in found.items()} == {
        name: array.tolist() for name, array in expected.items()
    }


def test_the_example_runs_as_it_stands(
    finished: Path, order: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lines of the module's docstring, in a folder with such a build."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out/my-mixture").symlink_to(finished)
    monkeypatch.chdir(tmp_path)
    seen: list[np.ndarray] = []

    def train_step(inputs: np.ndarray, targets: np.ndarray, segmentation: np.ndarray) -> None:
        seen.append(inputs)
        if len(seen) == 3:
            raise KeyboardInterrupt

    checkpoint = {"data": iter(StepDataset(finished, batch_size=1)).get_state()}
    with pytest.raises(KeyboardInterrupt):
        run_example(mixer.feed.grain, StepDataset=StepDataset, checkpoint=checkpoint, train_step=train_step)
    assert np.concatenate(seen).tolist() == order[:24].tolist()
    assert checkpoint["data"]["consumed"] == 16
