"""Documents with enormous pretokens: 100 MB of one character, of base64, of spaces. Exact, in bounded memory.

A tokenizer splits text into pretokens and merges bytes inside each. Engines take n log n steps and dozens of bytes
for every byte of a pretoken, which a run of 100 MB turns into minutes and gigabytes. Here such a run is encoded in
stretches, with the same ids:

BPE by ranks has a local law: a row of tokens is THE encoding of its bytes exactly if every two neighbours are the
encoding of theirs. So stretches that overlap in one token, equal on both sides, make the encoding of the whole
(van Antwerpen and Neubeck, "So many tokens, so little time: introducing a faster, more flexible byte-pair
tokenizer", GitHub blog, 2024). Where the overlap differs, because the cut was felt that far, an earlier one is tried.

Windows are merged without a pattern, so the law alone makes them right. Where the long pretokens are depends on the
pattern: only documents of patterns in `BORDERS` go this way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import regex

from mixer.tokens.patterns import CL100K, LLAMA3, O200K, QWEN, R50K

if TYPE_CHECKING:
    import tiktoken

Encode = Callable[[memoryview], np.ndarray]

_LETTER, _DIGIT, _SPACE, _NEWLINE, _OTHER, _QUOTE, _SLASH, _HIGH = range(8)


def _byte_classes() -> np.ndarray:
    classes = np.full(256, _OTHER, dtype=np.uint8)
    classes[[*range(ord("A"), ord("Z") + 1), *range(ord("a"), ord("z") + 1)]] = _LETTER
    classes[ord("0") : ord("9") + 1] = _DIGIT
    classes[[0x09, 0x0B, 0x0C, 0x20]] = _SPACE
    classes[[0x0A, 0x0D]] = _NEWLINE
    classes[ord("'")], classes[ord("/")] = _QUOTE, _SLASH
    classes[0x80:] = _HIGH
    return classes


_CLASSES = _byte_classes()


def _borders(*, suffix_quote: bool = False, suffix_slash: bool = False, plain_newline: bool = False) -> np.ndarray:
    """Between which two classes of bytes every split of a pattern has a border, whatever stands around them.

    Letters and digits end their pretoken before anything else in ASCII, a digit begins one, symbols end it before a
    space, and a newline before what is not white space. Bytes of other scripts may be of any kind, and tell nothing.

    Args:
        suffix_quote: a contraction may end a word's own pretoken.
        suffix_slash: slashes may follow the line ends after symbols in their pretoken.
        plain_newline: a space may begin the pretoken of digits, and newlines are as other white space: the last one
            before text is a pretoken by itself, so that text has to be looked at with what is before it.
    """
    border = np.zeros((8, 8), dtype=bool)
    symbols = [_OTHER, _QUOTE, _SLASH]
    border[_LETTER, [_DIGIT, _SPACE, _NEWLINE, *symbols]] = True
    border[_DIGIT, [_LETTER, _SPACE, _NEWLINE, *symbols]] = True
    border[symbols, _DIGIT] = border[symbols, _SPACE] = True
    border[_NEWLINE, [_LETTER, _DIGIT, *symbols]] = not plain_newline
    border[_SPACE, _DIGIT] = not plain_newline
    border[_LETTER, _QUOTE] = not suffix_quote
    border[_NEWLINE, _SLASH] &= not suffix_slash
    return border


BORDERS = {
    LLAMA3: _borders(),
    CL100K: _borders(),
    QWEN: _borders(),
    R50K: _borders(plain_newline=True),
    O200K: _borders(suffix_quote=True, suffix_slash=True),
}
"""The sure borders of each pattern; bool[class of the byte before, class of the byte after]."""
_LONG_DIGITS = {R50K}
"""Patterns that do not cut digits one by one or three by three."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LongPretokenSizes:
    """What counts as long, and in what pieces it is encoded; no size changes an id."""

    document_bytes: int = 1 << 20
    """Only documents from this size are looked at."""
    pretoken_bytes: int = 1 << 16
    stretch_bytes: int = 1 << 14
    first_overlap_tokens: int = 32
    piece_bytes: int = 1 << 20


LONG_PRETOKEN_SIZES = LongPretokenSizes()


class LongPretokens:
    """Encodes documents of a rank-file tokenizer that have long pretokens.

    Args:
        pattern: the split pattern, one of `BORDERS`.
        ranks: token bytes -> rank.
        encode: the encoder: one document -> its ids (uint32).
        sizes: what counts as long.
    """

    def __init__(self, pattern: str, ranks: dict[bytes, int], encode: Encode, sizes: LongPretokenSizes) -> None:
        self._encode = encode
        self._sizes = sizes
        self._ranks = ranks
        self._border = BORDERS[pattern]
        self._long_digits = pattern in _LONG_DIGITS
        self._pattern = regex.compile(pattern)
        self._last: tuple[str, np.ndarray] = "", np.empty(0, dtype=np.uint32)

    @cached_property
    def _token_bytes(self) -> np.ndarray:
        """Bytes of each token: int64[largest rank + 1]."""
        lengths = np.zeros(max(self._ranks.values()) + 1, dtype=np.int64)
        lengths[list(self._ranks.values())] = [len(token) for token in self._ranks]
        return lengths

    @cached_property
    def _merger(self) -> tiktoken.Encoding:
        """tiktoken with a pattern that takes any text for one pretoken."""
        import tiktoken

        return tiktoken.Encoding(
            name="one pretoken", pat_str=r"(?s:.+)", mergeable_ranks=self._ranks, special_tokens={}
        )

    def encode(self, document: memoryview) -> np.ndarray | None:
        """The ids of a document (UTF-8): uint32; None where it has no long pretoken, and the encoder does as well."""
        parts: list[np.ndarray] = []
        done = 0
        for before, start, stop in self._long_spans(document):
            before = max(done, before)
            parts += [self._encode(document[first:last]) for first, last in ((done, before), (before, start))]
            parts += self._encode_run(document[start:stop])
            done = stop
        if not parts:
            return None
        parts.append(self._encode(document[done:]))
        return np.concatenate(parts)

    def _long_spans(self, document: memoryview) -> Iterator[tuple[int, int, int]]:
        """Where the long pretokens are, in bytes; looked for only between borders that are far apart.

        A run of white space leaves its last character to what follows, so its end has to be seen with what follows:
        each stretch is read one character further, and a pretoken of white space before a long one, which begins at
        the first number, is encoded by itself.
        """
        least, piece = self._sizes.pretoken_bytes, self._sizes.piece_bytes
        for start, stop in _far_borders(document, self._border, least, piece):
            if not self._long_digits and _all_digits(document[start:stop], piece):
                continue
            text = str(document[start : stop + 4], "utf-8", errors="ignore")
            place, seen, space = start, 0, 0  # a place in bytes, the same place in characters
            for match in self._pattern.finditer(text):
                first, last = match.span()
                if last - first >= least // 4:
                    place += _num_bytes(text, seen, first)
                    seen = first
                    size = _num_bytes(text, first, last)
                    if size >= least:
                        yield place - space, place, place + size
                alone = text[first].isspace() and text[first:last].isspace()
                space = _num_bytes(text, first, last) if alone else 0

    def _encode_run(self, run: memoryview) -> Iterator[np.ndarray]:
        """The ids of one pretoken, stretch by stretch."""
        start, size = 0, self._sizes.stretch_bytes
        stop, ids = self._merge(run, start, size)
        while stop < len(run):
            found = self._next_stretch(run, start, ids)
            if found is None:
                size *= 2
                stop, ids = self._merge(run, start, size)
                continue
            keep, start, stop, following = found
            yield ids[:keep]
            size, ids = self._sizes.stretch_bytes, following
        yield ids

    def _next_stretch(self, run: memoryview, start: int, ids: np.ndarray) -> tuple[int, int, int, np.ndarray] | None:
        """The stretch that follows the one that begins at `start` and has these ids.

        Returns:
            How many of the ids stay; where the following stretch begins and stops, and its ids, the first of which is
            the first that does not stay. None: no stretch that begins at a token of this one begins with that token.
        """
        offsets = start + np.concatenate([[0], np.cumsum(self._token_bytes[ids])])
        overlap = self._sizes.first_overlap_tokens
        while overlap < len(ids):
            keep = len(ids) - overlap
            while keep > 0 and run[offsets[keep]] & 0xC0 == 0x80:
                keep -= 1  # a stretch begins with a whole character
            if keep == 0:
                return None
            begin = int(offsets[keep])
            stop, following = self._merge(run, begin, self._sizes.stretch_bytes)
            if following[0] == ids[keep]:
                return keep, begin, stop, following
            overlap *= 2
        return None

    def _merge(self, run: memoryview, start: int, size: int) -> tuple[int, np.ndarray]:
        """Where a stretch of about `size` bytes stops, behind a whole character, and its ids as one pretoken."""
        stop = min(start + size, len(run))
        while stop < len(run) and run[stop] & 0xC0 == 0x80:
            stop += 1
        text = str(run[start:stop], "utf-8")
        if text != self._last[0]:  # the stretches of a run of one character are alike
            self._last = text, self._merger.encode_to_numpy(text, disallowed_special=())
        return stop, self._last[1]


def _num_bytes(text: str, start: int, stop: int) -> int:
    """Bytes of UTF-8 of a part of a text."""
    return stop - start if text.isascii() else len(text[start:stop].encode())


def _all_digits(document: memoryview, piece_bytes: int) -> bool:
    """Whether there are only ASCII digits."""
    pieces = (document[start : start + piece_bytes] for start in range(0, len(document), piece_bytes))
    return all((_CLASSES[np.frombuffer(piece, dtype=np.uint8)] == _DIGIT).all() for piece in pieces)


def _far_borders(
    document: memoryview, border: np.ndarray, least_bytes: int, piece_bytes: int
) -> Iterator[tuple[int, int]]:
    """Stretches of at least some bytes between neighbouring sure borders.

    Piece by piece, because the places of all borders would take more memory than the document.
    """
    last = 0
    for start in range(0, len(document), piece_bytes):
        classes = _CLASSES[np.frombuffer(document[max(0, start - 1) : start + piece_bytes], dtype=np.uint8)]
        found = np.flatnonzero(border[classes[:-1], classes[1:]]) + max(1, start)
        edges = np.concatenate([[last], found])
        for place in np.flatnonzero(np.diff(edges) >= least_bytes):
            yield int(edges[place]), int(edges[place + 1])
        last = int(edges[-1])
    if len(document) - last >= least_bytes:
        yield last, len(document)
