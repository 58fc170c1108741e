"""Data sets of the Hugging Face hub: listed and resolved by huggingface_hub, with its token, endpoint and session.

The bytes of large files are at signed addresses elsewhere, resolved once and read through `HttpClient`:
the token is not sent there.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping
from urllib.parse import quote, urlsplit

import httpx2
from huggingface_hub import HfApi, close_session, constants, get_hf_file_metadata, get_token, hf_hub_url
from huggingface_hub.errors import (
    DisabledRepoError,
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status, parse_ratelimit_headers

from mixer.errors import DataError, MixerError
from mixer.stores import traffic
from mixer.stores.http import HttpClient, refused
from mixer.stores.retry import CONNECTION, SERVER, TIMEOUT, TransferFailed, failure_of_status
from mixer.stores.store import STALL_SECONDS, RemoteFile


class HubStore:
    """One data set at one revision.

    Args:
        repo: ORG/NAME.
        revision: a branch, a tag or a commit.
    """

    def __init__(self, repo: str, revision: str) -> None:
        self._repo = repo
        self._revision = revision
        self._endpoint = (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")
        self._api = HfApi(endpoint=self._endpoint)
        self._http = HttpClient()
        self._locations: dict[str, str] = {}
        self._lock = threading.Lock()

    def commit(self) -> str:
        """The current commit of the revision.

        Raises:
            TransferFailed: one attempt failed.
            DataError: there is no such repository or revision, or no access to it.
        """
        try:
            traffic.count(requests=1)
            # Of the sha alone: the whole answer lists every file of the repository.
            found = self._api.dataset_info(self._repo, revision=self._revision, expand=["sha"], timeout=STALL_SECONDS)
        except (HfHubHTTPError, httpx2.HTTPError, OfflineModeIsEnabled) as error:
            raise self._translated(error, "") from error
        assert found.sha is not None
        return found.sha

    def list_page(self, prefix: str, page: str | None) -> tuple[list[RemoteFile], str | None]:
        """A page of the files below the last folder of this path, and the token of the next page.

        One request: `HfApi.list_repo_tree` would try each page again by itself, up to half a minute, and uncounted.

        Raises:
            TransferFailed: one attempt failed.
            DataError: there is no such repository or revision, or no access to it.
        """
        folder = prefix.rpartition("/")[0]
        tree = f"{self._endpoint}/api/datasets/{self._repo}/tree/{quote(self._revision, safe='')}"
        first = f"{tree}/{quote(folder, safe='')}?recursive=True&expand=False"
        headers = build_hf_headers(token=get_token())
        try:
            traffic.count(requests=1)
            response = get_session().get(page or first, headers=headers, timeout=STALL_SECONDS)
            hf_raise_for_status(response)
            found = [RepoFile(**item) for item in response.json() if item["type"] == "file"]
        except EntryNotFoundError:
            return [], None
        except (HfHubHTTPError, httpx2.HTTPError, OfflineModeIsEnabled) as error:
            raise self._translated(error, folder) from error
        files = [
            RemoteFile(
                path=item.path,
                num_bytes=item.size,
                sha256=item.lfs.sha256 if item.lfs else None,
                etag=None if item.lfs else item.blob_id,
            )
            for item in found
            if item.path.startswith(prefix)
        ]
        return files, response.links.get("next", {}).get("url")

    def stream(self, file: RemoteFile, start: int, stop: int) -> Iterator[bytes]:
        """The bytes [start, stop) of a file.

        Raises:
            TransferFailed: one attempt failed.
            DataError: the file is missing, or there is no access to it.
        """
        with self._lock:
            location = self._locations.get(file.path)
        if location is None:
            location = self._resolved(file.path)
            with self._lock:
                self._locations[file.path] = location
        place = self._place(file.path)
        own = urlsplit(location).netloc == urlsplit(self._endpoint).netloc
        headers = build_hf_headers(token=get_token()) if own else {}
        try:
            return self._http.stream(location, place, headers, start, stop)[1]
        except DataError as error:
            with self._lock:
                known = self._locations.pop(file.path, None)
            if own or known is None:
                raise
            # A signed address is good for some time only; asking again gives another one, or the true reason.
            raise TransferFailed(SERVER, error.message) from error

    def disconnect(self) -> None:
        """Close the connections, those of huggingface_hub too; new ones are made when they are needed."""
        self._http.disconnect()
        close_session()

    def _resolved(self, path: str) -> str:
        """The current address of a file's bytes."""
        url = hf_hub_url(self._repo, path, repo_type="dataset", revision=self._revision, endpoint=self._endpoint)
        try:
            traffic.count(requests=1)
            return get_hf_file_metadata(url, token=get_token(), timeout=STALL_SECONDS, endpoint=self._endpoint).location
        except (HfHubHTTPError, httpx2.HTTPError, OfflineModeIsEnabled) as error:
            raise self._translated(error, path) from error

    def _place(self, path: str) -> str:
        return f"hf://datasets/{self._repo}@{self._revision}/{path}"

    def _translated(self, error: Exception, path: str) -> MixerError | TransferFailed:
        place = self._place(path)
        page = f"{self._endpoint}/datasets/{self._repo}"
        if isinstance(error, GatedRepoError):
            return DataError(
                "the data set is gated" + ("" if get_token() else ", and there is no token"),
                where=place,
                hint=f"accept its terms at {page}, then `hf auth login` or set HF_TOKEN",
            )
        if isinstance(error, RevisionNotFoundError):
            return DataError(f"there is no revision '{self._revision}'", where=place, hint=f"see {page}/tree/main")
        if isinstance(error, DisabledRepoError):
            return DataError("the data set is disabled", where=place, hint=f"see {page}")
        if isinstance(error, RepositoryNotFoundError):
            return DataError(
                "there is no such data set, or it is private" + ("" if get_token() else " and there is no token"),
                where=place,
                hint="check the name; for a private one `hf auth login` or set HF_TOKEN",
            )
        if isinstance(error, EntryNotFoundError):
            return DataError("there is no such file in this revision", where=place, hint=f"see {page}/tree/main")
        if isinstance(error, OfflineModeIsEnabled):
            return DataError("the hub is switched off by HF_HUB_OFFLINE", where=place, hint="unset it")
        if isinstance(error, HfHubHTTPError):
            status = error.response.status_code
            message = f"the hub answered {status} {error.response.reason_phrase}".rstrip()
            failure = failure_of_status(status, message, _retry_after(error.response.headers), time.time())
            if status in (401, 403) and get_token():
                return DataError(message, where=place, hint="the token may have expired: `hf auth login` again")
            return failure or refused(status, message, place)
        if isinstance(error, httpx2.TimeoutException):
            return TransferFailed(TIMEOUT, f"the hub does not answer, or sent nothing for {STALL_SECONDS:.0f} s")
        return TransferFailed(CONNECTION, f"the connection to the hub failed ({type(error).__name__})")


def _retry_after(headers: Mapping[str, str]) -> str | None:
    """Seconds until the next attempt: the hub's `Retry-After`, or the time until its request limit resets.

    It allows some thousand files to be resolved in five minutes, more with a token.
    """
    limit = parse_ratelimit_headers(headers)
    return headers.get("Retry-After") or (None if limit is None else str(limit.reset_in_seconds))
