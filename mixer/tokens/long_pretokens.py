"""Documents with enormous pretokens: 100 MB of one character, of base64, of spaces. Exact, in bounded memory.

A tokenizer splits text into pretokens and merges bytes inside each. Engines take n log n steps and dozens of bytes
for every byte of a pretoken, which a run of 100 MB turns into minutes and gigabytes. Here such a run is encoded in
windows, with the same ids:

BPE by ranks has a local law: a row of tokens is THE encoding of its bytes exactly if every two neighbours are the
encoding of theirs. So windows that overlap in one token, equal on both sides, make the encoding of the whole
(van Antwerpen and Neubeck, "So many tokens, so little time: introducing a faster, more flexible byte-pair
tokenizer", GitHub blog, 2024). Where the overlap differs, because the cut was felt that far, an earlier one is tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
import regex

from mixer.tokens import llama3

LONG_DOCUMENT_BYTES = 1 << 20
"""Only documents from this size are looked at."""
_LONG_PRETOKEN = 1 << 16
_WINDOW = 1 << 16
_FIRST_OVERLAP = 64

Encode = Callable[[str], np.ndarray]

_LETTER, _DIGIT, _SPACE, _NEWLINE, _OTHER, _HIGH = range(6)


def _byte_classes() -> np.ndarray:
    classes = np.full(256, _OTHER, dtype=np.uint8)
    classes[[*range(ord("A"), ord("Z") + 1), *range(ord("a"), ord("z") + 1)]] = _LETTER
    classes[ord("0") : ord("9") + 1] = _DIGIT
    classes[[0x09, 0x0B, 0x0C, 0x20]] = _SPACE
    classes[[0x0A, 0x0D]] = _NEWLINE
    classes[0x80:] = _HIGH
    return classes


_CLASSES = _byte_classes()
# Between these two classes of bytes every split of the Llama-3 pattern has a border, whatever stands around them:
# letters and digits end their pretoken before anything else in ASCII, a digit begins one, symbols end it before a
# space, and a newline before what is not white space. Bytes of other scripts may be of any kind, and tell nothing.
_BORDER = np.zeros((6, 6), dtype=bool)
_BORDER[_LETTER, [_DIGIT, _SPACE, _NEWLINE, _OTHER]] = True
_BORDER[_DIGIT, [_LETTER, _SPACE, _NEWLINE, _OTHER]] = True
_BORDER[[_SPACE, _OTHER], _DIGIT] = True
_BORDER[_OTHER, _SPACE] = True
_BORDER[_NEWLINE, [_LETTER, _DIGIT, _OTHER]] = True


class LongPretokens:
    """Encodes documents of a rank-file tokenizer that have long pretokens.

    Args:
        ranks_path: the tokenizer's rank file.
        encode: the engine: one document -> its ids (uint32).
    """

    def __init__(self, ranks_path: Path, encode: Encode) -> None:
        self._ranks_path = ranks_path
        self._encode = encode
        self._pattern = regex.compile(llama3.SPLIT_PATTERN)

    @cached_property
    def _token_bytes(self) -> np.ndarray:
        """Bytes of each token: int64[ranks]."""
        ranks = llama3.load_ranks(self._ranks_path)
        lengths = np.empty(len(ranks), dtype=np.int64)
        lengths[list(ranks.values())] = [len(token) for token in ranks]
        return lengths

    def encode(self, document: bytes) -> np.ndarray | None:
        """The ids of a document (UTF-8): uint32; None where it has no long pretoken, and the engine does as well."""
        spans = list(self._long_spans(document))
        if not spans:
            return None
        parts: list[np.ndarray] = []
        done = 0
        for before, start, stop in [*spans, (len(document), len(document), len(document))]:
            before = max(done, before)
            for first, last in ((done, before), (before, start)):
                if first < last:
                    parts.append(self._encode(document[first:last].decode()))
            if start < stop:
                parts += self._encode_run(document[start:stop].decode())
            done = stop
        return np.concatenate(parts)

    def _long_spans(self, document: bytes) -> Iterator[tuple[int, int, int]]:
        """Where the long pretokens are, in bytes; looked for only between borders that are far apart.

        A run of white space leaves its last character to what follows, so its end has to be seen with what follows:
        each stretch is read one character further, and a pretoken of white space before a long one, which begins at
        the first number, is encoded by itself.
        """
        for start, stop in _far_borders(document):
            text = document[start : stop + 4].decode(errors="ignore")
            space = 0
            for match in self._pattern.finditer(text):
                if match.end() - match.start() >= _LONG_PRETOKEN // 4:
                    first = start + len(text[: match.start()].encode())
                    size = len(match.group().encode())
                    if size >= _LONG_PRETOKEN:
                        yield first - space, first, first + size
                alone = match.group().isspace() and match.group()[-1] not in "\r\n"
                space = len(match.group().encode()) if alone else 0

    def _encode_run(self, run: str) -> Iterator[np.ndarray]:
        """The ids of one pretoken, window by window."""
        start, window = 0, _WINDOW
        shared: int | None = None
        while True:
            text = self._window(run, start, window)
            ids = self._encode(text)
            if shared is not None and ids[0] != shared:
                raise AssertionError("the overlap was checked before it was used")
            if start + len(text) == len(run):
                yield ids
                return
            keep = self._overlap(run, start, text, ids)
            if keep is None:
                window *= 2
                continue
            yield ids[:keep]
            start += len(text.encode()[: int(self._token_bytes[ids[:keep]].sum())].decode())
            shared, window = int(ids[keep]), _WINDOW

    def _window(self, run: str, start: int, size: int) -> str:
        """The next piece of a run that the tokenizer takes for one pretoken."""
        text = run[start : start + size]
        match = self._pattern.match(text)
        return text if match is None or start + size >= len(run) else text[: match.end()]

    def _overlap(self, run: str, start: int, text: str, ids: np.ndarray) -> int | None:
        """A token of the window with which the window that begins there begins as well; None: there is none."""
        data = text.encode()
        offsets = np.concatenate([[0], np.cumsum(self._token_bytes[ids])])
        overlap = _FIRST_OVERLAP
        while overlap < len(ids):
            keep = len(ids) - overlap
            while keep > 0 and data[offsets[keep]] & 0xC0 == 0x80:
                keep -= 1  # a window begins with a whole character
            if keep <= 0:
                return None
            following = self._window(run, start + len(data[: offsets[keep]].decode()), _WINDOW)
            if self._encode(following)[0] == ids[keep]:
                return keep
            overlap *= 2
        return None


def _far_borders(document: bytes) -> Iterator[tuple[int, int]]:
    """Stretches between neighbouring sure borders that are long enough to hold a long pretoken."""
    classes = _CLASSES[np.frombuffer(document, dtype=np.uint8)]
    borders = np.flatnonzero(_BORDER[classes[:-1], classes[1:]]) + 1
    borders = np.concatenate([[0], borders, [len(document)]])
    for place in np.flatnonzero(np.diff(borders) >= _LONG_PRETOKEN):
        start, stop = int(borders[place]), int(borders[place + 1])
        if (classes[start:stop] != _DIGIT).any():  # digits are cut three by three
            yield start, stop
