"""Retries of all stores: which failures, how long to wait, when to give up.

Waits grow exponentially and are drawn at random below their bound ("full jitter", AWS Architecture Blog, 2015), so that
many workers that failed together do not come back together. A server's Retry-After is obeyed.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TypeVar

from mixer.errors import DataError
from mixer.stores import traffic

_T = TypeVar("_T")

CONNECTION, TIMEOUT, SHORT, BUSY, SERVER, DAMAGED = "connection", "timeout", "short", "busy", "server", "damaged"
"""Kinds of failures that may pass: no or a lost connection; no byte for too long; fewer bytes than announced; 408, 425,
429 and SlowDown; 5xx; bytes that are not those of the digest."""
_BUSY = frozenset({408, 425, 429})


class TransferFailed(Exception):
    """One attempt failed in a way that may be temporary."""

    def __init__(self, kind: str, message: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """The limits on the retries of a transfer."""

    # Failures in a row, without one new byte between them.
    max_failures: int = 10
    first_wait_seconds: float = 0.1
    longest_wait_seconds: float = 30.0
    # Waiting in all; a server that asks for more is taken at its word and given up. The hub's limit on requests is one
    # of five minutes, and a request may meet it more than once.
    total_wait_seconds: float = 1200.0


POLICY = RetryPolicy()


def failure_of_status(status: int, message: str, retry_after: str | None, now_unix: float) -> TransferFailed | None:
    """The kind of failure of an HTTP status; None if the status is final. Pure.

    Args:
        status: the answer's status.
        message: what to say of it.
        retry_after: the answer's header: seconds, or a date (RFC 9110, 10.2.3).
        now_unix: the time now.
    """
    if status not in _BUSY and status < 500:
        return None
    kind = BUSY if status in _BUSY or "SlowDown" in message else SERVER
    return TransferFailed(kind, message, _retry_after_seconds(retry_after, now_unix))


def wait_seconds(
    policy: RetryPolicy, num_failures: int, waited_seconds: float, asked_seconds: float | None, chance: float
) -> float | None:
    """Seconds to wait before the next attempt; None to give up. Pure.

    Args:
        policy: the bounds.
        num_failures: failures in a row, this one included.
        waited_seconds: what was waited before, for this transfer.
        asked_seconds: what the server asks for, if it does.
        chance: a random number in [0, 1).
    """
    if num_failures >= policy.max_failures:
        return None
    bound = min(policy.longest_wait_seconds, policy.first_wait_seconds * 2 ** (num_failures - 1))
    wait = max(asked_seconds or 0.0, bound * chance)
    return wait if waited_seconds + wait <= policy.total_wait_seconds else None


class RetryState:
    """The failures of one transfer, and the waits after them.

    Args:
        place: what is transferred, for messages.
        policy: the bounds; None: those of this module.
    """

    def __init__(self, place: str, policy: RetryPolicy | None = None) -> None:
        self._place = place
        self._policy = policy or POLICY
        self._num_failures = 0
        self._all_failures = 0
        self._waited = 0.0

    def progressed(self) -> None:
        """Note new bytes: earlier failures no longer count."""
        self._num_failures = 0

    def failed(self, failure: TransferFailed) -> None:
        """Wait before the next attempt.

        Raises:
            DataError: there is no further attempt.
        """
        self._num_failures += 1
        self._all_failures += 1
        wait = wait_seconds(
            self._policy, self._num_failures, self._waited, failure.retry_after_seconds, random.random()
        )
        if wait is None:
            raise DataError(
                f"{failure.message} ({self._all_failures} attempts failed, {self._waited:.0f} s waited between them)",
                where=self._place,
                hint=_HINTS.get(failure.kind, "try later: run the same command again to resume"),
            ) from failure
        traffic.count(**{f"retries_{failure.kind}": 1, "wait_seconds": wait})
        self._waited += wait
        time.sleep(wait)


_HINTS = {
    CONNECTION: "check the network and the address, then run the same command again to resume",
    SHORT: "the file may have been cut short at its source; run the same command again to resume",
    DAMAGED: "the file may be damaged at its source; run the same command again to resume",
}


def retried(attempt: Callable[[], _T], place: str) -> _T:
    """The result of an attempt, retried where that may help.

    Raises:
        DataError: it never succeeded.
    """
    retry_state = RetryState(place)
    while True:
        try:
            return attempt()
        except TransferFailed as failure:
            retry_state.failed(failure)


def _retry_after_seconds(value: str | None, now_unix: float) -> float | None:
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now_unix)
    except ValueError:
        return None
