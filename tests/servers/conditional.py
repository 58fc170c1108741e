"""A file as an HTTP resource: ranges and conditions (RFC 9110, sections 13 and 14), one answer for all sites."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from email.utils import formatdate, parsedate_to_datetime
from functools import lru_cache
from pathlib import Path

from servers.message import FilePart, Request, Response

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def answer_file(
    request: Request, path: Path, etag: str, headers: Mapping[str, str], *, state: os.stat_result | None = None
) -> Response:
    """The file, a part of it, or why not: 200, 206, 304, 412 or 416.

    Args:
        request: a GET or a HEAD.
        path: the file.
        etag: its entity tag, with its quotes.
        headers: further headers of an answer that has the file's bytes.
        state: of the file, if it is known.
    """
    state = state or path.stat()
    seconds, size = int(state.st_mtime), state.st_size
    validators = {"ETag": etag, "Last-Modified": _date(seconds)}
    asked = request.headers
    if not _holds(asked.get("if-match"), asked.get("if-unmodified-since"), etag, seconds):
        return Response(status=412, headers=validators)
    if "if-none-match" in asked:
        if _is_listed(etag, asked["if-none-match"]):
            return Response(status=304, headers=validators)
    elif "if-modified-since" in asked and seconds <= _seconds(asked["if-modified-since"]):
        return Response(status=304, headers=validators)
    all_headers = {"Accept-Ranges": "bytes", "Content-Type": "application/octet-stream", **validators, **headers}
    found = _RANGE.fullmatch(asked.get("range", ""))
    is_same = asked.get("if-range", etag) in (etag, validators["Last-Modified"])
    if not found or found.groups() == ("", "") or not is_same:
        return Response(status=200, headers=all_headers, body=FilePart(path=path, start=0, stop=size))
    first, last = found.groups()
    # `-7` asks for the last seven bytes.
    start = int(first) if first else max(0, size - int(last))
    stop = min(size, int(last) + 1) if first and last else size
    if start >= stop:
        return Response(status=416, headers={"Content-Range": f"bytes */{size}"})
    all_headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    return Response(status=206, headers=all_headers, body=FilePart(path=path, start=start, stop=stop))


@lru_cache
def _date(seconds: int) -> str:
    return formatdate(seconds, usegmt=True)


def _holds(if_match: str | None, if_unmodified_since: str | None, etag: str, seconds: int) -> bool:
    """Whether the file still is the one that the client knows."""
    if if_match is not None:
        return _is_listed(etag, if_match)
    return if_unmodified_since is None or seconds <= _seconds(if_unmodified_since)


def _is_listed(etag: str, listed: str) -> bool:
    # Some clients send the tag without its quotes.
    return listed == "*" or etag.strip('"') in [one.strip().removeprefix("W/").strip('"') for one in listed.split(",")]


def _seconds(date: str) -> float:
    return parsedate_to_datetime(date).timestamp()
