"""The Arrow schemas of the four data sets that come as parquet."""

from __future__ import annotations

import pyarrow as pa

_FILE_TYPE = pa.struct(
    [
        ("blob_id", pa.string()),
        ("path", pa.string()),
        ("content_id", pa.string()),
        ("language", pa.string()),
        ("length_bytes", pa.int64()),
        ("detected_licenses", pa.list_(pa.string())),
        ("license_type", pa.string()),
        ("src_encoding", pa.string()),
        ("is_vendor", pa.bool_()),
        ("is_generated", pa.bool_()),
        ("alphanum_fraction", pa.float32()),
        ("alpha_fraction", pa.float32()),
        ("num_lines", pa.int64()),
        ("avg_line_length", pa.float32()),
        ("max_line_length", pa.int64()),
        ("text", pa.string()),
    ]
)
FINEWEB_EDU = pa.schema(
    [(name, pa.string()) for name in ("text", "id", "dump", "url", "file_path", "language")]
    + [
        ("language_score", pa.float64()),
        ("token_count", pa.int64()),
        ("score", pa.float64()),
        ("int_score", pa.int64()),
    ]
)
ZYDA = pa.schema([(name, pa.string()) for name in ("text", "source", "filtering_features", "source_other")])
FINEMATH = pa.schema(
    [
        ("text", pa.string()),
        ("url", pa.string()),
        ("score", pa.float64()),
        ("int_score", pa.int64()),
        ("token_count", pa.int32()),
    ]
)
STACK = pa.schema(
    [(name, pa.string()) for name in ("repo_name", "repo_url", "snapshot_id", "revision_id", "directory_id")]
    + [
        ("branch_name", pa.string()),
        ("visit_date", pa.timestamp("us")),
        ("num_files", pa.int64()),
        ("files", pa.list_(_FILE_TYPE)),
    ]
)
