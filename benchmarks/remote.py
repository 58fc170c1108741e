"""Take the records of remote reading: the same build from local files and from a bucket that answers late.

    python benchmarks/remote.py --data DIR [--sizes 200MB,1GB] [--latency-ms 20] [--rounds 3] [--records FILE]

The bucket is a loopback S3 server, a process of its own on the same cores, that waits before each answer. Everyone in
turn, round after round, each in a fresh process. Round 0 watches the memory; its times do not count.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import remote_table
from contestants import HERE, MIXER, RECIPE, ROOT
from process import run_process
from run import describe_machine, num_bytes

sys.path.insert(0, str(ROOT / "tests"))
from servers import Faults, Server, aws_environment, serve_bucket

from mixer.recipe import load_recipe

_BUCKET = "corpus"
# The peer's text: so much of the mix, in parquet with nothing but text.
_MOST_PEER_BYTES = 60_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Folders of one run, and the settings of every build in it."""

    data: Path
    # Rows of a build by the size of its text.
    rows: Mapping[str, int]
    shares: Mapping[str, float]
    peer_bytes: int

    @property
    def buckets(self) -> Path:
        return self.data / "buckets"

    @property
    def scratch(self) -> Path:
        """What a run makes; empty at the start of each."""
        return self.data / "scratch"


def main(argv: list[str] | None = None) -> None:
    """Measure everyone; one JSON line a run goes to the records."""
    options = _options(argv)
    bench = prepare(options.data.resolve(), options.sizes.split(","))
    path = options.records or HERE / "records" / f"remote-{datetime.datetime.now():%Y-%m-%d-%H%M}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    records = []
    with serve_bucket(bench.buckets) as server, path.open("w") as file:
        server.set_faults(Faults(latency_seconds=options.latency_ms / 1000))
        for number in range(options.rounds + 1):
            for record in measure(bench, server, watch_memory=number == 0):
                named = {"round": number, "latency_ms": options.latency_ms}
                records.append(named | record | describe_machine())
                print(json.dumps(records[-1]), file=file, flush=True)
                print(f"round {number}: {_words(record)}", file=sys.stderr)
    print(remote_table.render(records) if options.rounds else "", file=sys.stderr)
    print(path)


def prepare(data: Path, sizes: list[str]) -> Bench:
    """Make the sample, which is the bucket's content, and the peer's text beside it.

    The sample is of the smallest size: larger builds read it several times, each time from the bucket.
    """
    size = min(map(num_bytes, sizes))
    bucket = data / "buckets" / _BUCKET
    sample = [*MIXER, "sample", str(bucket / "sample"), "--size", str(size)]
    subprocess.run(sample, env=_environment({}), check=True, stdout=subprocess.DEVNULL)
    # The recipe's paths start beside the sample.
    root = bucket / "recipes"
    root.mkdir(exist_ok=True)
    command = [sys.executable, str(HERE / "prepare.py"), str(RECIPE), str(root), str(bucket / "text")]
    command.append(f"sources={min(size, _MOST_PEER_BYTES)}")
    found = json.loads(subprocess.run(command, env=_environment({}), check=True, stdout=subprocess.PIPE).stdout)
    rows = {name: round(num_bytes(name) / found["row_bytes"]) for name in sizes}
    return Bench(data=data, rows=rows, shares=found["shares"], peer_bytes=min(size, _MOST_PEER_BYTES))


def measure(bench: Bench, server: Server, *, watch_memory: bool) -> Iterator[dict[str, Any]]:
    """One round: builds that know the rows of every file, builds that know nothing, and the stream of `datasets`."""
    known = bench.data / "cache"
    places = [(size, place) for size in bench.rows for place in ("local", "bucket")]
    for size, place in places:
        for name, cache in ((f"mixer-{place}", known), (f"mixer-{place}-first", bench.scratch / "cache")):
            record = _run(bench, server, _mixer(bench, size, place, cache), watch_memory=watch_memory)
            manifest = json.loads((bench.scratch / "out" / "manifest.json").read_bytes())
            log = json.loads((bench.scratch / "out" / "build-log.json").read_bytes())
            stages = {stage: round(seconds, 3) for stage, seconds in log["step_seconds"].items()}
            record |= {"traffic": log["traffic"], "plan_seconds": round(log["plan_seconds"], 3)}
            record |= {"stage_seconds": stages, "versions": log["versions"] | {"obstore": version("obstore")}}
            yield {"contestant": name, "size": size} | _speed(record, manifest["totals"]["text_bytes"])
    mix = [f"{name}={share}" for name, share in bench.shares.items()]
    text = f"s3://{_BUCKET}/text/sources-{bench.peer_bytes}"
    peer = [sys.executable, str(HERE / "peers" / "stream_datasets.py"), text, *mix]
    record = _run(bench, server, peer, watch_memory=watch_memory)
    said = json.loads(record.pop("stdout").splitlines()[-1])
    yield (
        {"contestant": "datasets-stream", "size": next(iter(bench.rows))}
        | _speed(record, said["text_bytes"])
        | {"versions": said["versions"]}
    )


def _mixer(bench: Bench, size: str, place: str, cache: Path) -> list[str]:
    """A build whose blocks are not in any cache. `cache` has what is known of files, and the tokenizer."""
    bucket = bench.buckets / _BUCKET
    command = [*MIXER, "build", str(RECIPE), "--quiet", "--json", "--root", str(bucket / "recipes")]
    command += ["-o", str(bench.scratch / "out"), "--manifests", str(bench.scratch / "manifests")]
    command += ["--cache", str(cache)]
    settings = [f"target.rows={bench.rows[size]}", f"cache.dir={bench.scratch / 'blocks'}"]
    if place == "bucket":
        for name, source in load_recipe(RECIPE, []).sources.items():
            paths = [path.replace("..", f"s3://{_BUCKET}", 1) for path in source.path]
            settings.append(f"sources.{name}.path={json.dumps(paths)}")
    return [*command, *(part for setting in settings for part in ("--set", setting))]


def _run(bench: Bench, server: Server, command: list[str], *, watch_memory: bool) -> dict[str, Any]:
    """Seconds, memory and output of one process, and the requests that it made."""
    shutil.rmtree(bench.scratch, ignore_errors=True)
    bench.scratch.mkdir(parents=True)
    os.sync()  # or it would pay for what the one before it wrote
    server.forget()
    done = run_process(command, environment=_environment(aws_environment(server)), watch_memory=watch_memory)
    requests = server.requests()
    return {
        "seconds": round(done.seconds, 4),
        "peak_bytes": done.peak_bytes,
        "requests": len(requests),
        "sent_bytes": sum(request.num_bytes for request in requests),
        "stdout": done.stdout,
    }


def _speed(record: dict[str, Any], text_bytes: int) -> dict[str, Any]:
    record.pop("stdout", None)
    return record | {"text_bytes": text_bytes, "mb_per_s": round(text_bytes / record["seconds"] / 1e6, 2)}


def _words(record: dict[str, Any]) -> str:
    speed = f"{record['size']}: {record['seconds']:.2f} s, {record['mb_per_s']} MB/s"
    return f"{record['contestant']}: {speed}, {record['requests']} requests"


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    """This environment, with this checkout's mixer first and the hub out of reach."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPATH": path, "HF_HUB_OFFLINE": "1", **extra}


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Take the records of remote reading.")
    parser.add_argument("--data", type=Path, required=True, help="a folder for the sample and the builds")
    parser.add_argument("--sizes", default="200MB,1GB", help="text of the builds; the sample has the least of them")
    parser.add_argument("--latency-ms", type=float, default=20, help="what the server waits before each answer")
    parser.add_argument("--rounds", type=int, default=3, help="rounds whose times count")
    parser.add_argument("--records", type=Path, help="where to write; default: a new file in benchmarks/records")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
