"""A tokenizer as mixer sees it: documents in as an Arrow column, ids out as one flat array with offsets."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mixer.tokens.encoders import Encoder, load_encoder, load_rank_encoder
from mixer.tokens.long_pretokens import BORDERS, LONG_PRETOKEN_SIZES, LongPretokens, LongPretokenSizes
from mixer.tokens.ranks import RankRules, parse_ranks
from mixer.tokens.read import read_file
from mixer.tokens.reference import Reference, TiktokenReference, TokenizersReference

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenBatch:
    """Ids of some documents: document d is `ids[offsets[d]:offsets[d + 1]]`.

    `ids` are uint32, `offsets` int64[documents + 1].
    """

    ids: np.ndarray
    offsets: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Tokenizer:
    """A loaded tokenizer.

    `json_path` is a `tokenizer.json` without special added tokens, so that no string inside a document becomes a
    control id. `fingerprint` identifies vocabulary, rules and specials, on any machine.
    """

    name: str
    json_path: Path
    fingerprint: str
    vocab_size: int
    bos_id: int | None
    eos_id: int | None
    pad_id: int
    # How a rank file is used; None: the tokenizer is a `tokenizer.json`.
    rules: RankRules | None
    long_sizes: LongPretokenSizes = LONG_PRETOKEN_SIZES

    def __getstate__(self) -> dict[str, Any]:
        """The fields alone: a spawned process loads the rest when it needs it."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @cached_property
    def encoder(self) -> Encoder:
        """gigatoken, or a slower engine if gigatoken does not support this tokenizer."""
        if self.rules is not None:
            rules = self.rules
            return load_rank_encoder(
                self.json_path, lambda: TiktokenReference(rules, self._ranks), witnessed=rules.witnessed
            )
        return load_encoder(self.json_path, where=f"tokenizer {self.name}")

    @cached_property
    def reference(self) -> Reference:
        """The implementation that the ids are checked against."""
        if self.rules is not None:
            return TiktokenReference(self.rules, self._ranks)
        return TokenizersReference(self.json_path)

    def encode(self, text: pa.LargeStringArray) -> TokenBatch:
        """The ids of each document, without BOS or EOS.

        Documents with enormous pretokens go another way, with the same ids (`long_pretokens.py`).

        Args:
            text: documents, no nulls, valid UTF-8.

        Raises:
            TokenizerError: the encoder cannot encode a document.
        """
        if self.rules is not None and self.rules.normalize is not None:
            import pyarrow.compute as pc

            text = pc.utf8_normalize(text, form=self.rules.normalize)
        if self.rules is None or self.rules.pattern not in BORDERS or len(text) == 0:
            return self._encode(text)
        bounds = np.frombuffer(text.buffers()[1], dtype=np.int64)[text.offset : text.offset + len(text) + 1]
        parts: list[TokenBatch] = []
        done = 0
        for document in np.flatnonzero(np.diff(bounds) >= self.long_sizes.document_bytes).tolist():
            ids = self._long_pretokens.encode(memoryview(text[document].as_buffer()))
            if ids is not None:
                parts.append(self._encode(text[done:document]))
                parts.append(TokenBatch(ids=ids, offsets=np.array([0, len(ids)], dtype=np.int64)))
                done = document + 1
        return _joined([*parts, self._encode(text[done:])]) if parts else self._encode(text)

    def most_bytes(self, num_tokens: int) -> int | None:
        """No document of more bytes has so few tokens; None: not known of this tokenizer."""
        if self.rules is None or self.rules.normalize is not None:  # a normal form may be shorter
            return None
        return self.rules.longest_token * num_tokens

    def _encode(self, text: pa.LargeStringArray) -> TokenBatch:
        ids, offsets = self.encoder.encode(text)
        return TokenBatch(ids=ids, offsets=offsets)

    def _encode_bytes(self, document: memoryview) -> np.ndarray:
        """The ids of one document as the encoder gives them."""
        import pyarrow as pa

        offsets = pa.py_buffer(np.array([0, len(document)], dtype=np.int64))
        return self._encode(pa.LargeStringArray.from_buffers(1, offsets, pa.py_buffer(document))).ids

    @cached_property
    def _ranks(self) -> dict[bytes, int]:
        assert self.rules is not None
        return parse_ranks(read_file(self.rules.path), str(self.rules.path))

    @cached_property
    def _long_pretokens(self) -> LongPretokens:
        assert self.rules is not None
        return LongPretokens(self.rules.pattern, self._ranks, self._encode_bytes, self.long_sizes)

    def decode(self, ids: np.ndarray) -> str:
        """The text of some ids; ids without text are left out, broken UTF-8 is replaced."""
        return self.reference.decode(ids)

    def as_json(self) -> dict[str, Any]:
        """The tokenizer's entry of the manifest: name, fingerprint, vocabulary size and special ids."""
        return {
            "name": self.name,
            "fingerprint": self.fingerprint,
            "vocab_size": self.vocab_size,
            "bos_id": self.bos_id,
            "eos_id": self.eos_id,
            "pad_id": self.pad_id,
        }


def _joined(parts: list[TokenBatch]) -> TokenBatch:
    lengths = [np.diff(part.offsets) for part in parts]
    return TokenBatch(
        ids=np.concatenate([part.ids for part in parts]),
        offsets=np.concatenate([[0], np.cumsum(np.concatenate(lengths))]),
    )
