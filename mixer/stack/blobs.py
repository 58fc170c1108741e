"""Contents of source files from a bucket or web server: one blob at a time, checked against the digest in its name.

obstore, because a blob costs it 190 us of a core, gunzip, digest and decoding included, and 384 connections with 150 ms
of latency brought 2,200 a second; a blob costs urllib3 1.9 times and aiohttp 1.4 times as much. Its runtime does not
survive a fork, so it is loaded in the processes that fetch and nowhere else. isal, because it unzips a blob in 0.43 of
zlib's time.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
import zlib
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from mixer.errors import DataError, UsageError
from mixer.extras import missing_package
from mixer.stores import traffic
from mixer.stores.address import parse_address
from mixer.stores.retry import CONNECTION, DAMAGED, POLICY, RetryPolicy, RetryState, TransferFailed, failure_of_status

SOFTWARE_HERITAGE = "s3://softwareheritage/content"
_REGIONS = {"softwareheritage": "us-east-1"}
"""Of buckets that are known: the user's own region says nothing of where another's bucket is."""
_CONNECT_SECONDS = 10.0
WHOLE_REQUEST_SECONDS = 60.0
"""A blob that is not whole after so long is given up, and asked for again: read when a store is opened."""
_GZIP = 16 + zlib.MAX_WBITS
_USUAL_RATIO = 8
"""Text is rarely zipped to less than an eighth: the memory that is asked for at first."""
_DAMAGED_ATTEMPTS = 3
_STATUS = re.compile(r"status code: (\d{3})")
_REDIRECT = "Received redirect without LOCATION"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The origin of blobs: an address, and whether requests are signed."""

    # s3://BUCKET/PREFIX or https://HOST/PREFIX; a blob is the object PREFIX/<blob_id>.
    address: str = SOFTWARE_HERITAGE
    # Whether requests carry the user's AWS credentials.
    signed: bool = False


class Missing(Exception):
    """The blob does not exist (404) or cannot be read (403): a bucket without listing does not say which."""


class BlobStore:
    """A bucket's or a web server's blobs; safe to use from several threads.

    Args:
        origin: where they are. `AWS_ENDPOINT_URL_S3` and `AWS_ENDPOINT_URL` name another host than Amazon's.
        num_connections: connections that are kept open.

    Raises:
        UsageError: the address is not one of s3:// or https://.
        MissingPackages: a package is not installed.
    """

    def __init__(self, origin: Origin, num_connections: int) -> None:
        self._address = checked_address(origin)
        try:
            import obstore
            from isal import isal_zlib
        except ImportError as error:
            raise missing_package(error, "remote", "fetching") from error
        self._decompress = isal_zlib.decompress
        self._zip_error: Any = isal_zlib.error
        self._get = obstore.get
        self._errors = (obstore.exceptions.PermissionDeniedError, FileNotFoundError)
        self._base_error = obstore.exceptions.BaseError
        self._store = _open(self._address, origin.signed, num_connections)

    def place(self, blob_id: str) -> str:
        """The name of a blob in messages."""
        return f"{self._address}/{blob_id}"

    def read(self, blob_id: str) -> bytes:
        """The object of a blob as it is stored, in one attempt.

        Raises:
            Missing: the blob does not exist.
            TransferFailed: another attempt may help.
            DataError: no attempt will.
        """
        traffic.count(requests=1)
        try:
            stored = bytes(self._get(self._store, blob_id).bytes())
        except self._errors as error:
            raise Missing(blob_id) from error
        except self._base_error as error:
            raise self._translated(error, blob_id) from error
        traffic.count(bytes=len(stored))
        return stored

    def unzipped(self, stored: bytes) -> bytes | None:
        """The content of a gzip file of one member; None if it is damaged or not gzip."""
        try:
            return self._decompress(stored, _GZIP, max(_USUAL_RATIO * len(stored), 1 << 14))
        except self._zip_error:
            return None

    def _translated(self, error: Exception, blob_id: str) -> TransferFailed | DataError:
        # The client tells a status in words alone. Were they others one day, the failure would be tried again in vain.
        words = str(error).split("\n\nDebug source", 1)[0]
        match = _STATUS.search(words)
        if match is None and _REDIRECT not in words:
            return TransferFailed(CONNECTION, "the connection failed, or brought no whole answer in time")
        status = int(match[1]) if match else 301
        message = f"the server answered {status}" + (" SlowDown" if "SlowDown" in words else "")
        return failure_of_status(status, message, None, time.time()) or DataError(
            message,
            where=self.place(blob_id),
            hint="check the address, the region, and the credentials if signed",
        )


def checked_address(origin: Origin) -> str:
    """The address of an origin in its one spelling.

    Raises:
        UsageError: it is not an address of s3:// or https://, or it is http:// and signed.
    """
    if not origin.address.startswith(("s3://", "https://", "http://")):
        raise UsageError(
            f"'{origin.address}' is not an address of blobs",
            where="--from",
            hint=f"give an address such as {SOFTWARE_HERITAGE}, or https://",
        )
    address = parse_address(origin.address, "--from")
    if origin.signed and address.scheme != "s3":
        raise UsageError("only requests to s3:// can be signed", where="--signed", hint="leave it out")
    return str(address).rstrip("/")


def _open(address: str, signed: bool, num_connections: int) -> Any:
    from obstore.store import HTTPStore, S3Store

    client: Any = {
        "connect_timeout": timedelta(seconds=_CONNECT_SECONDS),
        "timeout": timedelta(seconds=WHOLE_REQUEST_SECONDS),
        "pool_max_idle_per_host": str(num_connections),
    }
    never: Any = {"max_retries": 0}  # retries are ours: counted, and the same for every store
    if not address.startswith("s3://"):
        client["allow_http"] = address.startswith("http://")
        return HTTPStore.from_url(address, client_options=client, retry_config=never)
    bucket, _, prefix = address.removeprefix("s3://").partition("/")
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    where: dict[str, Any] = {"region": _REGIONS[bucket]} if bucket in _REGIONS else {}
    if endpoint:
        where["endpoint"] = endpoint
    if signed:
        where["credential_provider"] = _credentials()
    client["allow_http"] = (endpoint or "").startswith("http://")
    return S3Store(bucket, prefix=prefix, skip_signature=not signed, client_options=client, retry_config=never, **where)


def _credentials() -> Any:
    """A provider of the keys that boto3 finds, which renews expired ones.

    Raises:
        DataError: there are none.
    """
    try:
        from boto3 import Session
        from obstore.auth.boto3 import Boto3CredentialProvider
    except ImportError as error:
        raise missing_package(error, "remote", "signing") from error
    session = Session()
    if session.get_credentials() is None:
        raise DataError("there are no AWS credentials", where="--signed", hint="aws configure, or leave --signed out")
    return Boto3CredentialProvider(session)


def fetch_blob(store: BlobStore, blob_id: str, policy: RetryPolicy = POLICY) -> bytes | None:
    """The bytes of a file, unzipped, whose sha1 is its name; None if the stored bytes have another sha1.

    Raises:
        Missing: the blob does not exist.
        DataError: the store cannot be read, or did not answer within the retry policy.
    """
    for _ in range(_DAMAGED_ATTEMPTS):
        content = store.unzipped(_read(store, blob_id, policy))
        if content is not None and hashlib.sha1(content, usedforsecurity=False).hexdigest() == blob_id:
            return content
        traffic.count(**{f"retries_{DAMAGED}": 1})
    return None


def _read(store: BlobStore, blob_id: str, policy: RetryPolicy) -> bytes:
    retry_state = RetryState(store.place(blob_id), policy)
    while True:
        try:
            return store.read(blob_id)
        except TransferFailed as failure:
            retry_state.failed(failure)
