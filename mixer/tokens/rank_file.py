"""A tokenizer from a rank file: known by its digest, or described in the recipe."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mixer.errors import RecipeError, TokenizerError
from mixer.recipe import TokenizerSpec
from mixer.system.publish import publish_or_set_aside
from mixer.tokens.encode import Tokenizer
from mixer.tokens.fingerprint import fingerprint
from mixer.tokens.known import BY_DIGEST, KnownRanks
from mixer.tokens.patterns import PATTERNS, gigatoken_form
from mixer.tokens.ranks import JSON_VERSION, MAX_ID, RankRules, parse_ranks, tokenizer_json
from mixer.tokens.read import read_file


@dataclass(frozen=True, slots=True, kw_only=True)
class _Specials:
    """The ids beside the ranks."""

    by_name: Mapping[str, int]
    vocab_size: int
    bos_id: int | None
    eos_id: int | None
    pad_id: int


def from_rank_file(name: str, path: Path, spec: TokenizerSpec | None, cache_dir: Path) -> Tokenizer:
    """The tokenizer of a rank file.

    Args:
        name: the tokenizer's name.
        path: the rank file.
        spec: what the recipe says of it, if it says more than the path; that comes before what is known.
        cache_dir: where the form that gigatoken reads is kept.

    Raises:
        TokenizerError: the file is missing, or not a rank file, or is unknown and the recipe lacks its rules.
        RecipeError: the recipe's rules do not fit the file.
    """
    content = read_file(path)
    digest = hashlib.sha256(content).hexdigest()
    known = BY_DIGEST.get(digest)
    ranks = parse_ranks(content, str(path))
    pattern = _pattern(path, spec, known)
    specials = _specials(ranks, spec, known)
    normalize = known.normalize if known else None
    spelling = gigatoken_form(pattern)
    json_path = cache_dir / "tokenizers" / f"ranks-{_json_digest(content, spelling)}-{JSON_VERSION}.json"
    if not json_path.is_file():
        json_path = publish_or_set_aside(json_path, tokenizer_json(ranks, spelling).encode())
    return Tokenizer(
        name=name,
        json_path=json_path,
        fingerprint=fingerprint(
            {"ranks": digest, "pattern": pattern, "normalize": normalize},
            specials=specials.by_name,
            vocab_size=specials.vocab_size,
            bos_id=specials.bos_id,
            eos_id=specials.eos_id,
            pad_id=specials.pad_id,
        ),
        vocab_size=specials.vocab_size,
        bos_id=specials.bos_id,
        eos_id=specials.eos_id,
        pad_id=specials.pad_id,
        rules=RankRules(
            path=path,
            pattern=pattern,
            normalize=normalize,
            longest_token=max(map(len, ranks)),
            witnessed=known is not None and known.witnessed and pattern == known.pattern,
        ),
    )


def _json_digest(content: bytes, spelling: str) -> str:
    return hashlib.sha256(spelling.encode() + b"\0" + content).hexdigest()[:32]


def _pattern(path: Path, spec: TokenizerSpec | None, known: KnownRanks | None) -> str:
    if spec is not None and spec.pattern is not None:
        pattern = PATTERNS.get(spec.pattern, spec.pattern)
        _check_pattern(pattern)
        return pattern
    if known is not None:
        return known.pattern
    raise TokenizerError(
        "the rank file is not one that mixer knows, and a rank file does not say how text is split",
        where=str(path),
        hint=f"say it in the recipe: `tokenizer: {{ranks: {path.name}, pattern: ..., specials: {{...}}, bos: ..., "
        f"eos: ...}}`; the pattern is one of {', '.join(PATTERNS)}, or a regular expression",
    )


def _check_pattern(pattern: str) -> None:
    import tiktoken

    ranks = {bytes([byte]): byte for byte in range(256)}
    try:
        found = tiktoken.Encoding(name="check", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
        whole = found.decode(found.encode_ordinary(_CHECKED)) == _CHECKED
    except Exception as error:
        reason = str(error).strip().splitlines()[-1]
        near = difflib.get_close_matches(pattern, PATTERNS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"give one of {', '.join(PATTERNS)}, or a regular expression"
        raise RecipeError(f"is not a regular expression: {reason}", where="tokenizer.pattern", hint=hint) from error
    if not whole:
        near = difflib.get_close_matches(pattern, PATTERNS, n=1)
        raise RecipeError(
            "does not match all of a text; what it leaves out would have no tokens",
            where="tokenizer.pattern",
            hint=f"did you mean {near[0]}?" if near else "let its last alternatives match any other character",
        )


_CHECKED = "Don't 12 x1\r\n\n  ÉCOLE é 猫 ไทย 🙂 =-/ \t\u00a0 \x00 _ end \n "
"""Letters, digits, marks, symbols, white space and line ends; a pattern has to match all of it."""


def _specials(ranks: Mapping[bytes, int], spec: TokenizerSpec | None, known: KnownRanks | None) -> _Specials:
    """The special ids: the recipe's before the known ones."""
    by_name = dict(known.specials) if known else {}
    given = spec or TokenizerSpec(ranks="-")
    if given.specials:
        by_name = dict(given.specials)
    used = set(ranks.values())
    for name, number in by_name.items():
        if number in used:
            raise RecipeError(f"{name!r} has the id {number}, which is a rank of the file", where="tokenizer.specials")
    if len(set(by_name.values())) < len(by_name):
        raise RecipeError("gives one id to two names", where="tokenizer.specials")
    ids = {
        "bos": _special("bos", given.bos, known.bos if known else None, by_name),
        "eos": _special("eos", given.eos, known.eos if known else None, by_name),
        "pad": _special("pad", given.pad, known.pad if known else None, by_name),
    }
    largest = max([*used, *by_name.values(), *(number for number in ids.values() if number is not None)])
    vocab_size = given.vocab_size or largest + 1
    if vocab_size <= largest or largest > MAX_ID:
        raise RecipeError(
            f"is {vocab_size}, but the largest id is {largest}",
            where="tokenizer.vocab_size",
            hint="leave it out: the default is the largest id plus one",
        )
    for kind, special_id in ids.items():
        if special_id in used:
            raise RecipeError(
                f"{special_id} is a rank of the file: ordinary text would use it too", where=f"tokenizer.{kind}"
            )
    return _Specials(
        by_name=by_name,
        vocab_size=vocab_size,
        bos_id=ids["bos"],
        eos_id=ids["eos"],
        pad_id=next((one for one in (ids["pad"], ids["eos"]) if one is not None), 0),
    )


def _special(kind: str, given: int | str | None, known: str | None, by_name: Mapping[str, int]) -> int | None:
    """The id that the recipe gives, by number or name, or else that of the known name, if the recipe keeps it."""
    if isinstance(given, int):
        return given
    if given is None:
        return None if known is None else by_name.get(known)
    if given in by_name:
        return by_name[given]
    near = difflib.get_close_matches(given, by_name, n=1)
    hint = f"did you mean {near[0]!r}?" if near else "give its id, or its name and id in tokenizer.specials"
    raise RecipeError(f"{given!r} is not one of the specials", where=f"tokenizer.{kind}", hint=hint)
