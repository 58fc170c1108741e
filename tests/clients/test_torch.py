"""torch's DataLoader and torchdata's StatefulDataLoader, as installed, over a real build."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from leftovers import assert_nothing_is_left, holdings
from snippets import run_example
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader
from workshop import Workshop

import mixer.feed
import mixer.feed.torch
from mixer.errors import CursorError, UsageError
from mixer.feed.cursor import Cursor
from mixer.feed.steps import Last
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
            TrainLoader(finished, batch_size=batch, rank=r, world=world, epochs=None, num_workers=workers)
            for r in range(world)
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


def test_a_loader_ends_with_the_epochs_of_the_build(finished: Path, workshop: Workshop, tmp_path: Path) -> None:
    """Those of its recipe unless told otherwise; with None it goes on."""
    loader = TrainLoader(finished, batch_size=10)
    assert len(loader) == len(list(loader)) == len(loader.sequences) // 10
    workshop.build(tmp_path / "out", workshop.recipe(target={"rows": 60}, epochs={"count": 3}))
    count = len(mixer.feed.open(tmp_path / "out"))
    assert len(list(TrainLoader(tmp_path / "out", batch_size=2))) == 3 * count // 2
    assert len(list(TrainLoader(tmp_path / "out", batch_size=2, epochs=1))) == count // 2
    endless = TrainLoader(tmp_path / "out", batch_size=2, epochs=None)
    assert len(list(islice(endless, 2 * count))) == 2 * count


@pytest.mark.parametrize("wrong", [1.7, True, np.True_, 10**20, "1", None])
def test_what_is_no_index_is_refused_by_the_map_style_data_set(finished: Path, wrong: Any) -> None:
    """As by the feed."""
    dataset = SequenceDataset(mixer.feed.open(finished))
    assert dataset[np.int64(-1)]["input_ids"].tolist() == dataset[len(dataset) - 1]["input_ids"].tolist()
    for ask in (lambda: dataset[wrong], lambda: dataset.__getitems__([0, wrong])):
        with pytest.raises(IndexError, match=r"outside the|is not an index"):
            ask()


@pytest.mark.parametrize("state", [None, {}, {"done": 1}, {"done": True, "cursor": None}, {"done": 10**30}, "state"])
def test_what_is_no_state_is_refused(finished: Path, state: Any) -> None:
    """By the loader and the iterable."""
    sequences = mixer.feed.open(finished)
    dataset = StepDataset(sequences, Cursor.start(sequences), batch_size=4)
    cursor = dataset.state_dict()["cursor"]
    for wrong in (state, {"done": state, "cursor": cursor}):
        with pytest.raises(CursorError):
            dataset.load_state_dict(wrong)
    with pytest.raises(CursorError):
        TrainLoader(sequences, batch_size=4).load_state_dict(state)


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


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_persistent_workers_go_on_from_wherever_the_loader_is(finished: Path, order: np.ndarray, context: str) -> None:
    """Left in the middle with batches made ahead, moved back, run to the end: always the cursor's, by one crew."""
    before = holdings(finished)
    loader = TrainLoader(
        finished, batch_size=7, epochs=1, num_workers=2, multiprocessing_context=context, persistent_workers=True
    )
    seen, crews = [], []
    for steps in (3, 2, 5):
        batches = iter(loader)
        seen += [next(batches)["input_ids"] for _ in range(steps)]
        crews.append(holdings(finished).children - before.children)
    assert torch.cat(seen).tolist() == order[:70].tolist()
    assert len(crews[0]) == 2
    assert len(set(crews)) == 1
    loader.load_state_dict(TrainLoader(finished, batch_size=1).state_dict())
    whole = len(loader.sequences) // 7 * 7
    assert torch.cat([batch["input_ids"] for batch in loader]).tolist() == order[:whole].tolist()
    assert holdings(finished).children - before.children == crews[0]
    assert list(loader) == []
    loader.close()
    assert_nothing_is_left(finished, before)


@pytest.mark.parametrize("kind", [DataLoader, StatefulDataLoader])
@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning")  # torchdata 0.11 calls it in torch 2.13
def test_an_iterable_begins_again_with_workers_that_stay(finished: Path, order: np.ndarray, kind: type) -> None:
    """Left in the middle with steps made ahead: the next iteration begins at the cursor, and so does the one after."""
    sequences = mixer.feed.open(finished)
    dataset = StepDataset(sequences, Cursor.start(sequences), batch_size=4, num_steps=12)
    loader = kind(dataset, batch_size=None, num_workers=2, persistent_workers=True)
    batches = iter(loader)
    assert torch.cat([next(batches)["input_ids"] for _ in range(3)]).tolist() == order[:12].tolist()
    for _ in range(2):
        assert torch.cat([batch["input_ids"] for batch in loader]).tolist() == order[:48].tolist()


@pytest.mark.parametrize(
    ("workers", "context", "persistent"), [(0, None, False), (2, "fork", False), (2, "fork", True), (2, "spawn", True)]
)
def test_nothing_is_left_after_close(finished: Path, workers: int, context: str | None, persistent: bool) -> None:
    """No thread, process, map or shared memory, though the iterator is still there; and it can be read again."""
    before = holdings(finished)
    loader = TrainLoader(
        finished, batch_size=3, num_workers=workers, multiprocessing_context=context, persistent_workers=persistent
    )
    batches = iter(loader)
    next(batches)
    during = holdings(finished)
    assert len(during.children - before.children) == workers
    assert (len(during.maps - before.maps) > 0) == (workers == 0)
    assert during.named_memory == before.named_memory
    loader.close()
    assert_nothing_is_left(finished, before)
    assert next(batches, None) is None
    assert loader.state_dict()["consumed"] == 3
    next(iter(loader))
    del batches, loader
    assert_nothing_is_left(finished, before)


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_map_style_workers_leave_nothing(finished: Path, context: str) -> None:
    """torch's own loader over the data set, workers kept, then dropped."""
    before = holdings(finished)
    dataset = SequenceDataset(mixer.feed.open(finished))
    loader = DataLoader(dataset, batch_size=4, num_workers=2, multiprocessing_context=context, persistent_workers=True)
    for _ in range(2):
        next(iter(loader))
    assert len(holdings(finished).children - before.children) == 2
    assert holdings(finished).named_memory == before.named_memory
    del loader
    assert_nothing_is_left(finished, before)


@pytest.mark.parametrize("workers", [0, 2])
def test_pinned_memory_without_an_accelerator_is_torchs_warning(
    finished: Path, order: np.ndarray, workers: int
) -> None:
    """The argument goes to torch as it is; without an accelerator torch says that it does nothing, and goes on."""
    assert not torch.accelerator.is_available()
    loader = TrainLoader(finished, batch_size=5, num_workers=workers, pin_memory=True)
    with pytest.warns(UserWarning, match="no accelerator is found"):
        batch = next(iter(loader))
    assert batch["input_ids"].tolist() == order[:5].tolist()
    own = DataLoader(SequenceDataset(loader.sequences), batch_size=5, num_workers=workers, pin_memory=True)
    with pytest.warns(UserWarning, match="no accelerator is found"):
        assert next(iter(own))["input_ids"].tolist() == loader.sequences.ids(slice(5)).tolist()


def test_reading_draws_nothing_from_torchs_generator(finished: Path) -> None:
    """So a resumed run has the dropout of the uninterrupted one, however often its loader was begun."""
    before = torch.get_rng_state()
    next(iter(TrainLoader(finished, batch_size=2, num_workers=1)))
    assert torch.equal(torch.get_rng_state(), before)


def test_more_ranks_than_sequences_share_several_epochs(finished: Path, order: np.ndarray) -> None:
    """One step of all ranks is longer than an epoch, and no divisor of it: still the one stream, in turns."""
    count = len(order) // 3
    world = count + 3
    first = [
        next(iter(TrainLoader(finished, batch_size=1, rank=rank, world=world, epochs=None)))
        for rank in (0, count - 1, count)
    ]
    assert torch.cat([batch["input_ids"] for batch in first]).tolist() == order[[0, count - 1, count]].tolist()
    with pytest.raises(UsageError, match=f"{world} ranks x 1 is larger than the one epoch"):
        TrainLoader(finished, batch_size=1, rank=0, world=world, epochs=1)
    padded = TrainLoader(finished, batch_size=1, rank=count, world=world, epochs=1, last="pad")
    assert [batch["input_ids"].tolist() for batch in padded] == [order[count : count + 1].tolist()]


def test_a_batch_larger_than_an_epoch_goes_on_into_the_next(finished: Path, order: np.ndarray) -> None:
    """In the order of the stream; the cursor is then in a later epoch."""
    count = len(order) // 3
    loader = TrainLoader(finished, batch_size=2 * count + 1, epochs=3)
    (batch,) = list(loader)
    assert batch["input_ids"].tolist() == order[: 2 * count + 1].tolist()
    assert (loader.cursor.epoch, loader.cursor.consumed) == (2, 1)


@pytest.mark.parametrize("last", ["drop", "pad"])
def test_a_world_that_does_not_divide_loses_only_the_rest(finished: Path, order: np.ndarray, last: Last) -> None:
    """All ranks make as many steps: without the rest of the last epoch, or with the beginning of the next."""
    count, world = len(order) // 3, 4
    assert count % world
    ranks = [TrainLoader(finished, batch_size=1, rank=rank, world=world, epochs=1, last=last) for rank in range(world)]
    taken = [[batch["input_ids"][0].tolist() for batch in rank] for rank in ranks]
    steps = count // world if last == "drop" else count // world + 1
    assert [len(one) for one in taken] == [steps] * world
    assert [row for step in zip(*taken, strict=True) for row in step] == order[: steps * world].tolist()


def test_an_iteration_ends_where_its_loader_is_moved(finished: Path) -> None:
    """By a checkpoint or a second iteration: it says so, rather than count sequences that nobody saw."""
    loader = TrainLoader(finished, batch_size=2)
    for move in (lambda: loader.load_state_dict(loader.state_dict()), lambda: next(iter(loader))):
        batches = iter(loader)
        next(batches)
        move()
        with pytest.raises(UsageError, match="moved while it was iterated over"):
            next(batches)


def test_the_example_runs_as_it_stands(
    finished: Path, order: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lines of the module's docstring, in a folder with such a build."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out/my-mixture").symlink_to(finished)
    monkeypatch.chdir(tmp_path)
    state = TrainLoader(finished, batch_size=1).state_dict()
    seen: list[torch.Tensor] = []

    def train_step(input_ids: torch.Tensor, labels: torch.Tensor) -> None:
        seen.append(input_ids)
        if len(seen) == 3:
            raise KeyboardInterrupt

    checkpoint = {"loader": state}
    with pytest.raises(KeyboardInterrupt):
        run_example(mixer.feed.torch, TrainLoader=TrainLoader, checkpoint=checkpoint, train_step=train_step)
    assert torch.cat(seen).tolist() == order[:24].tolist()
    assert checkpoint["loader"]["consumed"] == 16


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
    with pytest.raises(UsageError, match="is larger than the one epoch"):
        TrainLoader(finished, batch_size=10**6, epochs=1)
    with pytest.raises(UsageError, match="drop or pad"):
        TrainLoader(finished, batch_size=1, last="keep")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="no end"):
        len(TrainLoader(finished, batch_size=1, epochs=None))
    other = TrainLoader(finished, batch_size=1, seed=99)
    with pytest.raises(CursorError, match="another order: its seed is 99"):
        TrainLoader(finished, batch_size=1).load_state_dict(other.state_dict())
