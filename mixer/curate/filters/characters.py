"""Kinds of characters, as `str` and datatrove's rules know them, for the bytes of UTF-8. Compiled kernels only.

White space and line breaks are those of `str.split` and `str.splitlines`. Letters and digits are those of `str`,
which follow the version of Unicode that Python has: a rule about them has UNICODE_VERSION in its identity.
"""

from __future__ import annotations

import unicodedata

import numpy as np

SPACE, BREAK, LETTER, PLAIN, DIGIT = 1, 2, 4, 8, 16
"""Bits of the kinds of a byte: any of white space; the first of a line break; the first of a letter; the first of a
character that is neither white space nor punctuation; the first of a decimal digit."""
UNICODE_VERSION = unicodedata.unidata_version


def _characters(ranges: str) -> frozenset[str]:
    """Characters by their code points: `61-63 7A` is a, b, c and z."""
    bounds = (one.split("-") for one in ranges.split())
    return frozenset(chr(point) for one in bounds for point in range(int(one[0], 16), int(one[-1], 16) + 1))


TERMINAL_PUNCTUATION = _characters(
    "21 2E 3F 589 61D-61F 6D4 700-702 7F9 837 839 83D-83E 964-965 104A-104B 1362 1367-1368 166E 1735-1736 17D4-17D6"
    " 17D9-17DA 1803 1809 1944-1945 1AA8-1AAB 1B5A-1B5B 1B5E-1B5F 1B7D-1B7E 1C3B-1C3C 1C7E-1C7F 203C-203D 2047-2049"
    " 2E2E 2E3C 2E53-2E54 3002 A4FF A60E-A60F A6F3 A6F7 A876-A877 A8CE-A8CF A92F A9C8-A9C9 AA5D-AA5F AAF0-AAF1 ABEB"
    " FE52 FE56-FE57 FF01 FF0E FF1F FF61 10A56-10A57 10F55-10F59 10F86-10F89 11047-11048 110BE-110C1 11141-11143"
    " 111C5-111C6 111CD 111DE-111DF 11238-11239 1123B-1123C 112A9 1144B-1144C 115C2-115C3 115C9-115D7 11641-11642"
    " 1173C-1173E 11944 11946 11A42-11A43 11A9B-11A9C 11C41-11C42 11EF7-11EF8 11F43-11F44 16A6E-16A6F 16AF5"
    " 16B37-16B38 16B44 16E98 1BC9F 1DA88"
)
"""What ends a sentence, in any script: datatrove's TERMINAL_PUNCTUATION."""
PUNCTUATION = TERMINAL_PUNCTUATION | _characters(
    "0-8 B-1F 21-2F 3A-40 5B-60 7B-9F AB B4 BB 2013-2014 2019 201C-201E 2026 2236 2501 25BA 3001-3002 3008-300D"
    " 3010-3011 FF01 FF05 FF08-FF09 FF0C FF0E FF11 FF1A-FF1B FF1F FF5E"
)
"""What makes no word: datatrove's PUNCTUATION_SET, with control characters and, as there, a fullwidth 1."""
_UNKNOWN = 128
_LOW_BITS = 0x3F


def kinds_of(data: np.ndarray) -> np.ndarray:
    """The kinds of each byte: uint8[bytes], bits as above.

    Args:
        data: uint8[bytes]: documents in UTF-8, end to end.
    """
    # bytes.translate is the fastest table look-up that there is for bytes.
    kinds = np.frombuffer(data.tobytes().translate(_BYTE_KINDS), dtype=np.uint8)
    leads = np.flatnonzero(data >= 0xC0)
    if len(leads):
        kinds = kinds.copy()
        kind = _POINT_KINDS[code_points(data, leads)]
        if (kind == _UNKNOWN).any():
            _learn(np.unique(code_points(data, leads[kind == _UNKNOWN])))
            kind = _POINT_KINDS[code_points(data, leads)]
        kinds[leads] = kind
        spaces = leads[(kind & SPACE) != 0]
        for more, least in ((1, 0xC0), (2, 0xE0), (3, 0xF0)):
            kinds[spaces[data[spaces] >= least] + more] |= SPACE
    return kinds


def code_points(data: np.ndarray, leads: np.ndarray) -> np.ndarray:
    """The code points of characters of several bytes: int32[leads].

    Args:
        data: uint8[bytes]: documents in UTF-8.
        leads: int64[leads]: where the characters begin.
    """
    first = data[leads]
    points = ((first & 0x1F).astype(np.int32) << 6) | (data[leads + 1] & _LOW_BITS)
    longer = np.flatnonzero(first >= 0xE0)
    points[longer] = ((points[longer] & 0x3FF) << 6) | (data[leads[longer] + 2] & _LOW_BITS)
    longest = np.flatnonzero(first >= 0xF0)
    points[longest] = ((points[longest] & 0x7FFF) << 6) | (data[leads[longest] + 3] & _LOW_BITS)
    return points


def last_code_points(data: np.ndarray, stops: np.ndarray) -> np.ndarray:
    """The code point of the character before each byte: int32[stops]; a stop is at least 1."""
    last = stops - 1
    points = data[last].astype(np.int32)
    longer = np.flatnonzero(points >= 0x80)
    leads = last[longer]
    for _ in range(3):
        leads = leads - ((data[leads] & 0xC0) == 0x80)
    points[longer] = code_points(data, leads)
    return points


def _learn(points: np.ndarray) -> None:
    """Enter code points that no document had before into the table."""
    for point in points.tolist():
        _POINT_KINDS[point] = _kind(chr(point))


def _kind(character: str) -> int:
    if character.isspace():
        return SPACE | (BREAK if len(f"a{character}b".splitlines()) == 2 else 0)
    letter, digit = LETTER * character.isalpha(), DIGIT * character.isdecimal()
    return letter | digit | (0 if character in PUNCTUATION else PLAIN)


_BYTE_KINDS = bytes(_kind(chr(byte)) if byte < 0x80 else 0 for byte in range(256))
_POINT_KINDS = np.full(0x110000, _UNKNOWN, dtype=np.uint8)
"""Kinds by code point, entered when a document has one: to ask Python for all of them takes a third of a second."""
