"""torchtitan, as installed: its configs, attention masks, trainer, validator and checkpoints, over a real build."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed.checkpoint as dcp
from leftovers import assert_nothing_is_left, holdings
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from workshop import Workshop

import mixer.feed
from mixer.errors import CursorError, UsageError
from mixer.feed.cursor import Cursor
from mixer.feed.torchtitan import MixerDataLoader

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("titan_on_cpu.py")
EXAMPLE = ROOT / "examples/torchtitan"


def loader(build: Path, *, rank: int = 0, world: int = 1, batch: int = 4, **config: Any) -> MixerDataLoader:
    """A loader made as the trainer makes it: from its config, with what the trainer knows."""
    return MixerDataLoader.Config(dataset_path=str(build), **config).build(
        dp_world_size=world,
        dp_rank=rank,
        tokenizer=None,
        seq_len=64,
        local_batch_size=batch,
        snapshot_every_n_steps=500,
    )


@pytest.fixture(scope="module")
def order(finished: Path) -> np.ndarray:
    """The ids of two epochs in training order, without torchtitan: int32[2 n, L]."""
    sequences = mixer.feed.open(finished)
    one = Cursor.start(sequences).order(sequences)
    return np.concatenate([sequences.ids(one.sequences(epoch, np.arange(len(sequences)))) for epoch in range(2)])


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_goes_on_with_another_data_parallel_degree(finished: Path, order: np.ndarray, workers: int) -> None:
    """Two ranks x 3, one x 4, three x 1: one state for all ranks, and together the one stream."""
    state: dict[str, Any] = {}
    done = 0
    for world, batch in ((2, 3), (1, 4), (3, 1)):
        ranks = [loader(finished, rank=r, world=world, batch=batch, num_workers=workers) for r in range(world)]
        taken = []
        for rank in ranks:
            rank.load_state_dict(state)
            batches = iter(rank)
            taken.append([next(batches)[0]["input"].numpy() for _ in range(3)])
        states = [rank.state_dict() for rank in ranks]
        assert all(one == states[0] for one in states)
        state = states[0]
        for step in range(3):
            together = np.stack([taken[rank][step] for rank in range(world)], axis=1).reshape(world * batch, -1)
            assert together.tolist() == order[done : done + world * batch].tolist()
            done += world * batch
        for rank in ranks:
            rank.close()


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled:UserWarning")  # it is, here
def test_the_state_goes_through_a_distributed_checkpoint(finished: Path, tmp_path: Path) -> None:
    """torch's DCP, which torchtitan saves with: written by one degree, read by another, in place."""
    first = loader(finished, world=2, batch=3)
    batches = iter(first)
    next(batches)
    dcp.save({"dataloader": first}, checkpoint_id=tmp_path / "step-1", no_dist=True)
    second = loader(finished, world=5, batch=1)
    dcp.load({"dataloader": second}, checkpoint_id=tmp_path / "step-1", no_dist=True)
    assert second.state_dict() == first.state_dict()
    assert json.loads(second.state_dict()["cursor"])["consumed"] == 6


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")  # torch, of itself
def test_torchtitans_masks_keep_documents_apart(finished: Path) -> None:
    """A token sees those before it in its own segment and no others, and no label leads over a border."""
    from torchtitan.models.common.attention import (
        get_document_mask_mod,
        get_efficient_causal_mask_mod_for_packed_document,
    )

    batches = iter(loader(finished, batch=3))
    inputs, labels = next(batches)
    sequences = mixer.feed.open(finished)
    batch = sequences.batch(Cursor.start(sequences).order(sequences).sequences(0, np.arange(3)))
    segment = np.repeat(np.arange(len(batch.run_stops)), np.diff(batch.cu_seqlens())).reshape(3, 64)
    places = torch.arange(64)
    sequence = torch.arange(3)[:, None, None]
    query, key = places[None, :, None], places[None, None, :]
    causal = query >= key
    expected = (segment[:, :, None] == segment[:, None, :]) & causal.numpy()
    for mask in (get_document_mask_mod, get_efficient_causal_mask_mod_for_packed_document):
        seen = mask(inputs["positions"])(sequence, torch.tensor(0), query, key) & causal
        assert seen.numpy().tolist() == expected.tolist()
    assert labels.tolist() == batch.labels(across_documents=False).tolist()


def test_across_documents_a_sequence_is_one_document(finished: Path) -> None:
    """Positions run on, and every label but those of padding is there."""
    inputs, labels = next(iter(loader(finished, batch=3, across_documents=True)))
    sequences = mixer.feed.open(finished)
    batch = sequences.batch(Cursor.start(sequences).order(sequences).sequences(0, np.arange(3)))
    assert inputs["positions"].tolist() == [list(range(64))] * 3
    assert labels.tolist() == batch.labels().tolist()


def test_a_finite_loader_ends_with_the_epochs_of_the_recipe(finished: Path) -> None:
    """The same number of steps on every rank."""
    count = len(mixer.feed.open(finished))
    steps = [len(list(loader(finished, rank=rank, world=2, batch=3, infinite=False))) for rank in range(2)]
    assert steps == [count // 6, count // 6]


@pytest.mark.parametrize("workers", [0, 2])
def test_nothing_is_left_after_close(finished: Path, workers: int) -> None:
    """No worker, thread or map."""
    before = holdings(finished)
    one = loader(finished, num_workers=workers)
    batches = iter(one)
    next(batches)
    one.close()
    assert_nothing_is_left(finished, before)


def test_what_does_not_fit_is_refused(finished: Path) -> None:
    """With the reason and the way out."""
    with pytest.raises(UsageError, match="no build is given"):
        MixerDataLoader.Config().build(dp_world_size=1, dp_rank=0, seq_len=64, local_batch_size=1)
    with pytest.raises(UsageError, match=r"have 64 tokens, training.seq_len is 8,192"):
        MixerDataLoader.Config(dataset_path=str(finished)).build(
            dp_world_size=1, dp_rank=0, seq_len=8192, local_batch_size=1
        )
    with pytest.raises(CursorError, match="another order: its seed is 99"):
        loader(finished).load_state_dict(loader(finished, seed=99).state_dict())


@pytest.fixture(scope="module")
def small_build(workshop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A build with a tokenizer small enough for torchtitan's debug model, and the folder of that tokenizer."""
    folder = tmp_path_factory.mktemp("titan")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    specials = ["<|begin_of_text|>", "<|end_of_text|>"]
    letters = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        ["the of and don't 1234"], trainers.BpeTrainer(special_tokens=specials, initial_alphabet=letters)
    )
    assets = folder / "assets"
    assets.mkdir()
    tokenizer.save(str(assets / "tokenizer.json"))
    names = dict(zip(("bos_token", "eos_token"), specials, strict=True))
    (assets / "tokenizer_config.json").write_text(json.dumps(names))
    workshop.build(folder / "out", workshop.recipe(tokenizer=str(assets / "tokenizer.json")))
    return folder / "out", assets


def train(build: Path, assets: Path, folder: Path, *, world: int, seen: Path, arguments: list[str]) -> str:
    """Run torchtitan's trainer on some ranks; gives what rank 0 logged."""
    seen.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(EXAMPLE), str(SCRIPT.parent)]),
        "SEEN": str(seen),
        "WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, str(SCRIPT), "--module", "titan_on_cpu", "--config", "small"]
    command += ["--hf-assets-path", str(assets), "--dump-folder", str(folder)]
    command += ["--dataloader.dataset-path", str(build), "--validator.dataloader.dataset-path", str(build), *arguments]
    ranks = [
        subprocess.Popen(
            command,
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(world)
    ]
    logs = [rank.communicate(timeout=400)[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0] * world, logs[0][-5000:]
    return logs[0]


@pytest.mark.slow
def test_the_trainer_resumes_the_example_on_another_degree(small_build: tuple[Path, Path], tmp_path: Path) -> None:
    """One rank that accumulates gradients and validates, then two sharded ranks: each sequence once, in the order."""
    build, assets = small_build
    first, second = tmp_path / "first", tmp_path / "second"
    validation = ["--validator.enable", "--validator.freq", "2", "--validator.steps", "1"]
    log = train(
        build, assets, tmp_path, world=1, seen=first,
        arguments=["--training.steps", "2", "--training.local-batch-size", "4", *validation],
    )  # fmt: skip
    assert "validate step:  2" in log
    log = train(
        build, assets, tmp_path, world=2, seen=second,
        arguments=["--training.steps", "4", "--training.local-batch-size", "3", "--dataloader.num-workers", "0"],
    )  # fmt: skip
    assert "Training starts at step 3" in log

    def read(path: Path) -> np.ndarray:
        return np.load(path)["input"]

    sequences = mixer.feed.open(build)
    numbers = Cursor.start(sequences).order(sequences).sequences(0, np.arange(48))
    before = [read(first / f"0-{number}.npz") for number in range(6)]
    after = [[read(second / f"{rank}-{number}.npz") for number in range(4)] for rank in range(2)]
    turns = [np.stack(step, axis=1).reshape(6, 64) for step in zip(*after, strict=True)]
    assert np.concatenate([*before, *turns]).tolist() == sequences.ids(numbers).tolist()


def test_the_example_is_a_config_of_torchtitan(finished: Path) -> None:
    """Found by its module's name, read by torchtitan's own parser, changed on the command line as the README says."""
    script = (
        "from torchtitan.config import ConfigManager\n"
        "import sys\n"
        "config = ConfigManager().parse_args(sys.argv[1:])\n"
        "print(config.dataloader, config.training.global_batch_size, config.checkpoint.enable)\n"
    )
    options = ["--dataloader.dataset-path", str(finished), "--dataloader.no-infinite", "--dataloader.across-documents"]
    options += ["--dataloader.seed", "7", "--dataloader.shuffle-shards", "64", "--dataloader.num-workers", "3"]
    options += ["--dataloader.pin-memory"]
    done = subprocess.run(
        [sys.executable, "-c", script, "--module", "llama3_mixer", "--config", "llama3_8b_mixer", *options],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(EXAMPLE)])},
        capture_output=True,
        text=True,
        check=True,
    )
    for part in (
        f"dataset_path='{finished}'", "infinite=False", "across_documents=True", "seed=7", "shuffle_shards=64",
        "num_workers=3", "pin_memory=True", " 1344 True",
    ):  # fmt: skip
        assert part in done.stdout


def test_the_docstrings_lines_run_as_they_stand(finished: Path, tmp_path: Path) -> None:
    """In a folder with such a build: a config whose loader the trainer can build."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out/my-mixture").symlink_to(finished)
    script = (
        "import mixer.feed.torchtitan as adapter\n"
        "from snippets import run_example\n"
        "config = run_example(adapter, MixerDataLoader=adapter.MixerDataLoader)['llama3_8b_mixer']()\n"
        "loader = config.dataloader.build(dp_world_size=1, dp_rank=0, seq_len=64, local_batch_size=2)\n"
        "print(config.training.seq_len, next(iter(loader))[0]['input'].shape)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(SCRIPT.parent)])},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "8192 torch.Size([2, 64])" in done.stdout
