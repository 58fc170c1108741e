"""The reference implementations: slow, written by others, and what the ids must equal."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np

from mixer.tokens import llama3


class Reference(Protocol):
    """What the check and the display need of a reference implementation."""

    def encode(self, text: str) -> list[int]:
        """The ids of one document; special strings are plain text."""
        ...

    def decode(self, ids: np.ndarray) -> str:
        """The text of some ids, broken UTF-8 replaced; ids outside the vocabulary give nothing."""
        ...


class TiktokenReference:
    """tiktoken with Meta's split pattern over a rank file."""

    def __init__(self, ranks_path: Path) -> None:
        import tiktoken

        ranks = llama3.load_ranks(ranks_path)
        self._num_ranks = len(ranks)
        self._encoding = tiktoken.Encoding(
            name=ranks_path.name, pat_str=llama3.SPLIT_PATTERN, mergeable_ranks=ranks, special_tokens={}
        )

    def encode(self, text: str) -> list[int]:
        """The ids of one document; special strings are plain text."""
        return self._encoding.encode_ordinary(text)

    def decode(self, ids: np.ndarray) -> str:
        """The text of some ids, broken UTF-8 replaced; special ids give nothing."""
        return self._encoding.decode(ids[ids < self._num_ranks].tolist())


class TokenizersReference:
    """Hugging Face `tokenizers` over a `tokenizer.json`."""

    def __init__(self, json_path: Path) -> None:
        self._json_path = json_path

    @cached_property
    def _tokenizer(self):
        from tokenizers import Tokenizer

        return Tokenizer.from_file(str(self._json_path))

    def encode(self, text: str) -> list[int]:
        """The ids of one document; special strings are plain text."""
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def decode(self, ids: np.ndarray) -> str:
        """The text of some ids, broken UTF-8 replaced; ids outside the vocabulary give nothing."""
        return self._tokenizer.decode(ids.tolist())
