"""Exports one build into one folder in one format."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mixer.errors import DataError, TaskError, UsageError
from mixer.export.flat import write_flat
from mixer.export.folder import OnShard, check_outside, claimed
from mixer.export.litdata import write_litdata
from mixer.export.mds import write_mds
from mixer.export.megatron import write_megatron
from mixer.export.nanotron import write_nanotron
from mixer.export.olmo import write_olmo
from mixer.export.samples import FILE_BYTES
from mixer.feed.sequences import SequenceSet, open_build
from mixer.shards.decode import encode
from mixer.system.local_paths import check_local
from mixer.system.progress import Advance, OnAdvance, Work, silent
from mixer.system.publish import publish_bytes, sync_file

Writer = Callable[[SequenceSet, Path, OnShard], np.dtype]
_OF_SAMPLES = {"litdata": write_litdata, "mds": write_mds}
EXPORT_FORMATS: dict[str, Writer] = {
    "bin": write_flat,
    **_OF_SAMPLES,
    "megatron": write_megatron,
    "nanotron": write_nanotron,
    "olmo": write_olmo,
}
RECORD = "export.json"
"""Written last: a folder without it is not a finished export."""


def export(
    build: str | Path,
    format_name: str,
    folder: Path,
    on_advance: OnAdvance = silent,
    *,
    file_bytes: int = FILE_BYTES,
) -> dict[str, Any]:
    """Write the tokens of a build in another trainer's format; run again, it resumes.

    `litdata` and `mds` have the sequences, padding and all; the others have the tokens without padding, as one stream
    (`bin`) or as documents. Shards are read one at a time, and memory is bounded by one. The output is a pure function
    of the build. What is there already and has its size is kept; a file that was lost is written again.

    Args:
        build: its folder or its manifest.
        format_name: one of `EXPORT_FORMATS`.
        folder: empty, not there, or with an export of the same build in the same format; outside of the build.
        on_advance: called after each shard.
        file_bytes: of ids in a file of samples (`litdata`, `mds`), at most.

    Returns:
        The record, as in `export.json`: format, id of the build's manifest, dtype, tokens, sequence length, tokenizer.

    Raises:
        UsageError: there is no such format, or the folder or the build is the address of a store.
        DataError: the build has no sequences.
        BuildStateError: the folder holds other files, is inside the build, or another run is writing to it.
        IntegrityError, FormatError: the build is damaged, or of another version.
        TaskError: a file cannot be written or read, as when the disk is full.
    """
    if format_name not in EXPORT_FORMATS:
        raise UsageError(f"format {format_name!r} is not known; formats are {', '.join(EXPORT_FORMATS)}", where="--to")
    check_local(folder, where="folder")
    sequences = open_build(build)
    manifest = sequences.manifest
    if not manifest.shards:
        raise DataError("the build has no sequences to export", where=str(sequences.folder))
    check_outside(folder, sequences.folder)

    def on_shard(done: int) -> None:
        on_advance(Advance(work=Work.EXPORT, done=done, total=len(manifest.shards)))

    try:
        with claimed(folder, {"format": format_name, "manifest": manifest.id}):
            (folder / RECORD).unlink(missing_ok=True)
            dtype = _writer(format_name, file_bytes)(sequences, folder, on_shard)
            record = {
                "format": format_name,
                "manifest": manifest.id,
                "dtype": dtype.name,
                "tokens": manifest.totals.tokens,
                "sequence_length": manifest.sequence.length,
                "tokenizer": encode(manifest.tokenizer),
            }
            sync_file(folder)
            publish_bytes(folder / RECORD, (json.dumps(record, indent=1) + "\n").encode())
    except OSError as error:
        raise TaskError(
            f"cannot export: {error.strerror or error}",
            where=str(error.filename or folder),
            hint="fix that, then run the same command again to resume",
        ) from error
    return record


def _writer(format_name: str, file_bytes: int) -> Writer:
    if of_samples := _OF_SAMPLES.get(format_name):
        return partial(of_samples, file_bytes=file_bytes)
    return EXPORT_FORMATS[format_name]
