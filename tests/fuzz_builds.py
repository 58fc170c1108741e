"""Damages of a small build, each by a key, and what every reader makes of them.

    python tests/fuzz_builds.py --mutants 5000        # `make fuzz`

A mutant is one damaged file of a build, or a damaged cursor. Each runs in a child process of its own with bounded
memory and time, through `verify`, `inspect`, `show`, `trace` and the feed. None may end in a crash, a hang, a
traceback, an exit code that means a bug, damage that `verify` accepts, or other data under `verify="digest"`.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MEMORY_BYTES = 2 << 30
"""What a child may take on top of what its parent has."""
SECONDS = 60
KINDS = ("shard", "shard", "shard", "manifest", "manifest", "record", "plan", "snapshot", "selection", "cursor", "odd")
NUMBERS = (0, 1, 2, 63, 64, 2**15, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**62, 2**63 - 1, 2**63, 10**30, -1, -100)
VALUES: tuple[Any, ...] = (None, True, "", "\ud800", 0.5, 1e308, [], {}, [[]], "shards/../../x", "x" * 300)

MAKE = """
import sys
from pathlib import Path
from workshop import Workshop, write_mixture

folder = Path(sys.argv[1])
bench = Workshop(root=write_mixture(folder / "data"), cache_dir=folder / "cache")
bench.build(folder / "build", bench.recipe(sequence={"packing": "best-fit" if len(sys.argv) > 2 else "concat"}))
"""


def make_build(folder: Path) -> Path:
    """A small build of six sources with several shards and record batches, made in a process of its own."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    subprocess.run([sys.executable, "-c", MAKE, str(folder)], env=environment, check=True)
    return folder / "build"


@dataclass(frozen=True)
class Mutant:
    """One damage: of a file, or of a cursor."""

    number: int
    kind: str
    words: str
    # What the damaged file is; None for a cursor.
    path: Path | None
    cursor: Any
    # Ids and digests were made to fit again: the data may be others then, but nothing may break.
    is_forged: bool = False
    # The file says something else than before.
    is_other: bool = True


def mutate(number: int, out: Path) -> Mutant:
    """Damage a copy of the build, by the mutant's number."""
    chance = random.Random(f"mutant {number}")
    kind = chance.choice(KINDS)
    cursor = {
        "version": 2,
        "order": "full",
        "manifest": "",
        "seed": 1,
        "shuffle_shards": None,
        "epoch": 0,
        "consumed": 5,
    }
    cursor["manifest"] = json.loads((out / "manifest.json").read_bytes())["id"]
    if kind == "cursor":
        words = damage_value(cursor, chance)
        return Mutant(number, kind, words, None, cursor)
    if kind == "odd":
        named = [path for path in out.rglob("*.json") if path.name not in ("build-log.json", "evidence.json")]
        path = chance.choice(sorted([*named, *out.glob("shards/*")]))
        return Mutant(number, kind, replace_oddly(path, chance), path, cursor)
    path = {
        "shard": lambda: chance.choice(sorted((out / "shards").iterdir())),
        "manifest": lambda: out / "manifest.json",
        "record": lambda: chance.choice(sorted((out / "tasks").iterdir())),
        "plan": lambda: out / "plan.json",
        "snapshot": lambda: chance.choice(sorted((out / "snapshots").iterdir())),
        "selection": lambda: chance.choice(sorted((out / "selections").iterdir())),
    }[kind]()
    if kind != "shard" and chance.random() < 0.7:
        value = json.loads(path.read_bytes())
        words = damage_value(value, chance)
        is_forged = chance.random() < 0.6 and forge(value, kind)
        before = path.read_bytes()
        path.write_bytes(json.dumps(value, ensure_ascii=False).encode(errors="surrogatepass"))
        is_other = says_other(before, path.read_bytes())
        return Mutant(number, kind, words, path, cursor, is_forged=is_forged, is_other=is_other)
    before = path.read_bytes()
    words = damage_bytes(path, chance)
    is_other = path.read_bytes() != before if kind == "shard" else says_other(before, path.read_bytes())
    return Mutant(number, kind, words, path, cursor, is_other=is_other)


def says_other(before: bytes, after: bytes) -> bool:
    """Whether a JSON file says something else than before, that ids and digests cover."""
    values = []
    for data in (before, after):
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            return True
        if isinstance(value, dict):
            value = {key: inner for key, inner in value.items() if key not in ("hints", "reference_check")}
        values.append(value)
    return json.dumps(values[0], sort_keys=True) != json.dumps(values[1], sort_keys=True)


def _cursor(build: Path) -> dict[str, Any]:
    """A cursor of a build, some steps after its beginning."""
    import mixer.feed

    return mixer.feed.Cursor.start(mixer.feed.open(build)).advance(5).state_dict()


def damage_bytes(path: Path, chance: random.Random) -> str:
    """Change some bytes of a file."""
    data = bytearray(path.read_bytes())
    way = chance.choice(("flip", "flip", "flip", "number", "number", "zero", "cut", "grow", "swap", "drop"))
    at = chance.randrange(len(data))
    if chance.random() < 0.4:  # where Arrow keeps its metadata
        at = (
            chance.randrange(max(0, len(data) - 2500), len(data))
            if chance.random() < 0.6
            else at % min(2000, len(data))
        )
    if way == "flip":
        data[at] ^= 1 << chance.randrange(8)
    elif way == "number":
        size = chance.choice((4, 8))
        at -= at % size
        data[at : at + size] = (chance.choice(NUMBERS) % (1 << 8 * size)).to_bytes(size, "little")
    elif way == "zero":
        stop = at + chance.choice((1, 16, 300))
        data[at:stop] = bytes(len(data[at:stop]))
    elif way == "cut":
        del data[at:]
    elif way == "grow":
        data += bytes(chance.randrange(256) for _ in range(chance.choice((1, 8, 500))))
    elif way == "swap":
        other, size = chance.randrange(len(data)), chance.choice((1, 8, 64))
        data[at : at + size], data[other : other + size] = data[other : other + size], data[at : at + size]
    else:
        del data[at : at + chance.choice((1, 8, 64))]
    path.write_bytes(data)
    return f"{way} at {at}"


def damage_value(value: Any, chance: random.Random) -> str:
    """Change one place of a JSON value, anywhere in it."""
    place, parts = value, []
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return "nothing"
        key = chance.choice(keys)
        parts.append(str(key))
        if isinstance(place[key], dict | list) and place[key] and chance.random() < 0.85:
            place = place[key]
            continue
        break
    way = chance.choice(("number", "number", "near", "near", "value", "delete", "double", "deep"))
    if way == "near" and isinstance(place[key], int):
        place[key] += chance.choice((-1, 1, 1000))
    elif way == "delete":
        del place[key]
    elif way == "double" and isinstance(place, list):
        place.insert(key, copy.deepcopy(place[key]))
    elif way == "deep":
        deep: Any = 0
        for _ in range(chance.choice((50, 900))):
            deep = [deep]
        place[key] = deep
    elif way == "value":
        place[key] = copy.deepcopy(chance.choice(VALUES))
    else:
        place[key] = chance.choice(NUMBERS)
    return f"{way} at {'.'.join(parts)}"


def forge(value: Any, kind: str) -> bool:
    """Make the id or digest fit the damaged value again, if that can be done."""
    from mixer.shards.ids import manifest_id, plan_id, record_digest

    makers: dict[str, tuple[str, Callable[[Any], str]]] = {
        "manifest": ("id", manifest_id),
        "plan": ("id", plan_id),
        "record": ("digest", record_digest),
    }
    if kind not in makers:
        return False
    key, maker = makers[kind]
    with contextlib.suppress(Exception):
        value[key] = maker(value)
        return True
    return False


def replace_oddly(path: Path, chance: random.Random) -> str:
    """Put something that is no regular file in a file's place."""
    path.unlink()
    way = chance.choice(("nothing", "fifo", "/dev/zero", "/dev/null", "folder", "empty", "loop"))
    if way == "fifo":
        os.mkfifo(path)
    elif way == "folder":
        path.mkdir()
    elif way == "empty":
        path.touch()
    elif way == "loop":
        path.symlink_to(path.name)
    elif way != "nothing":
        path.symlink_to(way)
    return f"{way} in the place of {path.name}"


class Readers:
    """All that read a build, in this process; the build as it should be is held beside.

    Args:
        build: the whole build.
    """

    def __init__(self, build: Path) -> None:
        import numpy as np
        import typer.main

        import mixer.feed
        from mixer.cli.main import app
        from mixer.tokens import tokenizer as tokenizer_module

        made = typer.main.get_command(app)  # two thirds of the time of a small command
        typer.main.get_command = lambda app: made  # type: ignore[assignment]
        loaded = tokenizer_module.load_tokenizer("llama3", root=Path(), cache_dir=build.parent / "cache")
        loaded.decode(np.array([1, 2]))  # the reference is loaded now, and not in each child
        tokenizer_module.load_tokenizer = lambda *_, **__: loaded  # type: ignore[assignment]
        sequences = mixer.feed.open(build)
        self.expected = sequences[:]
        sequences.close()
        # Everything is imported now, and not in each child; and the build itself is fine.
        whole = Mutant(-1, "none", "nothing", None, _cursor(build))
        if faults := self.faults(whole, build, lambda words: None):
            raise AssertionError(faults)

    def faults(self, mutant: Mutant, out: Path, at: Callable[[str], None]) -> list[str]:
        """What goes wrong; `at` is told which reader is at work."""
        found = []
        for words in (
            ["verify", "OUT"],
            ["inspect", "OUT"],
            ["inspect", "OUT", "--json"],
            ["show", "OUT", "--sequence", "3"],
            ["trace", "OUT", "--step", "2", "--batch", "3"],
            ["trace", "OUT", "--source", "edu", "--row", "5"],
        ):
            at(" ".join(words))
            code, errors = self.command([str(out) if word == "OUT" else word for word in words])
            if code not in (0, 1, 2) or "Traceback" in errors:
                found.append(f"{words}: exit code {code}: {errors[-1500:]}")
            if words[0] == "verify" and code == 0 and self.is_damage(mutant):
                found.append("verify accepts the damage")
        for verify in ("size", "digest"):
            at(f"feed, verify={verify}")
            found += self.feed_faults(mutant, out, verify)
        return found

    @staticmethod
    def is_damage(mutant: Mutant) -> bool:
        """Whether `verify` has to find it."""
        return mutant.path is not None and mutant.is_other and not mutant.is_forged

    @staticmethod
    def command(arguments: list[str]) -> tuple[int, str]:
        """Run the command line in this process."""
        from mixer.cli.main import run

        out, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
            try:
                code = run(arguments)
            except SystemExit as end:
                code = int(end.code or 0)
        return code, errors.getvalue()

    def feed_faults(self, mutant: Mutant, out: Path, verify: str) -> list[str]:
        """Read all of it through the feed: right, or refused by an error of mixer."""
        import numpy as np

        import mixer.feed
        from mixer.errors import MixerError
        from mixer.feed import Cursor

        try:
            sequences = mixer.feed.open(out, verify=verify)  # type: ignore[arg-type]
            for first in range(0, len(sequences), 64):
                batch = sequences[first : first + 64]
                batch.labels(across_documents=False), batch.cu_seqlens(), batch.position_ids(), batch.segment_ids()
                expected = self.expected.input_ids[first : first + 64]
                if verify == "digest" and not mutant.is_forged and not np.array_equal(batch.input_ids, expected):
                    return [f"feed, verify={verify}: other ids from sequence {first} on"]
            cursor = Cursor.start(sequences).resumed(mutant.cursor)
            cursor.order(sequences).sequences(cursor.epoch, np.arange(3))
            sequences.close()
        except MixerError:
            return []
        except Exception:
            return [f"feed, verify={verify}: {traceback.format_exc()}"]
        return []


def run_child(readers: Readers, build: Path, number: int) -> list[str]:
    """Damage a copy of the build and read it, in a forked child; what went wrong."""
    scratch = Path(tempfile.mkdtemp(prefix="fuzz-"))
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read_end)
        with contextlib.suppress(BaseException), os.fdopen(write_end, "w", errors="backslashreplace") as told:
            _child(readers, build, scratch / "out", number, told)
        os._exit(0)
    os.close(write_end)
    deadline, status = time.monotonic() + SECONDS, None
    with os.fdopen(read_end) as told:
        killer = _Killer(pid, deadline)
        said = told.read()
    killer.cancel()
    _, status = os.waitpid(pid, 0)
    shutil.rmtree(scratch, ignore_errors=True)
    lines = said.splitlines()
    if lines[-1:] == ["done"]:
        return [json.loads(line[6:]) for line in lines if line.startswith("fault ")]
    ended = f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"exit {os.WEXITSTATUS(status)}"
    return [f"{'took too long' if killer.fired else ended}; said: {lines[-3:]}"]


class _Killer:
    """Kills a child at a deadline."""

    def __init__(self, pid: int, deadline: float) -> None:
        import threading

        self.fired = False
        self._timer = threading.Timer(max(0.0, deadline - time.monotonic()), self._kill, (pid,))
        self._timer.daemon = True
        self._timer.start()

    def _kill(self, pid: int) -> None:
        self.fired = True
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def cancel(self) -> None:
        self._timer.cancel()


def _child(readers: Readers, build: Path, out: Path, number: int, told: Any) -> None:
    def say(words: str) -> None:
        told.write(words + "\n")
        told.flush()

    try:
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY_BYTES, size + MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        shutil.copytree(build, out)
        mutant = mutate(number, out)
        say(f"{mutant.kind}: {mutant.words}")
        for fault in readers.faults(mutant, out, say):
            say(f"fault {json.dumps(f'{mutant.kind}, {mutant.words}: {fault}')}")
        say("done")
    except BaseException:
        say("fault " + json.dumps(traceback.format_exc()))
        say("done")


def fuzz(numbers: range, folder: Path, jobs: int = 1) -> dict[int, list[str]]:
    """The mutants of some numbers that break something, and what."""
    build = make_build(folder)
    readers = Readers(build)
    if jobs == 1:
        results = [run_child(readers, build, number) for number in numbers]
    else:
        with ThreadPoolExecutor(jobs) as pool:
            results = list(pool.map(lambda number: run_child(readers, build, number), numbers))
    return {number: faults for number, faults in zip(numbers, results, strict=True) if faults}


def main() -> None:
    """Fuzz as the command line says; exit code 1 where something broke."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mutants", type=int, default=5000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        numbers = range(arguments.first, arguments.first + arguments.mutants)
        found = fuzz(numbers, Path(folder), arguments.jobs)
    for number, faults in found.items():
        print(f"mutant {number}: {faults[0]}")
    kinds = Counter(faults[0].split(":")[0] for faults in found.values())
    seconds = time.monotonic() - started
    print(f"{len(numbers):,} mutants, {len(found):,} broke something, in {seconds:.0f} s", dict(kinds) if found else "")
    sys.exit(bool(found))


if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
    main()
