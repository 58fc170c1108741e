"""What tests ask of manifests, and whole and consistent ones to ask it of."""

from __future__ import annotations

from mixer.shards.records import Manifest, SourceCounts


def passes(manifest: Manifest) -> list[float]:
    """How often the rows of each source were drawn, by its number; for builds of one stage."""
    (stage,) = manifest.stages
    return [counts.rows / sum(entry.pass_rows) for entry, counts in zip(stage.sources, manifest.source_counts)]


def counts_of(manifest: Manifest, name: str) -> SourceCounts:
    """What came of a source."""
    return manifest.source_counts[manifest.source_names.index(name)]
