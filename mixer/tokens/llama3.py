"""The Llama-3 tokenizer, with no network: from Meta's rank file to a `tokenizer.json`.

Meta's `llama-models` package carries the rank file (`tokenizer.model`, tiktoken's text format: a base64 token and
its rank a line). gigatoken and `tokenizers` read `tokenizer.json`, so the same tokenizer is written in that form.
tiktoken merges any two neighbours whose concatenation is in the vocabulary; the JSON form lists merges, so it must
list ALL pairs of entries that make an entry, ordered by the rank of the result, then of the left, then of the right.
"""

from __future__ import annotations

import binascii
import json
from pathlib import Path

from mixer.errors import TokenizerError
from mixer.extras import install_command

# Meta's pattern, llama-models, llama3/tokenizer.py.
SPLIT_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
NUM_SPECIALS = 256
JSON_VERSION = 1
"""Raised when `tokenizer_json` comes to write something else: forms in the cache carry it in their name."""
BOS_OFFSET, EOS_OFFSET, PAD_OFFSET = 0, 1, 4
"""`<|begin_of_text|>`, `<|end_of_text|>`, `<|finetune_right_pad_id|>`, counted from the end of the ranks."""


def rank_file() -> Path:
    """The path of the rank file in the installed `llama-models`.

    Raises:
        TokenizerError: the package is not installed or carries no file.
    """
    try:
        import llama_models
    except ImportError as error:
        raise TokenizerError(
            "the Llama-3 tokenizer needs the package llama-models", hint=install_command("build")
        ) from error
    path = Path(llama_models.__file__ or "").parent / "llama3" / "tokenizer.model"
    if not path.is_file():
        raise TokenizerError("the installed llama-models has no llama3/tokenizer.model", where=str(path.parent))
    return path


def load_ranks(path: Path) -> dict[bytes, int]:
    """Token bytes -> rank, from a rank file in tiktoken's format.

    Raises:
        TokenizerError: the file is missing or not in that format.
    """
    try:
        words = path.read_bytes().split()
        ranks = {
            binascii.a2b_base64(token, strict_mode=True): int(rank)
            for token, rank in zip(words[::2], words[1::2], strict=True)
        }
    except OSError as error:
        raise TokenizerError(f"cannot read the rank file: {error.strerror}", where=str(path)) from error
    except ValueError as error:
        raise TokenizerError(
            "not a rank file (a base64 token and its rank on each line)",
            where=str(path),
            hint="a SentencePiece model has to be converted to tokenizer.json first",
        ) from error
    if sorted(ranks.values()) != list(range(len(ranks))) or any(bytes([byte]) not in ranks for byte in range(256)):
        raise TokenizerError("the ranks are not 0..n-1 with all 256 single bytes among them", where=str(path))
    return ranks


def tokenizer_json(ranks: dict[bytes, int]) -> str:
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
    split = {"type": "Split", "pattern": {"Regex": SPLIT_PATTERN}, "behavior": "Isolated", "invert": False}
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
