"""Which requests go wrong, and how: a pure function of a seed and of the request, whatever the order they come in."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal[
    "reset",  # the connection is reset before a byte of the answer
    "reset-inside",  # ... after half of the body
    "short",  # the connection is closed, in good order, after half of the body
    "silent",  # no byte for `stall_seconds`, then a reset
    "stall",  # half of the body, no byte for `stall_seconds`, then the other half
    "wrong-bytes",  # the body has its length, and one byte in its middle is another
    "403",  # an address whose signature has expired
    "429",
    "500",
    "502",
    "503",
    "slow-down",  # 503 with the XML that S3 sends to clients that ask too often
]
KINDS: tuple[Kind, ...] = get_args(Kind)
IN_BODY: tuple[Kind, ...] = ("reset-inside", "short", "stall", "wrong-bytes")
# What a client must survive without help. `wrong-bytes` needs a digest, `silent` and `stall` need a time limit.
TRANSIENT: tuple[Kind, ...] = ("reset", "reset-inside", "short", "429", "500", "502", "503", "slow-down")


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What a server does to the requests whose target matches `only`.

    A request is known by its method, target and range. A share of them fails, each 1 to `in_a_row` times with a
    kind chosen by key, and is served from then on.
    """

    seed: int = 0
    share: float = 0.0
    kinds: tuple[Kind, ...] = TRANSIENT
    in_a_row: int = 1
    # A regular expression that the target, as sent, has to contain.
    only: str = ""
    # Of every request, before the first byte of the answer.
    latency_seconds: float = 0.0
    stall_seconds: float = 5.0
    # What a 429, a 503 and a SlowDown ask for; None: they do not say.
    retry_after_seconds: int | None = 0
    # In place of it: when the limit on requests begins anew, in the header that the hub has; None: it does not say.
    rate_limit_seconds: int | None = None

    def kind_of(self, method: str, target: str, byte_range: str, attempt: int) -> Kind | None:
        """How the request fails when it is made for the `attempt`-th time, from 0; None where it is served."""
        if not self.share or not re.search(self.only, target):
            return None
        request = (method, target, byte_range)
        if self._chance("whether", *request) >= self.share:
            return None
        num_faults = 1 + int(self._chance("how often", *request) * self.in_a_row)
        kinds = [kind for kind in self.kinds if method != "HEAD" or kind not in IN_BODY]
        if attempt >= num_faults or not kinds:
            return None
        return kinds[int(self._chance("kind", *request, attempt) * len(kinds))]

    def _chance(self, *parts: str | int) -> float:
        """A number in [0, 1), evenly spread over the parts."""
        digest = hashlib.sha256(repr((self.seed, *parts)).encode()).digest()
        return int.from_bytes(digest[:6], "big") / (1 << 48)
