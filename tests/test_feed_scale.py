"""What opening and ordering cost at the size of a real run: 10,000 shards, 700 million sequences.

Times are of the processor, so that other work on the machine does not count: nothing here waits for a disk.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mixer.shards.manifest import load_manifest, prefix_of, publish_manifest
from mixer.shards.records import SourceCounts, StageCounts, Totals

REPOSITORY = Path(__file__).parents[1]
NUM_SHARDS = 10_000
NUM_SEQUENCES = 700_000_000
MEMORY_BYTES = 200_000_000
COMMON = """
import json, os, sys, time
from pathlib import Path
import numpy as np
import mixer.feed
from mixer.feed.cursor import Cursor
from mixer.feed.order import Order

def status(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(field + ":"))
"""


def in_a_fresh_process(code: str, *arguments: str) -> dict[str, Any]:
    """What a script prints as JSON; a warning of its own is an error."""
    command = [sys.executable, "-W", "error", "-c", COMMON + code, *arguments]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def many_shards(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build of 10,000 shards: those of the finished one, over and over, and a manifest that says so."""
    out = tmp_path_factory.mktemp("many") / "out"
    (out / "shards").mkdir(parents=True)
    manifest = load_manifest(finished)
    found = manifest.shards
    stage, step = manifest.stages[0], manifest.stages[0].draws_per_task
    entries = []
    for number in range(NUM_SHARDS):
        entry = found[number % (len(found) - 1)]  # all but the last are of whole tasks
        entries.append(replace(entry, task=number, draws=(number * step, (number + 1) * step)))
        os.link(finished / entry.path, out / entries[-1].path)
    sums = {key: sum(getattr(shard, key) for shard in entries) for key in ("sequences", "tokens", "padding")}
    # What came of each source is set so that it agrees with the draws; nothing of it is read here.
    draws = NUM_SHARDS * step
    rows = [source.weight * draws // stage.period_draws for source in stage.sources]
    left = sorted(range(len(rows)), key=lambda n: -(stage.sources[n].weight * draws % stage.period_draws))
    for number in left[: draws - sum(rows)]:
        rows[number] += 1
    tokens = [0] * len(rows)
    tokens[0] = sums["tokens"]
    counts = [
        SourceCounts(rows=some, documents=some, skipped={}, tokens=part)
        for some, part in zip(rows, tokens, strict=True)
    ]
    made = StageCounts(stage=0, tasks=(0, NUM_SHARDS), draws=(0, draws), sources=tuple(counts))
    totals = Totals(draws=draws, documents=draws, text_bytes=0, tokens_left_out=0, truncated_documents=0, **sums)
    changed = replace(manifest, shards=tuple(entries), cuts=(), counts=(made,), totals=totals)
    publish_manifest(out, replace(changed, prefix_id=prefix_of(changed)))
    return out


@pytest.mark.slow
def test_ten_thousand_shards_give_their_first_batch_within_a_second(many_shards: Path) -> None:
    """In a fresh process: imports, the manifest with its checks, the order, eight sequences and their labels."""
    code = """
sequences = mixer.feed.open(sys.argv[1])
order = Cursor.start(sequences).order(sequences)
batch = sequences[order.sequences(0, np.arange(8))]
shape = batch.labels().shape
print(json.dumps({"seconds": time.process_time(), "shards": len(sequences.shard_sequences), "shape": shape}))
"""
    tries = [in_a_fresh_process(code, str(many_shards)) for _ in range(3)]
    assert [(one["shards"], one["shape"]) for one in tries] == [(NUM_SHARDS, [8, 64])] * 3
    assert min(one["seconds"] for one in tries) < 1


@pytest.mark.slow
def test_reading_from_all_shards_keeps_few_files_and_little_memory(many_shards: Path) -> None:
    """A process that may have 1024 files open reads from 10,000 shards, and keeps only the last of them."""
    code = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))
sequences = mixer.feed.open(sys.argv[1])
last = np.cumsum(sequences.shard_sequences) - 1
for some in np.split(last, len(last) // 8):
    sequences[some].labels()
maps = Path("/proc/self/maps").read_text().count(".arrow")
files = len(os.listdir("/proc/self/fd"))
print(json.dumps({"bytes": status("RssAnon"), "maps": maps, "files": files}))
"""
    found = in_a_fresh_process(code, str(many_shards))
    assert found["files"] < 1024
    assert found["maps"] < NUM_SHARDS
    assert found["bytes"] < MEMORY_BYTES


def test_the_order_of_700_million_sequences_takes_no_memory_and_no_time() -> None:
    """A million random positions a second or better, and under 200 MB, imports and the positions included."""
    code = """
shards = np.full(int(sys.argv[1]) // 8000, 8000)
order = Order(shards, seed=1)
positions = np.random.default_rng(0).integers(0, order.num_sequences, 2_000_000)
seconds = []
for some in np.split(positions, 20):
    started = time.process_time()
    numbers = order.sequences(3, some)
    seconds.append(time.process_time() - started)
    back = order.positions(3, numbers)
    assert (back == some).all()
print(json.dumps({"rate": 100_000 / sorted(seconds)[10], "bytes": status("VmHWM"), "count": order.num_sequences}))
"""
    found = in_a_fresh_process(code, str(NUM_SEQUENCES))
    assert found["count"] == NUM_SEQUENCES
    assert found["rate"] > 1_000_000
    assert found["bytes"] < MEMORY_BYTES


@pytest.mark.slow
@pytest.mark.parametrize("shuffle_shards", [None, 64])
def test_a_run_over_700_million_sequences_steps_at_a_million_a_second(shuffle_shards: int | None) -> None:
    """From the middle of an epoch, one rank of 64, as a loader asks; with a shuffle_shards of shards and without."""
    code = """
from mixer.feed.epochs import Epochs
from mixer.feed.steps import Steps
shards = np.full(int(sys.argv[1]) // 8000, 8000)
order = Order(shards, seed=1, shuffle_shards=json.loads(sys.argv[2]))
epochs = Epochs(num_sequences=order.num_sequences)
group = order.shuffle_shards
cursor = Cursor(manifest="no build", seed=1, shuffle_shards=group, epochs=epochs, epoch=2, consumed=350_000_000)
numbers = Steps(batch_size=8, rank=3, world=64).iter_numbers(order, cursor)
next(numbers)
rates = []
for _ in range(5):
    started = time.process_time()
    steps = [next(numbers) for _ in range(10_000)]
    rates.append(80_000 / (time.process_time() - started))
inside = all(((step >= 0) & (step < order.num_sequences)).all() for step in steps)
print(json.dumps({"rate": sorted(rates)[2], "bytes": status("VmHWM"), "inside": inside}))
"""
    found = in_a_fresh_process(code, str(NUM_SEQUENCES), json.dumps(shuffle_shards))
    assert found["inside"]
    assert found["rate"] > 1_000_000
    assert found["bytes"] < MEMORY_BYTES
