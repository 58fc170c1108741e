"""`datasets.load_dataset` and `transformers.Trainer`, as installed, over a real build."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
from snippets import run_example
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

import mixer.feed
import mixer.feed.hf
from mixer.feed.hf import Collator


@pytest.fixture(scope="module")
def rows(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> datasets.Dataset:
    """The build as `datasets` reads it."""
    return datasets.load_dataset(str(finished), split="train", cache_dir=str(tmp_path_factory.mktemp("hf")))


def tiny_llama(seed: int = 0) -> LlamaForCausalLM:
    """The real model code with two small layers and the whole vocabulary."""
    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=128_256,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=64,
        )
    )


@pytest.mark.parametrize("across_documents", [True, False])
def test_a_batch_of_rows_is_the_batch_of_the_feed(
    finished: Path, rows: datasets.Dataset, across_documents: bool
) -> None:
    """Ids, labels and positions, for rows as lists and as arrays; flattened with the borders."""
    expected = mixer.feed.open(finished)[:5]
    for some in (rows.select(range(5)), rows.select(range(5)).with_format("numpy")):
        made = Collator(finished, across_documents=across_documents)(list(some))
        assert made["input_ids"].tolist() == made["labels"].tolist() == expected.input_ids.tolist()
        assert made["shift_labels"].tolist() == expected.labels(across_documents=across_documents).tolist()
        assert made["position_ids"].tolist() == expected.position_ids().tolist()
        flat = Collator(finished, across_documents=across_documents, flatten=True)(list(some))
        assert flat["input_ids"].tolist() == [expected.input_ids.reshape(-1).tolist()]
        assert flat["cu_seq_lens_q"].tolist() == flat["cu_seq_lens_k"].tolist() == expected.cu_seqlens().tolist()
        assert flat["max_length_q"] == flat["max_length_k"] == expected.max_seqlen()


def test_the_models_loss_is_over_our_labels(finished: Path, rows: datasets.Dataset) -> None:
    """Every position counts, the last of each sequence too, and nothing that is masked."""
    made: dict[str, Any] = Collator(finished)(list(rows.select(range(4))))
    model = tiny_llama().eval()
    with torch.no_grad():
        found = model(**made)
    expected = torch.nn.functional.cross_entropy(found.logits.flatten(0, 1).float(), made["shift_labels"].flatten())
    assert (made["shift_labels"][:, -1] >= 0).any()
    assert (made["shift_labels"] < 0).any()
    torch.testing.assert_close(found.loss, expected)


def test_a_trainer_learns_from_a_build(finished: Path, rows: datasets.Dataset, tmp_path: Path) -> None:
    """transformers.Trainer with the collator: forty steps on the CPU, and the loss falls."""
    arguments = TrainingArguments(
        output_dir=str(tmp_path),
        per_device_train_batch_size=8,
        max_steps=40,
        learning_rate=0.02,
        logging_steps=10,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        remove_unused_columns=False,
        disable_tqdm=True,
        dataloader_pin_memory=False,
        seed=1,
    )
    trainer = Trainer(tiny_llama(), arguments, train_dataset=rows, data_collator=Collator(finished))
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) == 4
    assert losses[-1] < losses[0] - 1


def test_the_example_runs_as_it_stands(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lines of the module's docstring, in a folder with such a build; on the CPU and for three steps."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out/my-mixture").symlink_to(finished)
    monkeypatch.chdir(tmp_path)
    short = {"max_steps": 3, "use_cpu": True, "dataloader_pin_memory": False, "report_to": [], "save_strategy": "no"}
    model = tiny_llama()
    before = model.get_input_embeddings().weight.detach().clone()
    run_example(
        mixer.feed.hf,
        datasets=datasets,
        Collator=Collator,
        Trainer=Trainer,
        TrainingArguments=partial(TrainingArguments, **short),
        model=model,
    )
    assert not torch.equal(before, model.get_input_embeddings().weight)
