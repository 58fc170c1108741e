"""The reading table: who gives how many packed tokens a second to a trainer, and in what form."""

from __future__ import annotations

from statistics import median

from figures import Records, measured_on, spread, times, values

LIMIT, OURS = "memmap", "mixer-ids"
LABELS = {
    LIMIT: "**the limit**: `numpy.memmap`, a random permutation",
    OURS: "**`mixer.feed.open`**, ids",
    "mixer-batch": "**`mixer.feed.open`**, whole batch",
    "mixer-loader": "**`TrainLoader`**, no workers",
    "litdata": "LitData `StreamingDataset`, `TokensLoader`",
    "datasets": "`datasets`, map-style",
    "mosaicml": "MosaicML `StreamingDataset`",
    "datasets-streaming": "`datasets`, streaming",
    "memmap-loader-2": "**the limit of workers**: torch `DataLoader` over the memmap, 2 workers",
    "mixer-loader-2": "**`TrainLoader`**, 2 workers",
}
GIVES = {
    LIMIT: "ids",
    OURS: "ids",
    "mixer-batch": "ids; labels int64; borders, sources and rows",
    "mixer-loader": "ids and labels, tensors",
    "mixer-loader-2": "ids and labels, tensors",
    "litdata": "ids, tensor; chunks shuffled, and inside each",
    "datasets": "ids",
    "mosaicml": "ids; shuffled in blocks of shards",
    "datasets-streaming": "ids; shuffled in a buffer of 1000",
    "memmap-loader-2": "ids, tensor",
}


def render(records: Records) -> str:
    """The table and what it was measured on, as Markdown."""
    present = [record for record in records if "absent" not in record]
    limit, ours = (values(present, name, None, "mtok_per_s") for name in (LIMIT, OURS))
    lines = [
        "| | gives | million tokens/s: median (min-max) | of the limit | mixer's ids are | first batch, ms |",
        "|---|---|---|---|---|---|",
    ]
    for name, label in LABELS.items():
        speeds = values(present, name, None, "mtok_per_s")
        if not speeds:
            lines.append(f"| {label} | {GIVES[name]} | not installed | | | |")
            continue
        kind = next(record["ids"] for record in present if record["contestant"] == name)
        cells = [
            label,
            f"{kind} {GIVES[name]}",
            spread(speeds, 0 if median(speeds) >= 20 else 1),
            times(median(speeds) / median(limit)) if name != LIMIT else "",
            times(median(ours) / median(speeds)) if name != OURS else "",
            f"{1000 * median(values(present, name, None, 'first_batch_seconds')):.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", _footer(present)])


def _footer(records: Records) -> str:
    tokens = {record["contestant"]: f"{record['num_tokens'] / 1e6:.0f} million" for record in records}
    part = f" ({tokens['datasets-streaming']} for streaming `datasets`)" if "datasets-streaming" in tokens else ""
    return (
        f"The same {tokens[LIMIT]} tokens{part} in sequences of 8192, in each one's own files, read once in batches "
        "of 8 by a fresh process: the time from asking for the first batch until the last is there. In a round before, "
        f"each was seen to give every sequence once, shuffled. {measured_on(records)}"
    )
