"""The rank files known by their digest, with the parts that the files lack: pattern, specials, normal form.

A rank file holds ranks alone. Its pattern and its specials are in the code of its owner, from which they are
transcribed here; a file that is not in the table needs them in the recipe.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mixer.errors import TokenizerError
from mixer.extras import install_command
from mixer.tokens.patterns import CL100K, LLAMA3, O200K, QWEN, R50K


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownRanks:
    """A rank file and the rules that its owner uses it with."""

    name: str
    # sha256 of the file, hex.
    digest: str
    pattern: str
    # The special strings and their ids, all of them.
    specials: Mapping[str, int]
    bos: str | None
    eos: str
    # None: padding has the id of `eos`.
    pad: str | None = None
    normalize: str | None = None
    # Whether the tests hold its ids against the owner's own class on the real file.
    witnessed: bool = True
    # Folder of the file in the package llama-models, where a recipe may give the name alone.
    folder: str | None = None


def _numbered(start: int, names: list[str]) -> dict[str, int]:
    return {name: start + place for place, name in enumerate(names)}


def _llama3_specials() -> dict[str, int]:
    """As llama-models, llama3/tokenizer.py."""
    first = "begin_of_text end_of_text reserved_special_token_0 reserved_special_token_1 finetune_right_pad_id step_id"
    then = "start_header_id end_header_id eom_id eot_id python_tag image"
    named = [f"<|{name}|>" for name in f"{first} {then}".split()]
    reserved = [f"<|reserved_special_token_{number}|>" for number in range(2, 2 + 256 - len(named))]
    return _numbered(128_000, [*named, *reserved])


def _llama4_specials() -> dict[str, int]:
    """As llama-models, llama4/tokenizer.py."""

    def reserved(kind: str, start: int, stop: int) -> list[str]:
        return [f"{kind}reserved_special_token_{number}" for number in range(start, stop)]

    basic = ["begin_of_text", "end_of_text", "fim_prefix", "fim_middle", "fim_suffix"]
    text = [
        *["header_start", "header_end", "eom", "eot", "step"],
        *reserved("text_post_train_", 0, 6),
        *["python_start", "python_end", "finetune_right_pad"],
        *reserved("text_post_train_", 8, 69),
    ]
    vision = [
        *["image_start", "image_end"],
        *reserved("vision_", 0, 2),
        *["tile_x_separator", "tile_y_separator"],
        *reserved("vision_", 2, 6),
        "image",
        *reserved("vision_", 6, 7),
        "patch",
        *reserved("vision_", 7, 1048),
    ]
    reasoning = [*reserved("reasoning_", 0, 8), "reasoning_thinking_start", "reasoning_thinking_end"]
    named = [*basic, *text, *vision, *reasoning]
    return _numbered(200_000, [f"<|{name}|>" for name in [*named, *reserved("", 0, 2048 - len(named))]])


_END = "<|endoftext|>"
_FIM = ["<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>"]

KNOWN = (
    KnownRanks(
        name="llama3",
        digest="82e9d31979e92ab929cd544440f129d9ecd797b69e327f80f17e1c50d5551b55",
        pattern=LLAMA3,
        specials=_llama3_specials(),
        bos="<|begin_of_text|>",
        eos="<|end_of_text|>",
        pad="<|finetune_right_pad_id|>",
        folder="llama3",
    ),
    KnownRanks(
        name="llama4",
        digest="d0bdbaf59b0762c8c807617e2d8ea51420eb1b1de266df2495be755c8e0ed6ed",
        pattern=O200K,
        specials=_llama4_specials(),
        bos="<|begin_of_text|>",
        eos="<|end_of_text|>",
        pad="<|finetune_right_pad|>",
        folder="llama4",
    ),
    KnownRanks(
        name="r50k_base",
        digest="306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930",
        pattern=R50K,
        specials={_END: 50_256},
        bos=None,
        eos=_END,
    ),
    KnownRanks(
        name="p50k_base",
        digest="94b5ca7dff4d00767bc256fdd1b27e5b17361d7b8a5f968547f9f23eb70d2069",
        pattern=R50K,
        specials={_END: 50_256},
        bos=None,
        eos=_END,
        witnessed=False,
    ),
    KnownRanks(
        name="cl100k_base",
        digest="223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
        pattern=CL100K,
        specials=_numbered(100_257, [_END, *_FIM]) | {"<|endofprompt|>": 100_276},
        bos=None,
        eos=_END,
    ),
    KnownRanks(
        name="o200k_base",
        digest="446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
        pattern=O200K,
        specials={_END: 199_999, "<|endofprompt|>": 200_018},
        bos=None,
        eos=_END,
    ),
    KnownRanks(
        name="qwen",
        digest="b2b1b8dfb5cc5f024bafc373121c6aba3f66f9a5a0269e243470a1de16a33186",
        pattern=QWEN,
        specials=_numbered(151_643, [_END, "<|im_start|>", "<|im_end|>", *(f"<|extra_{n}|>" for n in range(205))]),
        bos=None,
        eos=_END,
        normalize="NFC",
    ),
)
BY_NAME = {known.name: known for known in KNOWN}
BY_DIGEST = {known.digest: known for known in KNOWN}
PACKAGED_RANKS = tuple(known.name for known in KNOWN if known.folder is not None)
"""The names that need no path: their files come with a package."""


def packaged_file(known: KnownRanks) -> Path:
    """The path of the rank file in the installed `llama-models`.

    Raises:
        TokenizerError: the package is not installed or carries no file.
    """
    try:
        import llama_models
    except ImportError as error:
        raise TokenizerError(
            f"the tokenizer {known.name} needs the package llama-models", hint=install_command("build")
        ) from error
    path = Path(llama_models.__file__ or "").parent / str(known.folder) / "tokenizer.model"
    if not path.is_file():
        raise TokenizerError(
            f"the installed llama-models has no {known.folder}/tokenizer.model",
            where=str(path.parent),
            hint="pip install --upgrade llama-models",
        )
    return path
