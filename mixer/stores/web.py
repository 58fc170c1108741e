"""Files on a web server: sizes and versions from HEAD, bytes by ranges."""

from __future__ import annotations

import netrc
from collections.abc import Iterator
from urllib.parse import urlsplit

import urllib3

from mixer.errors import DataError, RecipeError
from mixer.stores.http import HttpClient, refused
from mixer.stores.store import RemoteFile


class WebStore:
    """One host. It cannot be listed: its files are given one by one.

    Args:
        store: scheme and host, as in https://example.org.
    """

    def __init__(self, store: str) -> None:
        self._store = store
        self._http = HttpClient()
        self._headers = _authorisation(urlsplit(store).hostname or "")

    def list_page(self, prefix: str, page: str | None) -> tuple[list[RemoteFile], str | None]:
        """The one file of this path; there is no next page.

        Raises:
            TransferFailed: one attempt failed.
            DataError: it is missing, or the server does not send its size and version.
            RecipeError: the path is that of a folder.
        """
        place = f"{self._store}/{prefix}"
        if not prefix or prefix.endswith("/"):
            raise RecipeError(
                f"'{place}' names no file", where=place, hint="a web server cannot be listed: list every file"
            )
        response = self._http.request("HEAD", place, place, {**self._headers, "Accept-Encoding": "identity"})
        response.close()
        num_bytes = response.headers.get("Content-Length")
        version = response.headers.get("ETag") or response.headers.get("Last-Modified")
        if num_bytes is None or version is None:
            raise DataError(
                "the server sends no size, or neither ETag nor Last-Modified: the file cannot be pinned",
                where=place,
                hint="download the file and give its local path",
            )
        return [RemoteFile(path=prefix, num_bytes=int(num_bytes), etag=version)], None

    def stream(self, file: RemoteFile, start: int, stop: int) -> Iterator[bytes]:
        """The bytes [start, stop) of the file, if it is still of this version.

        Raises:
            TransferFailed: one attempt failed.
            DataError: the file has another version or is missing.
        """
        place, etag = f"{self._store}/{file.path}", file.etag or ""
        condition = {"If-Match": etag} if etag.startswith('"') else {}  # a weak one matches nothing (RFC 9110, 13.1.1)
        response, pieces = self._http.stream(place, place, {**self._headers, **condition}, start, stop)
        version = response.headers.get("ETag") or response.headers.get("Last-Modified")
        if version != etag:
            response.close()
            raise refused(412, "", place)
        return pieces

    def disconnect(self) -> None:
        """Close the connections; new ones are made when they are needed."""
        self._http.disconnect()


def _authorisation(host: str) -> dict[str, str]:
    """The header for a host in the user's netrc file."""
    try:
        found = netrc.netrc().authenticators(host)
    except (OSError, netrc.NetrcParseError):
        found = None
    return urllib3.make_headers(basic_auth=f"{found[0]}:{found[2]}") if found else {}
