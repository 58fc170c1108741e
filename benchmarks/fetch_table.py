"""The table of fetching contents: blobs a second, by the number of connections."""

from __future__ import annotations

from figures import Records, measured_on, spread


def render(records: Records) -> str:
    """The table and what it was measured on, as Markdown."""
    counted = [record for record in records if record["round"] > 0]
    lines = ["| connections | blobs/s: median (min-max) | MB/s of text | cores of the client |", "|---|---|---|---|"]
    for connections in dict.fromkeys(record["connections"] for record in counted):
        here = [record for record in counted if record["connections"] == connections]
        cells = [
            str(connections),
            spread([record["blobs_per_s"] for record in here], 0),
            spread([record["text_mb_per_s"] for record in here], 0),
            spread([record["cpu_seconds"] / record["seconds"] for record in here], 1),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    one = records[0]
    about = (
        f"{one['files']:,} blobs with a median of {one['median_blob_bytes']:,} bytes, zipped, from an S3 server on "
        "loopback, on the same cores; a fresh process with its start-up, into parquet; "
    )
    return "\n".join([*lines, "", about + measured_on(records)])
