"""Take the records of the speed table: everyone in turn, round after round, each in a fresh process.

    python benchmarks/run.py --data DIR [--sizes 200MB,1GB] [--part 60MB] [--rounds 3] [--records FILE]
    python benchmarks/run.py --data DIR --quick

Round 0 fills the caches and watches the memory; its times do not count. The later rounds are for the clock alone.
`--quick` is one round on 5 MB that does both: it shows that everything runs, not how fast.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from contestants import HERE, MIXER, RECIPE, ROOT, Bench, Contestant, contestants
from process import run_process

_UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9}


def main(argv: list[str] | None = None) -> None:
    """Measure everyone; one JSON line a figure goes to the records."""
    options = _options(argv)
    if options.quick:
        options.sizes, options.part, rounds = "5MB", "1MB", [1]
    else:
        rounds = list(range(options.rounds + 1))
    sizes = {size: num_bytes(size) for size in options.sizes.split(",")}
    bench = Bench(data=options.data.resolve(), sizes=sizes, part=(options.part, num_bytes(options.part)))
    path = options.records or HERE / "records" / f"{datetime.datetime.now():%Y-%m-%d-%H%M}.jsonl"
    found = prepare(bench)
    everyone = contestants(bench, found["row_bytes"], found["text_bytes"], found["shares"])
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        for number in rounds:
            for contestant in everyone:
                for record in measure(bench, contestant, watch_memory=number == rounds[0]):
                    line = json.dumps({"round": number, **record, **describe_machine()})
                    print(line, file=file, flush=True)
                    print(f"round {number}: {_words(record)}", file=sys.stderr)
    print(path)


def num_bytes(size: str) -> int:
    """`200MB` -> 200_000_000."""
    return int(size[:-2]) * _UNITS[size[-2:]]


def prepare(bench: Bench) -> dict[str, Any]:
    """Make the sample and the peers' texts; what `prepare.py` found."""
    bench.root.mkdir(parents=True, exist_ok=True)
    sample = [*MIXER, "sample", str(bench.data / "sample"), "--size", str(min(bench.sizes.values()))]
    subprocess.run(sample, env=_environment(), check=True, stdout=subprocess.DEVNULL)
    command = [sys.executable, str(HERE / "prepare.py"), str(RECIPE), str(bench.root), str(bench.text), *bench.forms()]
    return json.loads(subprocess.run(command, env=_environment(), check=True, stdout=subprocess.PIPE).stdout)


def measure(bench: Bench, contestant: Contestant, *, watch_memory: bool) -> Iterator[dict[str, Any]]:
    """The records of one contestant in one round: the whole process, then the figures taken inside it."""
    names = {"contestant": contestant.name, "size": contestant.size}
    if contestant.missing:
        yield names | {"absent": f"{', '.join(contestant.missing)} not installed"}
        return
    shutil.rmtree(bench.scratch, ignore_errors=True)
    bench.scratch.mkdir()
    os.sync()  # or it would pay for what the one before it wrote
    done = run_process(contestant.command, environment=_environment(), watch_memory=watch_memory)
    report = contestant.report(done.stdout)
    versions = {"versions": dict(report.versions)}
    yield (
        names
        | _speed(done.seconds, report.text_bytes)
        | {"peak_bytes": done.peak_bytes}
        | versions
        | dict(report.extra)
    )
    for figure, (seconds, text_bytes) in report.inside.items():
        inside = {"contestant": f"{contestant.name}-{figure}", "size": contestant.size}
        yield inside | _speed(seconds, text_bytes) | {"peak_bytes": None} | versions
    shutil.rmtree(bench.scratch)


def describe_machine() -> dict[str, Any]:
    """What a reader needs to compare; no name and no path of the machine."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    return {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "caches": "warm",
        "date": datetime.date.today().isoformat(),
    }


def _speed(seconds: float, text_bytes: int) -> dict[str, Any]:
    speed = round(text_bytes / seconds / 1e6, 2) if text_bytes else None
    return {"seconds": round(seconds, 4), "text_bytes": text_bytes, "mb_per_s": speed}


def _words(record: dict[str, Any]) -> str:
    name = f"{record['contestant']} {record['size']}"
    if "absent" in record:
        return f"{name}: {record['absent']}"
    speed = f", {record['mb_per_s']} MB/s" if record["mb_per_s"] else ""
    return f"{name}: {record['seconds']:.2f} s{speed}"


def _environment() -> dict[str, str]:
    """This environment, with this checkout's mixer first, compiled modules kept and the hub out of reach."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPATH": path, "HF_HUB_OFFLINE": "1"}


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Take the records of the speed table.")
    parser.add_argument("--data", type=Path, required=True, help="a folder for the sample, the texts and the builds")
    parser.add_argument("--sizes", default="200MB,1GB", help="texts of mixer, of the limit and of Megatron's way")
    parser.add_argument("--part", default="60MB", help="text of the slow ones: datatrove and the ancestor")
    parser.add_argument("--rounds", type=int, default=3, help="rounds whose times count")
    parser.add_argument("--records", type=Path, help="where to write; default: a new file in benchmarks/records")
    parser.add_argument("--quick", action="store_true", help="one round on 5 MB, to see that everything runs")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
