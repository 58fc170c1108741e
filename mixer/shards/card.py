"""The data-set card of a build, so that `datasets.load_dataset(OUT)` and the hub know what it is."""

from __future__ import annotations

from mixer.shards.records import Manifest


def dataset_card(manifest: Manifest) -> str:
    """README.md of a build: the hub's YAML header and the mixture as a table.

    The id in the config's description makes `datasets` keep each build apart: its cache is keyed by the configs and the
    base name of the folder, and would give the rows of another build for those of this one.
    """
    totals = manifest.totals
    rows = "\n".join(
        f"| {source.name} | {counts.rows:,} | {_share(counts.rows, totals.draws)} "
        f"| {counts.tokens:,} | {_share(counts.tokens, totals.tokens)} |"
        for source, counts in zip(manifest.sources, manifest.source_counts, strict=True)
    )
    return f"""---
configs:
- config_name: default
  description: mixer build {manifest.id}
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
