"""Tokens per row of a source, measured on a keyed sample: the basis of plans and of weights in tokens."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from mixer import rng
from mixer.errors import DataError
from mixer.survey.measurement import Measurement, measurement
from mixer.survey.measurement_cache import MeasurementCache, is_thorough, measurement_key

if TYPE_CHECKING:
    from mixer.recipe import Recipe, Source
    from mixer.sources.prefetch import FetchAhead, RemoteBlocks
    from mixer.sources.reader import Texts
    from mixer.sources.snapshot import Snapshot
    from mixer.tokens.tokenizer import Tokenizer

_CLUSTERS, _CLUSTER_ROWS = 64, 32
_ENOUGH_BYTES = 16 << 20
_FEW_CLUSTERS, _FEW_BYTES = 8, 4 << 20
"""Of a remote source each cluster may be a row group of 100,000 rows to fetch."""
_MORE_WITHOUT_TEXT = 8
_BLOCKS_AHEAD, _SOURCES_AHEAD = 3, 2
"""Blocks of a remote source that are fetched before it is known whether they will be needed; for how many after it."""


def measure_sources(
    sources: Mapping[str, Source], snapshots: Sequence[Snapshot], tokenizer: Tokenizer, recipe: Recipe, cache_dir: Path
) -> dict[str, Measurement]:
    """The tokens of a row of each source as it would be packed: BOS and EOS counted, rows without text counted as 0.

    Deterministic: short clusters of rows at places all over the source, which a key chooses. A source in whose sample
    there is no text gets a larger one. A measurement is kept, so that a build after its plan need not make it again.
    The next remote sources are fetched from while one is measured. No thread is left running.

    Args:
        sources: the sources by name.
        snapshots: of each.
        tokenizer: the recipe's.
        recipe: the recipe.
        cache_dir: where measurements are kept.

    Raises:
        DataError: no row of a source has any text.
    """
    kept = MeasurementCache(cache_dir)
    keys = {
        name: measurement_key(name, source, snapshot, tokenizer.fingerprint, recipe)
        for (name, source), snapshot in zip(sources.items(), snapshots, strict=True)
    }
    found = {name: known for name, key in keys.items() if (known := kept.recall(key)) is not None}
    unknown = [
        (name, source, snapshot)
        for (name, source), snapshot in zip(sources.items(), snapshots, strict=True)
        if name not in found
    ]
    waiting: deque[_Sample] = deque()
    left = iter(unknown)
    with _fetching_ahead([snapshot for _, _, snapshot in unknown]) as ahead:
        for _ in unknown:
            # A sample is let go of when it was measured: its reader keeps a block open.
            for name, source, snapshot in islice(left, 1 + _SOURCES_AHEAD - len(waiting)):
                waiting.append(_Sample(name, source, snapshot, recipe, ahead))
            sample = waiting.popleft()
            behind = [block for other in waiting for block in other.blocks_from(0)]
            found[sample.name] = _measured(sample, tokenizer, recipe, behind)
            kept.remember(keys[sample.name], found[sample.name])
    return {name: found[name] for name in sources}


def measure_sample(
    name: str,
    source: Source,
    snapshot: Snapshot,
    tokenizer: Tokenizer,
    recipe: Recipe,
    *,
    block_cluster: np.ndarray,
    total_rows: int,
) -> Measurement:
    """The same, where the snapshot is itself a sample: every row of it is read.

    Args:
        name: the source.
        source: its part of the recipe.
        snapshot: the sample.
        tokenizer: the recipe's.
        recipe: the recipe.
        block_cluster: which blocks are neighbours in the source; int64[blocks].
        total_rows: of the source.

    Raises:
        DataError: no row of the sample has any text.
    """
    from mixer.sources.reader import SourceReader

    reader = SourceReader(name, source, snapshot, recipe.on_bad_row)
    blocks = np.argsort(block_cluster, kind="stable")
    kept = snapshot.block_kept[blocks]
    parts = [part for block, rows in zip(blocks.tolist(), kept.tolist()) for part in reader.read(block, 0, rows)]
    tokens, text_bytes = _tokens_of_rows(parts, tokenizer, recipe)
    if not tokens.any():
        raise _no_text(name, len(tokens))
    clusters = np.repeat(block_cluster[blocks], kept)
    return measurement(tokens, clusters, num_bytes=text_bytes, total_rows=total_rows)


def _no_text(name: str, num_rows: int) -> DataError:
    return DataError(
        f"none of the {num_rows:,} rows has any text",
        where=f"sources.{name}",
        hint="check `text` and `max_document_tokens`",
    )


class _Sample:
    """The rows of a source to read, and their reader. `more` is the factor over the usual size."""

    def __init__(
        self, name: str, source: Source, snapshot: Snapshot, recipe: Recipe, ahead: FetchAhead | None, more: int = 1
    ) -> None:
        from mixer.sources.reader import SourceReader

        self.name, self.source, self.snapshot, self.ahead, self.more = name, source, snapshot, ahead, more
        self.reader = SourceReader(name, source, snapshot, recipe.on_bad_row)
        thorough = is_thorough(snapshot, recipe)
        num_clusters, num_bytes = (_CLUSTERS, _ENOUGH_BYTES) if thorough else (_FEW_CLUSTERS, _FEW_BYTES)
        self.enough_bytes = more * num_bytes
        self.clusters = list(_clusters(snapshot.block_kept, more * num_clusters, recipe.seed, name))
        if self.reader.remote is not None and ahead is not None:
            self.reader.remote.use(ahead)

    def larger(self, recipe: Recipe) -> _Sample:
        """A larger sample of the same source."""
        return _Sample(self.name, self.source, self.snapshot, recipe, self.ahead, self.more * _MORE_WITHOUT_TEXT)

    def blocks_from(self, number: int) -> list[tuple[RemoteBlocks, int]]:
        """The next few blocks to fetch, from a cluster's on; none for a local source."""
        remote = self.reader.remote
        if remote is None:
            return []
        blocks = [*dict.fromkeys(block for block, _, _ in self.clusters[number:])][:_BLOCKS_AHEAD]
        return [(remote, block) for block in blocks if block != self.reader.open_block]


@contextmanager
def _fetching_ahead(snapshots: Sequence[Snapshot]) -> Iterator[FetchAhead | None]:
    """The fetcher for remote sources; None if there are none."""
    if all(snapshot.origin is None for snapshot in snapshots):
        yield None
        return
    from mixer.sources.prefetch import FetchAhead

    ahead = FetchAhead()
    try:
        yield ahead
    finally:
        ahead.close()


def _measured(
    sample: _Sample, tokenizer: Tokenizer, recipe: Recipe, behind: list[tuple[RemoteBlocks, int]]
) -> Measurement:
    """The measurement of a sample; the blocks `behind` are fetched after its own."""
    while True:
        parts: list[Texts] = []
        cluster_rows: list[int] = []
        num_bytes = 0
        for number, (block, start, stop) in enumerate(sample.clusters):
            if sample.ahead is not None:
                sample.ahead.expect([*sample.blocks_from(number), *behind])
            cluster_rows.append(stop - start)
            for texts in sample.reader.read(block, start, stop):
                parts.append(texts)
                num_bytes += texts.text.drop_null().nbytes
            if num_bytes >= sample.enough_bytes:
                break
        tokens, text_bytes = _tokens_of_rows(parts, tokenizer, recipe)
        if tokens.any():
            num_rows = sample.snapshot.num_kept
            return measurement(tokens, _runs(cluster_rows), num_bytes=text_bytes, total_rows=num_rows)
        if len(tokens) == sample.snapshot.num_kept:
            raise _no_text(sample.name, len(tokens))
        sample = sample.larger(recipe)


def _tokens_of_rows(parts: list[Texts], tokenizer: Tokenizer, recipe: Recipe) -> tuple[np.ndarray, int]:
    """Tokens of each row, 0 for a row without a document: int64[rows]; and the bytes of the rows with one."""
    from mixer.sources.text import text_offsets

    text = parts[0].text if len(parts) == 1 else pa.concat_arrays([part.text for part in parts])
    has_text = np.asarray(text.is_valid())
    documents = text.drop_null()
    num_bytes = np.diff(text_offsets(documents))
    specials, longest = recipe.sequence.bos + recipe.sequence.eos, recipe.max_document_tokens
    most_bytes = None if longest is None else tokenizer.most_bytes(max(0, longest - specials))
    small = np.full(len(documents), True) if most_bytes is None else num_bytes <= most_bytes
    lengths = np.zeros(len(documents), dtype=np.int64)
    encoded = documents if small.all() else documents.filter(pa.array(small))
    lengths[small] = np.diff(tokenizer.encode(encoded).offsets)
    packed = np.where(lengths > 0, lengths + specials, 0)
    if longest is not None:
        packed[packed > longest] = 0
    tokens = np.zeros(len(text), dtype=np.int64)
    tokens[has_text] = packed
    return tokens, int(num_bytes[packed > 0].sum())


def _runs(cluster_rows: list[int]) -> np.ndarray:
    """The number of each row's run of at most 32 rows: clusters of a small source are whole blocks. int64[rows]."""
    lengths = [min(_CLUSTER_ROWS, rows - begin) for rows in cluster_rows for begin in range(0, rows, _CLUSTER_ROWS)]
    return np.repeat(np.arange(len(lengths)), lengths)


def _clusters(block_rows: np.ndarray, count: int, seed: int, name: str) -> Iterator[tuple[int, int, int]]:
    """Windows of rows (block, start, stop), no row twice: all rows of a small source, else `count` places by a key.

    Blocks come in the order of a key, so that the first clusters are a sample of the source as well; the clusters of a
    block come in its order, so that it is read once.
    """
    total = int(block_rows.sum())
    if total <= count * _CLUSTER_ROWS:
        for block in rng.permutation(len(block_rows), seed, "measure order", name).tolist():
            yield block, 0, int(block_rows[block])
        return
    places = np.sort(rng.words(rng.key(seed, "measure", name), count) % np.uint64(total)).astype(np.int64)
    stops = np.cumsum(block_rows)
    blocks = np.searchsorted(stops, places, side="right")
    seen = np.unique(blocks)
    for block in seen[rng.permutation(len(seen), seed, "measure order", name)].tolist():
        done = 0
        for place in (places[blocks == block] - (stops[block] - block_rows[block])).tolist():
            start, stop = max(done, place), min(place + _CLUSTER_ROWS, int(block_rows[block]))
            if start < stop:
                yield block, start, stop
                done = stop
