"""The manifest: the immutable record of a build (format.md, "Manifest")."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mixer.digest import canonical_json, identity, xxh3
from mixer.errors import FormatError, IntegrityError
from mixer.files import publish_bytes
from mixer.local import check_local
from mixer.shards.shape import SHAPE, shape_problem
from mixer.shards.shard import FORMAT_VERSION, REBUILD_HINT

MANIFEST = "manifest.json"
SIDECAR_FILES = 1000
"""A source of more files has its snapshot in a file of its own."""

_NOT_IN_ID = {"id"}
_NOT_IN_ID_OF_SHARDS = {"bytes", "file_xxh3"}


def manifest_id(manifest: Mapping[str, Any]) -> str:
    """The id that a manifest's content has.

    sha256 of its canonical JSON without `id`, and without `bytes` and `file_xxh3` of the shards: those change with
    the Arrow library that encodes a file, while `content_xxh3` says what is in it.
    """
    content = {key: value for key, value in manifest.items() if key not in _NOT_IN_ID}
    content["shards"] = [
        {key: value for key, value in shard.items() if key not in _NOT_IN_ID_OF_SHARDS} for shard in manifest["shards"]
    ]
    return identity(content)


def publish_manifest(out: Path, manifest: Mapping[str, Any], copy: Path | None = None) -> dict[str, Any]:
    """Give the manifest its id and publish it, last of all files, with an optional second copy.

    Returns:
        The manifest as published.
    """
    sources = []
    for source in manifest["sources"]:
        snapshot = source["snapshot"]
        if len(snapshot["files"]) > SIDECAR_FILES:
            path, data = f"snapshots/{source['name']}.json", canonical_json(snapshot)
            publish_bytes(out / path, data)
            snapshot = {"path": path, "xxh3": xxh3(data), "num_files": len(snapshot["files"])}
        sources.append({**source, "snapshot": snapshot})
    content = {**manifest, "sources": sources}
    content = {"id": manifest_id(content), **content}
    data = (json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode()
    publish_bytes(out / MANIFEST, data)
    if copy is not None:
        publish_bytes(copy, data)
    return content


def load_manifest(path: Path) -> dict[str, Any]:
    """Read and check a manifest, from its file or from the folder of a build.

    Raises:
        IntegrityError: missing, damaged, or its id is not that of its content.
        FormatError: not a manifest, of another format version, or with paths that lead out of the folder.
        UsageError: the path is the address of a store.
    """
    check_local(path, where="path")
    if path.is_dir():
        path = path / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise IntegrityError(
            "there is no manifest here: not a build, or one that is not finished",
            where=str(path),
            hint="run `mixer build` again: it goes on where it was",
        ) from error
    except (OSError, ValueError) as error:
        raise IntegrityError(f"not readable as JSON: {error}", where=str(path), hint=REBUILD_HINT) from error
    if not isinstance(manifest, dict) or manifest.get("format") != "mixer":
        raise FormatError("not a manifest of mixer", where=str(path))
    if manifest.get("format_version") != FORMAT_VERSION:
        raise FormatError(
            f"format version {manifest.get('format_version')!r}; this mixer reads {FORMAT_VERSION}",
            where=str(path),
            hint="use the mixer that wrote it, or a newer one",
        )
    try:
        found = manifest_id(manifest)
        paths = [shard["path"] for shard in manifest["shards"]]
        paths += [source["snapshot"]["path"] for source in manifest["sources"] if "path" in source["snapshot"]]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise FormatError(f"not a manifest of mixer: {error!r}", where=str(path)) from error
    if found != manifest.get("id"):
        raise IntegrityError(
            f"the content has id {found}, the manifest says {manifest.get('id')}: it was edited or damaged",
            where=str(path),
            hint=REBUILD_HINT,
        )
    for inner in paths:
        check_inside(inner, where=str(path))
    if problem := shape_problem(manifest, SHAPE):
        raise FormatError(f"not a manifest of mixer: {problem}", where=str(path))
    return manifest


def check_inside(path: str, *, where: str) -> None:
    """Refuse a path of a manifest that leads out of its folder.

    Raises:
        FormatError: the path is absolute, or has `..`, `.`, or a backslash.
    """
    if not isinstance(path, str) or "\\" in path or any(part in ("", ".", "..") for part in path.split("/")):
        raise FormatError(f"path {path!r} leads out of the folder", where=where)


def load_snapshot(folder: Path, source: Mapping[str, Any]) -> dict[str, Any]:
    """A source's snapshot, from the manifest or its sidecar.

    Raises:
        IntegrityError: the sidecar is missing or has another digest.
    """
    snapshot = source["snapshot"]
    if "path" not in snapshot:
        return snapshot
    path = folder / snapshot["path"]
    try:
        data = path.read_bytes()
    except OSError as error:
        raise IntegrityError(
            f"cannot read the snapshot: {error.strerror}", where=str(path), hint=REBUILD_HINT
        ) from error
    if xxh3(data) != snapshot["xxh3"]:
        raise IntegrityError("the snapshot's digest is not the manifest's", where=str(path), hint=REBUILD_HINT)
    return json.loads(data)
