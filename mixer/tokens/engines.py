"""The engines that do the encoding: gigatoken, and `tokenizers` for what gigatoken does not know."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa

from mixer.errors import TokenizerError


class Engine(Protocol):
    """Arrow in, flat arrays out."""

    name: str

    def encode(self, text: pa.LargeStringArray) -> tuple[np.ndarray, np.ndarray]:
        """Ids uint32 and offsets int64[documents + 1] of documents without nulls."""
        ...


def load_engine(json_path: Path) -> Engine:
    """The fastest engine that can load a `tokenizer.json`.

    Raises:
        TokenizerError: neither engine can.
    """
    try:
        return GigatokenEngine(json_path)
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as fast_error:  # a panic of gigatoken's Rust side is no Exception
        try:
            return TokenizersEngine(json_path)
        except Exception as error:
            raise TokenizerError(
                f"no engine loads this tokenizer: gigatoken: {fast_error}; tokenizers: {error}", where=str(json_path)
            ) from error


class GigatokenEngine:
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


class TokenizersEngine:
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
