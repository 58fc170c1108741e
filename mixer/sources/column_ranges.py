"""The byte ranges of some columns of some row groups of a Parquet file. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from mixer.sources.formats.parquet import needed_columns
from mixer.stores.ranges import Range

_LEGACY_PADDING_BYTES = 100
"""Old writers gave too short a length of chunks with a dictionary (PARQUET-816); readers go as far beyond."""


def column_ranges(
    metadata: pq.FileMetaData, schema: pa.Schema, groups: Iterable[int], paths: Iterable[str]
) -> Iterator[Range]:
    """The bytes of the column chunks at or under some paths of a file's schema, in some row groups."""
    columns = needed_columns(schema, paths)
    for group in groups:
        row_group = metadata.row_group(group)
        for number in columns:
            chunk = row_group.column(number)
            start = chunk.data_page_offset
            if chunk.dictionary_page_offset is not None and 0 < chunk.dictionary_page_offset < start:
                start = chunk.dictionary_page_offset
            yield start, start + chunk.total_compressed_size + _LEGACY_PADDING_BYTES
