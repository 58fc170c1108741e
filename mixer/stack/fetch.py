"""Fetching Stack v2: rows without text in, the same rows with text out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mixer.sources.pin_cache import MAX_CACHE_BYTES
from mixer.sources.prefetch import naming
from mixer.stack.blobs import Origin, checked_address
from mixer.stack.fetch_folder import FetchFolder, recorded_store
from mixer.stack.fetch_plan import FetchPlan, HostPart, IdsStore, Rules, make_fetch_plan
from mixer.stack.ids import IdsFile, find_ids, find_ids_elsewhere
from mixer.stack.remote_ids import RemotePath
from mixer.stack.wanted_files import Selection
from mixer.stack.workers import fetch_chunks
from mixer.stores.address import is_remote, parse_address
from mixer.stores.block_cache import BlockCache
from mixer.system.local_paths import check_local
from mixer.system.processes import checked_workers


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Callbacks of a fetch in progress."""

    # The plan, and how many chunks are this host's.
    on_plan: Callable[[FetchPlan, int], None]
    # More files that were read, and the bytes of their text.
    on_files: Callable[[int, int], None]
    # A finished chunk, and whether it was finished before.
    on_chunk: Callable[[dict[str, Any], bool], None]


def fetch_stack_v2(
    source: str,
    out: Path,
    *,
    rules: Rules,
    origin: Origin,
    part: HostPart,
    tokenizer: str,
    cache_dir: Path,
    workers: int | None = None,
    connections: int,
    listener: Listener,
) -> dict[str, Any]:
    """Fetch the text of repositories into Parquet files, or resume a fetch that was stopped.

    The same rows, rules and blobs give the same files, whatever the number of workers, hosts and interruptions.

    Args:
        source: parquet files of `the-stack-v2-train-smol-ids`: a path, a folder, a glob or an address. A fetch that was
            stopped reads on at the commit that it began with, whatever happened to the branch since.
        out: the folder for files with text.
        rules: what is wanted, and what becomes of blobs that cannot be had.
        origin: where the blobs are.
        part: which part of the work is this host's.
        tokenizer: what counts tokens, where the rules ask for them.
        cache_dir: where tokenizers are kept, and what is read of rows that are elsewhere.
        workers: processes; None: one for each usable core.
        connections: blobs that are on their way at once, over all of them.
        listener: what is told of how far it is.

    Returns:
        The report on all chunks that are finished, other hosts' too: `OUT/report.json`.

    Raises:
        MixerError: any failure; the same call resumes.
    """
    checked_address(origin)
    check_local(out, where="OUT")
    workers = checked_workers(workers)
    loaded = None
    if rules.selection.min_bytes_per_token is not None:
        from mixer.tokens.tokenizer import load_tokenizer

        loaded = load_tokenizer(tokenizer, root=Path(), cache_dir=cache_dir)
    files, store = _found(source, out, rules.selection, cache_dir)
    return run_fetch(
        make_fetch_plan(files, rules, loaded, store),
        out,
        origin=origin,
        part=part,
        workers=workers,
        connections=connections,
        listener=listener,
    )


def run_fetch(
    plan: FetchPlan, out: Path, *, origin: Origin, part: HostPart, workers: int, connections: int, listener: Listener
) -> dict[str, Any]:
    """Fetch a plan into a folder, or resume; the arguments, report and errors of `fetch_stack_v2`."""
    checked_address(origin)
    folder = FetchFolder(out, plan)
    folder.adopt()
    chunks = part.chunks(plan)
    listener.on_plan(plan, len(chunks))
    if chunks:
        fetch_chunks(
            plan,
            chunks,
            out,
            origin,
            workers=workers,
            connections=connections,
            on_files=listener.on_files,
            on_chunk=listener.on_chunk,
        )
    return folder.report()


def _found(source: str, out: Path, selection: Selection, cache_dir: Path) -> tuple[list[IdsFile], IdsStore | None]:
    """The files with the rows, and their store; None for local files."""
    if not is_remote(source):
        check_local(source, where="SRC")
        return find_ids(source, selection), None
    asked, before = parse_address(source, "SRC"), recorded_store(out)
    commit = None
    if before is not None and before.asked == str(asked):
        commit = parse_address(before.found, "SRC").revision
    cache = BlockCache(folder=cache_dir, max_bytes=MAX_CACHE_BYTES)
    with naming("SRC"):
        files = find_ids_elsewhere(asked, commit, selection, cache)
    assert isinstance(files[0].path, RemotePath)
    return files, IdsStore(asked=str(asked), found=str(files[0].path.base))
