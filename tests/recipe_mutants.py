"""Mutants of good recipes, each a function of its number: what people and programs get wrong, and what nobody would.

`python tests/recipe_mutants.py FIRST STOP` loads a range of them and prints each that ends otherwise than it should.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from mixer.digest import canonical_json
from mixer.errors import RecipeError
from mixer.recipe import load_recipe, recipe_of
from mixer.sources.row_filter import parse_where

MAX_SECONDS = 5.0
RECIPES = Path(__file__).parent.parent / "recipes"
SIX_SOURCES = (
    "target: {rows: 9}\nsources: {"
    + ", ".join(
        f"{name}: {{weight: 1, path: {name}.jsonl}}"
        for name in ("dclm", "fineweb-edu", "dolma", "zyda", "stack-v2", "finemath")
    )
    + "}"
)
GOOD = (
    """
name: base
seed: 7
tokenizer: {ranks: a/b.tiktoken, pattern: o200k, specials: {<b>: 64000, <e>: 64001}, bos: <b>, eos: 64001, pad: 64002}
sequence: {length: 512, packing: best-fit, bos: true, eos: false}
weights: tokens
target: {tokens: 10M}
when_exhausted: repeat
max_passes: 3
task_tokens: 2Mi
max_document_tokens: 1M
on_bad_row: skip
cache: {dir: x, size: 200GB}
epochs: {count: 2, mode: redraw}
sources:
  wiki: &wiki {weight: 1, path: [a, b/*.parquet], text: {list: files, field: text, prefix: "\\n", order: path}}
  books: {weight: 2.5, path: c, where: "int_score >= 3 and lang in ['en', 'de'] or not x is null", max_passes: 2}
  copy: {<<: *wiki, weight: 1e-3, text: "files[].text", format: jsonl}
  stack:
    weight: 10
    hub: bigcode/the-stack-v2-train-smol-ids@main
    contents: {data_set: stack-v2, languages: [C, D], min_bytes: 10, max_bytes: 1MB, min_bytes_per_token: 2}
  made: {weight: 1, path: x.jsonl, text: {list: files, template: "{path}: {text}", separator: "--"}}
""",
    # One that extends another is no recipe by itself: here it has sources of its own instead.
    *(path.read_text().replace("extends: sample.yaml", SIX_SOURCES) for path in sorted(RECIPES.glob("*.yaml"))),
)
SCALARS = """
0 -1 1 1.5 -0.0 1e308 1e-308 1e400 -1e308 .inf .nan 9223372036854775807 9223372036854775808 10B 1e999999999 null ~ true
yes = << - [] {} [[]] {a,{}} [1,2] *wiki *nothing &wiki !!bool !!int !!str !!null !foo !!bool,'x' !!int,'x' !!float,x
!!timestamp,2001-01-01 !!timestamp,x !!binary,aGk= !!binary,x !!set,{x} !!omap,[a:,1] !!pairs,[a:,1]
!!python/name:os.system, !!float,1e5 !!int,0x10 0x10 010 1_000 1__ _ .
"""
NAMES = """
name seed tokenizer sequence weights target when_exhausted max_passes sources extends epochs cache path hub text where
weight length passes tokens rows wieght 1 null << = ? [a] {a:1} !!int
"""
VALUES = (
    *SCALARS.split(),
    '"\\ud800"',
    '"\\udfff\\ud800"',
    '"\\0"',
    '"\\u202e"',
    '"\\UFFFFFFFF"',
    '"\\x1b[31m"',
    "'",
    '"',
    "x" * 129,
    "x" * 5000,
    "é" * 300,
    "9" * 5000,
    "'" + "x" * 5000 + "'",
    "[" * 1000,
    "{a: " * 1000,
    "{a: " * 63 + "1" + "}" * 63,
    "((((" * 100 + "a" + "))))" * 100,
    "not " * 2000 + "a",
    "a == " * 2000 + "a",
    "-" * 3000 + "1",
    "a" + ".b" * 3000,
    "\"a == '\\ud800'\"",
    "\"a == 'b\\\\udc80'\"",
    "a => 3",
    "a == 1e999",
    "a in [" + "1, " * 3000 + "1]",
    "a == " + "1" * 5000,
    "2001-13-40",
    "12:30:61",
    "hf://datasets/a",
    "s3://",
    "https://",
    "://",
    "~nobody/x",
    "a[].b[]",
    "[].",
    "{",
    "{{}}",
    "'{a.b} {a.}'",
    "'{a!r}'",
    "'{a:>10}'",
    "'{" + "a" * 3000 + "}'",
)
KEYS = (
    *NAMES.split(),
    '"\\ud800"',
    "x" * 300,
    "é",
    "a.b",
    "[0]",
)
BYTES = b"\x00\x01\t\r\n\x7f\x80\xc3\xe2\x80\xa8\xff\xfe\xef\xbb\xbf{}[]:,#&*!|>'\"%@`-? "


@dataclass(frozen=True)
class Mutant:
    """One wrong (or still right) recipe: the bytes of its file and what `--set` says."""

    text: bytes
    overrides: tuple[str, ...]


def mutant(number: int) -> Mutant:
    """The mutant of a number: one to four changes of a good recipe. Deterministic."""
    dice = random.Random(f"recipe {number}")
    text = dice.choice(GOOD).encode()
    for _ in range(dice.choice((0, 1, 1, 1, 2, 2, 3, 4))):
        change = dice.choice((_value, _value, _value, _value, _key, _key, _line, _byte, _cut, _aliases))
        text = change(text, dice)
    overrides = tuple(_override(dice) for _ in range(dice.choice((0, 0, 0, 1, 2))))
    return Mutant(text=text, overrides=overrides)


def _value(text: bytes, dice: random.Random) -> bytes:
    lines = text.split(b"\n")
    with_key = [number for number, line in enumerate(lines) if b":" in line]
    if not with_key:
        return text
    number = dice.choice(with_key)
    colons = [at for at in range(len(lines[number])) if lines[number][at : at + 1] == b":"]
    start = dice.choice(colons) + 1
    rest = lines[number][start:]
    end = dice.choice([at for at in range(len(rest)) if rest[at : at + 1] in b",}]"] or [len(rest)])
    new = dice.choice(VALUES).replace(",", " ", 1) if dice.random() < 0.5 else dice.choice(VALUES)
    lines[number] = lines[number][:start] + b" " + new.encode("utf-8", "surrogatepass") + rest[end:]
    return b"\n".join(lines)


def _key(text: bytes, dice: random.Random) -> bytes:
    lines = text.split(b"\n")
    number = dice.randrange(len(lines))
    indent = b" " * dice.choice((0, 0, 2, 2, 4))
    new = f"{dice.choice(KEYS)}: {dice.choice(VALUES)}".encode("utf-8", "surrogatepass")
    return b"\n".join([*lines[:number], indent + new, *lines[number:]])


def _line(text: bytes, dice: random.Random) -> bytes:
    lines = text.split(b"\n")
    one, other = dice.randrange(len(lines)), dice.randrange(len(lines))
    if dice.random() < 0.5:
        lines[one], lines[other] = lines[other], lines[one]
    else:
        lines.insert(one, lines[other])
    return b"\n".join(lines)


def _byte(text: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(text) + 1)
    new = bytes([dice.choice(BYTES)])
    return text[:at] + new + text[at + dice.choice((0, 1)) :]


def _cut(text: bytes, dice: random.Random) -> bytes:
    start = dice.randrange(len(text) + 1)
    return text[:start] + text[min(len(text), start + dice.choice((1, 10, 100, 10_000))) :]


def _aliases(text: bytes, dice: random.Random) -> bytes:
    depth = dice.choice((2, 10, 24, 60))
    bombs = (("[x, x]", "[*{0}, *{0}]"), ("{x: 1}", "{{<<: [*{0}, *{0}]}}"), ("{}", "{{a: *{0}, b: *{0}}}"))
    first, more = dice.choice(bombs)
    lines = [f"a0: &a0 {first}"]
    lines += [f"a{n}: &a{n} " + more.format(f"a{n - 1}") for n in range(1, depth)]
    key = dice.choice(("name", "sources", "target", "cache", "x"))
    return ("\n".join(lines) + f"\n{key}: *a{depth - 1}\n").encode() + text


def _override(dice: random.Random) -> str:
    parts = [dice.choice(KEYS) for _ in range(dice.choice((1, 2, 3, 3, 70)))]
    odd = ("", "=", "a=\udc80", "\udc80=1", "a.\ud800=1", "=" * 100, "." * 5000 + "=1", "a\0=1", "seed")
    return dice.choice(odd) if dice.random() < 0.3 else f"{'.'.join(parts)}={dice.choice(VALUES)}"


def fault_of(number: int, folder: Path) -> str | None:
    """What is wrong with how a mutant loads: None if it is a recipe that reads back, or one clear error."""
    made = mutant(number)
    path = folder / "mutant.yaml"
    path.write_bytes(made.text)
    began = time.perf_counter()
    try:
        recipe = load_recipe(path, made.overrides)
        for source in recipe.sources.values():
            if source.where is not None:
                try:
                    parse_where(source.where)
                except RecipeError as error:
                    return _fault_of_error(error)
        if recipe_of(json.loads(canonical_json(recipe.normalised()))).normalised() != recipe.normalised():
            return "the normal form does not read back"
    except RecipeError as error:
        if fault := _fault_of_error(error):
            return fault
    except Exception:
        return traceback.format_exc()
    seconds = time.perf_counter() - began
    return f"took {seconds:.1f} s" if seconds > MAX_SECONDS else None


def _fault_of_error(error: RecipeError) -> str | None:
    text = str(error)
    try:
        text.encode()
    except UnicodeEncodeError:
        return f"the message is not Unicode: {text!a}"
    for leak in ("Value error", "Input should", "pydantic", "Traceback", "Assertion", "unable to parse"):
        if leak in text:
            return f"the message leaks {leak!r}: {text[:500]}"
    if len(text) > 20_000:
        return f"the message has {len(text)} characters: {text[:500]}"
    return None if error.message and error.where else f"the message has no place: {text[:500]}"


def main(first: int, stop: int) -> None:
    """Load a range of mutants, and print what is wrong."""
    good = 0
    with tempfile.TemporaryDirectory() as folder:
        for number in range(first, stop):
            fault = fault_of(number, Path(folder))
            if fault:
                print(f"mutant {number}: {mutant(number)}"[:300], fault, sep="\n")
            good += fault is None
    print(f"{good} of {stop - first} as they should be")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
