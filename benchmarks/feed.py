"""Take the records of the reading table: everyone reads the same sequences, each in a fresh process, round after round.

    python benchmarks/feed.py [--tokens 200M] [--rounds 3] [--data DIR] [--records FILE] [--python litdata=PATH]
    python benchmarks/feed.py --quick

All files are brought into the page cache in the same way. Round 0 proves that everyone gives each sequence once,
shuffled; its times do not count. The later rounds are for the clock alone. `--quick` is these two rounds on a million
tokens: it shows that everything runs.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from contestants import MIXER, RECIPE, ROOT
from feed_contestants import BUILD, HERE, PEERS, READERS, WRITTEN, FeedBench, Form, Reader
from process import run_process
from run import describe_machine

_UNITS = {"M": 10**6, "B": 10**9}
_LENGTH = 8192
_READ_BYTES = 8 << 20
# As large builds have it.
_TASK_TOKENS = "64Mi"
# Whole batches of 8 in all sequences and in a tenth of them, so that nobody has a last batch to drop.
_MULTIPLE = 80


def main(argv: list[str] | None = None) -> None:
    """Measure everyone; one JSON line a reading goes to the records."""
    bench, num_rounds, path = _options(argv)
    expected = prepare(bench)
    absent = {form: why for form in (BUILD, *WRITTEN) if (why := missing(bench, form))}
    for form in WRITTEN:
        if form not in absent:
            write(bench, form, expected["length"])
    for form in (BUILD, *WRITTEN):
        read_in(bench.folder(form))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        for number in range(num_rounds + 1):
            for reader in READERS:
                if reader.form in absent:
                    record = {"contestant": reader.name, "absent": absent[reader.form]}
                else:
                    proof = expected["proofs"]["part" if reader.form.part else "all"] if number == 0 else None
                    record = measure(bench, reader, proof)
                print(json.dumps({"round": number, **record, **describe_machine()}), file=file, flush=True)
                said = record.get("absent") or f"{record['mtok_per_s']:,.1f} million tokens/s"
                print(f"round {number}: {reader.name}: {said}", file=sys.stderr)
    shutil.rmtree(bench.forms)
    print(path)


def prepare(bench: FeedBench) -> dict[str, Any]:
    """Make the sample and the build, and the bare sequences; their length, and the proof of each file."""
    sample, root = bench.data / "sample", bench.data / "recipes"
    root.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(bench.forms, ignore_errors=True)
    bench.forms.mkdir()
    _call([*MIXER, "sample", str(sample), "--size", bench.text])
    command = [*MIXER, "build", str(RECIPE), "--quiet", "--root", str(root), "-o", str(bench.folder(BUILD))]
    command += ["--cache", str(bench.data / "cache"), "--manifests", str(bench.data / "manifests")]
    for override in (f"target.sequences={bench.num_sequences}", f"task_tokens={_TASK_TOKENS}"):
        command += ["--set", override]
    _call(command)
    script, bare = str(PEERS / "feed_sequences.py"), bench.forms / "bare"
    return json.loads(_call([bench.python, script, str(bench.folder(BUILD)), str(bare), str(bench.num_part)]))


def missing(bench: FeedBench, form: Form) -> str | None:
    """Which module a form's script lacks; None where there is none.

    Raises:
        RuntimeError: the script does not start for another reason.
    """
    try:
        _call([bench.interpreter(form), str(PEERS / form.script), "--help"], _environment(bench))
    except RuntimeError as error:
        last = str(error).splitlines()[-1]
        if not last.startswith("ModuleNotFoundError"):
            raise
        return last
    return None


def write(bench: FeedBench, form: Form, length: int) -> None:
    """Have a library write its form of the bare sequences."""
    bare = bench.forms / "bare" / ("part.bin" if form.part else "all.bin")
    verb = ["write", str(bare), str(length), str(bench.folder(form))]
    _call([bench.interpreter(form), str(PEERS / form.script), *verb], _environment(bench))


def read_in(folder: Path) -> None:
    """Have the page cache hold a folder's files, each as one reading from front to back brings it in.

    How a file came in decides whether it can be mapped in large pages, which is worth a factor of up to three: a file
    that was just written in small pieces is slow, whoever reads it.
    """
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        file = os.open(path, os.O_RDONLY)
        os.fsync(file)  # what is not on disk yet cannot be dropped
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        while os.read(file, _READ_BYTES):
            pass
        os.close(file)


def measure(bench: FeedBench, reader: Reader, proof: dict[str, Any] | None) -> dict[str, Any]:
    """The record of one reading.

    Args:
        bench: what there is to read.
        reader: who reads.
        proof: of the sequences as they were written; None: the reading is for the clock.

    Raises:
        RuntimeError: it did not give each sequence once, or gave them in the order in which they are stored.
    """
    command = reader.command(bench.interpreter(reader.form), bench.folder(reader.form), prove=proof is not None)
    done = run_process(command, environment=_environment(bench), watch_memory=False)
    said = json.loads(done.stdout.splitlines()[-1])
    found = said.pop("proof")
    if proof is not None:
        check_proof(reader.name, found, proof)
        found.pop("order")
    num_sequences = bench.num_part if reader.form.part else bench.num_sequences
    if said["num_sequences"] != num_sequences:
        raise RuntimeError(f"{reader.name} gave {said['num_sequences']:,} of {num_sequences:,} sequences")
    rounded = {key: round(said[key], 5) for key in ("seconds", "first_batch_seconds")}
    speed = round(said["num_tokens"] / said["seconds"] / 1e6, 2)
    return {"contestant": reader.name, "mtok_per_s": speed, **said, **rounded} | ({"proof": found} if found else {})


def check_proof(name: str, found: dict[str, Any], stored: dict[str, Any]) -> None:
    """Hold what was read against what was written.

    Raises:
        RuntimeError: other sequences, one missing or twice, or the order in which they are stored.
    """
    for key in ("sum_of_ids", "sequences"):
        if found[key] != stored[key]:
            raise RuntimeError(f"{name} did not give each sequence once: {key} is {found[key]}, not {stored[key]}")
    if found["order"] == stored["order"]:
        raise RuntimeError(f"{name} gave the sequences in the order in which they are stored")


def _call(command: list[str], environment: dict[str, str] | None = None) -> str:
    """Run something that is not measured; its stdout.

    Raises:
        RuntimeError: it failed; with the end of what it wrote to stderr.
    """
    environment = environment or {**os.environ, "PYTHONPATH": str(ROOT)}
    return run_process(command, environment=environment, watch_memory=False).stdout


def _environment(bench: FeedBench) -> dict[str, str]:
    """This environment with this checkout's mixer, the hub out of reach, and caches in the bench's folder."""
    caches = {name: str(bench.data / "cache" / name) for name in ("HF_HOME", "LITDATA_CACHE_DIR")}
    caches |= {
        name: str(bench.forms / name) for name in ("DATA_OPTIMIZER_CACHE_FOLDER", "DATA_OPTIMIZER_DATA_CACHE_FOLDER")
    }
    return {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", **caches}


def _options(argv: list[str] | None) -> tuple[FeedBench, int, Path]:
    """The bench, its rounds, and where the records go."""
    parser = argparse.ArgumentParser(description="Take the records of the reading table.")
    parser.add_argument("--tokens", default="200M", help="how many tokens everyone reads; the slowest a tenth")
    parser.add_argument("--rounds", type=int, default=3, help="rounds whose times count")
    parser.add_argument("--data", type=Path, default=ROOT / "out" / "bench-feed", help="where everything is written")
    parser.add_argument("--records", type=Path, help="where to write; default: a new file in benchmarks/records")
    parser.add_argument("--python", action="append", default=[], metavar="FORM=PATH", help="an interpreter of its own")
    parser.add_argument("--quick", action="store_true", help="one round on a million tokens, to see that all runs")
    options = parser.parse_args(argv)
    tokens, text, num_rounds = ("1M", "5MB", 1) if options.quick else (options.tokens, "200MB", options.rounds)
    num_sequences = -(-num_tokens(tokens) // (_LENGTH * _MULTIPLE)) * _MULTIPLE
    pythons = dict(item.split("=", 1) for item in options.python)
    if unknown := pythons.keys() - {form.name for form in WRITTEN}:
        parser.error(f"--python {', '.join(unknown)}: the forms are {', '.join(form.name for form in WRITTEN)}")
    bench = FeedBench(
        data=options.data.resolve(), text=text, num_sequences=num_sequences, python=sys.executable, pythons=pythons
    )
    name = f"feed-{datetime.datetime.now():%Y-%m-%d-%H%M}.jsonl"
    return bench, num_rounds, options.records or HERE / "records" / name


def num_tokens(amount: str) -> int:
    """`200M` -> 200_000_000."""
    return int(amount[:-1]) * _UNITS[amount[-1]]


if __name__ == "__main__":
    main()
