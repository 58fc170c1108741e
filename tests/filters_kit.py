"""What datatrove's own classes say of documents, and documents of every kind to ask them about."""

from __future__ import annotations

import re
import sysconfig
import warnings
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from datatrove.data import Document
    from datatrove.pipeline import filters as classes
    from datatrove.utils.text import TERMINAL_PUNCTUATION
    from datatrove.utils.word_tokenizers import WordTokenizer

    from mixer.curate.filters import datatrove_filters  # noqa: F401

from mixer.curate.filters.load import load_filter

CLASSES = {
    "gopher-quality": "GopherQualityFilter",
    "gopher-repetition": "GopherRepetitionFilter",
    "c4": "C4QualityFilter",
    "fineweb-quality": "FineWebQualityFilter",
}
SENTENCE_END = re.compile(f"[{re.escape(''.join(TERMINAL_PUNCTUATION))}]" + r"[\"'”’»)\]}]{0,3}(?=\s|$)")
WHITE_SPACE = "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2003\u2028\u2029\u202f\u205f\u3000"
_WORDS = """
the be to of and that have with The a data set dataset naïve é 日本語 ё \U0001f600 \U00020000 ﬁ İ ſ 1 ２ １
# ## ... .... … …... - • -- -a •b a... b… “” ! ?! . 。 \u0301 \u200b \x00 \x7f \ufeff
end. end? end.” end.”) end.))) end.)))) ( ]] [ [12 [1] [٣] [edit] [citation needed] {
lorem ipsum JavaScript Cookie coo\u212aie cookies policy privacy terms use uses
"""
ODD_WORDS = [*_WORDS.split(), "x" * 40, "y" * 300, "w" * 1000, "w" * 1001, "é" * 1000]
GAPS = [*["  ", " ", " ", "\n", "\n", "\n\n", "\n\n\n", "\r\n", "\r", "\n\r", "\r\r\n", " \n ", ""], *WHITE_SPACE]


class Spaces(WordTokenizer):
    """Words and sentences where `splitter: spaces` says they are."""

    def word_tokenize(self, text: str) -> list[str]:
        return text.split()

    def sent_tokenize(self, text: str) -> list[str]:
        raise NotImplementedError

    def span_tokenize(self, text: str) -> list[tuple[int, int]]:
        ends = [found.end() for found in SENTENCE_END.finditer(text)]
        if text[ends[-1] if ends else 0 :].strip():
            ends.append(len(text))
        return list(zip([0, *ends], ends))


def column(texts: Sequence[str | None]) -> pa.LargeStringArray:
    return pa.array(texts, pa.large_string())


def by_datatrove(name: str, texts: Sequence[str], **parameters: Any) -> list[str]:
    """The verdict of datatrove's class on each text: `passed`, or its reason; `empty` where it divides by zero."""
    if name == "c4":
        parameters = {"filter_no_terminal_punct": False, **parameters}
    one = getattr(classes, CLASSES[name])(language=Spaces(), **parameters)
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for text in texts:
            try:
                verdict = one.filter(Document(text=text, id=""))
            except ZeroDivisionError:
                verdict = (False, "empty")
            found.append("passed" if verdict is True else verdict[1])
    return found


def verdicts(name: str, texts: list[str], **parameters: Any) -> list[str]:
    found = load_filter(name, parameters, place="here").evaluate(column(texts))
    assert len(found) == len(texts)
    assert found.passed.tolist() == [code == 0 for code in found.reason.tolist()]
    return [found.reasons[code] for code in found.reason.tolist()]


def assert_same(name: str, texts: list[str], **parameters: Any) -> list[str]:
    ours, theirs = verdicts(name, texts, **parameters), by_datatrove(name, texts, **parameters)
    for text, one, other in zip(texts, ours, theirs, strict=True):
        assert one == other, (text[:2000], parameters)
    return ours


@cache
def installed_texts() -> tuple[str, ...]:
    """1.5 MB of code, stubs and prose of this installation."""
    library, packages = (Path(sysconfig.get_paths()[name]) for name in ("stdlib", "purelib"))
    texts: list[str] = []
    for folder, pattern, limit in (
        (library, "*.py", 400_000),
        (library, "test/*.txt", 100_000),
        (packages, "*/*.pyi", 100_000),
        (packages, "*/licenses/**/*", 200_000),
        (packages, "*/METADATA", 400_000),
        (packages, "numpy/**/*.py", 300_000),
    ):
        texts += _read(sorted(folder.glob(pattern)), limit)
    return tuple(texts)


def _read(paths: Sequence[Path], limit: int) -> Iterator[str]:
    for path in paths:
        if path.is_file() and path.stat().st_size < 60_000 and limit > 0:
            text = path.read_bytes().decode(errors="ignore")
            limit -= len(text)
            # Whole, and paragraph by paragraph: many short documents.
            yield text
            yield from text.split("\n\n")[:20]


def odd_documents(max_pieces: int = 60) -> st.SearchStrategy[str]:
    """Documents of odd words and gaps, of phrases that they repeat, and of any characters."""
    words = st.sampled_from(ODD_WORDS) | st.text(max_size=3) | st.text("ab.", max_size=4)
    pieces = st.tuples(words, st.sampled_from(GAPS)).map("".join)
    loose = st.lists(pieces, max_size=max_pieces).map("".join)
    phrases = st.lists(st.lists(pieces, min_size=1, max_size=6).map("".join), min_size=1, max_size=4)
    repeated = phrases.flatmap(lambda known: st.lists(st.sampled_from(known), max_size=max_pieces // 3).map("".join))
    plain = st.lists(
        st.sampled_from(["the cat sat. ", "of and to ", "- with\n", "that have been\n", "a b c d e f\n\n"])
    )
    return (loose | repeated | plain.map("".join)).map(lambda text: text.encode(errors="ignore").decode())
