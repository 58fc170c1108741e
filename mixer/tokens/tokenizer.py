"""A tokenizer as mixer sees it: documents in as an Arrow column, ids out as one flat array with offsets."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mixer.digest import identity, xxh3
from mixer.errors import TokenizerError
from mixer.files import publish_or_set_aside
from mixer.tokens import llama3
from mixer.tokens.engines import Engine, load_engine
from mixer.tokens.long_pretokens import LONG_DOCUMENT_BYTES, LongPretokens
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
    control id. `fingerprint` identifies vocabulary, rules and special ids, on any machine.
    """

    name: str
    json_path: Path
    fingerprint: str
    vocab_size: int
    bos_id: int | None
    eos_id: int | None
    pad_id: int
    ranks_path: Path | None

    def __getstate__(self) -> dict[str, Any]:
        """The fields alone: a spawned process loads what it needs of the rest."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @cached_property
    def engine(self) -> Engine:
        """gigatoken, or `tokenizers` where gigatoken does not load or know this kind."""
        return load_engine(self.json_path)

    @cached_property
    def reference(self) -> Reference:
        """The implementation that the ids are checked against."""
        if self.ranks_path is not None:
            return TiktokenReference(self.ranks_path)
        return TokenizersReference(self.json_path)

    def encode(self, text: pa.LargeStringArray) -> TokenBatch:
        """The ids of each document, without BOS or EOS.

        Documents with enormous pretokens go another way, with the same ids (`long_pretokens.py`).

        Args:
            text: documents, no nulls, valid UTF-8.
        """
        bounds = np.frombuffer(text.buffers()[1], dtype=np.int64)[text.offset : text.offset + len(text) + 1]
        large = np.flatnonzero(np.diff(bounds) >= LONG_DOCUMENT_BYTES) if self.ranks_path is not None else ()
        parts: list[TokenBatch] = []
        done = 0
        for document in np.asarray(large).tolist():
            ids = self._long_pretokens.encode(text[document].as_buffer().to_pybytes())
            if ids is not None:
                parts.append(self._encode(text[done:document]))
                parts.append(TokenBatch(ids=ids, offsets=np.array([0, len(ids)], dtype=np.int64)))
                done = document + 1
        return _joined([*parts, self._encode(text[done:])]) if parts else self._encode(text)

    def _encode(self, text: pa.LargeStringArray) -> TokenBatch:
        ids, offsets = self.engine.encode(text)
        return TokenBatch(ids=ids, offsets=offsets)

    @cached_property
    def _long_pretokens(self) -> LongPretokens:
        import pyarrow as pa

        assert self.ranks_path is not None
        return LongPretokens(
            self.ranks_path, lambda document: self._encode(pa.array([document], pa.large_string())).ids
        )

    def decode(self, ids: np.ndarray) -> str:
        """The text of some ids; ids that stand for no text are left out, broken UTF-8 is replaced."""
        return self.reference.decode(ids)

    def as_json(self) -> dict:
        """What the manifest keeps: name, fingerprint, vocabulary size and special ids."""
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


def load_tokenizer(name: str, *, root: Path, cache_dir: Path) -> Tokenizer:
    """The tokenizer that a recipe names.

    Args:
        name: `llama3`, a path to a `tokenizer.json` or to a rank file in tiktoken's format, or a hub id.
        root: the folder that relative paths start from.
        cache_dir: where the forms that the engines read are kept.

    Raises:
        TokenizerError: not found, or not a tokenizer that either engine can load.
    """
    if name == "llama3":
        return _from_ranks(name, llama3.rank_file(), cache_dir)
    path = root / name
    if path.is_dir():
        path = path / "tokenizer.json"
    if path.is_file():
        return _from_file(Path(name).name, path, cache_dir)
    if name.count("/") == 1 and not name.startswith(("/", ".", "~")) and not name.endswith((".json", ".model")):
        return _from_file(name, _hub_file(name), cache_dir)
    raise TokenizerError(
        "there is no such tokenizer",
        where=str(path),
        hint="use llama3, a path to a tokenizer.json, or a hub id org/name",
    )


def _from_file(name: str, path: Path, cache_dir: Path) -> Tokenizer:
    if path.suffix != ".json":
        return _from_ranks(name, path, cache_dir)
    try:
        content = json.loads(path.read_bytes())
        vocab, added = content["model"]["vocab"], content.get("added_tokens") or []
        specials = {token["content"]: token["id"] for token in added if token.get("special")}
        ids = list(vocab.values()) if isinstance(vocab, dict) else list(range(len(vocab)))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TokenizerError(f"not a tokenizer.json: {error!r}", where=str(path)) from error
    # Special added tokens would turn strings of the text into control ids; the others are part of the vocabulary.
    plain = {
        **content,
        "added_tokens": [token for token in added if not token.get("special")],
        "post_processor": None,
        "model": _without_specials(content["model"], specials),
    }
    data = json.dumps(plain, ensure_ascii=False).encode()
    named = _named_specials(path.with_name("tokenizer_config.json"), specials)
    return Tokenizer(
        name=name,
        json_path=_keep(data, cache_dir),
        fingerprint=identity({"tokenizer": xxh3(data), "special_ids": named}),
        vocab_size=max([*ids, *(token["id"] for token in added)]) + 1,
        bos_id=named["bos_token"],
        eos_id=named["eos_token"],
        pad_id=next((one for one in (named["pad_token"], named["eos_token"]) if one is not None), 0),
        ranks_path=None,
    )


def _without_specials(model: dict, specials: dict[str, int]) -> dict:
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
    usual = {
        "bos_token": ("<|begin_of_text|>", "<s>", "<bos>", "<|startoftext|>"),
        "eos_token": ("<|end_of_text|>", "<|endoftext|>", "</s>", "<eos>"),
        "pad_token": ("<|finetune_right_pad_id|>", "<pad>", "[PAD]", "<|padding|>"),
    }
    try:
        config = json.loads(config_path.read_bytes()) if config_path.is_file() else {}
    except ValueError as error:
        raise TokenizerError("not valid JSON", where=str(config_path)) from error
    named: dict[str, int | None] = {}
    for kind, candidates in usual.items():
        told = config.get(kind)
        content = told.get("content") if isinstance(told, dict) else told
        names = (content,) if content else candidates
        named[kind] = next((specials[name] for name in names if name in specials), None)
    return named


def _from_ranks(name: str, path: Path, cache_dir: Path) -> Tokenizer:
    content = path.read_bytes()
    json_path = cache_dir / "tokenizers" / f"ranks-{xxh3(content)}-{llama3.JSON_VERSION}.json"
    num_ranks = len(content.split()) // 2
    if not json_path.is_file():
        ranks = llama3.load_ranks(path)
        num_ranks = len(ranks)
        json_path = publish_or_set_aside(json_path, llama3.tokenizer_json(ranks).encode())
    return Tokenizer(
        name=name,
        json_path=json_path,
        fingerprint=identity(
            {"ranks": xxh3(content), "pattern": llama3.SPLIT_PATTERN, "num_specials": llama3.NUM_SPECIALS}
        ),
        vocab_size=num_ranks + llama3.NUM_SPECIALS,
        bos_id=num_ranks + llama3.BOS_OFFSET,
        eos_id=num_ranks + llama3.EOS_OFFSET,
        pad_id=num_ranks + llama3.PAD_OFFSET,
        ranks_path=path,
    )


def _keep(data: bytes, cache_dir: Path) -> Path:
    """Put a tokenizer.json into the cache, by its digest."""
    path = cache_dir / "tokenizers" / f"{xxh3(data)}.json"
    return path if path.is_file() else publish_or_set_aside(path, data)


def _hub_file(repo: str) -> Path:
    """The `tokenizer.json` of a hub repository, from the hub's local cache or the hub.

    Raises:
        TokenizerError: no such repository or file, no access, or no network and nothing in the cache.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    try:
        path = Path(hf_hub_download(repo, "tokenizer.json"))
        with suppress(EntryNotFoundError):  # not every repository has one; it names BOS, EOS and padding
            hf_hub_download(repo, "tokenizer_config.json")
    except Exception as error:  # the client raises many kinds, among them those of its HTTP library
        raise TokenizerError(
            f"cannot get tokenizer.json from the hub: {error}",
            where=repo,
            hint="check the id and your token (HF_TOKEN), or give a path to a tokenizer.json",
        ) from error
    return path
