"""The keys of a manifest and their kinds (format.md, section 4), so that a reader may rely on them. Pure."""

from __future__ import annotations

from typing import Any

_NUMBER = (int, float)
_ID = (int, type(None))
_SNAPSHOT: dict[str, Any] = {}  # inline or in a file of its own; read by `load_snapshot`
_SOURCE: dict[str, Any] = {
    "name": str,
    "weight": _NUMBER,
    "share_asked": _NUMBER,
    "row_weight": int,
    "row_share_asked": _NUMBER,
    "row_share": _NUMBER,
    "token_share": _NUMBER,
    "measured_tokens_per_row": _NUMBER,
    "rows": int,
    "rows_available": int,
    "rows_in_snapshot": int,
    "passes": _NUMBER,
    "documents": int,
    "skipped": dict,
    "text_bytes": int,
    "tokens": int,
    "tokens_left_out": int,
    "truncated_documents": int,
    "snapshot": _SNAPSHOT,
}
_SHARD: dict[str, Any] = {
    "path": str,
    "task": int,
    "draws": [int],
    "sequences": int,
    "tokens": int,
    "padding": int,
    "bytes": int,
    "file_xxh3": str,
    "content_xxh3": str,
}
SHAPE: dict[str, Any] = {
    "id": str,
    "name": str,
    "plan": str,
    "recipe": {
        "name": str,
        "seed": int,
        "tokenizer": (str, dict),
        "weights": str,
        "sequence": {"packing": str},
        "sources": {},
    },
    "tokenizer": {
        "name": str,
        "fingerprint": str,
        "vocab_size": int,
        "bos_id": _ID,
        "eos_id": _ID,
        "pad_id": int,
    },
    "sequence_length": int,
    "batch_sequences": int,
    "draws_per_task": int,
    "sources": [_SOURCE],
    "shards": [_SHARD],
    "epochs": {"count": int, "mode": str, "shards": str},
    "totals": dict.fromkeys(
        (
            "draws",
            "documents",
            "text_bytes",
            "sequences",
            "tokens",
            "padding",
            "tokens_left_out",
            "truncated_documents",
        ),
        int,
    ),
    "reference_check": {"documents": int, "different": int},
}


def shape_problem(value: Any, shape: Any, place: str = "") -> str | None:
    """The first place where a JSON value is not of a shape; None where there is none.

    A shape is a type or a tuple of types, a dict of the keys that must be there, or a list of one shape for all items.
    """
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return f"{place or 'it'} is no object"
        for key, inner in shape.items():
            if key not in value:
                return f"{place}{'.' if place else ''}{key} is missing"
            if problem := shape_problem(value[key], inner, f"{place}{'.' if place else ''}{key}"):
                return problem
        return None
    if isinstance(shape, list):
        if not isinstance(value, list):
            return f"{place} is no list"
        found = (shape_problem(item, shape[0], f"{place}[{number}]") for number, item in enumerate(value))
        return next((problem for problem in found if problem), None)
    if isinstance(value, bool) or not isinstance(value, shape):
        return f"{place} is {value!r}"[:200]
    return None
