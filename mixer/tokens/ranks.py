"""Rank files (tiktoken's text format: a base64 token and its rank a line), and the `tokenizer.json` of one.

gigatoken and `tokenizers` read `tokenizer.json`, so the same tokenizer is written in that form. tiktoken merges any two
neighbours whose concatenation is in the vocabulary, the lowest rank first, and the JSON form lists merges. Of all pairs
that make a token only one is ever merged: the one that ends the merging of the token's own bytes. For where a token
comes to be, no merge crosses its borders before, so those inside happen as if it stood alone. Llama 3 has 280,147
pairs and needs 127,531 of them; the short list is loaded in two thirds of the time, and new words are encoded faster.
"""

from __future__ import annotations

import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

from mixer.errors import TokenizerError

JSON_VERSION = 3
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
    merges = sorted((rank, pair) for token, rank in ranks.items() if (pair := last_merge(token, ranks)))
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
                "merges": [[names[left], names[right]] for _, (left, right) in merges],
            },
        },
        ensure_ascii=False,
    )


def last_merge(token: bytes, ranks: Mapping[bytes, int]) -> tuple[bytes, bytes] | None:
    """The two parts that become a token when its bytes are merged by themselves, lowest rank first, leftmost first.

    None: they never become one token; text has it only where it is a whole pretoken, which no merge decides.
    """
    cuts = [cut for cut in range(1, len(token)) if token[:cut] in ranks and token[cut:] in ranks]
    if len(cuts) < 2:  # one pair is that pair, or is never reached
        return (token[: cuts[0]], token[cuts[0] :]) if cuts else None
    parts = [token[at : at + 1] for at in range(len(token))]
    while len(parts) > 2:
        pairs = [ranks.get(left + right, MAX_ID + 1) for left, right in pairwise(parts)]
        lowest = min(pairs)
        if lowest > MAX_ID:
            return None
        at = pairs.index(lowest)
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts[0], parts[1]


def _byte_letters() -> dict[int, int]:
    """GPT-2's printable letter for each byte, as the byte-level form of a vocabulary writes it."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table = {byte: byte for byte in printable}
    for place, byte in enumerate(byte for byte in range(256) if byte not in table):
        table[byte] = 256 + place
    return table
