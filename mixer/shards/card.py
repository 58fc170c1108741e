"""The data-set card of a build, so that `datasets.load_dataset(OUT)` and the hub know what it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def dataset_card(manifest: Mapping[str, Any]) -> str:
    """README.md of a build: the hub's YAML header and the mixture as a table."""
    totals = manifest["totals"]
    rows = "\n".join(
        f"| {source['name']} | {source['weight']} | {source['rows']:,} | {source['row_share']:.2%} "
        f"| {source['tokens']:,} | {source['token_share']:.2%} | {source['passes']:.3f} |"
        for source in manifest["sources"]
    )
    return f"""---
configs:
- config_name: default
  data_files:
  - split: train
    path: shards/*.arrow
---
# {manifest["name"]}

{totals["sequences"]:,} sequences of {manifest["sequence_length"]:,} tokens ({totals["tokens"]:,} tokens and
{totals["padding"]:,} of padding), tokenizer {manifest["tokenizer"]["name"]}, packing
{manifest["recipe"]["sequence"]["packing"]}. Built by mixer; `manifest.json` says exactly from what.

| source | weight | rows | share of rows | tokens | share of tokens | passes |
|---|---:|---:|---:|---:|---:|---:|
{rows}

Columns: `input_ids` are the sequence; `next_id` follows its last token (-100: nothing does), so labels lose no
position; `num_pad` ids at its end are padding; `cu_seqlens` are the borders of its segments; `segment_source`,
`segment_row`, `segment_pass` and `segment_start` say where each segment comes from.
"""
