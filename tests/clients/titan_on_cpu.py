"""torchtitan's own trainer on the CPU, with the example's config and a model small enough for it.

torchtitan 0.3 knows accelerators only and is written for a torch later than 2.13. What it asks of a device that the CPU
has not got is answered here; data, model code, optimizer, collectives and checkpoints are torchtitan's and torch's own.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch.distributed.fsdp import FSDPModule


def _prepare_cpu() -> None:
    torch._utils._get_available_device_type = lambda: "cpu"
    # What the memory monitor and the barrier ask.
    torch.cpu.get_device_name = lambda device=None: "cpu"  # type: ignore[attr-defined]
    torch.cpu.get_device_properties = lambda device=None: SimpleNamespace(total_memory=2**30)  # type: ignore[attr-defined]
    torch.cpu.memory_stats = lambda device=None: {}  # type: ignore[attr-defined]
    torch.cpu.reset_peak_memory_stats = torch.cpu.empty_cache = lambda device=None: None  # type: ignore[attr-defined]
    torch.cpu.current_device = lambda: 0  # type: ignore[assignment, return-value]
    # Its name in a later torch.
    torch.distributed.set_timeout = torch.distributed.distributed_c10d._set_pg_timeout  # type: ignore[attr-defined]
    divide = FSDPModule.set_gradient_divide_factor

    def divide_by_sums(self: FSDPModule, factor: float) -> None:
        divide(self, factor)
        self.set_force_sum_reduction_for_comms(True)  # Gloo has no other reduction

    FSDPModule.set_gradient_divide_factor = divide_by_sums  # type: ignore[method-assign]


_prepare_cpu()

from llama3_mixer import llama3_8b_mixer  # noqa: E402
from torchtitan.models.common.attention import FlexAttention, ScaledDotProductAttention  # noqa: E402
from torchtitan.models.llama3.config_registry import llama3_debugmodel  # noqa: E402
from torchtitan.train import main  # noqa: E402
from torchtitan.trainer import Trainer  # noqa: E402

from mixer.feed.torchtitan import MixerDataLoader  # noqa: E402


class RecordingDataLoader(MixerDataLoader):
    """Keeps what it handed out, for the test to read."""

    @dataclasses.dataclass(kw_only=True, slots=True)
    class Config(MixerDataLoader.Config):
        """As MixerDataLoader's."""

    def __iter__(self) -> Iterator[tuple[dict[str, torch.Tensor], torch.Tensor]]:
        folder = Path(os.environ["SEEN"])
        for number, (inputs, labels) in enumerate(super().__iter__()):
            np.savez(folder / f"{os.environ['RANK']}-{number}.npz", labels=labels, **inputs)
            yield inputs, labels


def small() -> Trainer.Config:
    """The example's config with torchtitan's debug model, sequences of 64, and what the CPU can run."""
    config, debug = llama3_8b_mixer(), llama3_debugmodel()
    config.model_spec, config.loss, config.optimizer = debug.model_spec, debug.loss, debug.optimizer
    model: Any = debug.model_spec.model if debug.model_spec else None
    for _, _, parent, name in list(model.traverse(FlexAttention.Config)):
        setattr(parent, name, ScaledDotProductAttention.Config())  # FlexAttention has no backward on the CPU
    example = config.dataloader
    config.dataloader = RecordingDataLoader.Config(
        **{field.name: getattr(example, field.name) for field in dataclasses.fields(example)}
    )
    config.validator.dataloader = MixerDataLoader.Config()
    config.profiler.enable_profiling = config.metrics.enable_tensorboard = False
    config.training.seq_len = 64
    config.training.global_batch_size = 12
    config.training.mixed_precision_param = "float32"
    config.training.disable_cuda_graphs = True
    config.parallelism.spmd_backend = "partial_dtensor"
    config.checkpoint.interval = 2
    return config


if __name__ == "__main__":
    main()
