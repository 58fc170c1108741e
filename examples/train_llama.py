"""Train a tiny Llama from a build; stop it at any moment, and go on with any number of processes.

    torchrun --standalone --nproc-per-node 2 examples/train_llama.py out/my-mixture --checkpoints out/tiny-run

The same command goes on from the newest checkpoint, with as many processes as it is given. Four things make the
resumed run the same run:

- A step takes `--global-batch` sequences, however many processes share them: each takes global / world, in pieces of
  `--micro-batch`. The loader's step is the optimiser's step, so its cursor is always between two of them.
- The loss is the mean over all labels of the global batch. A mean of the ranks' or pieces' means would weigh a label
  by how much padding is beside it, and change with their number.
- A checkpoint has model, optimiser, step and cursor, and nothing of a rank. It appears whole or not at all.
- All ranks stop after the same step: one that is told to, or whose time is up, tells the others.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel
from transformers import LlamaConfig, LlamaForCausalLM

from mixer.feed.sequences import IGNORED
from mixer.feed.torch import Tensors, TrainLoader
from mixer.shards.records import Manifest


def main(argv: list[str] | None = None) -> None:
    """Train until the last step, a signal, or the end of the time."""
    options = parse_options(argv)
    is_told_to_stop = watch_for_stop(options.minutes)
    dist.init_process_group("gloo")
    try:
        train(options, is_told_to_stop)
    finally:
        dist.destroy_process_group()


def parse_options(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Train a tiny Llama from a build of mixer.")
    parser.add_argument("build", type=Path, help="the build's folder")
    parser.add_argument("--checkpoints", type=Path, required=True, metavar="DIR", help="resumed from if it has one")
    parser.add_argument("--steps", type=int, default=300, help="of the whole run, all launches together")
    parser.add_argument("--global-batch", type=int, default=8, help="sequences of a step, over all processes")
    parser.add_argument("--micro-batch", type=int, default=4, help="sequences that one process computes at once")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--save-every", type=int, default=100, metavar="STEPS", help="and whenever it stops")
    parser.add_argument("--minutes", type=float, default=math.inf, help="save and stop after so long")
    parser.add_argument(
        "--trace", type=Path, metavar="DIR", help="a JSON line a step and rank: what was read, the loss"
    )
    return parser.parse_args(argv)


def watch_for_stop(minutes: float) -> Callable[[], bool]:
    """What tells whether this process should stop: it got SIGTERM, SIGINT or SIGUSR1, or its time is up."""
    deadline = time.monotonic() + 60 * minutes
    received: list[int] = []
    # The handler only takes note: a step is finished, and all ranks leave it together.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, lambda number, _: received.append(number))
    return lambda: bool(received) or time.monotonic() >= deadline


def train(options: argparse.Namespace, is_told_to_stop: Callable[[], bool]) -> None:
    """All steps that are left of the run, or those until it is to stop."""
    rank, world = dist.get_rank(), dist.get_world_size()
    if options.global_batch % world:
        sys.exit(f"a global batch of {options.global_batch} cannot be shared evenly by {world} processes")
    own_batch = options.global_batch // world
    # The run ends after --steps, however many epochs these take.
    loader = TrainLoader(options.build, batch_size=own_batch, epochs=None, across_documents=False, borders=True)
    torch.manual_seed(0)
    model = tiny_llama(loader.sequences.manifest)
    replica = DistributedDataParallel(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.learning_rate)
    path = options.checkpoints / "checkpoint.pt"
    done = load_checkpoint(path, model, optimizer, loader) if path.exists() else 0

    for step, batch in enumerate(islice(loader, max(0, options.steps - done)), start=done + 1):
        own_loss = train_step(replica, optimizer, batch, micro_batch=options.micro_batch)
        shared = torch.stack([own_loss, torch.tensor(float(is_told_to_stop()))])
        dist.all_reduce(shared)
        loss, stopping = shared.tolist()
        if options.trace:
            trace_step(options.trace / f"rank-{rank}.jsonl", batch, step=step, loss=loss, cursor=loader.state_dict())
        if rank == 0:
            print(f"step {step}/{options.steps}  epoch {loader.cursor.epoch}  loss {loss:.4f}", flush=True)
            if stopping or step == options.steps or step % options.save_every == 0:
                publish_checkpoint(path, model, optimizer, loader, step=step)
        if stopping:
            break


def tiny_llama(manifest: Manifest) -> LlamaForCausalLM:
    """The real model in small: two layers, the build's vocabulary and length."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=manifest.tokenizer.vocab_size,
            max_position_embeddings=manifest.sequence.length,
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            tie_word_embeddings=True,
        )
    )


def train_step(
    replica: DistributedDataParallel, optimizer: torch.optim.Optimizer, batch: Tensors, *, micro_batch: int
) -> torch.Tensor:
    """One step of the optimiser, from this rank's part of the global batch.

    Returns:
        This rank's part of the loss, float32[]: the sum over all ranks is the mean over all labels of the step.
    """
    num_labels = (batch["labels"] != IGNORED).sum()
    dist.all_reduce(num_labels)
    names = ("input_ids", "position_ids", "labels")
    pieces = list(zip(*(batch[name].split(micro_batch) for name in names), strict=True))
    own_loss = torch.zeros(())
    for number, (input_ids, position_ids, labels) in enumerate(pieces, start=1):
        # The gradients of all pieces are added up here; the ranks exchange them once, with the last piece.
        with nullcontext() if number == len(pieces) else replica.no_sync():
            loss = loss_sum(replica, input_ids, position_ids, labels) / num_labels.clamp(min=1)
            (loss * dist.get_world_size()).backward()  # the mean that DDP takes over the ranks is to be a sum
        own_loss += loss.detach()
    torch.nn.utils.clip_grad_norm_(replica.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return own_loss


def loss_sum(
    model: torch.nn.Module, input_ids: torch.Tensor, position_ids: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    """The loss summed over the labels: float32[].

    The labels go with the logits place by place: they are shifted already, the last one by the id that follows the
    sequence. (The model's own `labels` argument would shift them again.) Positions that start anew with every document
    make transformers keep attention inside it; without a cache, or it would not look.
    """
    logits = model(input_ids=input_ids, position_ids=position_ids, use_cache=False).logits
    return cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), ignore_index=IGNORED, reduction="sum")


def publish_checkpoint(
    path: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer, loader: TrainLoader, *, step: int
) -> None:
    """Replace the checkpoint: whoever looks sees the old one or the new one, whole, whatever happens in between."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    state = {
        "step": step,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "loader": loader.state_dict(),
    }
    with temporary.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def load_checkpoint(path: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer, loader: TrainLoader) -> int:
    """Put everything back as it was; gives the number of steps done. A checkpoint of another build is refused."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    loader.load_state_dict(state["loader"])
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return state["step"]


def trace_step(path: Path, batch: Tensors, **record: Any) -> None:
    """Append a JSON line: the record, and a digest of the ids of each sequence that the model has just seen."""
    rows = batch["input_ids"].numpy()
    sequences = [hashlib.blake2b(row.tobytes(), digest_size=8).hexdigest() for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps({**record, "sequences": sequences}) + "\n")


if __name__ == "__main__":
    main()
