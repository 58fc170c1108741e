"""What can go wrong while Stack v2 is fetched: the error, what is left on disk, and that the same command goes on."""

from __future__ import annotations

import contextlib
import errno
import gzip
import hashlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from disk_kit import OPERATIONS, failing
from servers import Faults, Server, aws_environment, serve_bucket
from stack_kit import SCHEMA, SourceFile, expected_rows, fetch, read_rows, write_blobs, write_ids

from mixer.errors import BuildStateError, DataError, MixerError, RecipeError, TaskError, UsageError
from mixer.stack import blobs, chunk
from mixer.stack.blobs import BlobStore, Missing, Origin, fetch_blob
from mixer.stack.fetch_plan import Policy, Rules, make_fetch_plan
from mixer.stack.ids import find_ids
from mixer.stack.wanted_files import Selection
from mixer.stores import traffic
from mixer.stores.retry import RetryPolicy

ROOT = Path(__file__).parents[2]
REPOSITORIES = [[SourceFile(content=f"{row} {n}\n".encode() * 200) for n in range(row % 3)] for row in range(120)]
LARGE_FILES, LARGE_FILE_BYTES = 50, 10_000_000
IMPATIENT = RetryPolicy(max_failures=3, first_wait_seconds=0.01)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("stack")
    write_ids(root / "ids.parquet", REPOSITORIES)
    write_blobs(root / "buckets", REPOSITORIES)
    return root


@pytest.fixture
def bucket(world: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with serve_bucket(world / "buckets") as server:
        for name, value in aws_environment(server).items():
            monkeypatch.setenv(name, value)
        yield server


def left_in(out: Path) -> list[str]:
    """Every file of a folder that is no state of the fetch."""
    return sorted(path.name for path in out.rglob("*") if path.is_file() and ".mixer" not in path.parts)


@pytest.mark.parametrize("kind", ["reset", "reset-inside", "short", "429", "500", "502", "503", "slow-down"])
def test_a_fault_that_passes_is_waited_for_and_counted(bucket, world, tmp_path, kind):
    """A third of the requests fail, some twice in a row: the same rows come, and the report says how often."""
    bucket.set_faults(Faults(seed=5, share=0.3, kinds=(kind,), in_a_row=2))
    report = fetch(world / "ids.parquet", tmp_path / "out")
    assert read_rows(tmp_path / "out") == expected_rows(REPOSITORIES)
    num_faults = sum(request.fault is not None for request in bucket.requests())
    retries = {name: count for name, count in report["traffic"].items() if name.startswith("retries_")}
    assert num_faults > 10
    assert sum(retries.values()) == num_faults
    expected = {"429": "busy", "slow-down": "busy", "500": "server", "502": "server", "503": "server"}
    assert list(retries) == [f"retries_{expected.get(kind, 'connection')}"]


def test_wrong_bytes_are_asked_for_again(bucket, world, tmp_path):
    """The digest in the name tells."""
    bucket.set_faults(Faults(seed=5, share=0.3, kinds=("wrong-bytes",)))
    report = fetch(world / "ids.parquet", tmp_path / "out")
    assert read_rows(tmp_path / "out") == expected_rows(REPOSITORIES)
    assert report["traffic"]["retries_damaged"] == sum(request.fault is not None for request in bucket.requests()) > 10


@pytest.mark.parametrize(
    ("status", "attempts", "message"),
    [("503", 3, "answered 503 .3 attempts failed"), ("500", 3, "answered 500"), ("429", 3, "answered 429")],
)
def test_patience_ends(bucket, world, status, attempts, message):
    """With the place, the cause, and what to do."""
    bucket.set_faults(Faults(share=1.0, kinds=(status,), in_a_row=1000))
    blob = REPOSITORIES[1][0].blob_id
    with pytest.raises(DataError, match=message) as caught:
        fetch_blob(BlobStore(Origin(), 1), blob, IMPATIENT)
    assert caught.value.where == f"s3://softwareheritage/content/{blob}"
    assert "run the same command again to resume" in str(caught.value.hint)
    assert len(bucket.requests()) == attempts


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests have half a second, and not a minute."""
    monkeypatch.setattr(blobs, "WHOLE_REQUEST_SECONDS", 0.5)


@pytest.mark.parametrize("kind", ["silent", "stall"])
def test_a_blob_that_stalls_is_given_up_and_asked_for_again(bucket, hurried, kind):
    """Before or inside its body: after the limit of a request, and no later; the next attempt brings it."""
    bucket.set_faults(Faults(share=1.0, kinds=(kind,), stall_seconds=20))
    file = REPOSITORIES[2][1]
    traffic.take()
    started = time.monotonic()
    assert fetch_blob(BlobStore(Origin(), 1), file.blob_id, IMPATIENT) == file.content
    assert 0.5 <= time.monotonic() - started < 5
    tally = traffic.take()
    assert (tally["requests"], tally["retries_connection"]) == (2, 1)
    assert len(bucket.requests()) == 2


@pytest.mark.parametrize("kind", ["silent", "stall"])
def test_a_server_that_stalls_for_ever_is_one_error_in_bounded_time(bucket, hurried, kind):
    """As long as the limit times the attempts, and the waits between them."""
    bucket.set_faults(Faults(share=1.0, kinds=(kind,), in_a_row=1_000_000, stall_seconds=20))
    blob = REPOSITORIES[2][1].blob_id
    started = time.monotonic()
    with pytest.raises(DataError, match=r"brought no whole answer in time \(3 attempts failed") as caught:
        fetch_blob(BlobStore(Origin(), 1), blob, IMPATIENT)
    assert 1.5 <= time.monotonic() - started < 6
    assert caught.value.where == f"s3://softwareheritage/content/{blob}"
    assert "run the same command again to resume" in str(caught.value.hint)
    assert len(bucket.requests()) == 3


def test_a_fetch_of_many_stalling_blobs_ends_as_one_error(bucket, world, tmp_path, hurried, monkeypatch):
    """All connections stall at once: what a worker with them does ends soon, and leaves nothing that looks whole."""
    monkeypatch.setattr(chunk, "fetch_blob", partial(fetch_blob, policy=IMPATIENT))
    bucket.set_faults(Faults(share=1.0, kinds=("stall",), in_a_row=1_000_000, stall_seconds=20))
    files = find_ids(str(world / "ids.parquet"), Selection())
    plan = make_fetch_plan(files, Rules(selection=Selection()), None)
    fetcher = chunk.ChunkFetcher(plan, Origin(), 4)
    started = time.monotonic()
    with pytest.raises(DataError, match=r"brought no whole answer in time \(3 attempts failed"):
        fetcher.run(plan.chunks[0], tmp_path / "out/chunk.parquet", lambda *_: None)
    assert time.monotonic() - started < 10
    assert left_in(tmp_path / "out") == []


@pytest.mark.usefixtures("bucket")
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_chunk_whose_disk_fails_leaves_nothing_and_is_fetched_again(world, tmp_path, operation, code):
    """At a write, when it is synced, and when it would get its name."""
    files = find_ids(str(world / "ids.parquet"), Selection())
    plan = make_fetch_plan(files, Rules(selection=Selection()), None)
    fetcher, path = chunk.ChunkFetcher(plan, Origin(), 4), tmp_path / "out/chunk.parquet"
    with failing(operation, code, str(path)) as failed, pytest.raises(TaskError) as caught:
        fetcher.run(plan.chunks[0], path, lambda *_: None)
    assert set(failed) == {str(path)}
    assert (caught.value.message, caught.value.where) == (f"cannot be written: {os.strerror(code)}", str(path))
    assert os.listdir(tmp_path / "out") == []
    fetcher.run(plan.chunks[0], path, lambda *_: None)
    assert read_rows(tmp_path / "out") == expected_rows(REPOSITORIES)


def test_a_host_that_is_not_there_is_an_error(world, monkeypatch):
    """Nobody listens on port 9."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(DataError, match="the connection failed"):
        fetch_blob(BlobStore(Origin(), 1), "0" * 40, IMPATIENT)


def test_what_is_missing_is_asked_for_once(bucket):
    """Another attempt would end the same."""
    with pytest.raises(Missing):
        fetch_blob(BlobStore(Origin(address="s3://no-such-bucket/content"), 1), "0" * 40, IMPATIENT)
    assert len(bucket.requests()) == 1


def test_a_missing_blob_may_be_an_error(bucket, world, tmp_path):
    """It names the blob and the row, and leaves nothing that looks whole."""
    gone = SourceFile(content=b"gone")
    write_ids(tmp_path / "ids.parquet", [*REPOSITORIES[:9], [gone]])
    rules = Rules(selection=Selection(), on_missing=Policy.ERROR)
    with pytest.raises(
        DataError, match=r"there is no such blob, or it cannot be read \(row 9 of .*ids.parquet\)"
    ) as caught:
        fetch(tmp_path / "ids.parquet", tmp_path / "out", rules=rules)
    assert caught.value.where == f"s3://softwareheritage/content/{gone.blob_id}"
    assert caught.value.hint == "to skip it, set --on-missing (in a recipe on_missing) to drop-file or drop-repo"
    assert left_in(tmp_path / "out") == []


@pytest.mark.parametrize(
    "stored", [gzip.compress(b"other", mtime=0), b"no gzip at all", gzip.compress(b"content " * 999, mtime=0)[:50], b""]
)
def test_a_blob_with_other_bytes_is_an_error_unless_told(bucket, world, tmp_path, stored):
    """Other content, no gzip, cut short, empty."""
    files = [SourceFile(content=b"good"), SourceFile(content=b"damaged")]
    write_ids(tmp_path / "ids.parquet", [files])
    write_blobs(world / "buckets", [files])
    (world / "buckets/softwareheritage/content" / files[1].blob_id).write_bytes(stored)
    with pytest.raises(DataError, match="the bytes are not those of its sha1"):
        fetch(tmp_path / "ids.parquet", tmp_path / "out")
    assert left_in(tmp_path / "out") == []
    rules = Rules(selection=Selection(), on_damaged=Policy.DROP_FILE)
    report = fetch(tmp_path / "ids.parquet", tmp_path / "other", rules=rules)
    assert [[file["text"] for file in row["files"]] for row in read_rows(tmp_path / "other")] == [["good"]]
    assert report["totals"]["files_damaged"] == 1


def test_a_bucket_without_any_blob_is_an_error_and_no_empty_data_set(bucket, world, tmp_path):
    """Otherwise a wrong address would be a fetch that went well."""
    many = [[SourceFile(content=f"never stored {n}".encode())] for n in range(150)]
    write_ids(tmp_path / "ids.parquet", many)
    with pytest.raises(DataError, match="the first 100 blobs are all missing") as caught:
        fetch(tmp_path / "ids.parquet", tmp_path / "out")
    assert "--from" in str(caught.value.hint)
    assert left_in(tmp_path / "out") == []


@pytest.mark.parametrize("blob_id", [None, "", "../../etc/passwd", "A" * 40, "a" * 39])
def test_a_row_without_a_blob_id_is_an_error_that_names_it(bucket, world, tmp_path, blob_id):
    """Nothing else becomes part of an address."""
    odd = SourceFile(content=b"x", extra={"blob_id": blob_id})
    write_ids(tmp_path / "ids.parquet", [*REPOSITORIES[:3], [odd]])
    with pytest.raises(DataError, match="expected 40 hexadecimal digits") as caught:
        fetch(tmp_path / "ids.parquet", tmp_path / "out")
    assert str(caught.value.where).endswith("ids.parquet: row 3")


@pytest.mark.parametrize(
    ("address", "signed", "message"),
    [
        ("gs://bucket/content", False, "is not an address of blobs"),
        ("content", False, "is not an address of blobs"),
        ("https://user:secret@host/content", False, "has a user, a query or a fragment"),
        ("https://host/content?X-Amz-Signature=secret", False, "has a user, a query or a fragment"),
        ("https://host/content", True, "only requests to s3:// can be signed"),
    ],
)
def test_an_address_that_will_not_do_is_told_before_anything_is_read(tmp_path, address, signed, message):
    """And no secret of it is repeated."""
    with pytest.raises((UsageError, RecipeError), match=message) as caught:
        fetch(tmp_path / "not-there.parquet", tmp_path / "out", origin=Origin(address=address, signed=signed))
    assert "secret" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def _ids_of(**columns: Any) -> pa.Table:
    return pa.table({"repo_name": ["r0"], **columns})


@pytest.mark.parametrize(
    ("table", "selection", "message"),
    [
        (_ids_of(), Selection(), "there is no column 'files' that is a list of structs; columns are repo_name"),
        (_ids_of(files=[["a"]]), Selection(), "there is no column 'files' that is a list of structs"),
        (_ids_of(files=[[{"blob_id": "a", "src_encoding": "b", "text": "c"}]]), Selection(), "already have a column"),
        (_ids_of(files=[[{"blob_id": "a"}]]), Selection(), "the files have no src_encoding; they have blob_id"),
        (
            _ids_of(files=[[{"blob_id": "a", "src_encoding": "b"}]]),
            Selection(languages=("C",), vendored=False),
            "the files have no is_vendor, language",
        ),
    ],
)
def test_rows_of_something_else_are_refused_before_anything_is_fetched(tmp_path, table, selection, message):
    """With the columns that there are."""
    pq.write_table(table, tmp_path / "ids.parquet")
    with pytest.raises(DataError, match=message):
        fetch(tmp_path / "ids.parquet", tmp_path / "out", rules=Rules(selection=selection))
    assert not (tmp_path / "out").exists()


def test_a_source_that_is_no_parquet_or_not_there_is_an_error(tmp_path):
    """With its path."""
    (tmp_path / "ids.parquet").write_bytes(b"not parquet")
    with pytest.raises(DataError, match="cannot be read"):
        fetch(tmp_path / "ids.parquet", tmp_path / "out")
    with pytest.raises(MixerError, match="matches no file"):
        fetch(tmp_path / "other/*.parquet", tmp_path / "out")
    write_ids(tmp_path / "empty.parquet", [])
    with pytest.raises(DataError, match="the files of SRC have no rows"):
        fetch(tmp_path / "empty.parquet", tmp_path / "out")


def test_a_folder_of_another_fetch_is_refused(bucket, world, tmp_path):
    """Other rules or rows would be mixed; the message says which differ."""
    fetch(world / "ids.parquet", tmp_path / "out")
    before = left_in(tmp_path / "out")
    with pytest.raises(BuildStateError, match="a fetch with other selection"):
        fetch(world / "ids.parquet", tmp_path / "out", rules=Rules(selection=Selection(languages=("C",))))
    write_ids(tmp_path / "ids.parquet", REPOSITORIES[:5])
    with pytest.raises(BuildStateError, match="a fetch with other files"):
        fetch(tmp_path / "ids.parquet", tmp_path / "out")
    assert left_in(tmp_path / "out") == before


def test_a_folder_with_something_else_is_refused(world, tmp_path):
    """It is left as it is."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.txt").write_text("mine")
    with pytest.raises(BuildStateError, match="holds something else"):
        fetch(world / "ids.parquet", tmp_path / "out")
    assert left_in(tmp_path / "out") == ["thesis.txt"]


# The command line, in processes of its own


@pytest.fixture
def command(bucket: Server, world: Path, tmp_path: Path) -> list[str]:
    return [
        sys.executable,
        "-m",
        "mixer.cli.main",
        "fetch",
        "stack-v2",
        str(world / "ids.parquet"),
        str(tmp_path / "out"),
    ]


def run(command: list[str], **arguments: Any) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=False, **arguments
    )


def test_a_full_disk_leaves_nothing_and_the_same_command_goes_on(command, tmp_path):
    """A limit on the size of files stands for it."""
    full = run(command, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000)))
    assert full.returncode == 1, full.stderr
    assert "cannot be written: " in full.stderr
    assert "run the same command again to resume" in full.stderr
    assert left_in(tmp_path / "out") == []
    done = run([*command, "--json"])
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads((tmp_path / "out/report.json").read_bytes())
    assert read_rows(tmp_path / "out") == expected_rows(REPOSITORIES)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -9)])
def test_a_fetch_that_was_stopped_goes_on(command, bucket, tmp_path, number, code):
    """Whatever stops it, no worker is left behind and nothing half-written looks whole."""
    bucket.set_faults(Faults(latency_seconds=0.3))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    slow = [*command, "--connections", "2"]
    with subprocess.Popen(slow, env=environment, stderr=subprocess.PIPE, start_new_session=True, text=True) as process:
        while len(bucket.requests()) < 4:
            time.sleep(0.05)
        process.send_signal(number)
        process.communicate(timeout=30)
        assert process.returncode == code
    deadline = time.monotonic() + 30
    while _session_is_alive(process.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _session_is_alive(process.pid)
    assert [name for name in left_in(tmp_path / "out") if not name.endswith(".tmp")] == []
    bucket.set_faults(Faults())
    done = run(command)
    assert done.returncode == 0, done.stderr
    assert read_rows(tmp_path / "out") == expected_rows(REPOSITORIES)
    assert left_in(tmp_path / "out") == ["ids-00000.parquet", "report.json"]


def _session_is_alive(session: int) -> bool:
    try:
        os.killpg(session, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_command_tells_what_became_of_all_files(command, tmp_path):
    """In words on stdout, progress on stderr."""
    done = run([*command, "--language", "Python", "--max-bytes", "1KB", "--quiet"])
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    # Rows 100 to 119 have 20 files, of more than 1000 bytes all.
    assert lines[0].startswith("99 files of 120, 66 repositories of 120: 97.2 kB of text in ")
    assert lines[1:] == ["21 files too large", "54 repositories without a file that is left"]


def test_the_schema_is_the_one_of_the_source_with_text(command, tmp_path):
    """So that what was read of the rows can still be read."""
    assert run(command).returncode == 0
    schema = pq.read_schema(tmp_path / "out/ids-00000.parquet")
    assert schema.names == SCHEMA.names
    assert [field.name for field in schema.field("files").type.value_type] == [
        *(field.name for field in SCHEMA.field("files").type.value_type),
        "text",
    ]


def test_a_large_repository_takes_the_memory_that_the_documentation_says(tmp_path):
    """350 MB and 3.5 times the text in the worker, while one row of 500 MB is written; nothing of it elsewhere."""
    server_root = tmp_path / "buckets"
    (server_root / "softwareheritage/content").mkdir(parents=True)
    files = [_large_file(server_root / "softwareheritage/content", n) for n in range(LARGE_FILES)]
    write_ids(tmp_path / "large.parquet", [files])
    command = [sys.executable, "-m", "mixer.cli.main", "fetch", "stack-v2", str(tmp_path / "large.parquet")]
    with serve_bucket(server_root) as server:
        environment = {**os.environ, **aws_environment(server), "PYTHONPATH": str(ROOT)}
        arguments = [str(tmp_path / "out"), "--workers", "1", "--json"]
        with subprocess.Popen([*command, *arguments], env=environment, stdout=subprocess.PIPE, text=True) as process:
            command_bytes, *children_bytes = _peak_bytes(process)
            report = json.loads(process.communicate()[0])
    assert process.returncode == 0
    num_bytes = LARGE_FILES * LARGE_FILE_BYTES
    assert report["totals"]["files_written"] == LARGE_FILES
    written = pq.ParquetFile(tmp_path / "out/large-00000.parquet")
    texts = written.read(columns=["files.list.element.text"])["files"].combine_chunks().flatten().field("text")
    assert pc.sum(pc.binary_length(texts)).as_py() == num_bytes
    assert num_bytes < max(children_bytes) < 3.5 * num_bytes + 350e6
    assert command_bytes + sum(children_bytes) - max(children_bytes) < 350e6


def _large_file(folder: Path, number: int) -> SourceFile:
    """Store a blob of text that is quick to make and to zip; the file of it, without its bytes."""
    line = random.Random(number).randbytes(4_999).hex() + " \n"
    content = line.encode() * (LARGE_FILE_BYTES // len(line))
    blob_id = hashlib.sha1(content).hexdigest()
    (folder / blob_id).write_bytes(gzip.compress(content, 1, mtime=0))
    return SourceFile(content=b"", extra={"blob_id": blob_id, "length_bytes": len(content)})


def _peak_bytes(process: subprocess.Popen) -> list[int]:
    """The most memory that a process, and that each of its children, had; looked at every 20 ms until it ends."""
    root, peaks = psutil.Process(process.pid), {process.pid: 0}
    while process.poll() is None:
        for one in [root, *root.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                peaks[one.pid] = max(peaks.get(one.pid, 0), one.memory_info().rss)
        time.sleep(0.02)
    return list(peaks.values())
