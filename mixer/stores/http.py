"""HTTP requests as the stores make them: one attempt, with a time limit and classified failures.

urllib3, because a megabyte costs it 0.4 ms of a core, where httpx takes 2.5 ms: the core is the tokenizer's.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from http.client import IncompleteRead  # which urllib3's own is one of; a read of the rest raises this one
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.exceptions import (
    HTTPError,
    MaxRetryError,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
    TimeoutError,
)
from urllib3.response import BaseHTTPResponse

from mixer.errors import DataError, MixerError
from mixer.stores import traffic
from mixer.stores.retry import CONNECTION, SHORT, TIMEOUT, TransferFailed, failure_of_status
from mixer.stores.store import CONNECT_SECONDS, MAX_CONNECTIONS, STALL_SECONDS

HTTP_PIECE_BYTES = 1 << 18


class HttpClient:
    """Connections to one or more hosts, kept open; safe to use from several threads."""

    def __init__(self) -> None:
        options = {"maxsize": MAX_CONNECTIONS, "block": False, "retries": False}
        self._timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=STALL_SECONDS)
        self.direct = urllib3.PoolManager(**options)  # type: ignore[arg-type]
        self._proxies = {
            scheme: urllib3.ProxyManager(url, **options)  # type: ignore[arg-type]
            for scheme, url in getproxies().items()
            if scheme in ("http", "https")
        }

    def disconnect(self) -> None:
        """Close the connections; new ones are made when they are needed."""
        for pool in (self.direct, *self._proxies.values()):
            pool.clear()

    def request(self, method: str, url: str, place: str, headers: Mapping[str, str]) -> BaseHTTPResponse:
        """The response to a request, its body unread; redirects to other hosts are followed without credentials.

        Raises:
            TransferFailed: no response, or one that another attempt may change.
            MixerError: a response that will not change, such as 404 and 401.
        """
        parts = urlsplit(url)
        proxy = None if proxy_bypass(parts.hostname or "") else self._proxies.get(parts.scheme)
        try:
            response = (proxy or self.direct).request(
                method,
                url,
                headers=dict(headers),
                timeout=self._timeout,
                preload_content=False,
                decode_content=False,
                redirect=True,
                retries=urllib3.Retry(total=None, connect=0, read=0, redirect=5, status=0, other=0),
            )
        except HTTPError as error:
            raise failure_of(error) from error
        traffic.count(requests=1)
        if response.status >= 400:
            try:
                raise refusal(response, place)
            finally:
                response.close()
        return response

    def stream(
        self, url: str, place: str, headers: Mapping[str, str], start: int, stop: int
    ) -> tuple[BaseHTTPResponse, Iterator[bytes]]:
        """The response to a request for the bytes [start, stop), and its pieces.

        Raises:
            TransferFailed, MixerError: as `request`; also while the pieces are read.
        """
        wanted = {"Accept-Encoding": "identity", **headers, "Range": f"bytes={start}-{stop - 1}"}
        response = self.request("GET", url, place, wanted)
        if response.status != 206 and start > 0:
            response.close()
            raise DataError(
                "the server sends only whole files, not byte ranges",
                where=place,
                hint="download the file and give its local path",
            )
        return response, pieces(response, stop - start)


def pieces(response: BaseHTTPResponse, num_bytes: int) -> Iterator[bytes]:
    """The first bytes of a response's body, in pieces.

    Raises:
        TransferFailed: the connection was lost, stalled, or ended before its announced length.
    """
    left = num_bytes
    whole = False
    try:
        while left > 0:
            piece = response.read(min(HTTP_PIECE_BYTES, left))
            if not piece:
                break
            left -= len(piece)
            traffic.count(bytes=len(piece))
            yield piece
        whole = left == 0 and not response.length_remaining
    except HTTPError as error:
        raise failure_of(error) from error
    finally:
        if whole:
            response.drain_conn()
            response.release_conn()
        else:
            response.close()


def load_json(response: BaseHTTPResponse) -> Any:
    """The JSON value of a response's body.

    Raises:
        TransferFailed: it is not whole.
    """
    try:
        return json.loads(response.read())
    except HTTPError as error:
        raise failure_of(error) from error
    except ValueError as error:
        raise TransferFailed(SHORT, "the response is not complete JSON") from error
    finally:
        response.close()


def refusal(response: BaseHTTPResponse, place: str) -> MixerError | TransferFailed:
    """The error for a response with a status of 400 or more."""
    status, reason = response.status, response.reason or ""
    message = f"the server answered {status} {reason}".rstrip()
    failure = failure_of_status(status, message, response.headers.get("Retry-After"), time.time())
    return failure or refused(status, message, place)


def refused(status: int, message: str, place: str) -> MixerError:
    """The error for a status that is final."""
    if status in (401, 403):
        hint = "sign in as the server wants it, or ask its owner for access"
    elif status in (404, 410):
        hint = "check the address"
    elif status == 412:
        message, hint = "the file changed since it was pinned", "pin it again: mixer plan RECIPE --update"
    else:
        hint = "check the address; the server will not answer otherwise next time"
    return DataError(message, where=place, hint=hint)


def failure_of(error: HTTPError) -> TransferFailed:
    """The kind of failure of a urllib3 error. Its text may contain the URL, so it is not shown."""
    if isinstance(error, MaxRetryError) and isinstance(error.reason, HTTPError):
        error = error.reason
    if isinstance(error, NewConnectionError):  # a timeout to urllib3, whatever it was
        return TransferFailed(CONNECTION, "no connection to the host")
    if isinstance(error, ReadTimeoutError | TimeoutError):
        return TransferFailed(TIMEOUT, f"the host does not answer, or sent nothing for {STALL_SECONDS:.0f} s")
    cause = error.args[-1] if error.args else None
    if isinstance(error, IncompleteRead) or isinstance(cause, IncompleteRead):
        return TransferFailed(SHORT, "the body was shorter than its length")
    if isinstance(error, ProtocolError):
        return TransferFailed(CONNECTION, "the connection was lost")
    return TransferFailed(CONNECTION, f"the connection failed ({type(error).__name__})")
