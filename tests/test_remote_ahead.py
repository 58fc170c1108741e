"""Fetching ahead: the network works while the cores do, within bounds, and errors come at their own place."""

from __future__ import annotations

import fcntl
import json
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from remote_kit import environment, on_s3
from servers import Faults, Server, aws_environment, serve_bucket
from sources_kit import Source, json_lines, write_parquet
from workshop import Workshop

from mixer.errors import DataError
from mixer.sources.pin import pin
from mixer.sources.pin_cache import PinCache
from mixer.sources.prefetch import MAX_BLOCKS_AHEAD, FetchAhead
from mixer.sources.reader import SourceReader
from mixer.sources.snapshot import Snapshot
from mixer.stores import retry, traffic
from mixer.stores.retry import RetryPolicy
from mixer.verify.sources import check_deep

ROWS = [{"text": f"row {n} " + "x" * 200, "n": n} for n in range(600)]


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[tuple[Path, Server]]:
    """A bucket with a parquet file of thirty row groups."""
    folder = tmp_path / "buckets/data"
    folder.mkdir(parents=True)
    write_parquet(folder / "a.parquet", ROWS, 20)
    with serve_bucket(tmp_path / "buckets") as server, environment(**aws_environment(server)):
        yield folder, server


def opened(folder: Path, cache: PinCache) -> tuple[SourceReader, Snapshot]:
    source = Source("s3://data/a.parquet")
    snapshot = pin("wiki", source, folder, cache)
    return SourceReader("wiki", source, snapshot), snapshot


def read(reader: SourceReader, block: int) -> int:
    return sum(len(texts) for texts in reader.read(block, 0, 20))


@contextmanager
def fetching(reader: SourceReader, blocks: Iterable[int]) -> Iterator[None]:
    """These blocks are fetched ahead, in this order."""
    assert reader.remote is not None
    ahead = FetchAhead()
    reader.remote.use(ahead)
    ahead.expect([(reader.remote, block) for block in blocks])
    try:
        yield
    finally:
        ahead.close()


def fetched(server: Server) -> int:
    return sum(bool(request.range) for request in server.requests())


def test_blocks_come_ahead_of_their_reading_within_a_bound(bucket: tuple[Path, Server], tmp_path: Path) -> None:
    """And none is fetched twice."""
    folder, server = bucket
    reader, snapshot = opened(folder, PinCache(tmp_path / "cache"))
    server.forget()
    with fetching(reader, range(snapshot.num_blocks)):
        deadline = time.monotonic() + 20
        while fetched(server) < MAX_BLOCKS_AHEAD + 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.2)
        assert fetched(server) == MAX_BLOCKS_AHEAD + 1  # and the footer
        assert [read(reader, block) for block in range(snapshot.num_blocks)] == [20] * 30
    assert fetched(server) == 31


def test_no_thread_is_left_when_it_ends(bucket: tuple[Path, Server], tmp_path: Path) -> None:
    """Whether all was read or not: workers are forked after it."""
    before = threading.active_count()
    reader, _ = opened(bucket[0], PinCache(tmp_path / "cache"))
    with fetching(reader, range(30)):
        read(reader, 0)
    assert threading.active_count() == before


def test_a_block_that_cannot_be_fetched_fails_where_it_is_read(
    bucket: tuple[Path, Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those before it are read, and one that nobody reads fails nothing."""
    monkeypatch.setattr(retry, "POLICY", RetryPolicy(max_failures=2, first_wait_seconds=0.001))
    folder, server = bucket
    reader, _ = opened(folder, PinCache(tmp_path / "cache"))
    with fetching(reader, [0, 1, 2, 3]):
        read(reader, 0)
        read(reader, 1)
        read(reader, 2)
        server.set_faults(Faults(share=1.0, in_a_row=1000, kinds=("500",)))
        with fetching(reader, [9, 10]):
            with pytest.raises(DataError, match="500") as caught:
                read(reader, 9)
            assert caught.value.where == "sources.wiki: s3://data/a.parquet"


def test_blocks_that_are_expected_no_more_are_let_go(bucket: tuple[Path, Server], tmp_path: Path) -> None:
    """Their entries can be removed from the cache again."""
    cache = PinCache(tmp_path / "cache")
    reader, _ = opened(bucket[0], cache)
    with fetching(reader, range(30)):
        deadline = time.monotonic() + 30
        while not (entries := list((tmp_path / "cache/blocks").glob("??/*.parquet"))):
            assert time.monotonic() < deadline
            time.sleep(0.01)
    for path in entries:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises where someone still holds it


def test_a_build_is_held_against_its_remote_sources(workshop: Workshop, tmp_path: Path) -> None:
    """`mixer verify --deep` reads the versions that were pinned; one that is gone is an error."""
    with on_s3(workshop, tmp_path) as remote:
        manifest = workshop.build(tmp_path / "out", remote.recipe(), cache_dir=tmp_path / "cache")
        checked = check_deep(tmp_path / "out", manifest, root=tmp_path, cache_dir=tmp_path / "other")
        assert (checked.num_shards, checked.num_segments > 0) == (1, True)
        for path in remote.root.rglob("*.parquet"):
            path.unlink()
        with pytest.raises(DataError, match="404"):
            check_deep(tmp_path / "out", manifest, root=tmp_path, cache_dir=tmp_path / "third")


def test_a_second_build_takes_its_blocks_from_the_cache(workshop: Workshop, tmp_path: Path) -> None:
    """Nothing but listings goes over the network."""
    with on_s3(workshop, tmp_path) as remote:
        workshop.build(tmp_path / "one", remote.recipe(), cache_dir=tmp_path / "cache")
        remote.server.forget()
        workshop.build(tmp_path / "two", remote.recipe(), cache_dir=tmp_path / "cache", workers=2)
        assert {request.target.split("?")[0] for request in remote.server.requests()} == {"/mixture"}
    log = json.loads((tmp_path / "two/build-log.json").read_text())["traffic"]
    assert log["cache_hits"] > 0
    assert "cache_misses" not in log


def test_a_cache_that_is_too_small_changes_no_byte(workshop: Workshop, finished: Path, tmp_path: Path) -> None:
    """It costs fetching again. Where it is and how large is no part of the recipe's identity."""
    with on_s3(workshop, tmp_path) as remote:
        small = remote.recipe(cache={"dir": str(tmp_path / "elsewhere"), "size": "20KB"})
        assert small.normalised() == remote.recipe().normalised()
        workshop.build(tmp_path / "out", small, cache_dir=tmp_path / "cache", workers=2)
    assert (tmp_path / "elsewhere/blocks").is_dir()
    assert not (tmp_path / "cache/blocks").exists()
    shards = sorted(path.name for path in (finished / "shards").iterdir())
    assert shards == sorted(path.name for path in (tmp_path / "out/shards").iterdir())
    for name in shards:
        assert (finished / "shards" / name).read_bytes() == (tmp_path / "out/shards" / name).read_bytes()
    log = json.loads((tmp_path / "out/build-log.json").read_text())["traffic"]
    assert log["cache_evicted"] > 0


class _Google(BaseHTTPRequestHandler):
    """The two calls of the JSON API of Google Cloud Storage that are used, over objects in memory; pages of two."""

    protocol_version = "HTTP/1.1"
    objects: dict[str, bytes] = {}  # noqa: RUF012 - set by the test

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path == "/storage/v1/b/data/o":
            names = sorted(name for name in self.objects if name.startswith(query["prefix"]))
            first = int(query.get("pageToken", 0))
            items = [
                {"name": name, "size": str(len(self.objects[name])), "generation": "7"}
                for name in names[first : first + 2]
            ]
            more = {"nextPageToken": str(first + 2)} if first + 2 < len(names) else {}
            self._send(200, json.dumps({"items": items, **more}).encode())
            return
        name = unquote(parts.path.removeprefix("/download/storage/v1/b/data/o/"))
        if name not in self.objects or query.get("generation") != "7":
            self._send(404, b"{}")
            return
        start, stop = (int(number) for number in self.headers["Range"].removeprefix("bytes=").split("-"))
        self._send(206, self.objects[name][start : stop + 1])

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def test_a_bucket_of_google_is_listed_by_pages_and_read_by_generation(tmp_path: Path) -> None:
    """Through the JSON API; a bucket that is not there is an error."""
    _Google.objects = {f"deep/{n} é.jsonl": json_lines(ROWS[n : n + 1]) for n in range(5)} | {"deep/": b""}
    with ThreadingHTTPServer(("127.0.0.1", 0), _Google) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with environment(STORAGE_EMULATOR_HOST=f"http://127.0.0.1:{server.server_port}"):
                source, cache = Source("gs://data/deep/*.jsonl"), PinCache(tmp_path / "cache")
                snapshot = pin("wiki", source, tmp_path, cache)
                assert [(file.path, file.etag) for file in snapshot.files] == [(f"{n} é.jsonl", "7") for n in range(5)]
                reader = SourceReader("wiki", source, snapshot)
                texts = [text for block in range(5) for chunk in reader.read(block, 0, 1) for text in chunk.text]
                assert [text.as_py() for text in texts] == [row["text"] for row in ROWS[:5]]
                traffic.take()
                with pytest.raises(DataError, match="404"):
                    pin("wiki", Source("gs://none/*.jsonl"), tmp_path, cache)
        finally:
            server.shutdown()
            thread.join()
