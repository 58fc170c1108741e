"""Rank files: used by the rules of their owner, which are known by the file's digest or said in the recipe."""

from __future__ import annotations

import base64
import hashlib
import importlib
import random
import shutil
import sys
import types
from collections.abc import Callable
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tiktoken
import tiktoken_ext.openai_public
import yaml
from workshop import Workshop

from mixer.errors import RecipeError, TokenizerError
from mixer.recipe import Recipe, TokenizerSpec, parse_recipe
from mixer.tokens.encoders import TiktokenEncoder
from mixer.tokens.known import BY_NAME, KNOWN
from mixer.tokens.long_pretokens import LongPretokenSizes
from mixer.tokens.tokenizer import Tokenizer, load_tokenizer

WORDS = "a aB ABC Éa é ß İ ǅ ʰ ª don't HTMLParser 's 'S 'ſ 'LL ’s 'll 猫 中文 ไทย हिन्दी 한국 עברית العربية"
SYMBOLS = "0 7 12 345 6789 ١٢ ⅷ ² = - =- / // # _ . , ( 🙂 👩‍👩‍👧‍👦 🇩🇪 <|endoftext|> <|begin_of_text|> <|im_end|>"
SPACES = (
    " ",
    "  ",
    "     ",
    "\n",
    "\r\n",
    "\n\n",
    "\t",
    " \n ",
    "\u00a0",
    "\u2003",
    "\u3000",
    "\u2028",
    "\x85",
    "\x1c",
)
MARKS = (
    "e\u0301",
    "\u0301",
    "\u200d",
    "\ufeff",
    "\ue000",
    "\U0001d54f",
    "\u0344",
    "\u1100\u1161",
    "\x00",
    "/\n",
    "\n/",
)
PIECES = [*f"{WORDS} {SYMBOLS}".split(), *SPACES, *MARKS]


def hard_texts(count: int = 1500) -> list[str]:
    """Short texts of everything that split patterns treat differently, in any order; keyed."""
    chance = random.Random(20)
    texts = ["".join(chance.choices(PIECES, k=chance.randint(1, 12))) for _ in range(count)]
    return ["", " ", "\n", *PIECES, *texts, "x" * 3000, " " * 3000 + "x", "\n" * 500, "=" * 2000 + "\n/", "7" * 999]


HARD = hard_texts()


def encoded(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    batch = tokenizer.encode(pa.array(texts, pa.large_string()))
    return [part.tolist() for part in np.split(batch.ids, batch.offsets[1:-1])]


def packaged(package: str, ending: str) -> Path:
    """A file that an installed package ships."""
    try:
        files = metadata.distribution(package).files or []
    except metadata.PackageNotFoundError:
        pytest.skip(f"needs the package {package}, see clients/requirements.txt")
    return next(Path(str(file.locate())) for file in files if str(file).endswith(ending))


def llama(version: int) -> tuple[Path, Any]:
    module = importlib.import_module(f"llama_models.llama{version}.tokenizer")
    path = Path(module.__file__).parent / "tokenizer.model"
    return path, module.Tokenizer(path)


def openai(name: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> tiktoken.Encoding:
    """tiktoken's own encoding, whose code fetches the rank file: from the package's copy, its digest checked."""
    from tiktoken import load

    def read_file_cached(address: str, expected_hash: str) -> bytes:
        content = path.read_bytes()
        assert address.endswith(f"/{name}.tiktoken")
        assert hashlib.sha256(content).hexdigest() == expected_hash
        return content

    monkeypatch.setattr(load, "read_file_cached", read_file_cached)
    return tiktoken.Encoding(**getattr(tiktoken_ext.openai_public, name)())


@pytest.mark.parametrize("version", [3, 4])
def test_a_llama_has_the_ids_of_metas_own_class(workshop: Workshop, version: int) -> None:
    """Ids, vocabulary size, special strings and special ids."""
    path, owner = llama(version)
    named = load_tokenizer(f"llama{version}", root=workshop.root, cache_dir=workshop.cache_dir)
    by_digest = load_tokenizer(str(path), root=workshop.root, cache_dir=workshop.cache_dir)
    assert named.fingerprint == by_digest.fingerprint
    assert named.encoder.name == "gigatoken"
    for found, text in zip(encoded(named, HARD), HARD, strict=True):
        assert found == owner.encode(text, bos=False, eos=False), text
    assert (named.bos_id, named.eos_id, named.pad_id) == (owner.bos_id, owner.eos_id, owner.pad_id)
    assert named.vocab_size == owner.n_words
    assert BY_NAME[f"llama{version}"].specials == owner.special_tokens


@pytest.mark.parametrize(
    ("name", "package", "file"),
    [
        ("cl100k_base", "llama-index-core", "9b5ad71b2ce5302211f9c61530b329a4922fc6a4"),
        ("o200k_base", "llama-index-core", "fb374d419588a4632f3f557e76b4b70aebbca790"),
        ("r50k_base", "openai-whisper", "assets/gpt2.tiktoken"),
    ],
)
def test_an_encoding_of_openai_has_the_ids_of_tiktokens_own(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, name: str, package: str, file: str
) -> None:
    """The real rank file, which other packages ship, whatever it is called there."""
    path = packaged(package, file)
    owner = openai(name, path, monkeypatch)
    found = load_tokenizer(str(path), root=workshop.root, cache_dir=workshop.cache_dir)
    assert found.encoder.name == "gigatoken"
    assert encoded(found, HARD) == owner.encode_ordinary_batch(HARD)
    assert (found.bos_id, found.eos_id, found.vocab_size) == (None, owner.eot_token, owner.n_vocab)
    assert BY_NAME[name].specials == owner._special_tokens


def test_qwen_has_the_ids_of_its_owners_class(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The owner brings text into the normal form NFC first."""
    path = packaged("dashscope", "resources/qwen.tiktoken")
    for name in ("dashscope", "dashscope.tokenizers"):  # without what the whole package imports
        package = types.ModuleType(name)
        package.__path__ = [str(path.parents[1] / name.partition(".")[2])]
        monkeypatch.setitem(sys.modules, name, package)
    owner = importlib.import_module("dashscope.tokenizers.qwen_tokenizer").QwenTokenizer(str(path))
    found = load_tokenizer(str(path), root=workshop.root, cache_dir=workshop.cache_dir)
    assert found.encoder.name == "gigatoken"
    for ids, text in zip(encoded(found, HARD), HARD, strict=True):
        assert ids == owner.encode(text, allowed_special=set()), text
        assert ids == found.reference.encode(text)
    assert (found.eos_id, found.vocab_size) == (owner.eod_id, owner._tokenizer.n_vocab)
    assert BY_NAME["qwen"].specials == owner._special_tokens


def test_the_table_is_what_tiktoken_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Digest, pattern and specials of every encoding of OpenAI, those included that no package ships."""
    asked: list[str] = []

    def ranks(address: str, expected_hash: str) -> dict[bytes, int]:
        asked.append(expected_hash)
        return {}

    monkeypatch.setattr(tiktoken_ext.openai_public, "load_tiktoken_bpe", ranks)
    for name in ("r50k_base", "p50k_base", "cl100k_base", "o200k_base"):
        said, known = getattr(tiktoken_ext.openai_public, name)(), BY_NAME[name]
        assert (known.digest, known.pattern, known.specials) == (asked[-1], said["pat_str"], said["special_tokens"])
    assert [known.name for known in KNOWN if not known.witnessed] == ["p50k_base"]


@pytest.mark.parametrize("name", ["llama3", "o200k", "cl100k", "r50k", "qwen"])
def test_long_pretokens_change_no_id(workshop: Workshop, name: str) -> None:
    """Of any known pattern: every document goes through the stretches, which are made short."""
    loaded = load_tokenizer({"ranks": "llama3", "pattern": name}, root=workshop.root, cache_dir=workshop.cache_dir)
    short = LongPretokenSizes(
        document_bytes=1, pretoken_bytes=64, stretch_bytes=100, first_overlap_tokens=2, piece_bytes=150
    )
    tokenizer = replace(loaded, long_sizes=short)
    chance = random.Random(4)
    for _ in range(150):
        parts = [chance.choice(PIECES) * chance.choice([1, 2, 90, 300]) for _ in range(chance.randint(1, 5))]
        text = "".join(parts)
        assert encoded(tokenizer, [text]) == [tokenizer.reference.encode(text)], (name, text)


# Rank files that are not known.


def write_ranks(path: Path, more: tuple[bytes, ...] = (b"ab", b"abc", b"  "), step: int = 1) -> Path:
    """A small rank file: all bytes and some tokens; ranks from 256 on are `step` apart."""
    tokens = [bytes([byte]) for byte in range(256)]
    lines = [base64.b64encode(token) + b" %d\n" % rank for rank, token in enumerate(tokens)]
    lines += [base64.b64encode(token) + b" %d\n" % (256 + step * place) for place, token in enumerate(more)]
    path.write_bytes(b"".join(lines))
    return path


Load = Callable[..., Tokenizer]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Load what a recipe says; paths are relative to `tmp_path`, which has the rank file `own.tiktoken`."""
    write_ranks(tmp_path / "own.tiktoken")

    def loaded(said: Any) -> Tokenizer:
        recipe = recipe_with(said)
        return load_tokenizer(recipe.tokenizer, root=tmp_path, cache_dir=tmp_path / "cache")

    return loaded


def recipe_with(said: Any) -> Recipe:
    mapping = {"tokenizer": said, "target": {"rows": 1}, "sources": {"a": {"weight": 1, "path": "a"}}}
    return parse_recipe(mapping, where="r.yaml", default_name="r")


def test_an_unknown_rank_file_is_refused(load: Load, tmp_path: Path) -> None:
    """It does not say how text is split: the wrong pattern would give wrong ids in silence."""
    with pytest.raises(TokenizerError) as caught:
        load("own.tiktoken")
    assert str(caught.value).startswith(f"{tmp_path}/own.tiktoken: the rank file is not one that mixer knows")
    assert "`tokenizer: {ranks: own.tiktoken, pattern: ..., specials: {...}, bos: ..., eos: ...}`" in str(caught.value)
    with pytest.raises(TokenizerError, match="not one that mixer knows"):
        load({"ranks": "own.tiktoken", "bos": 400})


@pytest.mark.parametrize(("pattern", "engine"), [("o200k", "gigatoken"), (r"[a-z]+|[\s\S]", "tiktoken")])
def test_the_rules_of_a_rank_file_may_be_said(load: Load, tmp_path: Path, pattern: str, engine: str) -> None:
    """Its ids are those of tiktoken with that pattern; one that gigatoken does not know goes to tiktoken."""
    specials = {"<s>": 259, "</s>": 260}
    said = {
        "ranks": "own.tiktoken",
        "pattern": pattern,
        "specials": specials,
        "bos": "<s>",
        "eos": 260,
        "vocab_size": 512,
    }
    found = load(said)
    assert (found.name, found.encoder.name) == ("own.tiktoken", engine)
    assert (found.bos_id, found.eos_id, found.pad_id, found.vocab_size) == (259, 260, 260, 512)
    assert encoded(found, HARD) == [found.reference.encode(text) for text in HARD]
    assert found.decode(pa.array([97, 259, 257, 511]).to_numpy()) == "aabc"
    text = "x " * 400_000 + "abcabc" * 60_000  # long, and with a long pretoken
    assert encoded(found, [text]) == [found.reference.encode(text)]
    again = load(recipe_with(said).normalised()["tokenizer"])
    assert again == found


def test_every_rule_is_in_the_fingerprint(load: Load) -> None:
    """Pattern, specials by name and id, vocabulary size, and which of the ids are BOS, EOS and padding."""
    base = {"ranks": "own.tiktoken", "pattern": "llama3", "specials": {"<s>": 259, "</s>": 260}, "eos": 260}
    changes: list[dict[str, Any]] = [
        {},
        {"pattern": "o200k"},
        {"specials": {"<s>": 259, "<e>": 260}},
        {"specials": {"<s>": 261, "</s>": 260}},
        {"vocab_size": 300},
        {"bos": "<s>"},
        {"eos": 259},
        {"pad": 259},
    ]
    found = [load(base | change).fingerprint for change in changes]
    assert len(set(found)) == len(changes)
    assert load(base | {"eos": "</s>"}).fingerprint == found[0]


def test_what_the_recipe_says_comes_before_what_is_known(workshop: Workshop) -> None:
    """A known file with other specials, as o200k_harmony is of o200k_base; the rest stays known."""
    spec = TokenizerSpec(ranks="llama3", specials={"<|eot|>": 128_009}, eos="<|eot|>")
    found = load_tokenizer(spec, root=workshop.root, cache_dir=workshop.cache_dir)
    assert (found.name, found.bos_id, found.eos_id, found.vocab_size) == ("llama3", None, 128_009, 128_010)
    plain = load_tokenizer({"ranks": "llama3"}, root=workshop.root, cache_dir=workshop.cache_dir)
    named = load_tokenizer("llama3", root=workshop.root, cache_dir=workshop.cache_dir)
    assert plain == named


def test_a_rank_file_with_a_gap_is_used(tmp_path: Path) -> None:
    """As p50k_base leaves 50256 to a special token."""
    write_ranks(tmp_path / "gap.tiktoken", step=2)
    spec = {"ranks": "gap.tiktoken", "pattern": "r50k", "specials": {"<|endoftext|>": 257}, "eos": 257}
    found = load_tokenizer(spec, root=tmp_path, cache_dir=tmp_path / "cache")
    assert found.vocab_size == 261
    assert encoded(found, HARD) == [found.reference.encode(text) for text in HARD]


@pytest.mark.parametrize(
    ("change", "message", "hint"),
    [
        ({"pattern": "o200"}, "does not match all of a text", "did you mean o200k?"),
        ({"pattern": "[a-z]+"}, "does not match all of a text", "let its last alternatives match"),
        ({"pattern": "(a"}, "is not a regular expression", "give one of llama3"),
        ({"bos": "<x>"}, "tokenizer.bos: '<x>' is not one of the specials", "did you mean '<s>'?"),
        ({"eos": 97}, "tokenizer.eos: 97 is a rank of the file", ""),
        ({"specials": {"<s>": 97}}, "tokenizer.specials: '<s>' has the id 97, which is a rank", ""),
        ({"specials": {"<s>": 300, "<e>": 300}}, "tokenizer.specials: gives one id to two names", ""),
        ({"vocab_size": 259}, "tokenizer.vocab_size: is 259, but the largest id is 260", "leave it out"),
        ({"ranks": "none.tiktoken"}, "there is no tokenizer 'none.tiktoken'", "llama3"),
        ({"ranks": "cl100k_base"}, "tokenizer.ranks: cl100k_base needs its rank file", "cl100k_base.tiktoken"),
    ],
)
def test_rules_that_do_not_fit_are_refused(load: Load, change: dict[str, Any], message: str, hint: str) -> None:
    """With the key, and what would be right."""
    with pytest.raises(RecipeError) as caught:
        load({"ranks": "own.tiktoken", "pattern": "llama3", "specials": {"<s>": 259, "</s>": 260}} | change)
    assert caught.value.exit_code == 2
    assert message in str(caught.value)
    assert hint in str(caught.value)


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({}, "r.yaml: tokenizer.ranks: is missing"),
        ({"rank": "x"}, "r.yaml: tokenizer.rank: is not a key; did you mean 'ranks'?"),
        ({"ranks": 3}, "r.yaml: tokenizer.ranks: must be text, not 3"),
        ({"ranks": "x", "bos": True}, "r.yaml: tokenizer.bos: must be the name or the id of a special token, not True"),
        ({"ranks": "x", "bos": -1}, "r.yaml: tokenizer.bos: must be an id from 0 to 2147483647, not -1"),
        ({"ranks": "x", "specials": {"<s>": "1"}}, "r.yaml: tokenizer.specials.<s>: must be a whole number, not '1'"),
        ({"ranks": "x", "vocab_size": 3}, "r.yaml: tokenizer.vocab_size: must be at least 257, not 3"),
        (3, "r.yaml: tokenizer: must be text, not 3"),
        ([], "r.yaml: tokenizer: must be text, not a list"),
    ],
)
def test_rules_are_checked_with_the_recipe(said: Any, problem: str) -> None:
    """Before any file is opened."""
    with pytest.raises(RecipeError) as caught:
        recipe_with(said)
    assert str(caught.value).splitlines()[0] == problem


def test_a_build_by_said_rules_is_made_and_shown(workshop: Workshop, tmp_path: Path) -> None:
    """The manifest keeps the rules, and who reads the build loads the tokenizer by them."""
    root = shutil.copytree(workshop.root, tmp_path / "root")
    write_ranks(root / "own.tiktoken")
    said = {"ranks": "own.tiktoken", "pattern": "o200k", "specials": {"<s>": 300, "</s>": 301}, "bos": 300, "eos": 301}
    recipe = workshop.recipe(tokenizer=said, target={"tokens": 3000})
    manifest = workshop.build(tmp_path / "out", recipe, root=root)
    assert manifest.recipe["tokenizer"] == said
    assert (manifest.tokenizer.name, manifest.tokenizer.vocab_size) == ("own.tiktoken", 302)
    assert manifest.reference_check.documents > 0
    loaded = load_tokenizer(manifest.recipe["tokenizer"], root=root, cache_dir=tmp_path / "cache")
    assert loaded.fingerprint == manifest.tokenizer.fingerprint


@pytest.mark.parametrize("content", [b"", b"not base64 at all", b"YQ== 0\n", b"YQ== x\n", b"\xff\xfe"])
def test_what_is_no_rank_file_is_refused(tmp_path: Path, content: bytes) -> None:
    """With its path."""
    (tmp_path / "tokenizer.model").write_bytes(content)
    with pytest.raises(TokenizerError, match=r"tokenizer\.model"):
        load_tokenizer("tokenizer.model", root=tmp_path, cache_dir=tmp_path / "cache")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"YWI= 5\n", "must be different"),
        (b"YQ== 256\n", "must be different"),
        (b"YWI= -1\n", "from 0"),
        (b"YWI= 99999999999\n", "from 0"),
    ],
)
def test_ranks_that_cannot_be_are_refused(tmp_path: Path, line: bytes, message: str) -> None:
    """Two tokens with one rank, one token twice, and ranks that no shard can hold."""
    path = write_ranks(tmp_path / "own.tiktoken", ())
    path.write_bytes(path.read_bytes() + line)
    with pytest.raises(TokenizerError, match=message):
        load_tokenizer({"ranks": "own.tiktoken", "pattern": "llama3"}, root=tmp_path, cache_dir=tmp_path / "cache")


def test_a_document_that_tiktoken_gives_up_on_is_named(load: Load) -> None:
    """Not a panic: the pattern goes back too often in it."""
    found = load({"ranks": "own.tiktoken", "pattern": r"\s+(?!\S)|\s|\S++", "eos": 300})
    assert isinstance(found.encoder, TiktokenEncoder)
    with pytest.raises(TokenizerError, match=r"tiktoken cannot split a document of 3,000,001 characters") as caught:
        found.encode(pa.array([" " * 3_000_000 + "x"], pa.large_string()))
    assert "possessive" in str(caught.value)


def test_the_example_of_the_documentation_is_a_tokenizer() -> None:
    """As it stands in docs/recipes.md."""
    page = (Path(__file__).parents[1] / "docs/recipes.md").read_text()
    said = yaml.safe_load(page.split("```yaml\ntokenizer:")[1].split("```")[0].join(["tokenizer:", ""]))["tokenizer"]
    recipe = recipe_with(said)
    assert isinstance(recipe.tokenizer, TokenizerSpec)
    assert recipe.tokenizer.specials == {"<|bos|>": 64_000, "<|eos|>": 64_001}
    assert (recipe.tokenizer.bos, recipe.tokenizer.pad, recipe.tokenizer.vocab_size) == ("<|bos|>", 64_002, 64_256)
    for known in KNOWN:
        assert f"{max(known.specials.values()) + 1:,}" in page or known.name == "p50k_base"
