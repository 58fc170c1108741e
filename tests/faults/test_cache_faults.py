"""A cache that is full, read-only or somebody else's folder: no build ends for it, and nothing of others is lost."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from remote_kit import environment
from servers import aws_environment, serve_bucket
from sources_kit import Source, json_lines, write_parquet

from mixer.errors import BuildStateError
from mixer.sources.pin import pin
from mixer.sources.pin_cache import PinCache
from mixer.sources.reader import SourceReader
from mixer.stores import traffic
from mixer.stores.block_cache import BlockCache
from mixer.system.disk import write_at
from mixer.system.publish import publish_bytes, publish_or_set_aside, remove_stale

ROWS = [{"text": f"row {n} " + os.urandom(50).hex() * 50, "n": n} for n in range(400)]
TEXTS = [row["text"] for row in ROWS]

READ = """
import json, sys, tempfile, os
from pathlib import Path
from mixer.sources.pin import pin
from mixer.sources.pin_cache import PinCache
from mixer.sources.reader import SourceReader
from mixer.stores import traffic
from mixer.tokens.json_file import _keep
sys.path[:0] = [sys.argv[1]]
from sources_kit import Source
found = {}
for name in ("a.parquet", "a.jsonl"):
    source, cache = Source(f"s3://data/{name}"), PinCache(Path(sys.argv[2]))
    snapshot = pin("wiki", source, Path(), cache)
    reader = SourceReader("wiki", source, snapshot)
    texts = [t for b in range(snapshot.num_blocks) for part in reader.read(b, 0, int(snapshot.block_kept[b]))
             for t in part.text.to_pylist()]
    found[name] = len(texts), hash(tuple(texts)), snapshot.note
form = _keep(b"{}", Path(sys.argv[2]))
found |= {"form": form.read_bytes() == b"{}", "traffic": traffic.take()}
print(json.dumps(found))
"""


@contextmanager
def bucket(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "buckets/data"
    folder.mkdir(parents=True)
    write_parquet(folder / "a.parquet", ROWS, 100)
    (folder / "a.jsonl").write_bytes(json_lines(ROWS))
    with serve_bucket(tmp_path / "buckets") as server, environment(**aws_environment(server)):
        yield folder


def read_in_a_process(tmp_path: Path, mount: str) -> dict:
    """Read everything in a process with a file system of its own under `cache`, made by a line of shell."""
    (tmp_path / "cache").mkdir()
    (tmp_path / "temporary").mkdir()
    script = f'set -e; cd "{tmp_path}"; {mount}; exec "$@"'
    command = [sys.executable, "-c", READ, str(Path(__file__).parents[1]), str(tmp_path / "cache")]
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh", *command],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env=os.environ | {"TMPDIR": str(tmp_path / "temporary"), "PYTHONHASHSEED": "0"},
    )
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no file systems of its own for a process here: {done.stderr.strip()[:200]}")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.skipif(shutil.which("unshare") is None, reason="there is no unshare here")
@pytest.mark.parametrize(
    ("what", "mount"),
    [
        ("full", "mount -t tmpfs -o size=64k none cache"),
        ("full in the middle", "mount -t tmpfs -o size=1m none cache"),
        ("read-only", "mount -t tmpfs -o size=1m none cache; mount -o remount,ro cache"),
        ("large enough", "mount -t tmpfs -o size=100m none cache"),
    ],
)
def test_a_cache_that_cannot_be_written_ends_nothing(tmp_path: Path, what: str, mount: str) -> None:
    """Blocks go through temporary files, of which none is left; snapshots that cannot be kept have a note."""
    with bucket(tmp_path):
        found = read_in_a_process(tmp_path, mount)
    assert found["a.parquet"][0] == found["a.jsonl"][0] == len(TEXTS)
    assert found["a.parquet"][1] == found["a.jsonl"][1]
    assert found["form"]
    assert bool(found["traffic"].get("cache_bypassed")) == (what != "large enough")
    assert list((tmp_path / "temporary").iterdir()) == []
    if what == "read-only":
        assert "cannot be kept" in found["a.parquet"][2]
        assert "Read-only file system" in found["a.parquet"][2]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_cache_that_became_read_only_is_still_read(tmp_path: Path) -> None:
    """Here another user's: what is in it is used, and nothing is fetched."""
    with bucket(tmp_path) as folder, tempfile.TemporaryDirectory() as shared:
        os.chmod(shared, 0o755)
        source, cache = Source("s3://data/a.parquet"), PinCache(Path(shared) / "cache")
        snapshot = pin("wiki", source, folder, cache)
        assert sum(len(part) for part in SourceReader("wiki", source, snapshot).read(0, 0, 100)) == 100
        for path in cache.folder.rglob("*"):
            path.chmod(0o755)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.setuid(65534)
                assert not os.access(cache.folder / "blocks", os.W_OK)
                traffic.take()
                texts = [text for part in SourceReader("wiki", source, snapshot).read(0, 0, 100) for text in part.text]
                code = 0 if len(texts) == 100 and set(traffic.take()) == {"cache_hits"} else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def filled(num_bytes: int):
    def fill(descriptor: int) -> list[tuple[int, int]]:
        write_at(descriptor, os.urandom(num_bytes), 0)
        return [(0, num_bytes)]

    return fill


def test_what_is_not_provably_an_entry_is_never_removed(tmp_path: Path) -> None:
    """Under names like ours and others, old or new, while entries come and go."""
    cache = BlockCache(folder=tmp_path, max_bytes=1 << 20)
    cache.make("00" * 32, ".parquet", filled(1000)).close()
    name = "ab" * 31
    foreign = [
        tmp_path / "blocks/00/precious.parquet",
        tmp_path / f"blocks/00/{name}.parquet",  # a name of ours, and nothing that proves it
        tmp_path / f"blocks/00/{name}.data",
        tmp_path / f"blocks/00/{name}.data.json",
        tmp_path / "blocks/00/.other.tmp",
        tmp_path / "blocks/00/notes.json",
        tmp_path / "blocks/zz/thesis.tex",
    ]
    for path in foreign:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b'{"my": "data"}')
        os.utime(path, (0, 0))
    for number in range(10):
        cache.make(f"{number:02x}" * 32, ".parquet", filled(300_000)).close()
    assert all(path.read_bytes() == b'{"my": "data"}' for path in foreign)
    entries = [path for path in (tmp_path / "blocks").glob("??/*.parquet") if path not in foreign]
    assert 0 < len(entries) < 5
    assert all(path.with_name(f"{path.name}.json").exists() for path in entries)


def test_a_folder_that_is_not_ours_is_refused_and_untouched(tmp_path: Path) -> None:
    """A cache is told by its tag, which programs for backups know as well."""
    (tmp_path / "blocks/ab").mkdir(parents=True)
    (tmp_path / "blocks/ab/mine").write_bytes(b"mine")
    cache = BlockCache(folder=tmp_path, max_bytes=1)
    with pytest.raises(BuildStateError, match=r"no CACHEDIR\.TAG of mixer.*'ab'") as caught:
        cache.make("00" * 32, ".parquet", filled(10))
    assert caught.value.where == str(tmp_path / "blocks")
    assert "--cache" in str(caught.value.hint)
    assert sorted(path.name for path in (tmp_path / "blocks").rglob("*")) == ["ab", "mine"]
    (tmp_path / "blocks/CACHEDIR.TAG").write_bytes(b"Signature: 8a477f597d28d172789f06886806bc55\n# of another\n")
    with pytest.raises(BuildStateError, match="another program's cache"):
        cache.make("00" * 32, ".parquet", filled(10))
    other = BlockCache(folder=tmp_path / "empty", max_bytes=1000)
    (tmp_path / "empty/blocks").mkdir(parents=True)
    other.make("00" * 32, ".parquet", filled(10)).close()
    tag = (tmp_path / "empty/blocks/CACHEDIR.TAG").read_bytes()
    assert tag.startswith(b"Signature: 8a477f597d28d172789f06886806bc55\n")


def test_what_killed_writers_left_is_removed_and_of_living_ones_is_not(tmp_path: Path) -> None:
    """A dead process of this host, or a day of age; other names are left alone."""
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    host = socket.gethostname()
    names = {
        f".a.json.{child}-7-{host}.tmp": False,
        f".a.json.{os.getpid()}-7-{host}.tmp": True,
        ".a.json.1234-7-elsewhere.tmp": True,
        ".a.json.1235-7-elsewhere.tmp": False,
        ".mine.tmp": True,
        "a.json.5-7-x.tmp": True,
    }
    for name in names:
        (tmp_path / name).write_bytes(b"half")
    os.utime(tmp_path / ".a.json.1235-7-elsewhere.tmp", (time.time() - 90_000,) * 2)
    os.utime(tmp_path / ".mine.tmp", (0, 0))
    remove_stale(tmp_path)
    assert {name: (tmp_path / name).exists() for name in names} == names
    remove_stale(tmp_path / "nowhere")
    publish_bytes(tmp_path / "b.json", b"whole")
    assert (tmp_path / "b.json").read_bytes() == b"whole"


def test_pinning_cleans_the_cache_of_what_killed_ones_left(tmp_path: Path) -> None:
    """In the folders that it writes to, as it comes by."""
    (tmp_path / "a.jsonl").write_bytes(json_lines(ROWS[:3]))
    cache = tmp_path / "cache"
    pin("wiki", Source("a.jsonl"), tmp_path, PinCache(cache))
    (entry,) = cache.rglob("*.json")
    left = entry.with_name(f".{entry.name}.99999999-7-{socket.gethostname()}.tmp")
    left.write_bytes(b"half")
    entry.unlink()
    pin("wiki", Source("a.jsonl"), tmp_path, PinCache(cache))
    assert entry.exists()
    assert not left.exists()


def test_blocks_that_killed_writers_left_are_removed_when_a_cache_is_first_used(tmp_path: Path) -> None:
    """By a new process, however empty the cache is."""
    BlockCache(folder=tmp_path, max_bytes=1 << 20).make("00" * 32, ".parquet", filled(10)).close()
    (tmp_path / "blocks/00/.entry-abc_1234.tmp").write_bytes(b"half")
    script = (
        "import sys; from pathlib import Path; from mixer.stores.block_cache import BlockCache; "
        "BlockCache(folder=Path(sys.argv[1]), max_bytes=1000).make('01' * 32, '.x', lambda descriptor: []).close()"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, timeout=60)
    assert not (tmp_path / "blocks/00/.entry-abc_1234.tmp").exists()


def test_a_form_that_cannot_be_kept_is_set_aside_and_gone_at_the_end(tmp_path: Path) -> None:
    """In a temporary folder of the process; a forked child does not take it away."""
    (tmp_path / "file").write_bytes(b"")
    script = """
import os, sys
from pathlib import Path
from mixer.system.publish import publish_or_set_aside
path = publish_or_set_aside(Path(sys.argv[1]) / "file/tokenizers/a.json", b"form")
if os.fork() == 0:
    sys.exit(0)
os.wait()
print(path, path.read_bytes() == b"form")
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
    )
    path, same = done.stdout.split()
    assert same == "True"
    assert not Path(path).parent.exists()
    assert publish_or_set_aside(tmp_path / "a.json", b"x") == tmp_path / "a.json"
