"""Rank files (tiktoken's text format: a base64 token and its rank a line), and the `tokenizer.json` of one.

gigatoken and `tokenizers` read `tokenizer.json`, so the same tokenizer is written in that form. tiktoken merges any two
neighbours whose concatenation is in the vocabulary; the JSON form lists merges, so it must list ALL pairs of entries
that make an entry, ordered by the rank of the result, then of the left, then of the right.
"""

from __future__ import annotations

import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from mixer.errors import TokenizerError

JSON_VERSION = 2
"""Raised when `tokenizer_json` comes to write something else: forms in the cache carry it in their name."""
MAX_ID = 2**31 - 1
"""Ids have to fit into the int32 of a shard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankRules:
    """The rules that turn text into ids with a rank file, beside its ranks."""

    path: Path
    # The split pattern, in the syntax of tiktoken.
    pattern: str
    # The Unicode form that text is brought into first, such as NFC; None: text stays as it is.
    normalize: str | None
    # Bytes of the longest token.
    longest_token: int
    # The ids of this tokenizer were held against its owner's own class.
    witnessed: bool


@lru_cache(maxsize=2)  # 0.2 s, and both the tokenizer and its reference ask for the same
def parse_ranks(content: bytes, where: str) -> dict[bytes, int]:
    """Token bytes -> rank, from the content of a rank file; not to be changed, since others have it too.

    Raises:
        TokenizerError: the content is not in that format.
    """
    try:
        words = content.split()
        ranks = {
            binascii.a2b_base64(token, strict_mode=True): int(rank)
            for token, rank in zip(words[::2], words[1::2], strict=True)
        }
    except ValueError as error:
        raise TokenizerError(
            "not a rank file (a base64 token and its rank on each line)",
            where=where,
            hint="a SentencePiece model has to be converted to tokenizer.json first",
        ) from error
    if any(bytes([byte]) not in ranks for byte in range(256)):
        raise TokenizerError("the rank file does not have all 256 single bytes", where=where)
    numbers = set(ranks.values())
    if len(numbers) < len(words) // 2 or min(numbers) < 0 or max(numbers) > MAX_ID:
        raise TokenizerError(
            f"tokens and ranks of a rank file must be different, and ranks from 0 to {MAX_ID}", where=where
        )
    return ranks


def tokenizer_json(ranks: Mapping[bytes, int], pattern: str) -> str:
    """The ranks as a `tokenizer.json`, without added tokens: special strings in a text stay plain text."""
    letters = _byte_letters()
    names = {token: token.decode("latin-1").translate(letters) for token in ranks}
    merges = []
    for token, rank in ranks.items():
        for cut in range(1, len(token)):
            left, right = token[:cut], token[cut:]
            if left in ranks and right in ranks:
                merges.append((rank, ranks[left], ranks[right], names[left], names[right]))
    merges.sort()
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    return json.dumps(
        {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [],
            "normalizer": None,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]},
            "post_processor": None,
            "decoder": byte_level,
            "model": {
                "type": "BPE",
                "dropout": None,
                "unk_token": None,
                "continuing_subword_prefix": None,
                "end_of_word_suffix": None,
                "fuse_unk": False,
                "byte_fallback": False,
                "ignore_merges": True,
                "vocab": {names[token]: rank for token, rank in ranks.items()},
                "merges": [[left, right] for _, _, _, left, right in merges],
            },
        },
        ensure_ascii=False,
    )


def _byte_letters() -> dict[int, int]:
    """GPT-2's printable letter for each byte, as the byte-level form of a vocabulary writes it."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table = {byte: byte for byte in printable}
    for place, byte in enumerate(byte for byte in range(256) if byte not in table):
        table[byte] = 256 + place
    return table
