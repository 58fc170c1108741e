"""A tokenizer from a `tokenizer.json`, and from the `tokenizer_config.json` beside it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from mixer.digest import xxh3
from mixer.errors import TokenizerError
from mixer.system.publish import publish_or_set_aside
from mixer.tokens.encode import Tokenizer
from mixer.tokens.fingerprint import fingerprint
from mixer.tokens.ranks import MAX_ID
from mixer.tokens.read import read_file

_USUAL = {
    "bos_token": ("<|begin_of_text|>", "<s>", "<bos>", "<|startoftext|>"),
    "eos_token": ("<|end_of_text|>", "<|endoftext|>", "</s>", "<eos>"),
    "pad_token": ("<|finetune_right_pad_id|>", "<pad>", "[PAD]", "<|padding|>"),
}


def from_json_file(name: str, path: Path, cache_dir: Path) -> Tokenizer:
    """The tokenizer of a `tokenizer.json`.

    Args:
        name: the tokenizer's name.
        path: the file.
        cache_dir: where the form that the encoders read is kept.

    Raises:
        TokenizerError: it is missing, or not a `tokenizer.json`.
    """
    content = _load_json(path)
    try:
        vocab, added = content["model"]["vocab"], content.get("added_tokens") or []
        specials = {str(token["content"]): _id(token["id"]) for token in added if token.get("special")}
        ids = [_id(number) for number in vocab.values()] if isinstance(vocab, dict) else list(range(len(vocab)))
        vocab_size = max([*ids, *(_id(token["id"]) for token in added)]) + 1
        # Special added tokens would turn strings of the text into control ids; the others are part of the vocabulary.
        plain = {
            **content,
            "added_tokens": [token for token in added if not token.get("special")],
            "post_processor": None,
            "model": _without_specials(content["model"], specials),
        }
        data = json.dumps(plain, ensure_ascii=False).encode()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise TokenizerError(
            f"not a tokenizer.json: {error!r}", where=str(path), hint="`save` of the package tokenizers writes one"
        ) from error
    named = _named_specials(path.with_name("tokenizer_config.json"), specials)
    pad_id = next((one for one in (named["pad_token"], named["eos_token"]) if one is not None), 0)
    return Tokenizer(
        name=name,
        json_path=_keep(data, cache_dir),
        fingerprint=fingerprint(
            {"json": hashlib.sha256(data).hexdigest()},
            specials=specials,
            vocab_size=vocab_size,
            bos_id=named["bos_token"],
            eos_id=named["eos_token"],
            pad_id=pad_id,
        ),
        vocab_size=vocab_size,
        bos_id=named["bos_token"],
        eos_id=named["eos_token"],
        pad_id=pad_id,
        rules=None,
    )


def _id(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_ID:
        raise ValueError(f"{value!r} is not an id from 0 to {MAX_ID}")
    return value


def _load_json(path: Path) -> Any:
    """The JSON value of a file.

    Raises:
        TokenizerError: it cannot be read, or is not JSON.
    """
    content = read_file(path)
    try:
        return json.loads(content)
    except RecursionError as error:
        raise TokenizerError("not valid JSON: nested too deep", where=str(path)) from error
    except ValueError as error:
        raise TokenizerError(f"not valid JSON: {error}", where=str(path)) from error


def _without_specials(model: dict[str, Any], specials: dict[str, int]) -> dict[str, Any]:
    """The model with its special entries under names that no text can give them.

    BPE reaches an entry by merges alone, and specials have none; other models look words and pieces up by name.
    """
    if "merges" in model:
        return model
    hidden = {name: f"\ufdd0 {name}" for name in specials if name != model.get("unk_token")}
    vocab = model["vocab"]
    if isinstance(vocab, dict):
        return {**model, "vocab": {hidden.get(name, name): number for name, number in vocab.items()}}
    return {**model, "vocab": [[hidden.get(name, name), score] for name, score in vocab]}


def _named_specials(config_path: Path, specials: dict[str, int]) -> dict[str, int | None]:
    """BOS, EOS and padding: from the `tokenizer_config.json` beside the tokenizer, else by their usual names."""
    config = _load_json(config_path) if config_path.exists() else {}
    if not isinstance(config, dict):
        raise TokenizerError("must hold a JSON object", where=str(config_path))
    named: dict[str, int | None] = {}
    for kind, candidates in _USUAL.items():
        told = config.get(kind)
        content = told.get("content") if isinstance(told, dict) else told
        names = (content,) if isinstance(content, str) else candidates
        named[kind] = next((specials[name] for name in names if name in specials), None)
    return named


def _keep(data: bytes, cache_dir: Path) -> Path:
    """Put a tokenizer.json into the cache, by its digest."""
    path = cache_dir / "tokenizers" / f"{xxh3(data)}.json"
    return path if path.is_file() else publish_or_set_aside(path, data)
