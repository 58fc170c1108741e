"""torchtitan's Llama-3 8B on a mixture that mixer built; for torchtitan 0.3.

torchtitan finds this file by its module name, so its folder has to be on PYTHONPATH:

    PYTHONPATH=examples/torchtitan torchrun --nproc-per-node 8 -m torchtitan.train \
        --module llama3_mixer --config llama3_8b_mixer --dataloader.dataset-path out/llama3-8b-zyda2
"""

from __future__ import annotations

from torchtitan.models.llama3.config_registry import llama3_8b
from torchtitan.trainer import Trainer

from mixer.feed.torchtitan import MixerDataLoader


def llama3_8b_mixer() -> Trainer.Config:
    """Sequences of 8192, 11 million tokens a step; each job goes on exactly where the one before it stopped."""
    config = llama3_8b()
    config.dataloader = MixerDataLoader.Config(dataset_path="out/llama3-8b-zyda2", num_workers=2)
    config.training.seq_len = 8192
    # 1344 = 2^6 x 3 x 7 sequences a step on 8, 16, 24, 32, 48, 56, 64 ... GPUs: torchtitan accumulates gradients.
    config.training.local_batch_size = 1
    config.training.global_batch_size = 1344
    config.training.steps = 73_500
    # Every job but the first loads the latest checkpoint by itself, and with it the cursor.
    config.checkpoint.enable = True
    config.checkpoint.interval = 250
    config.checkpoint.keep_latest_k = 3
    config.checkpoint.last_save_model_only = False  # so that a longer run can go on from the last step
    return config
