"""Turn records into the speed table, and put it between the markers of the README.

    python benchmarks/render.py [RECORDS] [--readme README.md]

RECORDS is the newest file of `benchmarks/records` unless given. Without markers the table is printed.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).parent
START, STOP = "<!-- bench:start -->", "<!-- bench:end -->"
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

Records = list[dict[str, Any]]


def main(argv: list[str] | None = None) -> None:
    """Render the records into the README, or to stdout where it has no markers."""
    parser = argparse.ArgumentParser(description="Put the speed table into the README.")
    parser.add_argument("records", type=Path, nargs="?", help="default: the newest file of benchmarks/records")
    parser.add_argument("--readme", type=Path, default=HERE.parent / "README.md")
    options = parser.parse_args(argv)
    path = options.records or max((HERE / "records").glob("*.jsonl"), default=None)
    if path is None:
        parser.error("there are no records yet: python benchmarks/run.py --data DIR")
    text = render([json.loads(line) for line in path.read_text().splitlines()])
    readme = options.readme.read_text(encoding="utf-8") if options.readme.exists() else ""
    if START not in readme or STOP not in readme:
        print(text)
        return
    head, _, rest = readme.partition(START)
    options.readme.write_text(f"{head}{START}\n{text}\n{STOP}{rest.partition(STOP)[2]}", encoding="utf-8")


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
        if seconds := _values(present, name, None, "seconds"):
            lines.append(f"| {label} | {_spread(seconds, 2)} |")
    return "\n".join([*lines, "", _footer(present)])


def _speed_cells(records: Records, name: str, size: str) -> list[str]:
    speeds = _values(records, name, size, "mb_per_s")
    if not speeds:
        return ["not installed", "", ""]
    # The slow ones get a part of the text: they are held against mixer's largest build.
    ours = _values(records, "mixer", size, "mb_per_s") or _values(records, "mixer", _largest(records), "mb_per_s")
    ratio = _times(median(ours) / median(speeds)) if ours and name != "mixer" else ""
    peaks = [record["peak_bytes"] for record in records if (record["contestant"], record["size"]) == (name, size)]
    peak = max((peak for peak in peaks if peak), default=None)
    return [_spread(speeds, 0 if median(speeds) >= 20 else 1), ratio, f"{peak / 2**30:.2f} GiB" if peak else ""]


def _times(ratio: float) -> str:
    """Two digits: `0.51 x`, `1.3 x`, `62 x`, `148 x`."""
    return f"{ratio:.0f} x" if ratio >= 9.95 else f"{ratio:.2g} x"


def _values(records: Records, name: str, size: str | None, field: str) -> list[float]:
    """A field of a contestant over the rounds that count."""
    return [
        record[field]
        for record in records
        if record["contestant"] == name and size in (None, record["size"]) and record["round"] > 0
    ]


def _largest(records: Records) -> str:
    """The size of mixer's largest build."""
    return max((record["text_bytes"], record["size"]) for record in records if record["contestant"] == "mixer")[1]


def _spread(values: list[float], digits: int) -> str:
    if len(values) == 1:
        return f"{values[0]:,.{digits}f}"
    return f"{median(values):,.{digits}f} ({min(values):,.{digits}f}-{max(values):,.{digits}f})"


def _footer(records: Records) -> str:
    """Rounds, machine and versions."""
    one = records[0]
    num_rounds = len({record["round"] for record in records if record["round"] > 0})
    versions = {name: version for record in records for name, version in record["versions"].items()}
    listed = ", ".join(f"{name} {versions[name]}" for name in sorted(versions))
    rounds = f"{num_rounds} interleaved round{'s' if num_rounds > 1 else ''}"
    return (
        "MB of UTF-8 text over wall time; a fresh process with its start-up, unless it says otherwise; "
        f"{rounds}, caches {one['caches']}, {one['cores']} cores of {one['cpu']}, {one['date']}. "
        f"Python {one['python']}, {listed}."
    )


if __name__ == "__main__":
    main()
