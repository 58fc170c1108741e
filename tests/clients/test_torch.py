"""torch's DataLoader and torchdata's StatefulDataLoader, as installed, over a real build."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

import mixer.feed
from mixer.errors import CursorError, UsageError
from mixer.feed.cursor import Cursor
from mixer.feed.torch import SequenceDataset, StepDataset, TrainLoader


@pytest.fixture(scope="module")
def order(finished: Path) -> np.ndarray:
    """The ids of three epochs in training order, without torch: int32[3 n, L]."""
    sequences = mixer.feed.open(finished)
    one = Cursor.start(sequences).order(sequences)
    epochs = [sequences.ids(one.sequences(epoch, np.arange(len(sequences)))) for epoch in range(3)]
    return np.concatenate(epochs)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_map_style_loader_reads_every_sequence(finished: Path, workers: int) -> None:
    """In torch's own batches, by torch's own workers, labels with them."""
    sequences = mixer.feed.open(finished)
    loader = DataLoader(SequenceDataset(sequences), batch_size=7, num_workers=workers, persistent_workers=workers > 0)
    for _ in range(2):
        batches = list(loader)
        assert torch.cat([batch["input_ids"] for batch in batches]).tolist() == sequences[:].input_ids.tolist()
        assert torch.cat([batch["labels"] for batch in batches]).tolist() == sequences[:].labels().tolist()
    assert batches[0]["labels"].dtype == torch.int64


@pytest.mark.parametrize(("workers", "context"), [(0, None), (2, "fork"), (2, "spawn")])
def test_the_loader_hands_out_the_training_order(
    finished: Path, order: np.ndarray, workers: int, context: str | None
) -> None:
    """Whatever the number of workers and the way they are started; across the end of an epoch."""
    loader = TrainLoader(finished, batch_size=5, epochs=2, num_workers=workers, multiprocessing_context=context)
    seen = torch.cat([batch["input_ids"] for batch in loader])
    whole = 2 * len(loader.sequences) // 5 * 5
    assert seen.tolist() == order[:whole].tolist()
    assert (len(loader), loader.cursor.epoch) == (0, whole // len(loader.sequences))


@pytest.mark.parametrize("stop", [0, 1, 9])
def test_a_run_goes_on_with_other_ranks_workers_and_batches(finished: Path, order: np.ndarray, stop: int) -> None:
    """Two ranks x 3, then one x 4 with workers, then three x 1: together the one stream, nothing twice or left out."""
    state = None
    done = 0
    for world, batch, workers in ((2, 3, 0), (1, 4, 2), (3, 1, 0)):
        ranks = [
            TrainLoader(finished, batch_size=batch, rank=r, world=world, num_workers=workers) for r in range(world)
        ]
        taken = []
        for rank in ranks:
            if state is not None:
                rank.load_state_dict(json.loads(state))
            batches = iter(rank)
            taken.append([next(batches)["input_ids"].numpy() for _ in range(stop)])
            del batches  # and with it the workers
        states = {json.dumps(rank.state_dict()) for rank in ranks}
        assert len(states) == 1
        state = states.pop()
        for step in range(stop):
            together = np.stack([taken[rank][step] for rank in range(world)], axis=1).reshape(world * batch, -1)
            assert together.tolist() == order[done : done + world * batch].tolist()
            done += world * batch
    assert json.loads(state or "{}")["consumed"] + json.loads(state or "{}")["epoch"] * len(order) // 3 == done


def test_the_last_step_is_dropped_or_padded_as_asked(finished: Path) -> None:
    """By name; a padded step begins another epoch."""
    count = len(mixer.feed.open(finished))
    for last, steps in (("drop", count // 10), ("pad", -(-count // 10))):
        loader = TrainLoader(finished, batch_size=5, rank=1, world=2, epochs=1, last=last)  # type: ignore[arg-type]
        assert len(loader) == steps == len(list(loader))


@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning")  # torchdata 0.11 calls it in torch 2.13
def test_a_stateful_loader_of_torchdata_holds_the_state(finished: Path, order: np.ndarray) -> None:
    """Stopped in the middle, with two workers that have made batches ahead; loaded into a new one."""

    def loader() -> StatefulDataLoader:
        sequences = mixer.feed.open(finished)
        dataset = StepDataset(sequences, Cursor.start(sequences), batch_size=4, num_steps=12)
        return StatefulDataLoader(dataset, batch_size=None, num_workers=2)

    first = loader()
    batches = iter(first)
    before = [next(batches)["input_ids"] for _ in range(5)]
    state = first.state_dict()
    second = loader()
    second.load_state_dict(state)
    after = [batch["input_ids"] for batch in second]
    assert torch.cat([*before, *after]).tolist() == order[:48].tolist()


def test_borders_are_those_of_the_batch(finished: Path) -> None:
    """What flash attention and position embeddings take, for the sequences of the step."""
    loader = TrainLoader(finished, batch_size=3, borders=True, across_documents=False)
    tensors = next(iter(loader))
    cursor = Cursor.start(loader.sequences)
    batch = loader.sequences[cursor.order(loader.sequences).sequences(0, np.arange(3))]
    assert tensors["cu_seqlens"].tolist() == batch.cu_seqlens().tolist()
    assert int(tensors["max_seqlen"]) == batch.max_seqlen()
    assert tensors["position_ids"].tolist() == batch.position_ids().tolist()
    assert tensors["labels"].tolist() == batch.labels(across_documents=False).tolist()


def test_wrong_ranks_steps_and_states_are_refused(finished: Path) -> None:
    """With the reason, before anything is read."""
    with pytest.raises(UsageError, match="rank 2 of 2"):
        TrainLoader(finished, batch_size=1, rank=2, world=2)
    with pytest.raises(UsageError, match="is larger than 1 epochs"):
        TrainLoader(finished, batch_size=10**6, epochs=1)
    with pytest.raises(UsageError, match="drop or pad"):
        TrainLoader(finished, batch_size=1, last="keep")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="no end"):
        len(TrainLoader(finished, batch_size=1))
    other = TrainLoader(finished, batch_size=1, seed=99)
    with pytest.raises(CursorError, match="another order: its seed is 99"):
        TrainLoader(finished, batch_size=1).load_state_dict(other.state_dict())
