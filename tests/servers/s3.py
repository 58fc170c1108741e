"""S3 over folders, to read from: one folder a bucket, path-style addresses, objects, ranges, conditions, listings.

Fast enough to measure a client with. What it answers is held against moto's server by a test.
"""

from __future__ import annotations

import base64
import os
import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote
from xml.sax.saxutils import escape

from servers.conditional import answer_file
from servers.digests import file_digest
from servers.message import Request, Response

_XML = {"Content-Type": "application/xml"}
_MAX_KEYS = 1000


class Buckets:
    """Serves each folder of a root as a bucket.

    Args:
        root: the folder of the buckets.
        signed: the buckets that refuse a request without a signature (which is not checked).
        unlisted: the buckets that nobody may list. As in S3, they say 403 of an object that is missing: whether it
            exists is nobody's business. `softwareheritage` is one.
    """

    def __init__(self, root: str, signed: list[str], unlisted: list[str]) -> None:
        self._root = Path(root).resolve()
        self._signed, self._unlisted = frozenset(signed), frozenset(unlisted)
        self._keys: dict[str, list[str]] = {}
        # Buckets that are known to be there: nobody takes one away.
        self._found: set[str] = set()

    async def answer(self, request: Request) -> Response:
        bucket, _, key = request.path[1:].partition("/")
        if request.method not in ("GET", "HEAD"):
            return _error(405, "MethodNotAllowed", "The specified method is not allowed against this resource.")
        if bucket not in self._found and not self._find(bucket):
            return _error(404, "NoSuchBucket", "The specified bucket does not exist")
        if bucket in self._signed and not request.headers.get("authorization", "").startswith("AWS4-HMAC-SHA256 "):
            return _error(403, "AccessDenied", "Access Denied")
        if key:
            return self._object(request, bucket, key)
        if request.method == "HEAD":
            return Response(status=200)
        if bucket in self._unlisted:
            return _error(403, "AccessDenied", "Access Denied")
        return self._listing(request, bucket)

    def _find(self, bucket: str) -> bool:
        if bucket and (self._root / bucket).is_dir():
            self._found.add(bucket)
        return bucket in self._found

    def _object(self, request: Request, bucket: str, key: str) -> Response:
        path = self._root / bucket / key
        state = _state(path)
        if state is None:
            if bucket in self._unlisted:
                return _error(403, "AccessDenied", "Access Denied")
            return _error(404, "NoSuchKey", "The specified key does not exist.")
        response = answer_file(request, path, f'"{file_digest(path, "md5", state=state)}"', {}, state=state)
        if response.status == 412:
            return _error(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
        if response.status == 416:
            return _error(416, "InvalidRange", "The requested range is not satisfiable")
        return response

    def _listing(self, request: Request, bucket: str) -> Response:
        """A page of ListObjectsV2."""
        query = request.query
        token = query.get("continuation-token")
        if token is None or bucket not in self._keys:
            # The pages after the first go on with the keys of the first.
            self._keys[bucket] = _keys(self._root / bucket)
        after = base64.b64decode(token).decode() if token else query.get("start-after", "")
        page = _page(self._keys[bucket], query.get("prefix", ""), query.get("delimiter", ""), after, _max_keys(query))
        code = quote if query.get("encoding-type") == "url" else escape
        parts = [
            f"<Name>{bucket}</Name><Prefix>{code(query.get('prefix', ''))}</Prefix>",
            f"<KeyCount>{len(page.keys) + len(page.folders)}</KeyCount><MaxKeys>{_max_keys(query)}</MaxKeys>",
            f"<IsTruncated>{'true' if page.next_after else 'false'}</IsTruncated>",
        ]
        if query.get("encoding-type"):
            parts.append("<EncodingType>url</EncodingType>")
        if query.get("delimiter"):
            parts.append(f"<Delimiter>{code(query['delimiter'])}</Delimiter>")
        if page.next_after:
            token = base64.b64encode(page.next_after.encode()).decode()
            parts.append(f"<NextContinuationToken>{token}</NextContinuationToken>")
        parts += [self._contents(bucket, key, code(key)) for key in page.keys]
        parts += [f"<CommonPrefixes><Prefix>{code(one)}</Prefix></CommonPrefixes>" for one in page.folders]
        return _document("ListBucketResult", "".join(parts))

    def _contents(self, bucket: str, key: str, coded: str) -> str:
        path = self._root / bucket / key
        state = path.stat()
        time = datetime.fromtimestamp(int(state.st_mtime), UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        return (
            f"<Contents><Key>{coded}</Key><LastModified>{time}</LastModified>"
            f"<ETag>&quot;{file_digest(path, 'md5')}&quot;</ETag><Size>{state.st_size}</Size>"
            "<StorageClass>STANDARD</StorageClass></Contents>"
        )


def _state(path: Path) -> os.stat_result | None:
    """Of a file; None where there is none."""
    try:
        state = os.stat(path)
    except (OSError, ValueError):
        return None
    return state if stat.S_ISREG(state.st_mode) and ".." not in path.parts else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Page:
    """Part of a listing; `next_after` is the last name in it, empty where the listing ends."""

    keys: list[str]
    folders: list[str]
    next_after: str


def _page(keys: list[str], prefix: str, delimiter: str, after: str, max_keys: int) -> _Page:
    """At most `max_keys` keys and common prefixes that come after a name, of the keys (in order) with a prefix."""
    names: dict[str, bool] = {}  # name -> whether it is a common prefix
    for key in keys:
        if not key.startswith(prefix):
            continue
        head, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
        name = prefix + head + delimiter if found else key
        if name > after and name not in names and not (found and after.startswith(name)):
            names[name] = bool(found)
            if len(names) > max_keys:
                break
    shown = list(names)[:max_keys]
    return _Page(
        keys=[name for name in shown if not names[name]],
        folders=[name for name in shown if names[name]],
        next_after=shown[-1] if len(names) > max_keys else "",
    )


def _keys(folder: Path) -> list[str]:
    """The keys of a bucket in the order of their UTF-8 bytes, which is that of their code points."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _max_keys(query: dict[str, str]) -> int:
    return min(_MAX_KEYS, int(query.get("max-keys", _MAX_KEYS)))


def _error(status: int, code: str, message: str) -> Response:
    body = f"<Error><Code>{code}</Code><Message>{message}</Message><RequestId>0</RequestId></Error>"
    return Response(status=status, headers=_XML, body=f'<?xml version="1.0" encoding="UTF-8"?>\n{body}'.encode())


def _document(name: str, content: str) -> Response:
    body = f'<{name} xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{content}</{name}>'
    return Response(status=200, headers=_XML, body=f'<?xml version="1.0" encoding="UTF-8"?>\n{body}'.encode())
