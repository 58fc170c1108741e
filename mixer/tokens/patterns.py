"""Split patterns: the regular expressions by which tokenizers cut text into pretokens, before any byte is merged.

A rank file does not carry its pattern, and the wrong one gives wrong ids in silence: each is written here as its owner
writes it, and has a name that a recipe may use.
"""

from __future__ import annotations

# llama-models, llama3/tokenizer.py.
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# llama-models, llama4/tokenizer.py, and tiktoken, openai_public.py.
O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# tiktoken, openai_public.py.
CL100K = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
    r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
)
R50K = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"
# dashscope, tokenizers/qwen_tokenizer.py.
QWEN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)

PATTERNS = {"llama3": LLAMA3, "o200k": O200K, "cl100k": CL100K, "r50k": R50K, "qwen": QWEN}
"""By the names that a recipe may use for them."""

_GIGATOKEN_FORMS = {
    # A white-space character before other text is one by itself, so `\s` and `\s+` are the same at the end.
    CL100K: CL100K.removesuffix(r"\s") + r"\s+",
    R50K: r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
}


def gigatoken_form(pattern: str) -> str:
    """The spelling of a pattern that gigatoken knows, which splits every text alike; unknown ones as they are."""
    return _GIGATOKEN_FORMS.get(pattern, pattern)
