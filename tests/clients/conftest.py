"""What several trainers' tests learn from."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from workshop import Workshop


@pytest.fixture(scope="session")
def byte_build(workshop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some hundred sequences over a vocabulary of bytes, with which a step of training takes milliseconds."""
    folder = tmp_path_factory.mktemp("bytes")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(special_tokens=["<s>", "</s>", "<pad>"], initial_alphabet=alphabet)
    tokenizer.train_from_iterator([], trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    workshop.build(folder / "out", workshop.recipe(tokenizer=str(folder / "tokenizer.json")))
    return folder / "out"
