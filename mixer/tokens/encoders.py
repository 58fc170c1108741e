"""The engines: gigatoken; where it has no support, `tokenizers`, or tiktoken for rank files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa

from mixer.errors import TokenizerError
from mixer.tokens.reference import TiktokenReference

# Where encoders have been seen to differ: contractions and what looks like them, digits of any script, marks, runs of
# white space before and after anything, line ends and slashes, cases of letters.
_PROBE = (
    "don't DON'T 'S 'll O'Neill'S 'ſ ’s x'sy they've",
    "0 12 345 6789012 1,234.56 ١٢٣٤ ⅷ ²³ 12٣45 x1 1x",
    "e\u0301 \u0301 Åßẞ İi ǅ ʰª HTMLParser camelCase ÉCOLEÉcole ΑΣ Σας",
    "猫が好き。中文字符 한국어 ไทย हिन्दी עִבְרִית العربية 👩‍👩‍👧‍👦🏳️‍🌈🇩🇪 a\u200db \ufeffx",
    "  two\t\ttabs \r\n\r\n mixed \n  \n x \u00a0nbsp\u2003\u3000wide\u2028line\u0085next \x1c\x1f \x00",
    "a/b //c\n/ =/\n/\n ===\n\n\n/// #!/bin/sh\r\n\t// x",
    "end  \n \n  ",
    "   ",
    "\n\n",
)


class Encoder(Protocol):
    """Arrow in, flat arrays out."""

    name: str

    def encode(self, text: pa.LargeStringArray) -> tuple[np.ndarray, np.ndarray]:
        """Ids uint32 and offsets int64[documents + 1] of documents without nulls."""
        ...


def load_encoder(json_path: Path, *, where: str) -> Encoder:
    """The fastest encoder that can load a `tokenizer.json`.

    Args:
        json_path: the file, as it was made ready for the encoders.
        where: how a message names the tokenizer.

    Raises:
        TokenizerError: neither encoder can.
    """
    try:
        return GigatokenEncoder(json_path)
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as fast_error:  # a panic of gigatoken's Rust side is no Exception
        try:
            return TokenizersEncoder(json_path)
        except Exception as error:
            raise TokenizerError(
                f"no encoder loads this tokenizer: gigatoken: {fast_error}; tokenizers: {error}",
                where=where,
                hint="check that `tokenizers.Tokenizer.from_file` loads its tokenizer.json",
            ) from error


def load_rank_encoder(json_path: Path, reference: Callable[[], TiktokenReference], *, witnessed: bool) -> Encoder:
    """The fastest encoder that gives the ids of a rank file's reference.

    Args:
        json_path: the ranks with the pattern in gigatoken's spelling, as a `tokenizer.json`.
        reference: gives tiktoken, by the rules of the rank file's owner; not called where gigatoken is trusted.
        witnessed: gigatoken was held against this tokenizer's owner; otherwise a probe has to agree.
    """
    try:
        encoder = GigatokenEncoder(json_path)
        agrees = witnessed or _agrees(encoder, reference())
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException:  # an unknown pattern, or a panic of gigatoken's Rust side, which is no Exception
        return TiktokenEncoder(reference())
    return encoder if agrees else TiktokenEncoder(reference())


def _agrees(encoder: Encoder, reference: TiktokenReference) -> bool:
    ids, offsets = encoder.encode(pa.array(_PROBE, pa.large_string()))
    parts = np.split(ids, offsets[1:-1])
    return all(part.tolist() == reference.encode(text) for part, text in zip(parts, _PROBE, strict=True))


class GigatokenEncoder:
    """gigatoken on the calling thread: processes are the unit of parallelism, and scale where threads do not."""

    name = "gigatoken"

    def __init__(self, json_path: Path) -> None:
        import awkward
        from gigatoken import Tokenizer

        self._from_arrow = awkward.from_arrow
        self._tokenizer = Tokenizer.from_json(json_path.read_bytes())

    def encode(self, text: pa.LargeStringArray) -> tuple[np.ndarray, np.ndarray]:
        """Ids uint32 and offsets int64[documents + 1] of documents without nulls; no Python object per document."""
        if len(text) == 0:
            return np.empty(0, dtype=np.uint32), np.zeros(1, dtype=np.int64)
        # awkward reads a slice's validity bitmap from the wrong bit, and takes texts for nulls; there are none.
        _, offsets, data = text.buffers()
        text = pa.LargeStringArray.from_buffers(len(text), offsets, data or pa.py_buffer(b""), offset=text.offset)
        layout = self._tokenizer.encode_batch(self._from_arrow(text), parallel=False).layout
        return np.asarray(layout.content.data), np.asarray(layout.offsets.data)


class TokenizersEncoder:
    """Hugging Face `tokenizers`: slower, knows every kind of tokenizer."""

    name = "tokenizers"

    def __init__(self, json_path: Path) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(json_path))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    def encode(self, text: pa.LargeStringArray) -> tuple[np.ndarray, np.ndarray]:
        """Ids uint32 and offsets int64[documents + 1] of documents without nulls; one Python list per document."""
        encodings = self._tokenizer.encode_batch_fast(text.to_pylist(), add_special_tokens=False)
        ids = [np.array(encoding.ids, dtype=np.uint32) for encoding in encodings]
        offsets = np.cumsum([0, *(len(part) for part in ids)], dtype=np.int64)
        return np.concatenate(ids) if ids else np.empty(0, dtype=np.uint32), offsets


class TiktokenEncoder:
    """tiktoken itself, for rank files with a pattern that gigatoken does not know: slower, and the reference."""

    name = "tiktoken"

    def __init__(self, reference: TiktokenReference) -> None:
        self._reference = reference

    def encode(self, text: pa.LargeStringArray) -> tuple[np.ndarray, np.ndarray]:
        """Ids uint32 and offsets int64[documents + 1] of documents without nulls; one Python string per document.

        Raises:
            TokenizerError: tiktoken gives up on a document, because its pattern backtracks too often in it.
        """
        ids = [self._encode(document.as_py()) for document in text]
        offsets = np.cumsum([0, *(len(part) for part in ids)], dtype=np.int64)
        return np.concatenate(ids) if ids else np.empty(0, dtype=np.uint32), offsets

    def _encode(self, document: str) -> np.ndarray:
        try:
            return self._reference.encode_flat(document)
        except (KeyboardInterrupt, SystemExit, MemoryError):
            raise
        except BaseException as error:  # a panic of tiktoken's Rust side is no Exception
            raise TokenizerError(
                f"tiktoken cannot split a document of {len(document):,} characters that begins with "
                f"{document[:40]!a}: {error}",
                where="tokenizer.pattern",
                hint="write the pattern with possessive quantifiers (`\\s++`, not `\\s+`), or drop the row by `where`",
            ) from error
