"""Finding the files of a source's addresses by listing: names are never guessed."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from glob import has_magic

from mixer.errors import RecipeError, shown_names
from mixer.stores.address import Address, is_remote, parse_address
from mixer.stores.connect import open_store
from mixer.stores.globs import fixed_folder, fixed_prefix, matching
from mixer.stores.retry import retried
from mixer.stores.store import RemoteFile


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundRemote:
    """The files of a source, each once."""

    # The longest folder without a glob that holds them all, at a commit where there are commits.
    base: Address
    # Paths below the store, in code point order.
    files: tuple[RemoteFile, ...]


def parse_addresses(patterns: Sequence[str], place: str) -> list[Address]:
    """The addresses of a source's patterns, all of one store and revision.

    Raises:
        RecipeError: one is not an address, or they belong to several stores.
    """
    local = [pattern for pattern in patterns if not is_remote(pattern)]
    if local:
        raise RecipeError(
            f"'{local[0]}' is a local path among addresses", where=place, hint="make one source per place"
        )
    addresses = [parse_address(pattern, place) for pattern in patterns]
    places = sorted({f"{address.store}{'@' + address.revision if address.revision else ''}" for address in addresses})
    if len(places) > 1:
        raise RecipeError(
            f"files from several places: {shown_names(places)}", where=place, hint="make one source per place"
        )
    return addresses


def at_commit(address: Address) -> Address:
    """The address at the current commit of its revision; any other address unchanged.

    Raises:
        DataError: there is no such repository or revision, or no access to it.
    """
    if address.scheme != "hf":
        return address
    return replace(address, revision=retried(lambda: commit_of(address), str(address)))


def commit_of(address: Address) -> str:
    """The current commit of an address on the hub; one attempt.

    Raises:
        TransferFailed: it failed.
        DataError: there is no such repository or revision, or no access to it.
    """
    from mixer.stores.hub import HubStore

    store = open_store(address)
    assert isinstance(store, HubStore)
    return store.commit()


def find_remote(addresses: Sequence[Address], place: str) -> FoundRemote:
    """The files that match at least one of the addresses, which are of one store and commit.

    Raises:
        RecipeError: a pattern matches nothing; the message lists what exists.
        DataError: the store cannot be listed.
    """
    folders: list[str] = []
    found: dict[str, RemoteFile] = {}
    for address in addresses:
        if address.scheme.startswith("http") and has_magic(address.path):
            raise RecipeError(
                f"'{address}' has a glob, but a web server cannot be listed", where=place, hint="list every file"
            )
        files = {file.path: file for file in listed(address.with_path(fixed_prefix(address.path)))}
        names = matching(address.path, files)
        if not names:
            raise _no_match(address, list(files), place)
        found |= {name: files[name] for name in names}
        folders.append(posixpath.dirname(address.path) if names == [address.path] else fixed_folder(address.path))
    base = posixpath.commonpath(folders)
    return FoundRemote(base=addresses[0].with_path(base), files=tuple(found[name] for name in sorted(found)))


def listed(address: Address) -> list[RemoteFile]:
    """The files whose path begins as the address's does.

    Raises:
        DataError: the store cannot be listed.
    """
    store, files, page = open_store(address), [], None
    while True:
        found, page = retried(partial(store.list_page, address.path, page), str(address))
        files += found
        if page is None:
            return files


def _no_match(address: Address, names: list[str], place: str) -> RecipeError:
    """The error for a pattern without a match; it lists what exists."""
    inside = [name for name in names if name.startswith(address.path.rstrip("/") + "/")]
    if inside and not has_magic(address.path):
        return RecipeError(
            f"'{address}' is a folder; it holds {shown_names([posixpath.basename(name) for name in inside])}",
            where=place,
            hint=f"name files with a glob: {str(address).rstrip('/')}/*{posixpath.splitext(inside[0])[1]}",
        )
    folder = fixed_folder(address.path)
    while True:
        prefix = f"{folder}/" if folder else ""
        there = [] if address.scheme.startswith("http") else listed(address.with_path(prefix))
        if there or not folder:
            break
        folder = posixpath.dirname(folder)
    names = [file.path.removeprefix(prefix) for file in there]
    entries = sorted({name.split("/")[0] + "/" * ("/" in name) for name in names})
    return RecipeError(
        f"'{address}' matches no file", where=place, hint=f"{address.with_path(prefix)} holds {shown_names(entries)}"
    )
