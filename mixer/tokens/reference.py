"""The reference implementations: slow, independent, and the standard that ids must equal."""

from __future__ import annotations

import unicodedata
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mixer.tokens.ranks import RankRules


class Reference(Protocol):
    """The interface of a reference implementation for checks and display."""

    def encode(self, text: str) -> list[int]:
        """The ids of one document; special strings are plain text."""
        ...

    def decode(self, ids: np.ndarray) -> str:
        """The text of some ids, broken UTF-8 replaced; ids outside the vocabulary give nothing."""
        ...


class TiktokenReference:
    """tiktoken over a rank file, by the rules of its owner.

    Raises:
        ValueError: the pattern is not a regular expression of tiktoken.
    """

    def __init__(self, rules: RankRules, ranks: dict[bytes, int]) -> None:
        import tiktoken

        self._normalize: Any = rules.normalize
        self._is_rank = np.zeros(max(ranks.values()) + 1, dtype=bool)
        self._is_rank[list(ranks.values())] = True
        self._encoding = tiktoken.Encoding(
            name=rules.path.name, pat_str=rules.pattern, mergeable_ranks=ranks, special_tokens={}
        )

    def encode(self, text: str) -> list[int]:
        """The ids of one document; special strings are plain text."""
        return self._encoding.encode_ordinary(self._normalized(text))

    def encode_flat(self, text: str) -> np.ndarray:
        """The ids of one document as uint32, without a Python object for each."""
        return self._encoding.encode_to_numpy(self._normalized(text), disallowed_special=())

    def decode(self, ids: np.ndarray) -> str:
        """The text of some ids, broken UTF-8 replaced; ids that are not ranks give nothing."""
        ids = ids[ids < len(self._is_rank)]
        return self._encoding.decode(ids[self._is_rank[ids]].tolist())

    def _normalized(self, text: str) -> str:
        return text if self._normalize is None else unicodedata.normalize(self._normalize, text)


class TokenizersReference:
    """Hugging Face `tokenizers` over a `tokenizer.json`."""

    def __init__(self, json_path: Path) -> None:
        self._json_path = json_path

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        return Tokenizer.from_file(str(self._json_path))

    def encode(self, text: str) -> list[int]:
        """The ids of one document; special strings are plain text."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def decode(self, ids: np.ndarray) -> str:
        """The text of some ids, broken UTF-8 replaced; ids outside the vocabulary give nothing."""
        return str(self._tokenizer.decode(ids.tolist()))
