"""What goes wrong on the way to remote sources: what passes is survived and counted, what does not is said at once."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from remote_kit import BUCKET, PLACES, REPO, Remote, environment, on_hub, on_s3
from servers import Faults, aws_environment, serve_bucket, serve_files, serve_hub
from sources_kit import Source, json_lines, write_parquet
from workshop import Workshop, contents

from mixer.errors import DataError, MixerError, RecipeError, TaskError
from mixer.sources.pin import pin
from mixer.sources.pin_cache import PinCache
from mixer.sources.reader import SourceReader
from mixer.stores import http as wire
from mixer.stores import retry, traffic
from mixer.stores.retry import RetryPolicy

ROWS = [{"text": f"row {n} " + "x" * 50, "n": n} for n in range(40)]
RANDOM_KINDS = ("reset", "reset-inside", "short", "429", "500", "502", "503", "slow-down")


def shards(out: Path) -> dict[str, str]:
    return {path: digest for path, digest in contents(out).items() if path.startswith("shards/")}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three attempts without waiting long."""
    monkeypatch.setattr(retry, "POLICY", RetryPolicy(max_failures=3, first_wait_seconds=0.001))


@pytest.fixture
def cache(tmp_path: Path) -> PinCache:
    return PinCache(tmp_path / "cache")


def read_all(source: Source, root: Path, cache: PinCache) -> list[str | None]:
    """Pin and read every text."""
    snapshot = pin("wiki", source, root, cache)
    reader = SourceReader("wiki", source, snapshot)
    chunks = [
        chunk
        for block in range(snapshot.num_blocks)
        for chunk in reader.read(block, 0, int(snapshot.block_kept[block]))
    ]
    return [text for chunk in chunks for text in chunk.text.to_pylist()]


@contextmanager
def bucket(tmp_path: Path, **options: list[str]) -> Iterator[tuple]:
    """A bucket `data` with a parquet file and one of lines."""
    folder = tmp_path / "buckets/data"
    folder.mkdir(parents=True)
    write_parquet(folder / "a.parquet", ROWS, 10)
    (folder / "a.jsonl").write_bytes(json_lines(ROWS))
    with serve_bucket(tmp_path / "buckets", **options) as server, environment(**aws_environment(server)):
        yield folder, server


@pytest.mark.parametrize("place", PLACES)
def test_faults_at_random_requests_change_no_byte(
    workshop: Workshop, finished: Path, tmp_path: Path, place: str
) -> None:
    """Resets, short bodies, 429, 5xx and SlowDown at half of the requests, some twice; each is in the log."""
    with PLACES[place](workshop, tmp_path) as remote:
        remote.server.set_faults(Faults(seed=5, share=0.5, in_a_row=2, kinds=RANDOM_KINDS))
        workshop.build(tmp_path / "out", remote.recipe(), cache_dir=tmp_path / "cache", workers=2)
        served = remote.server.requests()
    assert shards(tmp_path / "out") == shards(finished)
    log = json.loads((tmp_path / "out/build-log.json").read_text())["traffic"]
    kinds = {request.fault for request in served} - {None}
    assert kinds == set(RANDOM_KINDS)
    assert {"retries_busy", "retries_server", "retries_short", "retries_connection", "wait_seconds"} <= log.keys()


def test_the_hubs_limit_on_requests_is_waited_for(tmp_path: Path, cache: PinCache) -> None:
    """It says when the limit begins anew in a header of its own; many short waits would be used up before that."""
    folder = tmp_path / "tree"
    folder.mkdir()
    (folder / "a.jsonl").write_bytes(json_lines(ROWS))
    with serve_hub() as server, environment(**server.environment(tmp_path / "home")):
        server.commit(REPO, folder)
        server.set_faults(Faults(share=1.0, kinds=("429",), only="/resolve/", rate_limit_seconds=2))
        traffic.take()
        assert len(read_all(Source(f"hf://datasets/{REPO}/a.jsonl"), tmp_path, cache)) == len(ROWS)
        limited = sum(request.fault == "429" for request in server.requests())
    counted = traffic.take()
    assert counted["retries_busy"] == limited > 0
    assert counted["wait_seconds"] >= 2 * limited


@pytest.mark.parametrize("kind", ["silent", "stall"])
def test_a_transfer_that_stalls_is_given_up_and_goes_on(
    tmp_path: Path, cache: PinCache, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """With another connection, from where it stopped."""
    with serve_files(tmp_path / "site") as server, environment():
        monkeypatch.setattr(wire, "STALL_SECONDS", 0.3)
        (tmp_path / "site").mkdir(exist_ok=True)
        (tmp_path / "site/a.jsonl").write_bytes(json_lines(ROWS * 50))
        server.set_faults(Faults(share=1.0, kinds=(kind,), stall_seconds=3, only="a.jsonl"))  # type: ignore[arg-type]
        traffic.take()
        texts = read_all(Source(f"{server.url}/a.jsonl"), tmp_path, cache)
    assert texts == [row["text"] for row in ROWS * 50]
    assert traffic.take()["retries_timeout"] >= 1


def test_a_lost_connection_costs_no_byte_twice(tmp_path: Path, cache: PinCache) -> None:
    """What came before the loss is not asked for again."""
    with bucket(tmp_path) as (folder, server):
        server.set_faults(Faults(share=1.0, kinds=("short",), only="a.jsonl"))
        pin("wiki", Source("s3://data/a.jsonl"), folder, cache)
        ranges = [request.range for request in server.requests() if request.range]
        num_bytes = (folder / "a.jsonl").stat().st_size
    starts = [int(asked.removeprefix("bytes=").split("-")[0]) for asked in ranges]
    assert starts[:3] == [0, num_bytes // 2, num_bytes // 2 + num_bytes // 4]
    assert starts == sorted(starts)


def test_wrong_bytes_of_a_whole_file_are_fetched_again(tmp_path: Path, cache: PinCache) -> None:
    """A bucket's MD5 tells them."""
    with bucket(tmp_path) as (folder, server):
        server.set_faults(Faults(share=1.0, kinds=("wrong-bytes",), only="a.jsonl"))
        traffic.take()
        assert read_all(Source("s3://data/a.jsonl"), folder, cache) == [row["text"] for row in ROWS]
        assert traffic.take()["retries_damaged"] == 1


@pytest.mark.parametrize(("name", "algorithm"), [("a.jsonl", "sha1"), ("a.ndjson", "sha256")])
def test_a_digest_that_never_fits_is_an_error_with_both(
    tmp_path: Path, cache: PinCache, impatient: None, name: str, algorithm: str
) -> None:
    """The hub says one sha256 and sends another file's bytes; nothing of it stays in the cache."""
    folder = tmp_path / "tree"
    folder.mkdir()
    lines = json_lines(ROWS * 4000)
    (folder / name).write_bytes(lines)
    with serve_hub() as server, environment(**server.environment(tmp_path / "home")):
        server.commit(REPO, folder)
        server.set_faults(Faults(share=1.0, in_a_row=1000, kinds=("wrong-bytes",), only="/repos/|resolve"))
        with pytest.raises(DataError) as caught:
            pin("wiki", Source(f"hf://datasets/{REPO}/{name}"), folder, cache)
    prefix = b"blob %d\0" % len(lines) if algorithm == "sha1" else b""  # as git names what is not in LFS
    assert hashlib.new(algorithm, prefix + lines).hexdigest() in caught.value.message
    assert "as its store says (3 attempts failed" in caught.value.message
    assert name in str(caught.value.where)
    assert not list((cache.folder / "blocks").glob("??/*"))


def refusal(source: Source, tmp_path: Path) -> MixerError:
    with pytest.raises(MixerError) as caught:
        read_all(source, tmp_path, PinCache(tmp_path / "cache"))
    return caught.value


def test_what_a_bucket_refuses_is_said_at_once(tmp_path: Path) -> None:
    """No bucket, no such file, nothing below a prefix, no access: one request, one error."""
    with bucket(tmp_path, signed=["data"]) as (_, server):
        for path, words, hint in (
            ("s3://none/*.parquet", "404 NoSuchBucket", "check the address"),
            ("s3://data/b.parquet", "'s3://data/b.parquet' matches no file", "holds 'a.jsonl', 'a.parquet'"),
            ("s3://data/empty/*.parquet", "matches no file", "s3://data/ holds 'a.jsonl', 'a.parquet'"),
            ("s3://data", "matches no file", "'a.jsonl', 'a.parquet'"),
        ):
            error = refusal(Source(path, format="parquet"), tmp_path)
            assert words in error.message
            assert hint in str(error.hint)
            assert "sources.wiki" in str(error.where)
        with environment(AWS_ENDPOINT_URL=server.url, AWS_EC2_METADATA_DISABLED="true", AWS_REGION="us-east-1"):
            for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
                os.environ.pop(name, None)
            server.forget()
            error = refusal(Source("s3://data/*.parquet"), tmp_path)
            assert "403 AccessDenied" in error.message
            assert len(server.requests()) == 1


def test_an_empty_bucket_says_that_it_holds_nothing(tmp_path: Path) -> None:
    """And not that a format is unknown."""
    (tmp_path / "buckets/data").mkdir(parents=True)
    with serve_bucket(tmp_path / "buckets") as server, environment(**aws_environment(server)):
        error = refusal(Source("s3://data/*.parquet"), tmp_path)
    assert isinstance(error, RecipeError)
    assert (error.message, error.hint) == ("'s3://data/*.parquet' matches no file", "s3://data/ holds nothing")


def test_what_the_hub_refuses_is_said_with_the_way_in(tmp_path: Path) -> None:
    """No repository, revision or file; a gated one without a token, and with one whose owner did not accept."""
    folder = tmp_path / "tree"
    folder.mkdir()
    write_parquet(folder / "a.parquet", ROWS, 10)
    with serve_hub(tokens={"hf_in": ["lab/gated"], "hf_out": []}) as server:
        server.commit(REPO, folder)
        server.commit("lab/gated", folder, gated=True)
        with environment(**server.environment(tmp_path / "home")):
            for address, words in (
                ("lab/none/*.parquet", "there is no such data set, or it is private and there is no token"),
                (f"{REPO}@other/*.parquet", "there is no revision 'other'"),
                (f"{REPO}/b/*.parquet", "matches no file"),
                ("lab/gated/*.parquet", "the data set is gated, and there is no token"),
            ):
                error = refusal(Source(f"hf://datasets/{address}"), tmp_path)
                assert words in error.message
                assert error.hint
            assert "hf auth login" in str(error.hint)
        with environment(**server.environment(tmp_path / "home"), HF_TOKEN="hf_out"):
            error = refusal(Source("hf://datasets/lab/gated/*.parquet"), tmp_path)
            assert "the data set is gated" in error.message
            assert "accept its terms at" in str(error.hint)
        with environment(**server.environment(tmp_path / "home"), HF_TOKEN="hf_in"):
            server.forget()
            assert len(read_all(Source("hf://datasets/lab/gated/*.parquet"), tmp_path, PinCache(tmp_path / "c"))) == 40
            elsewhere = [request for request in server.requests() if "/repos/" in request.target]
            assert not any(request.has_token for request in elsewhere)
    found = [path for path in (tmp_path / "c").rglob("*") if path.is_file() and b"hf_in" in path.read_bytes()]
    assert found == []


def test_a_host_that_never_answers_is_named(tmp_path: Path, impatient: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens; and somebody listens and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent, environment():
        monkeypatch.setattr(wire, "STALL_SECONDS", 0.2)
        port = silent.getsockname()[1]
        error = refusal(Source(f"http://127.0.0.1:{port}/a.parquet"), tmp_path)
        assert "does not answer" in error.message
        assert "(3 attempts failed" in error.message
    error = refusal(Source(f"http://127.0.0.1:{port}/a.parquet"), tmp_path)
    assert "no connection to the host" in error.message
    assert f"http://127.0.0.1:{port}/a.parquet" in str(error.where)


@pytest.mark.parametrize("path", ["https://me:secret@x.org/a.parquet", "https://x.org/a.parquet?sig=secret"])
def test_a_secret_in_an_address_is_refused_and_not_shown(tmp_path: Path, path: str) -> None:
    """It would be kept in the manifest."""
    error = refusal(Source(path), tmp_path)
    assert isinstance(error, RecipeError)
    assert "secret" not in str(error)
    assert "x.org" in str(error)


def test_a_file_that_is_cut_short_where_it_comes_from_is_named(tmp_path: Path, impatient: None) -> None:
    """zstd that ends early, parquet without its end."""
    with bucket(tmp_path) as (folder, _):
        import zstandard

        (folder / "cut.jsonl.zst").write_bytes(zstandard.compress(json_lines(ROWS * 100))[:-20])
        (folder / "cut.parquet").write_bytes((folder / "a.parquet").read_bytes()[:-20])
        for name, words in (("cut.jsonl.zst", "cannot be read"), ("cut.parquet", "does not end as a Parquet file")):
            error = refusal(Source(f"s3://data/{name}"), tmp_path)
            assert isinstance(error, DataError)
            assert words in error.message
            assert error.where == f"sources.wiki: s3://data/{name}"


def test_a_file_that_changes_between_pinning_and_reading_is_an_error(tmp_path: Path, cache: PinCache) -> None:
    """The server refuses its old version; what was read of it before is still good."""
    with bucket(tmp_path) as (folder, _):
        source = Source("s3://data/a.parquet")
        snapshot = pin("wiki", source, folder, cache)
        write_parquet(folder / "a.parquet", [*ROWS[1:], ROWS[0]], 10)
        with pytest.raises(DataError, match="the file changed since it was pinned") as caught:
            next(SourceReader("wiki", source, snapshot).read(0, 0, 1))
        assert "sources.wiki: s3://data/a.parquet" in str(caught.value.where)


def test_a_full_disk_in_the_cache_is_an_error_with_a_way_on(tmp_path: Path, cache: PinCache) -> None:
    """Nothing half-written looks whole, and the same call goes on when there is room."""
    with bucket(tmp_path) as (folder, _):
        source = Source("s3://data/a.jsonl")
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))  # writes beyond it fail, as on a full disk
        try:
            with pytest.raises(TaskError) as caught:
                pin("wiki", source, folder, cache)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert "cannot write to the cache" in caught.value.message
        assert caught.value.where == str(cache.folder)
        assert "cache: {dir, size}" in str(caught.value.hint)
        assert not list((cache.folder / "blocks").glob("??/*"))
        assert len(read_all(source, folder, cache)) == 40


@pytest.mark.parametrize("place", [on_s3, on_hub])
def test_a_build_that_lost_its_network_goes_on_where_it_was(
    workshop: Workshop, finished: Path, tmp_path: Path, impatient: None, place
) -> None:
    """One error that names the file; no manifest; the same command, and the same bytes."""
    with place(workshop, tmp_path) as remote:
        kept = tmp_path / "cache"
        remote.server.set_faults(Faults(share=1.0, in_a_row=1000, kinds=("reset",), only="forum"))
        with pytest.raises(DataError) as caught:
            workshop.build(tmp_path / "out", remote.recipe(), cache_dir=kept)
        assert "forum" in str(caught.value.where)
        assert not (tmp_path / "out/manifest.json").exists()
        remote.server.set_faults(Faults())
        workshop.build(tmp_path / "out", remote.recipe(), cache_dir=kept)
    assert shards(tmp_path / "out") == shards(finished)


def test_blocks_that_fail_in_the_middle_of_a_build_say_which(
    workshop: Workshop, tmp_path: Path, impatient: None
) -> None:
    """Pinned and measured, then the bucket loses a file: the error is raised where its block is read."""
    with on_s3(workshop, tmp_path) as remote:
        assert isinstance(remote, Remote)
        recipe = remote.recipe()
        with pytest.MonkeyPatch.context() as patch:
            from mixer.building import build as build_module

            real = build_module.run_tasks

            def lose_a_file(*args, **kwargs):
                import shutil

                shutil.rmtree(tmp_path / "cache/blocks")
                (remote.root / "forum/0.arrow").unlink()
                return real(*args, **kwargs)

            patch.setattr(build_module, "run_tasks", lose_a_file)
            with pytest.raises(DataError, match="404 NoSuchKey") as caught:
                workshop.build(tmp_path / "out", recipe, cache_dir=tmp_path / "cache", workers=2)
    assert caught.value.where == f"sources.forum: s3://{BUCKET}/forum/0.arrow"
