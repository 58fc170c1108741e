"""The example's training run with real processes: stopped, killed, resumed on other worlds, and compared.

Two runs of the same steps over one small build. One is never interrupted. The other has three launches: two processes
until a signal, one until it is killed, two to the end.
"""

from __future__ import annotations

import hashlib
import math
import signal
import subprocess
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import mean

import pytest
import torch
from launches import Launch, Step

import mixer.feed
from examples import train_llama
from mixer.errors import CursorError
from mixer.feed.torch import TrainLoader

SCRIPT = Path(train_llama.__file__)
NUM_BYTES = 256
NUM_STEPS = 200
GLOBAL_BATCH = 8
SAVE_EVERY = 100


@pytest.fixture(scope="module")
def build(byte_build: Path) -> Path:
    return byte_build


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """Launches the example again and again over the checkpoints of one run."""

    build: Path
    folder: Path

    def launch(self, *, world: int) -> Launch:
        """The next launch of the run."""
        arguments = [str(self.build), "--checkpoints", str(self.folder / "checkpoints"), "--steps", str(NUM_STEPS)]
        arguments += ["--global-batch", str(GLOBAL_BATCH), "--micro-batch", "3", "--save-every", str(SAVE_EVERY)]
        number = len(list(self.folder.glob("launch-*")))
        return Launch(SCRIPT, arguments, world=world, folder=self.folder / f"launch-{number}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """The steps of both runs; those of the interrupted one launch by launch."""

    uninterrupted: list[Step]
    launches: list[list[Step]]

    @property
    def interrupted(self) -> list[Step]:
        """All steps in order; one that was lost and repeated is as it was the last time."""
        return [step for _, step in sorted({step.number: step for one in self.launches for step in one}.items())]


@pytest.fixture(scope="module")
def runs(build: Path, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Both runs, side by side."""
    alone, disturbed = (Runner(build=build, folder=tmp_path_factory.mktemp("run")) for _ in range(2))
    launches = []
    with alone.launch(world=2) as uninterrupted:
        with disturbed.launch(world=2) as launch:
            launch.wait_for_step(40)
            launch.stop(signal.SIGUSR1)
            launches.append(launch.steps())
        with disturbed.launch(world=1) as launch:
            launch.wait_for_step(SAVE_EVERY + 10)  # so that some steps are lost
            launch.kill()
            launches.append(launch.steps())
        with disturbed.launch(world=2) as launch:
            launch.finish()
            launches.append(launch.steps())
        uninterrupted.finish()
        return Runs(uninterrupted=uninterrupted.steps(), launches=launches)


@pytest.mark.slow
def test_the_loss_falls(runs: Runs) -> None:
    """From that of a guess among all bytes to less than a third of it."""
    losses = [step.loss for step in runs.uninterrupted]
    assert len(losses) == NUM_STEPS
    assert losses[0] == pytest.approx(math.log(NUM_BYTES), abs=0.2)
    assert mean(losses[-20:]) < mean(losses[:20]) / 3


@pytest.mark.slow
def test_every_epoch_has_every_sequence_in_an_order_of_its_own(build: Path, runs: Runs) -> None:
    """As the model saw them, over several epochs that end in the middle of a step."""
    rows = mixer.feed.open(build)[:].input_ids.astype("<i8")
    whole = Counter(hashlib.blake2b(row.tobytes(), digest_size=8).hexdigest() for row in rows)
    stream = [digest for step in runs.uninterrupted for digest in step.sequences]
    epochs = [stream[start : start + len(rows)] for start in range(0, len(stream) - len(rows) + 1, len(rows))]
    assert len(rows) % GLOBAL_BATCH
    assert len(epochs) >= 3
    assert [Counter(epoch) for epoch in epochs] == [whole] * len(epochs)
    assert all(one != other for one, other in pairwise(epochs))
    consumed = [step.cursor["epoch"] * len(rows) + step.cursor["consumed"] for step in runs.uninterrupted]
    assert consumed == [step.number * GLOBAL_BATCH for step in runs.uninterrupted]


@pytest.mark.slow
def test_a_run_on_changing_worlds_sees_what_an_uninterrupted_one_sees(runs: Runs) -> None:
    """The same sequences in the same steps in the same order, and so the same epochs; the same cursor after each."""
    assert [step.seen for step in runs.interrupted] == [step.seen for step in runs.uninterrupted]


@pytest.mark.slow
def test_its_loss_is_that_of_the_uninterrupted_run(runs: Runs) -> None:
    """Step by step, to rounding: all state is restored, and a step does not depend on who computes it."""
    assert_losses_agree(runs.interrupted, runs.uninterrupted)


@pytest.mark.slow
def test_a_run_stopped_by_a_signal_loses_no_step(runs: Runs) -> None:
    """The next launch begins with the next step, on another number of processes."""
    signalled, killed, _ = runs.launches
    assert killed[0].number == signalled[-1].number + 1


@pytest.mark.slow
def test_a_killed_run_repeats_what_it_lost_exactly(runs: Runs) -> None:
    """From its last checkpoint on, on another number of processes."""
    _, killed, resumed = runs.launches
    again = [step for step in resumed if step.number <= killed[-1].number]
    lost = killed[-len(again) :]
    assert resumed[0].number == SAVE_EVERY + 1
    assert len(again) >= 10
    assert [step.seen for step in again] == [step.seen for step in lost]
    assert_losses_agree(again, lost)


def assert_losses_agree(found: list[Step], expected: list[Step]) -> None:
    """Sums of float32 in another order differ by some 1e-7; anything not restored, by far more than 1e-5."""
    torch.testing.assert_close(
        torch.tensor([step.loss for step in found]),
        torch.tensor([step.loss for step in expected]),
        rtol=1e-5,
        atol=0,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_process_stops_for_a_signal_or_at_the_end_of_its_time(number: signal.Signals) -> None:
    """And for nothing else."""
    before = {one: signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)}
    try:
        assert train_llama.watch_for_stop(0)()
        is_told_to_stop = train_llama.watch_for_stop(60)
        assert not is_told_to_stop()
        signal.raise_signal(number)
        assert is_told_to_stop()
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def test_no_document_sees_another_and_no_label_is_lost(build: Path) -> None:
    """Other ids in a sequence's first document change no logit of the next ones; the loss is over all labels."""
    loader = TrainLoader(build, batch_size=4, across_documents=False, borders=True)
    torch.manual_seed(0)
    model = train_llama.tiny_llama(loader.sequences.manifest).eval()
    batch = next(batch for batch in loader if (batch["position_ids"][:, 1:] == 0).any(dim=1).all())
    first = (batch["position_ids"] == 0).cumsum(dim=1) == 1
    changed = torch.where(first, (batch["input_ids"] + 1) % 200, batch["input_ids"])
    with torch.no_grad():
        before, after = (
            model(input_ids=ids, position_ids=batch["position_ids"], use_cache=False).logits
            for ids in (batch["input_ids"], changed)
        )
        loss = train_llama.loss_sum(model, batch["input_ids"], batch["position_ids"], batch["labels"])
    torch.testing.assert_close(before[~first], after[~first])
    assert not torch.isclose(before[first], after[first]).all(dim=1).any()
    counted = batch["labels"] >= 0
    assert counted[:, -1].any()
    surprise = -before.log_softmax(dim=2)[counted].gather(1, batch["labels"][counted][:, None])
    torch.testing.assert_close(loss, surprise.sum())


def test_a_checkpoint_of_another_build_is_refused(build: Path, finished: Path, tmp_path: Path) -> None:
    """Before anything of it is loaded."""
    loaders = [TrainLoader(one, batch_size=1) for one in (build, finished)]
    model = train_llama.tiny_llama(loaders[0].sequences.manifest)
    optimizer = torch.optim.AdamW(model.parameters())
    train_llama.publish_checkpoint(tmp_path / "checkpoint.pt", model, optimizer, loaders[0], step=1)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]
    assert train_llama.load_checkpoint(tmp_path / "checkpoint.pt", model, optimizer, loaders[0]) == 1
    with pytest.raises(CursorError, match="another build"):
        train_llama.load_checkpoint(tmp_path / "checkpoint.pt", model, optimizer, loaders[1])


def test_the_batch_file_is_a_shell_script() -> None:
    """As far as bash can tell without running it."""
    subprocess.run(["bash", "-n", str(SCRIPT.with_suffix(".sbatch"))], check=True)
