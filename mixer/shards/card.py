"""The data-set card of a build, for `datasets.load_dataset(OUT)` and the hub."""

from __future__ import annotations

from mixer.shards.records import Manifest


def build_description(manifest: Manifest) -> str:
    """The `Dataset.info.description` of a data set that was loaded from a build."""
    return f"mixer build {manifest.id}"


def dataset_card(manifest: Manifest) -> str:
    """README.md of a build: the hub's YAML header and the mixture as a table.

    The id in the description makes `datasets` keep each build apart: its cache is keyed by this header and the base
    name of the folder, and would give the rows of another build for those of this one. In `dataset_info` it stays with
    the data set, so that a collator can check which build its rows are of; in the config it would not.
    """
    totals = manifest.totals
    rows = "\n".join(
        f"| {source.name} | {counts.rows:,} | {_share(counts.rows, totals.draws)} "
        f"| {counts.tokens:,} | {_share(counts.tokens, totals.tokens)} |"
        for source, counts in zip(manifest.sources, manifest.source_counts, strict=True)
    )
    return f"""---
dataset_info:
  config_name: default
  description: {build_description(manifest)}
configs:
- config_name: default
  data_files:
  - split: train
    path: shards/*.arrow
---
# {manifest.name}

{totals.sequences:,} sequences of {manifest.sequence.length:,} tokens ({totals.tokens:,} tokens and
{totals.padding:,} of padding), tokenizer {manifest.tokenizer.name}, packing
{manifest.sequence.packing}. Built by mixer; `manifest.json` says exactly from what.

| source | rows | share of rows | tokens | share of tokens |
|---|---:|---:|---:|---:|
{rows}

Columns: `input_ids` are the sequence; `next_id` follows its last token (-100: nothing does), so labels lose no
position; `num_pad` ids at its end are padding; `cu_seqlens` are the borders of its segments; `segment_source`,
`segment_row`, `segment_pass` and `segment_start` say where each segment comes from.
"""


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.2%}" if whole else "-"
