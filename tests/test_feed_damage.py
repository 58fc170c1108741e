"""Damaged shards: whatever is in the file, the feed gives values or an IntegrityError, and nothing else."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import mixer.feed
from mixer.errors import IntegrityError
from mixer.shards.manifest import load_manifest, manifest_json, parse_manifest
from mixer.shards.records import Manifest

REPOSITORY = Path(__file__).parents[1]
# Reads a build in every way, in a child for each mutant of one shard, with little memory and little time. Prints what
# the children ended with: "values" of some kind, "refused", or whatever else happened.
READ_MUTANTS = """
import json, os, resource, signal, sys, traceback
from pathlib import Path
import mixer.feed
from mixer.errors import IntegrityError
from mixer.feed.trace import trace_row

def read(sequences, shard):
    first, stop = (int(sequences.shard_sequences[:shard + more].sum()) for more in (0, 1))
    refused = 0
    def whole():
        batch = sequences[first:stop]
        return [batch.labels(), batch.labels(across_documents=False), batch.cu_seqlens(), batch.position_ids(),
                batch.segment_ids(), batch.max_seqlen()]
    ways = [lambda: sequences.ids(slice(first, stop)), lambda: sequences.ids(stop - 1).sum(), whole,
            lambda: sequences[stop - 1].labels(),
            lambda: trace_row(sequences, mixer.feed.Cursor.start(sequences).order(sequences),
                              source=traced[0], row=traced[1], epochs=1)]
    for way in ways:
        try:
            way()
        except IntegrityError as error:
            refused += sequences.manifest.shards[shard].path in str(error)
    return refused, len(ways)

build, shard, verify, mutants = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], Path(sys.argv[4])
sequences = mixer.feed.open(build, verify=verify)
path = build / sequences.manifest.shards[shard].path
segment = sequences[int(sequences.shard_sequences[:shard].sum())]
traced = sequences.manifest.source_names[segment.source[0]], int(segment.row[0])
sequences.close()
ends = []
for mutant in sorted(mutants.iterdir()):
    os.replace(mutant, path)
    inside, outside = os.pipe()
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
        signal.alarm(20)
        try:
            refused, ways = read(sequences, shard)
            end = "refused" if refused == ways else "values"
        except BaseException as error:
            end = "".join(traceback.format_exception(error))[-1500:]
        os.write(outside, end.encode())
        os._exit(0)
    os.close(outside)
    status = os.waitpid(child, 0)[1]
    end = os.read(inside, 4000).decode()
    os.close(inside)
    ends.append([mutant.name, end if status == 0 else f"status {status}"])
print(json.dumps(ends))
"""


def mutant_of(data: bytes, number: int) -> bytes:
    """The file with one keyed damage; its length stays, but for every twentieth."""
    chance = random.Random(number)
    damaged = bytearray(data)
    place = chance.randrange(len(data))
    word = place // 8 * 8
    match number % 5:
        case 0:
            damaged[place] ^= 1 << chance.randrange(8)
        case 1:
            damaged[place] = chance.choice([0, 1, 0x7F, 0x80, 0xFF])
        case 2:
            size = chance.choice([4, 8])
            value = chance.choice([0, 1, -1, 2**31 - 1, -(2**31), 2**30, chance.getrandbits(31)])
            damaged[word : word + size] = value.to_bytes(size, "little", signed=True)
        case 3:
            length = chance.choice([8, 64, 512])
            damaged[word : word + length] = bytes(length)
        case 4:
            other = chance.randrange(len(data)) // 8 * 8
            damaged[word : word + 64] = data[other : other + 64]
    if number % 20 == 19:
        return bytes(damaged[:place])
    return bytes(damaged[: len(data)]).ljust(len(data), b"\0")


def ends_of_mutants(out: Path, tmp_path: Path, verify: str, num_mutants: int, shard: int = 7) -> dict[str, str]:
    """What reading the build ended with for each mutant of its last shard."""
    data = (out / load_manifest(out).shards[shard].path).read_bytes()
    mutants = tmp_path / "mutants"
    mutants.mkdir()
    for number in range(num_mutants):
        damaged = mutant_of(data, number)
        if damaged != data:
            (mutants / f"{number:04d}").write_bytes(damaged)
    command = [sys.executable, "-c", READ_MUTANTS, str(out), str(shard), verify, str(mutants)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stderr[-3000:]
    ends = dict(json.loads(done.stdout))
    assert len(ends) > num_mutants * 3 // 4
    return ends


def test_damage_without_a_digest_gives_values_or_is_refused(copy_of_finished: Path, tmp_path: Path) -> None:
    """Hundreds of keyed damages, read in every way: no crash, no hang, no other error."""
    ends = ends_of_mutants(copy_of_finished, tmp_path, "nothing", 300)
    assert {name: end for name, end in ends.items() if end not in ("values", "refused")} == {}
    assert min(Counter(ends.values()).values()) > 20  # both happen


def test_damage_with_a_digest_is_always_refused(copy_of_finished: Path, tmp_path: Path) -> None:
    """Every way of reading the shard names it."""
    ends = ends_of_mutants(copy_of_finished, tmp_path, "digest", 60)
    assert set(ends.values()) == {"refused"}


def test_a_shard_is_digested_again_after_close(copy_of_finished: Path) -> None:
    """What was right before may have been replaced since."""
    sequences = mixer.feed.open(copy_of_finished, verify="digest")
    before = sequences.ids(0).tolist()
    sequences.close()
    path = copy_of_finished / sequences.manifest.shards[0].path
    damaged = bytearray(path.read_bytes())
    place = damaged.index(sequences.ids(0).tobytes())
    sequences.close()
    damaged[place] ^= 1
    path.write_bytes(damaged)
    for _ in range(2):  # a shard that was refused is not taken for checked
        with pytest.raises(IntegrityError, match=r"00000\.arrow: its digest is"):
            sequences.ids(0)
    damaged[place] ^= 1
    path.write_bytes(damaged)
    assert sequences.ids(0).tolist() == before


def test_a_damaged_batch_names_itself_and_others_are_read(copy_of_finished: Path) -> None:
    """A border of the second record batch: its ids can be read, its runs are refused with place and cause."""
    sequences = mixer.feed.open(copy_of_finished)
    step = sequences.manifest.sequence.batch_sequences
    path = copy_of_finished / sequences.manifest.shards[0].path
    stops = sequences[step : 2 * step].run_stops
    borders = b"".join(
        int(border).to_bytes(4, "little") for stop in stops.tolist() for border in ([stop, 0] if stop == 64 else [stop])
    )
    data = path.read_bytes()
    assert data.count(borders[:-4]) == 1
    place = data.index(borders[:-4])
    path.write_bytes(data[:place] + (65).to_bytes(4, "little") + data[place + 4 :])
    sequences = mixer.feed.open(copy_of_finished)
    sequences[step - 1].labels()
    assert sequences.ids(step).shape == (64,)
    with pytest.raises(IntegrityError, match=r"00000\.arrow: record batch 1: cu_seqlens do not") as refused:
        sequences[step]
    assert refused.value.hint is not None


def test_a_deleted_shard_says_so(copy_of_finished: Path) -> None:
    """Reading from it is refused, whatever is checked; other shards are read."""
    manifest = with_deleted(load_manifest(copy_of_finished), 1)
    (copy_of_finished / manifest.shards[1].path).unlink()
    (copy_of_finished / "manifest.json").write_text(json.dumps(manifest_json(manifest)))
    for verify in ("nothing", "size", "digest"):
        sequences = mixer.feed.open(copy_of_finished, verify=verify)  # type: ignore[arg-type]
        sequences[0]
        with pytest.raises(IntegrityError, match=r"00001\.arrow: the shard was deleted"):
            sequences[int(sequences.shard_sequences[0])]


def with_deleted(manifest: Manifest, shard: int) -> Manifest:
    """The manifest after one of its shards was deleted: its id does not change."""
    value: dict[str, Any] = json.loads(json.dumps(manifest_json(manifest)))
    value["shards"][shard]["file"]["state"] = "deleted"
    return parse_manifest(value, where="test")
