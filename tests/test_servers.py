"""The loopback servers, held against the real clients, against moto, and against what they promise of faults."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import layouts
import pyarrow.parquet as pq
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError
from huggingface_hub import HfApi, HfFileSystem, hf_hub_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from obstore.store import S3Store
from servers import Faults, HubServer, Server, aws_environment, serve_bucket, serve_files, serve_hub, serve_moto
from servers.faults import KINDS, TRANSIENT

ODD_KEYS = ("a/part.10.parquet", "a/part.2.parquet", "b /sp ace.txt", "ä/[x]+%41&=?#.txt", "z")


@pytest.fixture(scope="module")
def buckets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two buckets: `odd` with odd names, `many` with 25 objects."""
    root = tmp_path_factory.mktemp("buckets")
    for number, key in enumerate(ODD_KEYS):
        path = root / "odd" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes([number]) * (100 + number))
    (root / "many").mkdir()
    for number in range(25):
        (root / "many" / f"{number:02d}").write_bytes(b"x" * number)
    return root


@pytest.fixture(scope="module")
def s3(buckets: Path) -> Iterator[Server]:
    with serve_bucket(buckets) as server:
        yield server


@pytest.fixture(scope="module")
def moto(buckets: Path) -> Iterator[Server]:
    with serve_moto(buckets) as server:
        yield server


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    """A hub with Zyda-2, and the gated Stack, which one token opens and another does not."""
    root = tmp_path_factory.mktemp("repos")
    layouts.write_zyda2(root / "zyda2")
    layouts.write_stack_ids(root / "stack")
    with serve_hub(tokens={"hf_reader": ["bigcode/the-stack-v2-train-smol-ids"], "hf_other": []}) as server:
        server.commit("Zyphra/Zyda-2", root / "zyda2")
        server.commit("bigcode/the-stack-v2-train-smol-ids", root / "stack", gated=True)
        yield server


@pytest.fixture(autouse=True)
def _no_keys_of_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No token, no region and no key of the user's gets into the tests."""
    for name in ("HF_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "no-token"))


def client_of(server: Server, **config: Any) -> Any:
    """boto3's client, without retries of its own."""
    keys = {name: value for name, value in aws_environment(server).items() if "KEY" in name}
    return boto3.client(
        "s3",
        endpoint_url=server.url,
        region_name="us-east-1",
        aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
        config=Config(retries={"total_max_attempts": 1}, **config),
    )


def store_of(server: Server, bucket: str, **config: Any) -> S3Store:
    """obstore's client."""
    options = {"allow_http": True}
    return S3Store(bucket, endpoint=server.url, region="us-east-1", client_options=options, **config)


def raw_get(server: Server, target: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """A GET without any client's help, on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request("GET", target, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()
    finally:
        connection.close()


def test_files_are_served_whole_in_parts_and_under_conditions(tmp_path: Path) -> None:
    """Ranges, If-Match, If-Range and If-None-Match do what RFC 9110 says."""
    data = bytes(range(256)) * 1000  # more than what is sent in one write
    (tmp_path / "a b").mkdir()
    (tmp_path / "a b" / "ü.bin").write_bytes(data)
    target = "/a%20b/%C3%BC.bin"
    with serve_files(tmp_path) as server:
        status, headers, body = raw_get(server, target)
        assert (status, body, headers["Accept-Ranges"]) == (200, data, "bytes")
        etag = headers["ETag"]
        for asked, start, stop in (("0-0", 0, 1), ("10-99", 10, 100), ("255990-", 255_990, 256_000), ("-6", -6, None)):
            status, headers, body = raw_get(server, target, Range=f"bytes={asked}")
            assert (status, body) == (206, data[start:stop])
            assert headers["Content-Range"].endswith("/256000")
        assert raw_get(server, target, Range="bytes=256000-")[0] == 416
        assert raw_get(server, target, Range="bytes=0-9", If_Match=etag)[0] == 206
        assert raw_get(server, target, Range="bytes=0-9", If_Match='"another"')[0] == 412
        assert raw_get(server, target, Range="bytes=0-9", If_Range='"another"')[0] == 200
        assert raw_get(server, target, If_None_Match=etag)[0] == 304
        (tmp_path / "a b" / "ü.bin").write_bytes(data + b"!")
        assert raw_get(server, target, If_Match=etag)[0] == 412


def test_a_folder_has_an_index_and_nothing_above_it(tmp_path: Path) -> None:
    """A client may follow the links; it does not get out of the folder."""
    (tmp_path / "served" / "sub ").mkdir(parents=True)
    (tmp_path / "secret").write_text("no")
    with serve_files(tmp_path / "served") as server:
        assert b'<a href="sub%20/">sub /</a>' in raw_get(server, "/")[2]
        assert raw_get(server, "/sub%20")[:2][1]["Location"] == "/sub%20/"
        assert raw_get(server, "/../secret")[0] == raw_get(server, "/%2e%2e/secret")[0] == 404


def test_latency_is_added_to_each_request_and_not_to_their_sum(tmp_path: Path) -> None:
    """Twenty requests at once wait together."""
    (tmp_path / "x").write_bytes(b"x")
    with serve_files(tmp_path) as server, ThreadPoolExecutor(20) as pool:
        server.set_faults(Faults(latency_seconds=0.2))
        started = time.monotonic()
        assert {status for status, *_ in pool.map(lambda _: raw_get(server, "/x"), range(20))} == {200}
        assert 0.2 <= time.monotonic() - started < 2


def outcome(call: Any, **arguments: Any) -> Any:
    """What S3 answered, as far as it has to be the same everywhere."""
    try:
        found = call(**arguments)
    except ClientError as error:
        # HEAD has no body, so no code either: boto3 makes one of the status.
        return error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
    if "Body" in found:
        kept = ("ContentLength", "ETag", "ContentRange")
        return found["Body"].read(), {name: found.get(name) for name in kept}
    kept = ("ContentLength", "ETag", "IsTruncated", "KeyCount", "CommonPrefixes", "Prefix", "MaxKeys")
    objects = [(item["Key"], item["Size"], item["ETag"]) for item in found.get("Contents", [])]
    return objects, {name: found.get(name) for name in kept}


@pytest.mark.parametrize(
    ("operation", "arguments"),
    [
        ("list_objects_v2", {}),
        ("list_objects_v2", {"Delimiter": "/"}),
        ("list_objects_v2", {"Prefix": "a/", "Delimiter": "/"}),
        ("list_objects_v2", {"Prefix": "b", "StartAfter": "b /"}),
        ("list_objects_v2", {"MaxKeys": 2}),
        ("list_objects_v2", {"Prefix": "nothing"}),
        ("list_objects_v2", {"Bucket": "no-bucket"}),
        *(("head_object", {"Key": key}) for key in ODD_KEYS),
        *(("get_object", {"Key": key}) for key in ODD_KEYS),
        ("get_object", {"Key": "z", "Range": "bytes=1-3"}),
        ("get_object", {"Key": "z", "Range": "bytes=-3"}),
        ("get_object", {"Key": "z", "Range": "bytes=1000-"}),
        ("get_object", {"Key": "z", "IfMatch": '"another"'}),
        ("get_object", {"Key": "missing"}),
        ("head_object", {"Key": "missing"}),
        ("get_object", {"Bucket": "no-bucket", "Key": "x"}),
    ],
)
def test_our_s3_answers_as_motos_does(operation: str, arguments: dict[str, Any], s3: Server, moto: Server) -> None:
    """Two implementations, one answer, through boto3."""
    arguments = {"Bucket": "odd", **arguments}
    ours = outcome(getattr(client_of(s3), operation), **arguments)
    assert ours == outcome(getattr(client_of(moto), operation), **arguments)


@pytest.mark.parametrize("max_keys", [1, 7, 25, 1000])
def test_a_listing_in_pages_has_each_key_once(max_keys: int, s3: Server) -> None:
    """The continuation token goes on where the page ended."""
    pages = (
        client_of(s3).get_paginator("list_objects_v2").paginate(Bucket="many", PaginationConfig={"PageSize": max_keys})
    )
    assert [item["Key"] for page in pages for item in page["Contents"]] == [f"{number:02d}" for number in range(25)]


@pytest.mark.parametrize("kind", ["ours", "moto"])
def test_obstore_reads_lists_and_skips_the_signature(kind: str, s3: Server, moto: Server) -> None:
    """The client that mixer uses, signed and unsigned, over both servers."""
    server = s3 if kind == "ours" else moto
    for signing in ({"skip_signature": True}, {"access_key_id": "test-key", "secret_access_key": "test-secret"}):
        store = store_of(server, "odd", **signing)
        assert sorted(item["path"] for page in store.list() for item in page) == sorted(ODD_KEYS)
        assert bytes(store.get_range("b /sp ace.txt", start=2, length=5)) == b"\2" * 5
        assert store.head("z")["e_tag"] == f'"{hashlib.md5(bytes([4]) * 104).hexdigest()}"'


def test_access_is_refused_as_s3_refuses_it(buckets: Path) -> None:
    """A signed bucket refuses unsigned requests; an unlisted one says 403 of what is missing."""
    with serve_bucket(buckets, signed=["many"], unlisted=["odd"]) as server:
        signed, unsigned = client_of(server), client_of(server, signature_version=UNSIGNED)
        assert outcome(signed.get_object, Bucket="many", Key="03")[0] == b"xxx"
        assert outcome(unsigned.get_object, Bucket="many", Key="03") == ("AccessDenied", 403)
        assert outcome(unsigned.list_objects_v2, Bucket="odd") == ("AccessDenied", 403)
        assert outcome(unsigned.get_object, Bucket="odd", Key="missing") == ("AccessDenied", 403)
        assert outcome(unsigned.get_object, Bucket="odd", Key="z")[0] == bytes([4]) * 104


def test_faults_depend_on_the_seed_and_the_request_alone() -> None:
    """A share of the requests fails, each a bounded number of times, the same ones for the same seed."""
    faults = Faults(seed=3, share=0.3, in_a_row=3)
    requests = [("GET", f"/{number}", "") for number in range(2000)]
    plan = {one: [faults.kind_of(*one, attempt) for attempt in range(5)] for one in requests}
    failing = [kinds for kinds in plan.values() if kinds[0]]
    assert 500 < len(failing) < 700
    assert {sum(kind is not None for kind in kinds) for kinds in failing} == {1, 2, 3}
    assert all(kinds[3:] == [None, None] for kinds in plan.values())
    assert {kind for kinds in failing for kind in kinds} == {*TRANSIENT, None}
    again = Faults(seed=3, share=0.3, in_a_row=3)
    assert plan == {one: [again.kind_of(*one, attempt) for attempt in range(5)] for one in reversed(requests)}
    assert plan != {one: [Faults(seed=4, share=0.3).kind_of(*one, attempt) for attempt in range(5)] for one in requests}


def symptom(server: Server) -> object:
    """What a client sees of a fault."""
    try:
        started = time.monotonic()
        status, headers, body = raw_get(server, "/data")
    except (ConnectionResetError, http.client.IncompleteRead) as error:
        return type(error).__name__, time.monotonic() - started > 0.25
    return status, headers.get("Retry-After"), body[:5], time.monotonic() - started > 0.25


SYMPTOMS: dict[str, object] = {
    "reset": ("ConnectionResetError", False),
    "silent": ("ConnectionResetError", True),
    "short": ("IncompleteRead", False),
    "stall": (200, None, b"aaaaa", True),
    "403": (403, None, b"not n", False),
    "429": (429, "7", b"not n", False),
    "500": (500, None, b"not n", False),
    "502": (502, None, b"not n", False),
    "503": (503, "7", b"not n", False),
    "slow-down": (503, "7", b"<?xml", False),
}


@pytest.mark.parametrize(("kind", "expected"), SYMPTOMS.items())
def test_each_fault_looks_as_it_should_and_ends(kind: Any, expected: object, tmp_path: Path) -> None:
    """The request fails in its way, is served when it is made again, and both are in the record."""
    (tmp_path / "data").write_bytes(b"a" * 100_000)
    with serve_files(tmp_path) as server:
        server.set_faults(Faults(share=1, kinds=(kind,), stall_seconds=0.3, retry_after_seconds=7))
        assert symptom(server) == expected
        assert symptom(server) == (200, None, b"aaaaa", False)
        assert [request.fault for request in server.requests()] == [kind, None]


def test_a_reset_inside_of_a_body_and_wrong_bytes_are_what_they_are_called(tmp_path: Path) -> None:
    """A reset breaks the transfer off; a wrong byte changes nothing but itself."""
    (tmp_path / "data").write_bytes(b"a" * 100_000)
    with serve_files(tmp_path) as server:
        server.set_faults(Faults(share=1, kinds=("reset-inside",)))
        with pytest.raises((ConnectionResetError, http.client.IncompleteRead)):
            raw_get(server, "/data")
        server.set_faults(Faults(share=1, kinds=("wrong-bytes",)))
        body = raw_get(server, "/data")[2]
        assert len(body) == 100_000
        assert body.count(b"a") == 99_999


def test_every_kind_of_fault_has_its_test() -> None:
    """The table above, and the two kinds of the test above."""
    assert {*SYMPTOMS, "reset-inside", "wrong-bytes"} == set(KINDS)


def test_faults_can_be_kept_to_some_requests(tmp_path: Path) -> None:
    """`only` names targets; HEAD is not given a fault that needs a body."""
    (tmp_path / "one").write_bytes(b"1" * 10)
    (tmp_path / "two").write_bytes(b"2" * 10)
    with serve_files(tmp_path) as server:
        server.set_faults(Faults(share=1, kinds=("500",), only="two$"))
        assert [raw_get(server, name)[0] for name in ("/one", "/two", "/two")] == [200, 500, 200]
    assert Faults(share=1, kinds=("short",)).kind_of("HEAD", "/", "", 0) is None


def test_obstore_survives_every_transient_fault(s3: Server) -> None:
    """A client with retries gets every byte, however each request fails."""
    retries = {"max_retries": 4, "backoff": {"init_backoff": timedelta(milliseconds=1)}}
    store = store_of(s3, "many", skip_signature=True, retry_config=retries)
    s3.forget()
    s3.set_faults(Faults(seed=5, share=0.5, kinds=("reset", "500", "502", "503", "slow-down"), in_a_row=2))
    try:
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda number: bytes(store.get(f"{number:02d}").bytes()), range(25)))
        assert found == [b"x" * number for number in range(25)]
        assert len(s3.requests()) > 25
        assert len({request.fault for request in s3.requests()}) >= 5
    finally:
        s3.set_faults(Faults())


def test_the_record_tells_which_bytes_were_asked_for_twice(s3: Server) -> None:
    """Range, length and order of each request are kept until they are forgotten."""
    store = store_of(s3, "odd", skip_signature=True)
    s3.forget()
    store.get_range("z", start=0, end=50)
    store.get_range("z", start=50, end=104)
    asked = [(request.method, request.target, request.range, request.num_bytes) for request in s3.requests()]
    assert asked == [("GET", "/odd/z", "bytes=0-49", 50), ("GET", "/odd/z", "bytes=50-103", 54)]
    assert not any(request.has_token for request in s3.requests())
    s3.forget()
    assert s3.requests() == []


def test_the_hub_lists_a_tree_in_pages(tmp_path: Path) -> None:
    """`list_repo_tree` follows the links; names, sizes and digests are those of the files."""
    layouts.write_zyda2(tmp_path)
    with serve_hub(page_entries=5) as server:
        sha = server.commit("Zyphra/Zyda-2", tmp_path)
        api = HfApi(endpoint=server.url)
        assert api.dataset_info("Zyphra/Zyda-2", revision="main").sha == sha
        listed = list(api.list_repo_tree("Zyphra/Zyda-2", repo_type="dataset", recursive=True, revision=sha))
        files = {item.path: item for item in listed if hasattr(item, "size")}
        paths = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert sorted(files) == sorted(path.relative_to(tmp_path).as_posix() for path in paths)
        for path in paths:
            found = files[path.relative_to(tmp_path).as_posix()]
            assert found.size == path.stat().st_size
            if path.suffix == ".parquet":
                assert found.lfs.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        odd = "data/zyda_crossdeduped-filtered "
        below = api.list_repo_tree("Zyphra/Zyda-2", odd, repo_type="dataset")
        assert [item.path for item in below] == [f"{odd}/c4_en", f"{odd}/zyda_peS2o"]


def test_the_hub_gives_files_out_through_both_redirects(hub: HubServer, tmp_path: Path) -> None:
    """Files of git through the hub's cache, large ones through the CDN, which never sees the token."""
    api = HfApi(endpoint=hub.url, token="hf_other")
    hub.forget()
    for name in ("README.md", "data/zyda_crossdeduped-filtered /c4_en/part.10.parquet"):
        path = hf_hub_download(
            "Zyphra/Zyda-2", name, repo_type="dataset", endpoint=hub.url, cache_dir=tmp_path, token="hf_other"
        )
        found = api.get_paths_info("Zyphra/Zyda-2", [name], repo_type="dataset")[0]
        assert Path(path).stat().st_size == found.size
    status = {request.status for request in hub.requests()}
    assert {200, 302, 307} <= status
    of_the_cdn = [request for request in hub.requests() if request.target.startswith("/repos/")]
    assert of_the_cdn
    assert not any(request.has_token for request in of_the_cdn)


def test_a_file_of_the_hub_is_read_by_ranges(hub: HubServer) -> None:
    """`HfFileSystem` reads a part without the rest."""
    system = HfFileSystem(endpoint=hub.url, skip_instance_cache=True)
    path = "datasets/Zyphra/Zyda-2/sample/100BT/fwe3/part.10.parquet"
    hub.forget()
    with system.open(path, block_size=256) as file:
        file.seek(-4, 2)
        assert file.read() == b"PAR1"
    ranges = [request.range for request in hub.requests() if request.range]
    assert ranges
    assert len(system.glob("datasets/Zyphra/Zyda-2/data/*/*/part.*.parquet")) == 18


def test_a_gated_repository_wants_a_token_and_accepted_terms(hub: HubServer, tmp_path: Path) -> None:
    """Anybody may list it and read its card; the files need the right token."""
    repo, name = "bigcode/the-stack-v2-train-smol-ids", "data/train-00001-of-00002.parquet"
    api = HfApi(endpoint=hub.url, token=False)
    assert api.dataset_info(repo).gated == "auto"
    assert len(list(api.list_repo_tree(repo, "data", repo_type="dataset"))) == 2

    def fetch(file: str, token: str | bool) -> str:
        return hf_hub_download(repo, file, repo_type="dataset", endpoint=hub.url, cache_dir=tmp_path, token=token)

    for token, status in ((False, 401), ("hf_other", 403)):
        assert fetch("README.md", token)
        with pytest.raises(GatedRepoError) as caught:
            fetch(name, token)
        assert caught.value.response.status_code == status
    with pytest.raises(HfHubHTTPError, match="Invalid credentials"):
        HfApi(endpoint=hub.url, token="hf_unknown").dataset_info(repo)
    assert Path(fetch(name, "hf_reader")).stat().st_size


def test_what_the_hub_does_not_have_is_named(hub: HubServer, tmp_path: Path) -> None:
    """Repository, revision and file: the client raises the error of each."""
    api = HfApi(endpoint=hub.url, token=False)
    with pytest.raises(RepositoryNotFoundError):
        api.dataset_info("Zyphra/Zyda-3")
    with pytest.raises(RevisionNotFoundError):
        api.dataset_info("Zyphra/Zyda-2", revision="refs/pr/1")
    with pytest.raises(RevisionNotFoundError):
        list(api.list_repo_tree("Zyphra/Zyda-2", repo_type="dataset", revision="v9"))
    with pytest.raises(RemoteEntryNotFoundError):
        list(api.list_repo_tree("Zyphra/Zyda-2", "data/dclm", repo_type="dataset"))
    with pytest.raises(RemoteEntryNotFoundError):
        hf_hub_download("Zyphra/Zyda-2", "x", repo_type="dataset", endpoint=hub.url, cache_dir=tmp_path)


def test_a_branch_moves_and_its_commits_stay(tmp_path: Path) -> None:
    """A commit's sha goes on naming the files that it had."""
    layouts.write_finemath(tmp_path / "old")
    layouts.write_fineweb_edu(tmp_path / "new")
    with serve_hub() as server:
        old = server.commit("ORG/NAME", tmp_path / "old")
        new = server.commit("ORG/NAME", tmp_path / "new")
        side = server.commit("ORG/NAME", tmp_path / "old", branch="v1/side")
        api, name = HfApi(endpoint=server.url), "finemath-3plus/train-00000-of-00002.parquet"
        assert api.dataset_info("ORG/NAME").sha == new
        assert api.dataset_info("ORG/NAME", revision="v1/side").sha == side
        assert api.file_exists("ORG/NAME", name, repo_type="dataset", revision=old)
        assert not api.file_exists("ORG/NAME", name, repo_type="dataset", revision=new)
        refs = api.list_repo_refs("ORG/NAME", repo_type="dataset")
        assert {branch.name: branch.target_commit for branch in refs.branches} == {"main": new, "v1/side": side}


STREAM = """
import datasets
for config in ("zyda_crossdeduped-filtered", "dolma-cc_crossdeduped-filtered", "sample-100BT"):
    rows = datasets.load_dataset("Zyphra/Zyda-2", config, split="train", streaming=True)
    print(len([row["text"] for row in rows.select_columns("text")]))
"""


def test_datasets_streams_the_configs_of_the_hub(hub: HubServer, tmp_path: Path) -> None:
    """`load_dataset` finds the card, resolves each config, and reads every row, through HF_ENDPOINT alone."""
    environment = {"PATH": "/usr/bin:/bin", **hub.environment(tmp_path)}
    command = [sys.executable, "-c", STREAM]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert [int(line) for line in done.stdout.split()] == [6 * 24, 3 * 24, 12 * 20]


def test_a_server_ends_with_its_block(tmp_path: Path) -> None:
    """Nothing is left running, whatever happens in the block."""

    class Broken(Exception):
        pass

    server = None
    try:
        with serve_files(tmp_path) as server:
            raise Broken
    except Broken:
        pass
    assert server is not None
    assert server.process.poll() is not None
    with pytest.raises(ConnectionRefusedError):
        raw_get(server, "/")


def test_a_server_ends_silently_with_connections_open(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A client that keeps its connection does not hold it up, nor make it complain."""
    (tmp_path / "x").write_bytes(b"x")
    with serve_files(tmp_path) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        connection.request("GET", "/x")
        assert connection.getresponse().read() == b"x"
    assert server.process.returncode == 0
    connection.close()
    assert capfd.readouterr().err == ""


def test_a_server_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    """Where a test run is killed, its servers see that nobody talks to them any more."""
    with serve_files(tmp_path) as server:
        assert server.process.stdin
        server.process.stdin.close()
        assert server.process.wait(10) == 0


def test_the_layouts_are_what_the_readers_will_meet(tmp_path: Path) -> None:
    """Every blob of a repository is in the bucket under its sha1, and the texts are what the bytes mean."""
    layouts.write_stack_ids(tmp_path / "ids")
    layouts.write_stack_bucket(tmp_path / "bucket")
    layouts.write_stack_texts(tmp_path / "texts")
    ids = [row for path in sorted((tmp_path / "ids/data").iterdir()) for row in pq.read_table(path).to_pylist()]
    fetched = [row for path in sorted((tmp_path / "texts").iterdir()) for row in pq.read_table(path).to_pylist()]
    assert len(ids) == len(fetched) == 20
    files = [file for row in ids for file in row["files"]]
    assert {file["src_encoding"] for file in files} == set(layouts.ENCODINGS)
    for file, with_text in zip(files, (file for row in fetched for file in row["files"]), strict=True):
        data = gzip.decompress((tmp_path / "bucket/content" / file["blob_id"]).read_bytes())
        assert hashlib.sha1(data).hexdigest() == file["blob_id"]
        assert len(data) == file["length_bytes"]
        assert file == {name: value for name, value in with_text.items() if name != "text"}
        if file["src_encoding"] in ("UTF-8", "ISO-8859-1", "GB18030", "UTF-16"):
            assert data.decode(file["src_encoding"]) == with_text["text"]
