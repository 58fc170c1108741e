"""How many blobs a second `mixer fetch stack-v2` gets from a bucket on loopback, server and client on the same cores.

    python benchmarks/fetch.py --data DIR [--files 40000] [--rounds 3] [--records FILE]

The bucket is the tests' own S3 server, in a process of its own; its blobs are the Python files of this installation,
and some of them twice where there are too few. Every round is a fresh process into an empty folder. `cpu_seconds` is
that of the client alone, `server_cpu_seconds` that of the server; `load` is how many processes wanted a core before.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(HERE)]

from run import describe_machine  # noqa: E402
from servers import Server, aws_environment, serve_bucket  # noqa: E402
from stack_kit import SourceFile, write_blobs, write_ids  # noqa: E402

_SMALLEST, _LARGEST = 200, 200_000
_MOST_FILES_OF_A_ROW = 29
_CONNECTIONS = (16, 64, 256)


def main() -> None:
    """Make the data, fetch them again and again; one JSON line a round goes to the records."""
    options = _options()
    data = options.data.resolve()
    facts = _prepare(data, options.files)
    path = options.records or HERE / "records" / f"fetch-{datetime.datetime.now():%Y-%m-%d-%H%M}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file, serve_bucket(data / "buckets") as server:
        for number in range(options.rounds + 1):
            for connections in _CONNECTIONS:
                record = {"round": number, **_measure(data, server, connections), **facts, **describe_machine()}
                print(json.dumps(record), file=file, flush=True)
                print(f"round {number}: {record['blobs_per_s']:,} blobs/s, {connections} connections", file=sys.stderr)
    print(path)


def _prepare(data: Path, num_files: int) -> dict[str, Any]:
    """Rows and blobs, unless they are there; sizes in bytes."""
    facts_path = data / "facts.json"
    if not facts_path.exists():
        chance = random.Random(1)
        files = list(_python_files())
        files = [files[number % len(files)] for number in range(num_files)]
        chance.shuffle(files)
        rows = []
        while files:
            count = chance.randint(1, _MOST_FILES_OF_A_ROW)
            rows.append(files[:count])
            files = files[count:]
        write_ids(data / "ids/train-00000-of-00001.parquet", rows)
        write_blobs(data / "buckets", rows)
        sizes = [path.stat().st_size for path in (data / "buckets/softwareheritage/content").iterdir()]
        facts = {"files": num_files, "rows": len(rows), "median_blob_bytes": int(statistics.median(sizes))}
        facts_path.write_text(json.dumps(facts))
    return json.loads(facts_path.read_text())


def _python_files() -> Iterator[SourceFile]:
    for path in sorted(Path(sysconfig.get_paths()["purelib"]).rglob("*.py")):
        content = path.read_bytes()
        if _SMALLEST <= len(content) <= _LARGEST:
            yield SourceFile(content=content, path=path.name)


def _measure(data: Path, server: Server, connections: int) -> dict[str, Any]:
    out = data / "out"
    shutil.rmtree(out, ignore_errors=True)
    os.sync()
    command = [sys.executable, "-m", "mixer.cli.main", "fetch", "stack-v2", str(data / "ids"), str(out)]
    command += ["--connections", str(connections), "--json", "--quiet"]
    environment = os.environ | aws_environment(server) | {"PYTHONPATH": str(ROOT)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # every process would compile mixer anew
    load, before, server_before = os.getloadavg()[0], _cpu_seconds(), _server_seconds(server)
    started = time.perf_counter()
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE)
    seconds = time.perf_counter() - started
    report = json.loads(done.stdout)
    num_files = report["totals"]["files_written"]
    return {
        "contestant": "mixer-fetch",
        "connections": connections,
        "seconds": round(seconds, 3),
        "blobs_per_s": round(num_files / seconds),
        "text_mb_per_s": round(report["totals"]["text_bytes"] / seconds / 1e6, 1),
        "cpu_seconds": round(_cpu_seconds() - before, 2),
        "server_cpu_seconds": round(_server_seconds(server) - server_before, 2),
        "load": round(load, 1),
        "versions": {name: version(name) for name in ("mixer-data", "obstore", "pyarrow")},
    }


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _server_seconds(server: Server) -> float:
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Blobs a second of `mixer fetch` over loopback.")
    parser.add_argument("--data", type=Path, required=True, help="a folder for blobs, rows and what is fetched")
    parser.add_argument("--files", type=int, default=40_000, help="blobs to fetch")
    parser.add_argument("--rounds", type=int, default=3, help="rounds whose times count; round 0 fills the caches")
    parser.add_argument("--records", type=Path, help="where to write; default: a new file in benchmarks/records")
    return parser.parse_args()


if __name__ == "__main__":
    main()
