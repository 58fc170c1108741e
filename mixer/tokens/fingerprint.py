"""The fingerprint of a tokenizer: equal on every machine for the same tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mixer.digest import identity


def fingerprint(
    rules: Mapping[str, Any],
    *,
    specials: Mapping[str, int],
    vocab_size: int,
    bos_id: int | None,
    eos_id: int | None,
    pad_id: int,
) -> str:
    """The sha256 (hex) of everything that determines the ids of a text and of its borders.

    Args:
        rules: vocabulary and pattern, or their digests: JSON values.
        specials: the special strings and their ids.
        vocab_size: one more than the largest id.
        bos_id: the id that begins a document.
        eos_id: the id that ends a document.
        pad_id: the id of padding.
    """
    return identity(
        {
            **rules,
            "specials": dict(specials),
            "vocab_size": vocab_size,
            "bos_id": bos_id,
            "eos_id": eos_id,
            "pad_id": pad_id,
        }
    )
