"""Ids equal those of the reference implementations, whatever the text; special strings stay plain text."""

from __future__ import annotations

import itertools
import json
import pickle
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import oracle
import pyarrow as pa
import pytest
import regex
import tiktoken
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as HfTokenizer
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers
from workshop import Workshop

from mixer.errors import RecipeError, TokenizerError
from mixer.recipe import Source, parse_recipe
from mixer.sources.pin import pin
from mixer.sources.reader import SourceReader
from mixer.tokens import long_pretokens
from mixer.tokens.encoders import GigatokenEncoder, TokenizersEncoder
from mixer.tokens.long_pretokens import LongPretokenSizes
from mixer.tokens.patterns import LLAMA3, PATTERNS
from mixer.tokens.ranks import tokenizer_json
from mixer.tokens.tokenizer import Tokenizer, load_tokenizer

ODD = [
    "",
    " ",
    "\n",
    "a",
    "don't DON'T 'S 'll",
    "<|begin_of_text|><|end_of_text|><|eot_id|> <|reserved_special_token_0|>",
    "12345678 1,234.5678 ١٢٣ ⅷ ²³",
    "  leading\t\ttabs \r\n\r\n mixed \n  \n x ",
    "\u00a0nbsp\u2003em\u3000wide\u2028line\u0085next",
    "e\u0301 é Å ﬁ ẞ İi ǅ",
    "猫が好き。中文字符 한국어 ไทย हिन्दी עִבְרִית العربية",
    "👩‍👩‍👧‍👦🏳️‍🌈🇩🇪 a\u200db \ufeffbom \u200b",
    "\x00\x01\x7f null bytes \x00",
    "\U0001d54f\U000e0001\U0010ffff\ue000",
    "=" * 5000,
    " " * 5000 + "x",
    "ab" * 5000,
    "\n" * 999 + "\t" * 999,
    "x" * 30_000,
]


@pytest.fixture(scope="module")
def llama3(workshop: Workshop) -> Tokenizer:
    return load_tokenizer("llama3", root=workshop.root, cache_dir=workshop.cache_dir)


@pytest.fixture(scope="module")
def short_stretches(llama3: Tokenizer) -> Tokenizer:
    """To which a few hundred bytes are a long pretoken."""
    short = LongPretokenSizes(
        document_bytes=1, pretoken_bytes=256, stretch_bytes=200, first_overlap_tokens=4, piece_bytes=1000
    )
    return replace(llama3, long_sizes=short)


def large(texts: list[str]) -> pa.LargeStringArray:
    return pa.array(texts, pa.large_string())


def encoded(engine: Any, texts: list[str] | pa.LargeStringArray) -> list[list[int]]:
    ids, offsets = engine.encode(texts if isinstance(texts, pa.Array) else large(texts))
    return [ids[start:stop].tolist() for start, stop in zip(offsets.tolist(), offsets[1:].tolist())]


@pytest.fixture(scope="module")
def documents(sample: Path) -> list[str]:
    """The text of every row of the sample."""
    recipe = parse_recipe(
        {
            "target": {"rows": 1},
            "sources": {
                "dclm": {"weight": 1, "path": "dclm/*"},
                "edu": {"weight": 1, "path": "fineweb-edu/*"},
                "dolma": {"weight": 1, "path": "dolma/*"},
                "zyda": {"weight": 1, "path": "zyda/*"},
                "math": {"weight": 1, "path": "finemath/*"},
                "stack": {"weight": 1, "path": "stack-v2/*", "text": "files[].text"},
            },
        },
        where="test",
        default_name="all",
    )
    return [text for name, source in recipe.sources.items() for text in _texts(name, source, sample)]


def _texts(name: str, source: Source, root: Path) -> Iterator[str]:
    snapshot = pin(name, source, root)
    reader = SourceReader(name, source, snapshot)
    for block, kept in enumerate(snapshot.block_kept.tolist()):
        for texts in reader.read(block, 0, kept):
            yield from texts.text.to_pylist()


def test_llama3_ids_equal_tiktoken_on_every_document_of_the_sample(llama3: Tokenizer, documents: list[str]) -> None:
    """Hundreds of real documents and whole repositories."""
    assert len(documents) > 300
    encode = oracle.llama3()
    assert llama3.encoder.name == "gigatoken"
    assert encoded(llama3.encoder, documents) == [encode(text) for text in documents]


def test_llama3_ids_equal_tiktoken_on_odd_text(llama3: Tokenizer) -> None:
    """Odd Unicode, long runs, control characters, special strings, and nothing at all."""
    encode = oracle.llama3()
    found = encoded(llama3.encoder, ODD)
    assert found == [encode(text) for text in ODD]
    assert max(token for ids in found for token in ids) < 128_000


@settings(deadline=None, max_examples=60)
@given(texts=st.lists(st.text(st.characters(codec="utf-8", max_codepoint=0x24F), max_size=60), max_size=6))
def test_llama3_ids_equal_tiktoken_on_any_latin_text(llama3: Tokenizer, texts: list[str]) -> None:
    """Up to Latin Extended-B, where all Unicode tables agree on what a letter is."""
    encode = oracle.llama3()
    assert encoded(llama3.encoder, texts) == [encode(text) for text in texts]


def test_the_tokenizers_engine_gives_the_same_llama3_ids(llama3: Tokenizer, documents: list[str]) -> None:
    """The slow engine over the same tokenizer.json."""
    some = [text for text in documents[::7] if len(text) < 50_000] + ODD[:14]
    assert encoded(TokenizersEncoder(llama3.json_path), some) == encoded(llama3.encoder, some)


@pytest.mark.parametrize("engine", [GigatokenEncoder, TokenizersEncoder])
def test_slices_of_a_column_that_has_nulls_keep_all_their_documents(llama3: Tokenizer, engine: Any) -> None:
    """Every slice without a null, wherever the nulls of the whole column are."""
    column = pa.array(["first one", None, "b", "c word", "", None, None, "d", "e is here"], pa.large_string())
    load = engine(llama3.json_path)
    for start in range(len(column)):
        for stop in range(start, len(column) + 1):
            part = column[start:stop]
            if part.null_count == 0:
                assert encoded(load, part) == encoded(load, part.to_pylist()), (start, stop)


def test_no_documents_give_no_ids(llama3: Tokenizer) -> None:
    """Not even a dummy."""
    for engine in (llama3.encoder, TokenizersEncoder(llama3.json_path)):
        assert encoded(engine, []) == []
        assert encoded(engine, ["", ""]) == [[], []]


def test_a_tokenizer_that_was_used_can_be_sent_to_a_process(llama3: Tokenizer) -> None:
    """Without what it loaded, which cannot."""
    text = pa.array(["some text"], pa.large_string())
    ids, decoded = llama3.encode(text).ids, llama3.decode(llama3.encode(text).ids)
    copy = pickle.loads(pickle.dumps(llama3))
    assert copy == llama3
    assert (copy.encode(text).ids.tolist(), copy.decode(ids)) == (ids.tolist(), decoded)


@pytest.mark.parametrize("seed", range(20))
def test_the_merges_of_any_ranks_give_the_ids_of_tiktoken(seed: int, tmp_path: Path) -> None:
    """By both encoders that read the list: one merge a token is enough, and none is missing.

    Half of all words of two letters, in any order of ranks: no training would give most of these tables.
    """
    rng = np.random.default_rng(seed)
    words = ["".join(word).encode() for size in range(2, 7) for word in itertools.product("ab", repeat=size)]
    tokens = [bytes([byte]) for byte in range(256)] + [word for word in words if rng.random() < 0.5]
    ranks = {tokens[place]: rank for rank, place in enumerate(rng.permutation(len(tokens)).tolist())}
    texts = ["".join(rng.choice(["a", "b"], size)) for size in rng.integers(1, 40, 200)]
    reference = tiktoken.Encoding(name="any", pat_str=LLAMA3, mergeable_ranks=ranks, special_tokens={})
    expected = [reference.encode_ordinary(text) for text in texts]
    content = tokenizer_json(ranks, LLAMA3)
    assert len(json.loads(content)["model"]["merges"]) <= len(ranks) - 256
    found = HfTokenizer.from_str(content)
    assert [found.encode(text).ids for text in texts] == expected
    (tmp_path / "tokenizer.json").write_text(content)
    ids, offsets = GigatokenEncoder(tmp_path / "tokenizer.json").encode(pa.array(texts, pa.large_string()))
    assert [part.tolist() for part in np.split(ids, offsets[1:-1])] == expected


def test_special_ids_of_llama3(llama3: Tokenizer) -> None:
    """As Meta numbers them."""
    assert (llama3.bos_id, llama3.eos_id, llama3.pad_id, llama3.vocab_size) == (128000, 128001, 128004, 128256)


def test_decoding_gives_the_text_back(llama3: Tokenizer) -> None:
    """Special ids give no text."""
    ids, _ = llama3.encoder.encode(large(["Größe 猫 🙂"]))
    assert llama3.decode(ids) == "Größe 猫 🙂"


FILL = "some words, here. " * 60_000
ENORMOUS = {
    "spaces before a digit": " " * 70_000 + "5 end",
    "tabs before symbols": "\t\t" + "=" * 70_000 + " end",
    "odd spaces before emoji": "\u00a0\u00a0" + "🙂" * 20_000 + " end",
    "indented symbols": "x\n\t\t" + "#" * 70_000 + "\n",
    "newlines before a digit": "\n" * 70_000 + "5",
    "spaces before letters": "  " + "x" * 70_000,
}


@pytest.mark.parametrize("what", ENORMOUS)
def test_an_enormous_pretoken_changes_no_id_round_it(llama3: Tokenizer, what: str) -> None:
    """In a document of over 1 MiB, which is encoded piece by piece."""
    text = FILL + ENORMOUS[what]
    assert llama3.encode(large([text])).ids.tolist() == oracle.llama3()(text)


PIECES = [
    " ",
    "\n",
    "\r\n",
    "\t",
    "\u00a0",
    " \n",
    "a",
    "aB",
    "abcdefgh",
    "é",
    "猫犬",
    "0",
    "=-",
    "#",
    "🙂",
    "'s",
    "\x00",
    ".",
]
stretches = st.tuples(st.sampled_from(PIECES), st.sampled_from([1, 2, 5, 300]))


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.lists(stretches, max_size=8))
def test_documents_of_long_pretokens_have_the_ids_of_tiktoken(
    short_stretches: Tokenizer, parts: list[tuple[str, int]]
) -> None:
    """Stretches of any kind in any order; what counts as long is made short."""
    text = "".join(piece * count for piece, count in parts)
    assert short_stretches.encode(large([text])).ids.tolist() == oracle.llama3()(text)


MORE = ["/", "/\n", "'", "'S", "’s", "ABC", "\u0301", "e\u0301", "ǅ", "ʰ", "١", "\x1c", "\x85", "_"]


@settings(deadline=None, max_examples=300)
@given(
    parts=st.lists(st.tuples(st.sampled_from(PIECES + MORE), st.integers(1, 3)), max_size=12),
    name=st.sampled_from(sorted(PATTERNS)),
)
def test_a_sure_border_is_a_border_of_every_split(parts: list[tuple[str, int]], name: str) -> None:
    """Of its own pattern, whatever stands around it; no pretoken reaches over one."""
    text = "".join(piece * count for piece, count in parts)
    pattern = PATTERNS[name]
    classes = long_pretokens._CLASSES[np.frombuffer(text.encode(), dtype=np.uint8)]
    sure = np.flatnonzero(long_pretokens.BORDERS[pattern][classes[:-1], classes[1:]]) + 1
    ends = {len(text[: match.end()].encode()) for match in regex.finditer(pattern, text)}
    assert set(sure.tolist()) <= ends


# Other tokenizers.


def train(folder: Path, tokenizer: HfTokenizer, trainer: Any, texts: list[str], *, specials: bool = True) -> Path:
    """A small tokenizer.json in a folder."""
    tokenizer.train_from_iterator(texts, trainer)
    path = folder / "tokenizer.json"
    tokenizer.save(str(path))
    return path


SPECIALS = ["<s>", "</s>", "<pad>", "<unk>"]


def byte_level_bpe(texts: list[str], **pre: Any) -> tuple[HfTokenizer, Any]:
    tokenizer = HfTokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(**{"add_prefix_space": False} | pre)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return tokenizer, trainers.BpeTrainer(vocab_size=700, special_tokens=SPECIALS, initial_alphabet=alphabet)


def nfc_bpe(texts: list[str]) -> tuple[HfTokenizer, Any]:
    tokenizer, trainer = byte_level_bpe(texts, add_prefix_space=True)
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    return tokenizer, trainer


def unigram(texts: list[str]) -> tuple[HfTokenizer, Any]:
    tokenizer = HfTokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return tokenizer, trainers.UnigramTrainer(vocab_size=500, special_tokens=SPECIALS, unk_token="<unk>")


def word_piece(texts: list[str]) -> tuple[HfTokenizer, Any]:
    tokenizer = HfTokenizer(models.WordPiece(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer, trainers.WordPieceTrainer(vocab_size=700, special_tokens=SPECIALS)


def word_level(texts: list[str]) -> tuple[HfTokenizer, Any]:
    tokenizer = HfTokenizer(models.WordLevel(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tokenizer, trainers.WordLevelTrainer(vocab_size=700, special_tokens=SPECIALS)


KINDS = [byte_level_bpe, nfc_bpe, unigram, word_piece, word_level]


@pytest.mark.parametrize("kind", KINDS)
def test_a_trained_tokenizer_builds_with_the_ids_of_tokenizers(
    workshop: Workshop, tmp_path: Path, documents: list[str], kind: Any
) -> None:
    """Whichever engine takes it; one that gigatoken does not know, or not exactly, goes to `tokenizers`."""
    tokenizer, trainer = kind(documents[:60])
    path = train(tmp_path, tokenizer, trainer, documents[:60])
    recipe = workshop.recipe(tokenizer=str(path), target={"tokens": 8000})
    manifest = workshop.build(tmp_path / "out", recipe)
    plain = json.loads(path.read_text()) | {"added_tokens": []}
    reference = HfTokenizer.from_str(json.dumps(plain))
    expected = oracle.build(
        recipe,
        workshop.root,
        manifest.stages[0].draws_per_task,
        None,
        # The oracle's own BOS and EOS are Llama-3's.
        lambda text: reference.encode(text, add_special_tokens=False).ids,
    )
    swapped = {oracle.BOS: 0, oracle.EOS: 1, oracle.PAD: 2}
    for found, shard in zip(workshop.rows(tmp_path / "out", manifest), expected, strict=True):
        ids = [[swapped.get(token, token) for token in row["input_ids"]] for row in shard.rows]
        assert [row["input_ids"] for row in found] == ids
    assert (manifest.tokenizer.bos_id, manifest.tokenizer.eos_id, manifest.tokenizer.pad_id) == (
        0,
        1,
        2,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_special_strings_of_a_trained_tokenizer_stay_plain_text(
    workshop: Workshop, tmp_path: Path, documents: list[str], kind: Any
) -> None:
    """`</s>` in a document never becomes the id that ends a document."""
    tokenizer, trainer = kind(documents[:60])
    path = train(tmp_path, tokenizer, trainer, documents[:60])
    loaded = load_tokenizer(str(path), root=tmp_path, cache_dir=workshop.cache_dir)
    for ids in encoded(loaded.encoder, ["</s>", "a </s> b", "x</s><s>y", "<pad> <s> </s>"]):
        assert not {0, 1, 2} & set(ids)


def test_a_tokenizer_without_bos_is_refused_where_bos_is_asked_for(workshop: Workshop, tmp_path: Path) -> None:
    """The message names the switch; without it the build goes on."""
    tokenizer, _ = byte_level_bpe([])
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<|endoftext|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    path = train(tmp_path, tokenizer, trainer, ["some text"])
    with pytest.raises(RecipeError) as caught:
        workshop.build(tmp_path / "out", workshop.recipe(tokenizer=str(path)))
    assert str(caught.value).startswith("sequence.bos: tokenizer tokenizer.json has no BOS id")
    assert "set `sequence.bos: false`" in str(caught.value)
    assert not (tmp_path / "out").exists()
    recipe = workshop.recipe(tokenizer=str(path), sequence={"bos": False}, target={"tokens": 2000})
    assert workshop.build(tmp_path / "out", recipe).totals.tokens >= 2000


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"model": {}}', '{"model": 3}', '{"model": {"vocab": 3}}'])
def test_what_is_no_tokenizer_json_is_refused(tmp_path: Path, content: str) -> None:
    """With its path."""
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(TokenizerError, match=r"tokenizer\.json"):
        load_tokenizer("tokenizer.json", root=tmp_path, cache_dir=tmp_path / "cache")


def test_the_fingerprint_tells_tokenizers_apart_and_not_their_spelling(tmp_path: Path) -> None:
    """White space in tokenizer.json does not matter; an id of a special token does."""
    tokenizer, trainer = byte_level_bpe([])
    path = train(tmp_path, tokenizer, trainer, ["some text"])
    content = json.loads(path.read_text())

    def fingerprint(value: dict, **spelling: Any) -> str:
        path.write_text(json.dumps(value, **spelling))
        return load_tokenizer(str(path), root=tmp_path, cache_dir=tmp_path / "cache").fingerprint

    first = fingerprint(content)
    assert fingerprint(content, indent=3, ensure_ascii=False) == first
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": {"content": "<pad>"}}')
    assert fingerprint(content) != first


def test_a_hub_id_is_found_in_the_hubs_own_cache(tmp_path: Path) -> None:
    """By the real client, offline: with or without the configuration beside it; else a clear error."""
    script = """
import sys
from pathlib import Path
from mixer.errors import TokenizerError
from mixer.tokens.tokenizer import load_tokenizer
for name in ("some/model", "some/bare", "some/missing"):
    try:
        found = load_tokenizer(name, root=Path("."), cache_dir=Path(sys.argv[1]))
        print(name, found.bos_id, found.eos_id, found.vocab_size)
    except TokenizerError as error:
        print(name, "hint:" in str(error))
"""
    from tokenizers import Tokenizer as HubTokenizer
    from tokenizers.models import BPE

    made = HubTokenizer(BPE(vocab={"a": 0, "b": 1, "ab": 2}, merges=[("a", "b")]))
    made.add_special_tokens(["[B]", "[E]"])
    for name, config in (("model", '{"bos_token": "[B]", "eos_token": "[E]"}'), ("bare", None)):
        snapshot = tmp_path / f"hub/models--some--{name}/snapshots/0123456789abcdef0123456789abcdef01234567"
        snapshot.mkdir(parents=True)
        made.save(str(snapshot / "tokenizer.json"))
        if config:
            (snapshot / "tokenizer_config.json").write_text(config)
        (snapshot.parents[1] / "refs").mkdir()
        (snapshot.parents[1] / "refs/main").write_text(snapshot.name)
        if config is None:
            missing = snapshot.parents[1] / ".no_exist" / snapshot.name
            missing.mkdir(parents=True)
            (missing / "tokenizer_config.json").touch()
    environment = {
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_CACHE": str(tmp_path / "hub"),
        "PATH": "/usr/bin",
        "HOME": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "cache")],
        cwd=Path(__file__).parents[1],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["some/model 3 4 5", "some/bare None None 5", "some/missing True"]
