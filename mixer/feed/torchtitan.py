"""torchtitan: a data loader that a training config names in place of its own (torchtitan 0.3).

    from torchtitan.models.llama3.config_registry import llama3_8b

    def llama3_8b_mixer():  # torchrun -m torchtitan.train --module THIS_FILE --config llama3_8b_mixer
        config = llama3_8b()
        config.dataloader = MixerDataLoader.Config(dataset_path="out/my-mixture")
        return config

Its checkpoint is one string, the same on every rank, so a run resumes on any data-parallel degree, any batch size and
any number of workers; torchtitan's own loaders keep a state per rank and refuse another degree. `examples/torchtitan`
has a whole config.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torchtitan.components.dataloader import BaseDataLoader

from mixer.errors import CursorError, UsageError
from mixer.feed.integers import shown
from mixer.feed.sequences import open_build
from mixer.feed.torch import TrainLoader


class MixerDataLoader(BaseDataLoader):
    """The batches of one data-parallel rank, as torchtitan's trainer and validator take them.

    Args:
        config: which build, and how to read it.
        dp_world_size: data-parallel ranks: replicas x shards.
        dp_rank: of them; ranks that differ in tensor, pipeline or context parallelism alone read the same.
        seq_len: the trainer's.
        local_batch_size: sequences of a batch; with gradient accumulation a step takes several batches.

    Raises:
        UsageError: no build is given, or its sequences have another length than the trainer's.
    """

    @dataclass(kw_only=True, slots=True)
    class Config(BaseDataLoader.Config):
        """`dataset_path` is the build's folder."""

        infinite: bool = True
        """Whether to read on without end, as torchtitan's own loaders do; otherwise the build's epochs, less the rest
        that fills no step."""

        across_documents: bool = False
        """Whether attention and labels go on from one document of a sequence into the next."""

        seed: int | None = None
        """Of the order of training; default: the recipe's."""

        shuffle_shards: int | None = None
        """How many shards are read from at a time; default: all."""

        num_workers: int = 0
        """Processes that make batches ahead; 0: none."""

        pin_memory: bool = False
        """Copy batches to pinned memory before they are handed out."""

    def __init__(
        self,
        config: Config,
        *,
        dp_world_size: int,
        dp_rank: int,
        seq_len: int,
        local_batch_size: int,
        **_: Any,
    ) -> None:
        if not config.dataset_path:
            raise UsageError("no build is given", where="dataloader.dataset_path", hint="give the folder of a build")
        sequences = open_build(config.dataset_path)
        if sequences.sequence_length != seq_len:
            raise UsageError(
                f"its sequences have {sequences.sequence_length:,} tokens, training.seq_len is {seq_len:,}",
                where=str(sequences.folder),
                hint=f"set training.seq_len to {sequences.sequence_length}, or build with another sequence.length",
            )
        self._across_documents = config.across_documents
        self._loader = TrainLoader(
            sequences,
            batch_size=local_batch_size,
            rank=dp_rank,
            world=dp_world_size,
            epochs=None if config.infinite else "build",
            seed=config.seed,
            shuffle_shards=config.shuffle_shards,
            across_documents=config.across_documents,
            borders=True,
            num_workers=config.num_workers,
            pin_memory=config.pin_memory,
        )

    def __iter__(self) -> Iterator[tuple[dict[str, torch.Tensor], torch.Tensor]]:
        """`input` and `positions`, and the labels: int64[local_batch_size, seq_len] each.

        The trainer takes a document to begin wherever positions are 0, and masks its attention by it.
        """
        for batch in self._loader:
            inputs, positions = batch["input_ids"], batch["position_ids"]
            if self._across_documents:
                positions = torch.arange(inputs.shape[1]).expand_as(inputs)
            yield {"input": inputs, "positions": positions}, batch["labels"]

    def state_dict(self) -> dict[str, Any]:
        """The cursor as JSON under one key: a later mixer may add to it and still load old checkpoints."""
        return {"cursor": json.dumps(self._loader.state_dict(), sort_keys=True)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Resume at a checkpoint; torchtitan's empty state is the beginning.

        Raises:
            CursorError: the checkpoint belongs to another build or order; the message says which.
        """
        if state_dict == {}:
            return
        try:
            cursor = json.loads(state_dict["cursor"])
        except (KeyError, TypeError, ValueError) as error:
            raise CursorError(
                f"not a state of this loader: it is {shown(state_dict)}", hint="pass the value that state_dict returned"
            ) from error
        self._loader.load_state_dict(cursor)

    def close(self) -> None:
        """Stop all workers and release all maps."""
        self._loader.close()
