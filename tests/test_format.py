"""The vectors of format.md, against the page itself and an implementation of Philox written from its paper."""

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest

import mixer
from mixer import rng
from mixer.digest import canonical_json, decimal_number, decimal_text, identity
from mixer.feed.order import Order
from mixer.mixing.blocks import BlockOrder
from mixer.mixing.draws import DrawSchedule
from mixer.mixing.tasks import document_slots

pytestmark = pytest.mark.quick

PAGE = (Path(mixer.__file__).parent / "format.md").read_text()
MASK = (1 << 64) - 1


def philox4x64(key: int, count: int) -> list[int]:
    """Philox4x64-10 in plain Python, from Salmon et al. (2011), table 2 and figure 2."""
    out: list[int] = []
    counter = 0
    while len(out) < count:
        counter += 1
        x = [(counter >> (64 * word)) & MASK for word in range(4)]
        k0, k1 = key & MASK, key >> 64
        for _ in range(10):
            product0, product1 = x[0] * 0xD2E7470EE14C6C93, x[2] * 0xCA5A826395121157
            x = [(product1 >> 64) ^ x[1] ^ k0, product1 & MASK, (product0 >> 64) ^ x[3] ^ k1, product0 & MASK]
            k0, k1 = (k0 + 0x9E3779B97F4A7C15) & MASK, (k1 + 0xBB67AE8584CAA73B) & MASK
        out += x
    return out[:count]


def vector(label: str) -> list[str]:
    """The values that the page prints behind a label."""
    match = re.search(rf"^    {re.escape(label)}\s{{2,}}(.*)$", PAGE, re.MULTILINE)
    assert match is not None, label
    return match.group(1).removesuffix("...").split()


def test_streams_are_philox_keyed_by_the_digest_of_canonical_json() -> None:
    """Another language that follows the page gets the page's numbers."""
    key = int(hashlib.sha256(b'[1,"blocks","dclm",0]').hexdigest()[:32], 16)
    words = philox4x64(key, 8)
    assert vector('key of [1,"blocks","dclm",0]') == [f"{key:#034x}"]
    assert vector("its first outputs") == [f"{word:#018x}" for word in words[:3]]
    assert vector("its permutation of 8") == [str(place) for place in sorted(range(8), key=lambda i: words[i])]
    assert rng.words(rng.key(1, "blocks", "dclm", 0), 8).tolist() == words


def test_the_order_of_training_is_that_of_the_page() -> None:
    """Small and large, redrawn, and with groups of shards."""
    small = Order(np.array([10]), 1).sequences(0, np.arange(10))
    assert [str(one) for one in small] == vector("seed 1, epoch 0, N = 10, positions 0 to 9")
    large = Order(np.array([700_000_000]), 1).sequences(2, np.arange(4))
    assert [str(one) for one in large] == vector("seed 1, epoch 2, N = 700000000, positions 0 to 3")
    redrawn = Order(np.array([10]), 1, num_parts=3).sequences(1, np.arange(3))
    assert [str(one) for one in redrawn] == vector("seed 1, epoch 1, redrawn, count 3, N = 10")
    grouped = Order(np.array([3, 2, 4, 1]), 1, 2).sequences(0, np.arange(10))
    assert [str(one) for one in grouped] == vector("seed 1, epoch 0, shards of 3, 2, 4, 1, shuffle_shards 2")


def test_draws_and_slots_are_those_of_the_page() -> None:
    """The worked examples of the page are what the code does."""
    assert [str(source) for source in DrawSchedule([3, 2, 1]).sources(0, 6)] == vector("weights 3, 2, 1")
    recipe = [str(source) for source in DrawSchedule([40, 44, 3, 2, 10, 1]).sources(0, 20)]
    assert recipe == vector("weights 40, 44, 3, 2, 10, 1")
    slots = document_slots(np.array([0, 1, 0, 0, 1], dtype=np.int16), ["a", "b"], 1, 0)
    line = re.search(r"documents go to slots ([\d ]+)", PAGE)
    assert line is not None
    assert slots.tolist() == [int(slot) for slot in line.group(1).split()]


def test_canonical_json_and_its_identity_are_those_of_the_page() -> None:
    """Keys sorted, no white space, escapes only where JSON requires them, and no number but integers."""
    value = {"b": [1, "é\n"], "a": None}
    assert canonical_json(value).decode() == " ".join(vector('canonical JSON of {"b": [1, "é\\n"], "a": null}'))
    assert vector("its identity") == [hashlib.sha256(canonical_json(value)).hexdigest()] == [identity(value)]
    assert canonical_json('\x00\x1f\x7f"\\/é😀') == b'"\\u0000\\u001f\x7f\\"\\\\/' + "é😀".encode() + b'"'
    assert canonical_json({"\U0001f600": 1, "\uffff": 2}) == '{"\uffff":2,"\U0001f600":1}'.encode()  # by code point
    for fraction in (2.0, 1e-05, float("nan")):
        with pytest.raises(ValueError, match="decimals are strings"):
            canonical_json({"deep": [[fraction]]})


def test_decimals_are_spelt_in_one_way() -> None:
    """Python writes 2.0 and 1e-05, JavaScript 2 and 0.00001: neither is in an id."""
    spelt = {40: "40", 0.5: "0.5", 1e-05: "0.00001", 1e22: "10000000000000000000000", 0.1: "0.1"}
    assert {number: decimal_text(number) for number in spelt} == spelt
    assert [decimal_number(text) for text in spelt.values()] == list(spelt)


def test_passes_that_differ_in_length_are_those_of_the_page() -> None:
    """Draw k is row k - (R_0 + ... + R_(p-1)) of pass p."""
    order = BlockOrder(1, "s", [np.array([3]), np.array([2])])
    places = [order.locate(draw) for draw in range(11)]
    assert vector("pass_rows 3, 2: passes of draws 0 to 10") == [str(number) for number, _ in places]
    assert vector("and their rows in the pass") == [str(row) for _, row in places]
