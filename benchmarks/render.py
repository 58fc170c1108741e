"""Turn records into the tables of docs/speed.md, docs/fetch.md and the README, and put them between their markers.

    python benchmarks/render.py [RECORDS] [--page PAGE]

RECORDS is a file of `benchmarks/records`; unless given, the newest of each table. Where a file has no markers for a
table, it is printed. `--page` puts all tables into one file.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import feed_table
import fetch_table
import remote_table
from figures import Records, measured_on, spread, times, values

HERE = Path(__file__).parent
README, SPEED, FETCH = (HERE.parent / path for path in ("README.md", "docs/speed.md", "docs/fetch.md"))
LABELS = {
    "mixer": "**`mixer build`**: mix, tokenize, check, shuffle, pack, write",
    "gigatoken-threads": "**the limit**: gigatoken alone, one `encode_batch` on both cores, text in memory",
    "gigatoken-threads-warm": "the same, second encode of the same text: every word is known, and start-up left out",
    "gigatoken-processes": "gigatoken alone, a process a core, text in memory",
    "gigatoken-processes-warm": "the same, second encode of the same text",
    "megatron-no-imports": "Megatron-LM's gigatoken preprocessor, imports left out: no mixing, shuffling, packing",
    "megatron": "Megatron-LM's gigatoken preprocessor: no mixing, shuffling, packing",
    "datatrove": "datatrove `DocumentTokenizer`, 2 workers: no mixing, packing",
    "ancestor": "`interleave_datasets`, buffer shuffle, tiktoken, cut, one process: nothing written",
}
SHORT_LABELS = {
    "mixer": "**`mixer build`**: mix, tokenize, check, shuffle, pack, write",
    "megatron": "Megatron-LM's gigatoken preprocessor: tokenize, write",
    "ancestor": "`interleave_datasets`, shuffle buffer, tiktoken, cut; one process, nothing written",
    "datatrove": "datatrove `DocumentTokenizer`: tokenize, shuffle, write",
}
"""The rows of the README's table, each on the largest text that it was measured on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table, and where it stands."""

    # Its records' files are those with this before their date.
    prefix: str
    # In every record of it, and in none of a table before it.
    field: str
    # Of its markers.
    name: str
    render: Callable[[Records], str]
    # The file that it is in.
    path: Path = SPEED


def main(argv: list[str] | None = None) -> None:
    """Render the records into their pages, or to stdout where a page has no markers."""
    parser = argparse.ArgumentParser(description="Put the tables into the documentation.")
    parser.add_argument("records", type=Path, nargs="?", help="default: the newest file of each table")
    parser.add_argument("--page", type=Path, help="put all tables there; default: each into its own page")
    options = parser.parse_args(argv)
    paths = [options.records] if options.records else newest(HERE / "records")
    if not paths:
        parser.error("there are no records yet: python benchmarks/run.py --data DIR")
    for path in paths:
        records = [json.loads(line) for line in path.read_text().splitlines()]
        field = next(table.field for table in TABLES if any(table.field in record for record in records))
        for table in TABLES:
            if table.field == field:
                put(options.page or table.path, table.render(records), table.name)


def newest(folder: Path) -> list[Path]:
    """The newest records of each table: their names are dates, with the table's prefix before them."""
    prefixes = dict.fromkeys(table.prefix for table in TABLES)
    found = (max(folder.glob(f"{prefix}[0-9]*.jsonl"), default=None) for prefix in prefixes)
    return [path for path in found if path is not None]


def put(path: Path, table: str, name: str) -> None:
    """Put a table between two markers of a file; print it where there are none."""
    start, stop = f"<!-- {name}:start -->", f"<!-- {name}:end -->"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    if start not in text or stop not in text:
        print(table)
        return
    head, _, rest = text.partition(start)
    path.write_text(f"{head}{start}\n{table}\n{stop}{rest.partition(stop)[2]}", encoding="utf-8")


def render(records: Records) -> str:
    """The two tables and what they were measured on, as Markdown."""
    present = [record for record in records if "absent" not in record]
    rows = list(dict.fromkeys((record["contestant"], record["size"]) for record in records))
    order = list(LABELS)
    speeds = sorted((row for row in rows if row[0] in LABELS), key=lambda row: order.index(row[0]))
    lines = ["| | text | MB/s: median (min-max) | mixer is | peak memory |", "|---|---|---|---|---|"]
    for name, size in speeds:
        cells = [LABELS[name], size, *_speed_cells(present, name, size)]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "| | seconds: median (min-max) |", "|---|---|"]
    for name, label in (
        ("mixer-demo", "`mixer build recipes/sample.yaml`, 10 M tokens"),
        ("mixer-help", "`mixer --help`"),
    ):
        if seconds := values(present, name, None, "seconds"):
            lines.append(f"| {label} | {spread(seconds, 2)} |")
    clock = "MB of UTF-8 text over wall time; a fresh process with its start-up, unless it says otherwise"
    return "\n".join([*lines, "", f"{clock}; {measured_on(present)}"])


def render_short(records: Records) -> str:
    """The README's rows: each contestant on its largest text, and what it was measured on."""
    present = [record for record in records if "absent" not in record]
    lines = ["| | text | MB/s: median (min-max) | mixer is |", "|---|---|---|---|"]
    for name, label in SHORT_LABELS.items():
        sizes = {record["text_bytes"]: record["size"] for record in present if record["contestant"] == name}
        if not sizes:
            lines.append(f"| {label} | | not installed | |")
            continue
        size = sizes[max(sizes)]
        speed, ratio, _ = _speed_cells(present, name, size)
        lines.append(f"| {label} | {size} | {speed} | {ratio} |")
    one = present[0]
    clock = "MB of UTF-8 text over wall time of a fresh process, start-up included"
    return "\n".join([*lines, "", f"{clock}; {one['cores']} cores of {one['cpu']}, {one['date']}."])


def _speed_cells(records: Records, name: str, size: str) -> list[str]:
    speeds = values(records, name, size, "mb_per_s")
    if not speeds:
        return ["not installed", "", ""]
    # The slow ones get a part of the text: they are held against mixer's largest build.
    ours = values(records, "mixer", size, "mb_per_s") or values(records, "mixer", _largest(records), "mb_per_s")
    ratio = times(median(ours) / median(speeds)) if ours and name != "mixer" else ""
    peaks = [record["peak_bytes"] for record in records if (record["contestant"], record["size"]) == (name, size)]
    peak = max((peak for peak in peaks if peak), default=None)
    return [spread(speeds, 0 if median(speeds) >= 20 else 1), ratio, f"{peak / 2**30:.2f} GiB" if peak else ""]


def _largest(records: Records) -> str:
    """The size of mixer's largest build."""
    return max((record["text_bytes"], record["size"]) for record in records if record["contestant"] == "mixer")[1]


TABLES = (
    Table(prefix="feed-", field="mtok_per_s", name="bench-feed", render=feed_table.render),
    Table(prefix="remote-", field="latency_ms", name="bench-remote", render=remote_table.render),
    Table(
        prefix="fetch-",
        field="blobs_per_s",
        name="bench-fetch",
        render=fetch_table.render,
        path=FETCH,
    ),
    Table(prefix="", field="contestant", name="bench", render=render),
    Table(prefix="", field="contestant", name="bench-short", render=render_short, path=README),
)


if __name__ == "__main__":
    main()
