"""One chunk: its rows, the blobs of their files, and the Parquet file with the text."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from mixer.digest import xxh3_file
from mixer.errors import BuildStateError, DataError, TaskError
from mixer.sources.formats.footer import footer_digest, read_footer
from mixer.sources.opening import opened
from mixer.stack.blobs import BlobStore, Missing, Origin, fetch_blob
from mixer.stack.counts import Counts
from mixer.stack.decoding import Decoded, decode_text
from mixer.stack.fetch_plan import Chunk, FetchPlan, Policy
from mixer.stack.ids import read_id_rows
from mixer.stack.in_order import in_order
from mixer.stack.repositories import Assembler, Request, requests, with_text
from mixer.stack.writing import write_rows
from mixer.stores import traffic
from mixer.system.publish import publishing, sync_file

_AHEAD_BYTES = 64 << 20
"""Text that may be there before its turn."""
_AHEAD_FOR_EACH = 8
"""Blobs that may be begun before the turn of theirs, for each connection: one that waits must not hold up the rest."""
_ENOUGH_MISSING = 100
_TICK_SECONDS = 0.5
_GONE = {"missing": "there is no such blob, or it cannot be read", "damaged": "the bytes are not those of its sha1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Gone:
    """A blob that is missing or damaged."""

    kind: str


class ChunkFetcher:
    """Fetches one chunk after the other.

    Args:
        plan: the fetch.
        origin: where the blobs are.
        num_connections: blobs that are on their way at once.
    """

    def __init__(self, plan: FetchPlan, origin: Origin, num_connections: int) -> None:
        self._plan = plan
        self._policies = {"missing": plan.rules.on_missing, "damaged": plan.rules.on_damaged}
        self._store = BlobStore(origin, num_connections)
        self._num_connections = num_connections
        self._executor = ThreadPoolExecutor(num_connections)

    def run(self, chunk: Chunk, path: Path, on_files: Callable[[int, int], None]) -> dict[str, Any]:
        """Fetch a chunk into a file that appears whole or not at all; returns its record.

        Bytes depend on the rows, the rules and what blobs there are, and on no order of arrival.

        Args:
            chunk: which rows.
            path: the file.
            on_files: told now and then how many more files were read, and how many bytes of text they have.

        Raises:
            DataError: the rows cannot be read, or a blob is missing or damaged and its policy is to stop.
            TaskError: the file cannot be written.
            BuildStateError: another process is fetching the same chunk.
        """
        started = time.monotonic()
        traffic.take()
        counts = Counts()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            for left in path.parent.glob(f".{path.name}.*.tmp"):  # of one that was killed; of two at once one ends
                left.unlink(missing_ok=True)
            with publishing(path) as file:
                schema = with_text(chunk.file.schema)
                write_rows(file, schema, self._pieces(chunk, counts, on_files), self._plan.rules.row_group_bytes)
                facts = _facts(Path(str(file.name)))
            sync_file(path.parent)
        except FileNotFoundError as error:
            raise BuildStateError(
                "another process is fetching it", where=str(path), hint="give each host its own --part"
            ) from error
        except OSError as error:
            raise TaskError(
                f"cannot be written: {error.strerror or error}",
                where=str(path),
                hint="make room or fix the folder, then run the same command again to resume",
            ) from error
        return {
            "name": chunk.name,
            "source": chunk.file.name,
            "rows": [chunk.start, chunk.stop],
            **facts,
            "counts": counts.as_json(),
            "traffic": traffic.take(),
            "seconds": round(time.monotonic() - started, 3),
        }

    def _pieces(self, chunk: Chunk, counts: Counts, on_files: Callable[[int, int], None]) -> Iterator[pa.RecordBatch]:
        """The chunk's rows with their texts, in order."""
        rules, place = self._plan.rules, str(chunk.file.path)
        assembler = Assembler(with_text(chunk.file.schema), rules, self._plan.tokenizer, counts)
        last_tick, told_files, num_bytes = time.monotonic(), 0, 0
        batches = read_id_rows(chunk.file, chunk.start, chunk.stop)
        wanted = requests(batches, rules.selection, chunk.start, place, counts)
        results = in_order(
            wanted,
            self._fetch,
            self._executor,
            max_requests=_AHEAD_FOR_EACH * self._num_connections,
            max_bytes=_AHEAD_BYTES,
        )
        for request, result in results:
            if isinstance(result, Decoded):
                counts.decoded[result.how] += 1
                num_bytes += len(result.text)
                yield from assembler.add(request, result.text)
            else:
                counts.numbers[f"files_{result.kind}"] += 1
                self._check_gone(request, result, counts, place)
                drops = self._policies[result.kind] is Policy.DROP_REPO
                yield from assembler.add(request, None, drop_repository=drops)
            if time.monotonic() - last_tick >= _TICK_SECONDS:
                on_files(counts.numbers["files_read"] - told_files, num_bytes)
                last_tick, told_files, num_bytes = time.monotonic(), counts.numbers["files_read"], 0
        yield from assembler.finish()
        on_files(counts.numbers["files_read"] - told_files, num_bytes)

    def _fetch(self, request: Request) -> Decoded | _Gone:
        """One file, in its own thread."""
        try:
            content = fetch_blob(self._store, request.blob_id)
        except Missing:
            return _Gone(kind="missing")
        return _Gone(kind="damaged") if content is None else decode_text(content, request.encoding)

    def _check_gone(self, request: Request, gone: _Gone, counts: Counts, place: str) -> None:
        where = self._store.place(request.blob_id)
        if self._policies[gone.kind] is Policy.ERROR:
            row = request.rows.first_row + int(request.rows.parents[request.file])
            raise DataError(
                f"{_GONE[gone.kind]} (row {row} of {place})",
                where=where,
                hint=f"to skip it, set --on-{gone.kind} (in a recipe on_{gone.kind}) to drop-file or drop-repo",
            )
        num_gone = counts.numbers["files_missing"] + counts.numbers["files_damaged"]
        if num_gone == _ENOUGH_MISSING and not counts.decoded:
            raise DataError(
                f"the first {num_gone} blobs are all missing",
                where=where,
                hint="check the address of the blobs (--from, or `blobs` in a recipe) and the credentials",
            )


def _facts(path: Path) -> dict[str, Any]:
    """Size and digests of a file that was written."""
    with opened(path) as file:
        footer = read_footer(file, "parquet", str(path))
        assert footer is not None
        return {"bytes": file.state().num_bytes, "footer_sha256": footer_digest(footer), "xxh3": xxh3_file(path)}
