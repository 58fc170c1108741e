"""Make the six sources of `mixer sample` in a folder, once, all of them or none."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from mixer.errors import UsageError
from mixer.sample.choose import choose_rows
from mixer.sample.collect import collect
from mixer.sample.documents import Row
from mixer.sample.installation import find_installation
from mixer.sample.write import WRITERS
from mixer.system.disk import write_file
from mixer.system.local_paths import check_local
from mixer.system.publish import publish_written

_FORMAT = 1  # raise it with every change that makes other bytes from the same installation
_MARKER = "SAMPLE.json"
_PARTIAL = ".sample-partial"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceReport:
    """The contents of one source: files, rows, and the UTF-8 bytes of their texts."""

    num_files: int
    num_rows: int
    text_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleReport:
    """The contents of a sample.

    `size_bytes` was asked for; `text_bytes` is what there is, less where the installation has no more;
    `installation` is the fingerprint of the Python installation; `files` gives the bytes of each file made.
    """

    size_bytes: int
    text_bytes: int
    installation: str
    sources: Mapping[str, SourceReport]
    files: Mapping[str, int]


def make_sample(folder: Path, size_bytes: int = 50_000_000) -> SampleReport:
    """Six sources of about `size_bytes` of text in `folder`, from what this Python installation has.

    The same installation and size give the same bytes. A folder that already holds just that is left alone; one
    that holds another sample, or an interrupted one, is made anew.

    Raises:
        UsageError: `size_bytes` is not positive, or the folder has content that is not a sample's.
    """
    if size_bytes <= 0:
        raise UsageError(f"a sample cannot have {size_bytes} bytes", hint="give a size such as 50MB")
    check_local(folder, where="folder")
    if folder.exists() and not folder.is_dir():
        raise UsageError("is a file, not a folder", where=str(folder), hint="name a new folder")
    installation = find_installation()
    old = _load_report(folder / _MARKER)
    if (
        old
        and (old.size_bytes, old.installation) == (size_bytes, installation.fingerprint)
        and _sizes(folder).items() >= old.files.items()
    ):
        return old
    _check_only_ours(folder, old)
    chosen = choose_rows(collect(installation, size_bytes), size_bytes)
    partial = folder / _PARTIAL
    shutil.rmtree(partial, ignore_errors=True)
    for source, rows in chosen.items():
        (partial / source).mkdir(parents=True)
        WRITERS[source](partial / source, rows)
    report = _report(size_bytes, installation.fingerprint, chosen, _sizes(partial))
    write_file(partial / _MARKER, (json.dumps({"format": _FORMAT} | asdict(report), indent=2) + "\n").encode())
    _publish(partial, folder)
    return report


def _sizes(folder: Path) -> dict[str, int]:
    """Relative path -> bytes of every file below a folder, sorted by path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}


def _report(
    size_bytes: int, fingerprint: str, chosen: Mapping[str, Sequence[Row]], files: Mapping[str, int]
) -> SampleReport:
    sources = {
        source: SourceReport(
            num_files=sum(name.startswith(source + "/") for name in files),
            num_rows=len(rows),
            text_bytes=sum(row.num_bytes for row in rows),
        )
        for source, rows in chosen.items()
    }
    return SampleReport(
        size_bytes=size_bytes,
        text_bytes=sum(source.text_bytes for source in sources.values()),
        installation=fingerprint,
        sources=sources,
        files=files,
    )


def _load_report(marker: Path) -> SampleReport | None:
    """The report in a marker file, or None if there is none of this format."""
    try:
        fields = json.loads(marker.read_text())
        if fields.pop("format") != _FORMAT:
            return None
        sources = {source: SourceReport(**counts) for source, counts in fields.pop("sources").items()}
        return SampleReport(**fields, sources=sources)
    except (FileNotFoundError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _check_only_ours(folder: Path, old: SampleReport | None) -> None:
    """Refuse a folder with other files, so that no file of the user is deleted."""
    found = {name for name in _sizes(folder) if not name.startswith(_PARTIAL + "/")}
    if old:
        foreign = found - old.files.keys() - {_MARKER}
    elif (folder / _PARTIAL).is_dir():
        foreign = {name for name in found if name.split("/", 1)[0] not in WRITERS}
    else:
        foreign = found
    if foreign:
        raise UsageError(
            f"the folder has files that are not a sample's: {', '.join(sorted(foreign)[:5])}",
            where=str(folder),
            hint="name a new or an empty folder",
        )


def _publish(partial: Path, folder: Path) -> None:
    """Move a finished sample into its place, the marker last."""
    (folder / _MARKER).unlink(missing_ok=True)
    for source in WRITERS:
        shutil.rmtree(folder / source, ignore_errors=True)
        publish_written(partial / source, folder / source)
    publish_written(partial / _MARKER, folder / _MARKER)
    partial.rmdir()
