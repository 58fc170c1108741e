"""The pure parts of a fetch: what is wanted, how bytes become text, what comes in which order, how work is shared."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stack_kit import FILE, SCHEMA

from mixer.errors import UsageError
from mixer.stack.decoding import AS_NAMED, UNKNOWN_ENCODING, WRONG_ENCODING, decode_text
from mixer.stack.fetch_plan import HostPart, Rules, make_fetch_plan, parse_part
from mixer.stack.ids import IdsFile
from mixer.stack.in_order import in_order
from mixer.stack.wanted_files import Selection, select

pytestmark = pytest.mark.quick

# Decoding


@pytest.mark.parametrize(
    ("content", "encoding", "text", "how"),
    [
        (b"caf\xc3\xa9", "UTF-8", "café", AS_NAMED),
        (b"caf\xc3\xa9", None, "café", AS_NAMED),
        (b"caf\xe9", "ISO-8859-1", "café", AS_NAMED),
        ("naïve 猫".encode("utf-16"), "UTF-16", "naïve 猫", AS_NAMED),
        ("日本".encode("shift_jis"), "SHIFT_JIS", "日本", AS_NAMED),
        (b"", "UTF-8", "", AS_NAMED),
        (b"a\x00b", "ascii", "a\x00b", AS_NAMED),
        (b"caf\xe9", "unknown-8bit", "caf\ufffd", UNKNOWN_ENCODING),
        (b"caf\xc3\xa9", "binary", "café", UNKNOWN_ENCODING),
        (b"caf\xe9", "US-ASCII", "caf\ufffd", WRONG_ENCODING),
        (b"\xff\xfea", "UTF-8", "\ufffd\ufffda", WRONG_ENCODING),
        (b"a", "UTF-16", "a", WRONG_ENCODING),
        (b"+2AA-", "UTF-7", "+2AA-", WRONG_ENCODING),
    ],
)
def test_a_file_is_decoded_as_its_row_says_or_as_utf8_with_replacement(content, encoding, text, how):
    """The second is counted, by why."""
    decoded = decode_text(content, encoding)
    assert (decoded.text.decode(), decoded.how) == (text, how)


@pytest.mark.parametrize(
    "name", ["hex", "zlib", "rot13", "unicode_escape", "idna", "undefined", "a\x00b", "ü", "x" * 500]
)
def test_what_is_no_encoding_of_files_is_unknown(name):
    """Python's codecs do more than decode text: a row must not choose them."""
    assert decode_text(rb"4142 \x41", name) == (rb"4142 \x41", UNKNOWN_ENCODING)


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=40), st.sampled_from(["utf-8", "utf-7", "latin-1", "utf-16", "big5", "cp037", "nonsense", None])
)
def test_every_file_becomes_utf8(content, encoding):
    """Whatever its bytes and whatever it says they are: as Python decodes it, or with replacement characters."""
    decoded = decode_text(content, encoding)
    expected = content.decode("utf-8", "replace")
    if decoded.how == AS_NAMED:
        expected = content.decode(encoding or "utf-8")
    assert decoded.text.decode("utf-8") == expected


# Selection

FILES = pa.array(
    [
        {"language": "C", "license_type": "permissive", "is_vendor": False, "is_generated": False, "length_bytes": 10},
        {"language": "C", "license_type": "no_license", "is_vendor": True, "is_generated": None, "length_bytes": 20},
        {
            "language": "Python",
            "license_type": "permissive",
            "is_vendor": None,
            "is_generated": True,
            "length_bytes": 5,
        },
        {"language": None, "license_type": None, "is_vendor": True, "is_generated": True, "length_bytes": None},
    ],
    FILE,
)


@pytest.mark.parametrize(
    ("selection", "wanted", "left_out"),
    [
        (Selection(), "1111", {}),
        (Selection(languages=("C", "Java")), "1100", {"language": 2}),
        (Selection(license_types=("permissive",)), "1010", {"license_type": 2}),
        (Selection(vendored=False), "1010", {"vendored": 2}),
        (Selection(generated=False), "1100", {"generated": 2}),
        (Selection(min_bytes=10), "1101", {"too_small": 1}),
        (Selection(max_bytes=10), "1011", {"too_large": 1}),
        (
            Selection(languages=("C",), vendored=False, max_bytes=9),
            "0000",
            {"language": 2, "vendored": 1, "too_large": 1},
        ),
    ],
)
def test_files_are_left_out_by_the_first_reason_against_them(selection, wanted, left_out):
    """Counts add up. Unknown languages and licences are not those asked for; unknown sizes are fine."""
    mask, counts = select(FILES, selection)
    assert "".join(map(str, mask.astype(int))) == wanted
    assert counts == left_out


def test_a_selection_sees_the_files_of_a_slice():
    """Rows are read in slices."""
    mask, counts = select(FILES[1:3], Selection(languages=("C",)))
    assert (mask.tolist(), counts) == ([True, False], {"language": 1})


def test_no_files_are_no_trouble():
    """A batch may hold empty repositories alone."""
    mask, counts = select(FILES[:0], Selection(languages=("C",)))
    assert (mask.tolist(), counts) == ([], {"language": 0})


# The window


@dataclass(frozen=True)
class Order:
    number: int
    num_bytes: int


def test_results_come_in_the_order_of_requests():
    """However long each takes."""
    waits = random.Random(1)
    seconds = [waits.random() / 500 for _ in range(200)]

    def fetch(order: Order) -> int:
        time.sleep(seconds[order.number])
        return -order.number

    with ThreadPoolExecutor(16) as executor:
        orders = [Order(number, 1) for number in range(200)]
        results = list(in_order(iter(orders), fetch, executor, max_requests=32, max_bytes=1000))
    assert results == [(order, -order.number) for order in orders]


@pytest.mark.parametrize(("max_requests", "max_bytes", "most"), [(3, 10**9, 3), (100, 25, 2), (100, 5, 1)])
def test_no_more_is_begun_than_may_be_ahead(max_requests, max_bytes, most):
    """By number and by bytes; one that is larger than the bound goes alone."""
    begun, seen = 0, []

    def orders() -> Iterator[Order]:
        nonlocal begun
        for number in range(20):
            begun += 1
            yield Order(number, 10)

    with ThreadPoolExecutor(8) as executor:
        for done, _ in enumerate(
            in_order(orders(), lambda order: None, executor, max_requests=max_requests, max_bytes=max_bytes)
        ):
            seen.append(begun - done)
    # The request that found no room is drawn, and not begun.
    assert max(seen) == most + 1


def test_the_first_request_that_fails_ends_it_and_no_more_are_made():
    """Those that are begun are taken back."""
    held, made = threading.Event(), []

    def fetch(order: Order) -> None:
        made.append(order.number)
        if order.number == 1:
            raise OSError("gone")
        held.wait(5 if order.number > 1 else 0)

    with ThreadPoolExecutor(2) as executor:
        stream = in_order((Order(number, 1) for number in range(50)), fetch, executor, max_requests=40, max_bytes=99)
        assert next(stream)[0].number == 0
        with pytest.raises(OSError, match="gone"):
            next(stream)
        held.set()
    assert len(made) < 40


# Chunks and parts


def ids_file(name: str, num_rows: int) -> IdsFile:
    return IdsFile(path=Path(name), name=name, num_bytes=1, num_rows=num_rows, footer_sha256="0", schema=SCHEMA)


RULES = Rules(selection=Selection())


def test_chunks_cover_every_row_once_in_order():
    """A chunk has the rows of one file, and a name made from it."""
    plan = make_fetch_plan(
        [ids_file("x/a.parquet", 300), ids_file("x/b.pq", 0), ids_file("c.parquet", 256)], RULES, None
    )
    assert [(chunk.name, chunk.start, chunk.stop) for chunk in plan.chunks] == [
        ("x/a-00000.parquet", 0, 256),
        ("x/a-00001.parquet", 256, 300),
        ("c-00000.parquet", 0, 256),
    ]
    assert [chunk.number for chunk in plan.chunks] == [0, 1, 2]


@pytest.mark.parametrize(("rows", "chunk_rows"), [(1, 256), (65_536, 256), (100_000, 391), (40_100_000, 8192)])
def test_the_size_of_a_chunk_follows_from_the_total_alone(rows, chunk_rows):
    """Few rows are cut finer, so that there is something to share out."""
    assert make_fetch_plan([ids_file("a.parquet", rows)], RULES, None).chunk_rows == chunk_rows


def test_files_that_would_become_one_are_refused():
    """A name is a promise."""
    with pytest.raises(UsageError, match=r"2 files of SRC would be written to 'a-00000.parquet'"):
        make_fetch_plan([ids_file("a.parquet", 1), ids_file("a.pq", 1)], RULES, None)


@given(st.integers(1, 2000), st.integers(1, 9))
def test_parts_share_all_chunks_and_none_twice(rows, count):
    """Whatever the number of hosts; their shares differ by one chunk at most."""
    plan = make_fetch_plan([ids_file("a.parquet", rows), ids_file("b.parquet", rows)], RULES, None)
    shares = [HostPart(number=number, count=count).chunks(plan) for number in range(1, count + 1)]
    assert sorted(chunk.number for share in shares for chunk in share) == list(range(len(plan.chunks)))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_part_is_written_as_number_and_count():
    """From 1, as people count hosts."""
    assert parse_part("3/16") == HostPart(number=3, count=16)


@pytest.mark.parametrize("text", ["0/4", "5/4", "4", "a/b", "1/0", "-1/2", "1/2/3", "", "½/1"])
def test_what_is_no_part_is_refused(text):
    """With an example."""
    with pytest.raises(UsageError, match="is not a part") as caught:
        parse_part(text)
    assert "16/16" in str(caught.value.hint)
