"""Addresses of remote files, in one spelling and without secrets.

hf://datasets/ORG/NAME@REVISION/PATH     s3://BUCKET/KEY     gs://BUCKET/KEY     https://HOST/PATH
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from urllib.parse import quote, unquote, urlsplit

from mixer.errors import RecipeError

_REMOTE = re.compile(r"(hf|s3|gs|https?)://")
_HUB = re.compile(r"hf://datasets/(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^/]+))?(?:/(?P<path>.*))?")
_BUCKET = re.compile(r"(?P<store>(?:s3|gs)://[\w.-]+)(?:/(?P<path>.*))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A place in a store; the path may hold a glob."""

    # hf://datasets/ORG/NAME, s3://BUCKET, gs://BUCKET or https://HOST.
    store: str
    # Of a repository of the hub; None elsewhere.
    revision: str | None
    # Below the store, without a leading '/'; of a web server, quoted as it goes over the wire.
    path: str

    @property
    def scheme(self) -> str:
        """The part before '://'."""
        return self.store.partition("://")[0]

    def with_path(self, path: str) -> Address:
        """An address of another path in the same store and revision."""
        return replace(self, path=path)

    def __str__(self) -> str:
        revision = f"@{quote(self.revision, safe='')}" if self.revision else ""
        return f"{self.store}{revision}/{self.path}"


def is_remote(text: str) -> bool:
    """Whether this is an address, not a local path."""
    return _REMOTE.match(text) is not None


def parse_address(text: str, place: str) -> Address:
    """The address that a text names.

    Raises:
        RecipeError: it is not an address, or has a user, a password or a query: a recipe is kept in its
            manifest, and a secret must not be.
    """
    if text.startswith("hf://"):
        match = _HUB.fullmatch(text)
        if match is None:
            raise RecipeError(
                f"'{text}' is not the address of a data set on the hub",
                where=place,
                hint="write hf://datasets/ORG/NAME@REVISION/PATH",
            )
        revision = unquote(match["revision"] or "main")
        return Address(store=f"hf://datasets/{match['repo']}", revision=revision, path=match["path"] or "")
    if text.startswith(("s3://", "gs://")):
        match = _BUCKET.fullmatch(text)
        if match is None:
            shown = text if "@" not in text.split("/")[2] else text.partition("://")[0] + "://..."
            raise RecipeError(f"'{shown}' names no bucket", where=place, hint="write s3://BUCKET/PATH")
        return Address(store=match["store"], revision=None, path=match["path"] or "")
    return _web_address(text, place)


def _web_address(text: str, place: str) -> Address:
    parts = urlsplit(text)
    if not parts.hostname:
        raise RecipeError(f"'{parts.scheme}://' names no host", where=place, hint="write https://HOST/PATH")
    host = parts.netloc.rpartition("@")[2]
    if host != parts.netloc or parts.query or parts.fragment:
        raise RecipeError(
            f"the address on {host} has a user, a query or a fragment, which would be kept in the manifest",
            where=place,
            hint="give the plain address; a user and password belong in ~/.netrc; read signed objects as s3:// or gs://",
        )
    path = quote(parts.path.removeprefix("/"), safe="/%:!$&'()*+,;=~[]-._")
    return Address(store=f"{parts.scheme}://{host}", revision=None, path=path)
