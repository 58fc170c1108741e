"""The table of remote reading: what a bucket that answers late costs a build."""

from __future__ import annotations

from statistics import median

from figures import Records, measured_on, spread, values

LABELS = {
    "mixer-local": "`mixer build`, local files",
    "mixer-bucket": "**`mixer build`, the bucket**",
    "mixer-local-first": "`mixer build`, local files, nothing known of them",
    "mixer-bucket-first": "**`mixer build`, the bucket, nothing known of its files**",
    "datasets-stream": "`datasets` streaming, the bucket: `interleave_datasets`, tiktoken, cut; nothing written",
}
LOCAL = {"mixer-bucket": "mixer-local", "mixer-bucket-first": "mixer-local-first"}


def render(records: Records) -> str:
    """The table and what it was measured on, as Markdown; one part for each size."""
    lines = [
        "| | text | MB/s: median (min-max) | of local files | requests | peak memory |",
        "|---|---|---|---|---|---|",
    ]
    sizes = list(dict.fromkeys(record["size"] for record in records))
    for size in sizes:
        lines += [_row(records, name, size) for name in LABELS if values(records, name, size, "mb_per_s")]
    latency = records[0]["latency_ms"]
    about = (
        f"The bucket is an S3 server on the same cores that waits {latency:g} ms before each answer; blocks are in no "
        "cache. MB of UTF-8 text over wall time, a fresh process with its start-up; "
    )
    return "\n".join([*lines, "", about + measured_on(records)])


def _row(records: Records, name: str, size: str) -> str:
    speeds = values(records, name, size, "mb_per_s")
    of_local = ""
    if name in LOCAL:
        of_local = f"{median(speeds) / median(values(records, LOCAL[name], size, 'mb_per_s')):.0%}"
    here = [record for record in records if (record["contestant"], record["size"]) == (name, size)]
    text = f"{median(record['text_bytes'] for record in here) / 1e6:.0f} MB"
    peak = max((record["peak_bytes"] for record in here if record["peak_bytes"]), default=None)
    requests = f"{median(record['requests'] for record in here):.0f}"
    memory = f"{peak / 2**30:.2f} GiB" if peak else ""
    cells = [LABELS[name], text, spread(speeds, 0 if median(speeds) >= 20 else 1), of_local, requests, memory]
    return f"| {' | '.join(cells)} |"
