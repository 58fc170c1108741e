"""Buckets of Google Cloud Storage, through its JSON API and the credentials that google-auth finds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

from mixer.errors import DataError
from mixer.stores.http import HttpClient, load_json
from mixer.stores.retry import CONNECTION, TransferFailed
from mixer.stores.store import RemoteFile

_SCOPE = "https://www.googleapis.com/auth/devstorage.read_only"


class GoogleStore:
    """One bucket; without credentials it is read unsigned. STORAGE_EMULATOR_HOST is another endpoint.

    Args:
        bucket: its name.
    """

    def __init__(self, bucket: str) -> None:
        self._bucket = bucket
        endpoint = os.environ.get("STORAGE_EMULATOR_HOST", "https://storage.googleapis.com").rstrip("/")
        self._objects = f"{endpoint}/storage/v1/b/{bucket}/o"
        self._media = f"{endpoint}/download/storage/v1/b/{bucket}/o"
        self._http = HttpClient()
        self._credentials = None if "STORAGE_EMULATOR_HOST" in os.environ else _credentials()

    def list_page(self, prefix: str, page: str | None) -> tuple[list[RemoteFile], str | None]:
        """A page of the objects whose names have this prefix, without folder markers, and the token of the next page.

        Raises:
            TransferFailed: one attempt failed.
            DataError: there is no such bucket, or no access to it.
        """
        query = {"prefix": prefix, "fields": "items(name,size,generation),nextPageToken"}
        query |= {"pageToken": page} if page else {}
        place = f"gs://{self._bucket}/{prefix}"
        response = self._http.request("GET", f"{self._objects}?{urlencode(query)}", place, self._headers())
        found = load_json(response)
        files = [
            RemoteFile(path=item["name"], num_bytes=int(item["size"]), etag=item["generation"])
            for item in found.get("items", ())
            if not item["name"].endswith("/")
        ]
        return files, found.get("nextPageToken")

    def stream(self, file: RemoteFile, start: int, stop: int) -> Iterator[bytes]:
        """The bytes [start, stop) of one generation of the object.

        Raises:
            TransferFailed: one attempt failed.
            DataError: that generation no longer exists, or there is no access to it.
        """
        query = urlencode({"alt": "media", "generation": file.etag})
        url = f"{self._media}/{quote(file.path, safe='')}?{query}"
        # An object stored with `Content-Encoding: gzip` would be unzipped on the way, whatever the range.
        headers = {**self._headers(), "Accept-Encoding": "gzip"}
        return self._http.stream(url, f"gs://{self._bucket}/{file.path}", headers, start, stop)[1]

    def _headers(self) -> dict[str, str]:
        if self._credentials is None:
            return {}
        if not self._credentials.valid:
            self._refresh()
        return {"Authorization": f"Bearer {self._credentials.token}"}

    def _refresh(self) -> None:
        """Get a new token.

        Raises:
            TransferFailed: one attempt failed.
            DataError: the credentials are no longer good.
        """
        from google.auth.exceptions import GoogleAuthError, TransportError
        from google.auth.transport.urllib3 import Request

        assert self._credentials is not None
        try:
            self._credentials.refresh(Request(self._http.direct))
        except TransportError as error:
            raise TransferFailed(CONNECTION, "no connection to the host that gives tokens") from error
        except GoogleAuthError as error:
            raise DataError(
                f"the credentials were refused ({type(error).__name__})",
                where=f"gs://{self._bucket}",
                hint="run `gcloud auth application-default login` again, or check GOOGLE_APPLICATION_CREDENTIALS",
            ) from error

    def disconnect(self) -> None:
        """Close the connections; new ones are made when they are needed."""
        self._http.disconnect()


def _credentials() -> Any:
    """The user's credentials for reading; None where there are none."""
    try:
        import google.auth
        from google.auth.exceptions import DefaultCredentialsError
    except ImportError:
        return None
    try:
        return google.auth.default(scopes=[_SCOPE])[0]
    except DefaultCredentialsError:
        return None
