"""Buckets of S3 and of compatible stores, through boto3.

boto3, because its clients survive a fork (obstore's runtime hangs in a forked worker once its parent has used it) and
its errors have the status; ranges of some megabytes cost it no more than they cost obstore.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import boto3
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    ConnectTimeoutError,
    HTTPClientError,
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
)

from mixer.errors import DataError, MixerError
from mixer.stores import traffic
from mixer.stores.http import HTTP_PIECE_BYTES, refused
from mixer.stores.retry import CONNECTION, SHORT, TIMEOUT, TransferFailed, failure_of_status
from mixer.stores.store import CONNECT_SECONDS, MAX_CONNECTIONS, STALL_SECONDS, RemoteFile


class S3Store:
    """One bucket; keys, region and endpoint come from where boto3 looks for them, without keys it is read unsigned.

    Args:
        bucket: its name.
    """

    def __init__(self, bucket: str) -> None:
        self._bucket = bucket
        session = boto3.Session()
        options: dict[str, Any] = {}
        if session.get_credentials() is None:
            options["signature_version"] = UNSIGNED
        if os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"):
            options["s3"] = {"addressing_style": "path"}  # such servers seldom have a host name for each bucket
        self._client = session.client(
            "s3",
            config=Config(
                connect_timeout=CONNECT_SECONDS,
                read_timeout=STALL_SECONDS,
                max_pool_connections=MAX_CONNECTIONS,
                retries={"total_max_attempts": 1},
                response_checksum_validation="when_required",  # of a range there is none
                **options,
            ),
        )

    def list_page(self, prefix: str, page: str | None) -> tuple[list[RemoteFile], str | None]:
        """A page of the objects whose keys have this prefix, without folder markers, and the token of the next page.

        Raises:
            TransferFailed: one attempt failed.
            DataError: there is no such bucket, or no access to it.
        """
        more = {"ContinuationToken": page} if page else {}
        try:
            found = self._client.list_objects_v2(Bucket=self._bucket, Prefix=prefix, **more)
        except (BotoCoreError, ClientError) as error:
            raise self._translated(error, prefix) from error
        traffic.count(requests=1)
        files = [
            RemoteFile(path=item["Key"], num_bytes=item["Size"], etag=item["ETag"].strip('"'))
            for item in found.get("Contents", ())
            if not item["Key"].endswith("/")
        ]
        return files, found.get("NextContinuationToken")

    def stream(self, file: RemoteFile, start: int, stop: int) -> Iterator[bytes]:
        """The bytes [start, stop) of the object, if it is still of this version.

        Raises:
            TransferFailed: one attempt failed.
            DataError: the object has another version or is missing, or there is no access to it.
        """
        try:
            answer = self._client.get_object(
                Bucket=self._bucket, Key=file.path, Range=f"bytes={start}-{stop - 1}", IfMatch=f'"{file.etag}"'
            )
            traffic.count(requests=1)
            body = answer["Body"]
            try:
                while piece := body.read(HTTP_PIECE_BYTES):
                    traffic.count(bytes=len(piece))
                    yield piece
            finally:
                body.close()
        except (BotoCoreError, ClientError) as error:
            raise self._translated(error, file.path) from error

    def disconnect(self) -> None:
        """Close the connections; new ones are made when they are needed."""
        self._client.close()

    def _translated(self, error: BotoCoreError | ClientError, path: str) -> MixerError | TransferFailed:
        place = f"s3://{self._bucket}/{path}"
        if isinstance(error, ClientError):
            code, answer = error.response["Error"].get("Code", ""), error.response["ResponseMetadata"]
            status = answer["HTTPStatusCode"]
            message = f"the bucket answered {status} {code}"
            retry_after = answer.get("HTTPHeaders", {}).get("retry-after")
            return failure_of_status(status, message, retry_after, time.time()) or refused(status, message, place)
        if isinstance(error, ReadTimeoutError | ConnectTimeoutError):
            return TransferFailed(TIMEOUT, f"the host does not answer, or sent nothing for {STALL_SECONDS:.0f} s")
        if isinstance(error, IncompleteReadError) or "IncompleteRead" in str(error):
            return TransferFailed(SHORT, "the body was shorter than its length")
        if isinstance(error, ConnectionError | HTTPClientError | ResponseStreamingError):
            return TransferFailed(CONNECTION, f"the connection failed ({type(error).__name__})")
        return DataError(f"{error}", where=place, hint="check the keys, region and endpoint that boto3 finds")
