"""`manifest.json` and the files beside it named by their identity: loading, checking, publishing."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from mixer.digest import canonical_json, identity
from mixer.errors import FormatError, IntegrityError
from mixer.shards.consistency import inconsistencies
from mixer.shards.decode import ShapeError, decode, encode
from mixer.shards.ids import manifest_id, prefix_id
from mixer.shards.records import FORMAT_VERSION, Manifest
from mixer.shards.shard import REBUILD_HINT
from mixer.system.local_paths import check_local
from mixer.system.publish import publish_bytes
from mixer.system.regular_files import parse_json, read_regular

MANIFEST = "manifest.json"
SNAPSHOTS, SELECTIONS = "snapshots", "selections"


def manifest_json(manifest: Manifest) -> dict[str, Any]:
    """The JSON value of a manifest."""
    return {"format": "mixer", "format_version": FORMAT_VERSION, **encode(manifest)}


def with_id(manifest: Manifest) -> Manifest:
    """The manifest with the id that its content has."""
    return replace(manifest, id=manifest_id(manifest_json(manifest)))


def publish_manifest(out: Path, manifest: Manifest) -> Manifest:
    """Give a manifest its id and publish it, last of all files.

    Returns:
        The manifest as published.
    """
    manifest = with_id(manifest)
    text = json.dumps(manifest_json(manifest), ensure_ascii=False, indent=1)
    publish_bytes(out / MANIFEST, f"{text}\n".encode())
    return parse_manifest(parse_json(text.encode()), where=str(out / MANIFEST))


def load_manifest(path: str | Path) -> Manifest:
    """Read and check a manifest, from its file or from the folder of a build.

    It has the identity of the build (`id`), its recipe, sources, stages and tokenizer, what each source gave
    (`source_counts`: rows, documents, tokens), `totals`, and one entry for each shard. Reads no shard.

    Raises:
        IntegrityError: missing, damaged, or its id is not that of its content.
        FormatError: not a manifest, or of another format version, or it contradicts itself.
        UsageError: the path is the address of a store.
    """
    check_local(path, where="path")
    path = Path(path)
    if path.is_dir():
        path = path / MANIFEST
    try:
        value = parse_json(read_regular(path))
    except FileNotFoundError as error:
        raise _missing(path) from error
    except NotADirectoryError as error:
        raise _missing(path) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise IntegrityError(f"not readable as JSON: {reason}", where=str(path), hint=REBUILD_HINT) from error
    return parse_manifest(value, where=str(path))


def parse_manifest(value: Any, *, where: str) -> Manifest:
    """The manifest of a JSON value, checked.

    Raises:
        IntegrityError: its id is not that of its content.
        FormatError: it is not a manifest, has another format version, or breaks a rule between its fields.
    """
    check_version(value, "mixer", "a manifest", where)
    try:
        found = manifest_id(value)
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise FormatError(f"not a manifest of mixer: {error!r:.200}", where=where) from error
    if found != value.get("id"):
        raise IntegrityError(
            f"the content has id {found}, the manifest says {value.get('id')!r:.80}: it was edited or damaged",
            where=where,
            hint=REBUILD_HINT,
        )
    try:
        manifest = decode(Manifest, value)
    except ShapeError as error:
        raise FormatError(f"not a manifest of mixer: {error}", where=where) from error
    for problem in inconsistencies(manifest):
        raise FormatError(f"the manifest contradicts itself: {problem}", where=where, hint=REBUILD_HINT)
    if manifest.prefix_id != prefix_of(manifest):
        raise FormatError("the manifest contradicts itself: prefix_id belongs to other stages", where=where)
    return manifest


def prefix_of(manifest: Manifest, task: int | None = None) -> str:
    """The identity of everything that determines a build's tasks before one; by default all tasks."""
    stop = manifest.counts[-1].tasks[1] if manifest.counts else 0
    return prefix_id(
        stop if task is None else task,
        features=manifest.features,
        tokenizer=manifest.tokenizer,
        seed=manifest.seed,
        split=manifest.split,
        sources=manifest.sources,
        stages=manifest.stages,
        cuts=manifest.cuts,
    )


def check_version(value: Any, format_name: str, kind: str, where: str) -> None:
    """Refuse a JSON value of another format or version.

    Raises:
        FormatError: it has another format or version.
    """
    if not isinstance(value, dict) or value.get("format") != format_name:
        raise FormatError(f"not {kind} of mixer", where=where)
    version = value.get("format_version")
    if type(version) is not int or version != FORMAT_VERSION:
        hint = "build it again" if version == 1 else "use the mixer that wrote it, or a newer one"
        raise FormatError(f"format version {version!r:.40}; this mixer reads {FORMAT_VERSION}", where=where, hint=hint)


def publish_named(out: Path, folder: str, value: Any) -> str:
    """Write a snapshot or selection under its identity, unless it is there; returns the identity."""
    data, name = canonical_json(value), identity(value)
    path = out / folder / f"{name}.json"
    if not path.is_file() or path.read_bytes() != data:
        publish_bytes(path, data)
    return name


def load_named(out: Path, folder: str, name: str) -> Any:
    """The JSON value of a snapshot or selection, by its identity.

    Raises:
        IntegrityError: the file is missing, or has another identity.
    """
    path = out / folder / f"{name}.json"
    try:
        data = read_regular(path)
    except OSError as error:
        raise IntegrityError(f"cannot be read: {error.strerror}", where=str(path), hint=REBUILD_HINT) from error
    if hashlib.sha256(data).hexdigest() != name:
        raise IntegrityError(
            "its sha256 differs from its name: it was edited or damaged", where=str(path), hint=REBUILD_HINT
        )
    try:
        return parse_json(data)
    except ValueError as error:
        raise IntegrityError(f"not readable as JSON: {error}", where=str(path), hint=REBUILD_HINT) from error


def _missing(path: Path) -> IntegrityError:
    """The error for a missing manifest, by what the path is instead."""
    folder = path.parent
    if path.suffix != ".json":  # the folder of a build, which is not there
        return IntegrityError("there is no such folder", where=str(path), hint="check the path")
    if not folder.is_dir():
        return IntegrityError("there is no such folder", where=str(folder), hint="check the path")
    if (folder / "plan.json").is_file():
        return IntegrityError(
            "the build is not finished: it has no manifest yet",
            where=str(folder),
            hint="run `mixer build` again to resume",
        )
    return IntegrityError("not a build: there is no manifest.json", where=str(folder), hint="check the path")
