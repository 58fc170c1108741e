"""Opening stores by address, each once per process."""

from __future__ import annotations

import os
import threading

from mixer.extras import missing_package
from mixer.stores.address import Address
from mixer.stores.store import Store

_lock = threading.Lock()
_stores: dict[tuple[str, str | None], Store] = {}


def open_store(address: Address) -> Store:
    """The store of an address; the same one, with its connections, each time.

    Raises:
        MissingPackages: its client is not installed.
    """
    with _lock:
        key = address.store, address.revision
        if key not in _stores:
            _stores[key] = _made(address)
        return _stores[key]


def _made(address: Address) -> Store:
    scheme, _, name = address.store.partition("://")
    try:
        if scheme == "hf":
            from mixer.stores.hub import HubStore

            assert address.revision is not None
            return HubStore(name.removeprefix("datasets/"), address.revision)
        if scheme == "s3":
            from mixer.stores.s3 import S3Store

            return S3Store(name)
        if scheme == "gs":
            from mixer.stores.gs import GoogleStore

            return GoogleStore(name)
        from mixer.stores.web import WebStore

        return WebStore(address.store)
    except ImportError as error:
        raise missing_package(error, "remote", f"reading {scheme}://") from error


def _disconnect_all() -> None:
    for store in _stores.values():
        store.disconnect()


# A connection that two processes share mixes up their answers; a client without one may be inherited.
os.register_at_fork(before=_disconnect_all)
