"""Stack v2 fetched from real servers on loopback, by the real client, against what plain Python makes of it."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import layouts
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from remote_kit import environment
from servers import HubServer, Server, aws_environment, serve_bucket, serve_files, serve_hub, serve_moto
from stack_kit import SCHEMA, SourceFile, expected_rows, expected_text, fetch, read_rows, write_blobs, write_ids
from workshop import contents

from mixer.errors import BuildStateError, DataError, RecipeError
from mixer.stack.blobs import Origin
from mixer.stack.fetch_plan import HostPart, Policy, Rules
from mixer.stack.repositories import with_text
from mixer.stack.wanted_files import Selection


def make_repositories(count: int, seed: int = 3) -> list[list[SourceFile]]:
    """Repositories of 0 to 4 small files, in several encodings, some of which are not what they say."""
    chance = random.Random(seed)
    encodings = ["UTF-8", "UTF-8", "ISO-8859-1", "UTF-16", "unknown-8bit", None]

    def file(name: str) -> SourceFile:
        encoding = chance.choice(encodings)
        text = f"# {name}\n" + "größe = 1\n" * chance.randint(0, 5)
        written = {"UTF-16": "utf-16", "ISO-8859-1": "latin-1"}.get(str(encoding), "utf-8")
        return SourceFile(content=text.encode(chance.choice([written, "utf-8"])), path=name, encoding=encoding)

    return [[file(f"{row}/{n}.py") for n in range(chance.randint(0, 4))] for row in range(count)]


REPOSITORIES = make_repositories(600)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`ids/` with two files of rows, `buckets/` with their blobs."""
    root = tmp_path_factory.mktemp("stack")
    write_ids(root / "ids/train-0.parquet", REPOSITORIES[:500], group_rows=70)
    write_ids(root / "ids/train-1.parquet", REPOSITORIES[500:])
    write_blobs(root / "buckets", REPOSITORIES)
    return root


@pytest.fixture(scope="module")
def bucket(world: Path) -> Iterator[Server]:
    with serve_bucket(world / "buckets", unlisted=["softwareheritage"]) as server:
        yield server


@pytest.fixture(autouse=True)
def _aws(bucket: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in aws_environment(bucket).items():
        monkeypatch.setenv(name, value)


EXPECTED = expected_rows(REPOSITORIES[:500]) + expected_rows(REPOSITORIES[500:])


@pytest.fixture(scope="module")
def fetched(world: Path, bucket: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished fetch of everything, not to be changed."""
    out = tmp_path_factory.mktemp("fetched") / "out"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in aws_environment(bucket).items():
            patch.setenv(name, value)
        fetch(world / "ids", out)
    return out


def test_rows_come_back_with_the_text_of_every_file(fetched):
    """All columns as they were; repositories without a file are left out."""
    assert sorted(path.name for path in fetched.glob("*.parquet")) == [
        "train-0-00000.parquet",
        "train-0-00001.parquet",
        "train-1-00000.parquet",
    ]
    assert read_rows(fetched) == EXPECTED


def test_the_report_accounts_for_every_repository_and_file(fetched):
    """What was read is what was written and what was not."""
    report = json.loads((fetched / "report.json").read_bytes())
    totals, files = report["totals"], [file for files in REPOSITORIES for file in files]
    assert report["whole"] is True
    assert (totals["repositories_read"], totals["files_read"], totals["files_written"]) == (600, len(files), len(files))
    assert totals["repositories_emptied"] == sum(not files for files in REPOSITORIES)
    assert totals["text_bytes"] == sum(len(expected_text(file).encode()) for file in files)
    assert totals["decoded"]["unknown_encoding"] == sum(file.encoding == "unknown-8bit" for file in files)
    assert sum(totals["decoded"].values()) == len(files)
    assert report["traffic"]["requests"] == len(files)
    assert report["bytes"] == sum(path.stat().st_size for path in fetched.glob("*.parquet"))


def test_the_same_bytes_come_whatever_the_workers_hosts_and_connections(world, fetched, tmp_path):
    """Two hosts, of which one has two workers, share a folder."""
    fetch(world / "ids", tmp_path / "out", part=HostPart(number=2, count=2), connections=1)
    first = json.loads((tmp_path / "out/report.json").read_bytes())
    assert (first["whole"], first["chunks"]) == (False, {"finished": 1, "all": 3})
    assert fetch(world / "ids", tmp_path / "out", part=HostPart(number=1, count=2), workers=2)["whole"]
    assert {k: v for k, v in contents(tmp_path / "out").items() if k.endswith(".parquet")} == {
        k: v for k, v in contents(fetched).items() if k.endswith(".parquet")
    }


def test_a_finished_fetch_asks_for_no_blob_again(world, bucket, fetched, tmp_path):
    """Finished files are checked; one that is damaged is fetched again, and no other."""
    out = tmp_path / "out"
    fetch(world / "ids", out)
    before = contents(out)
    bucket.forget()
    fetch(world / "ids", out)
    assert bucket.requests() == []
    assert contents(out) == before
    with (out / "train-1-00000.parquet").open("r+b") as file:
        file.seek(100)
        file.write(b"damage")
    report = fetch(world / "ids", out)
    assert len(bucket.requests()) == sum(map(len, REPOSITORIES[500:]))
    assert report["whole"]
    assert {name: digest for name, digest in contents(out).items() if name.endswith(".parquet")} == {
        name: digest for name, digest in before.items() if name.endswith(".parquet")
    }


def test_only_wanted_files_are_asked_for(world, bucket, tmp_path):
    """What rows tell is not downloaded to be thrown away."""
    files = [
        SourceFile(content=b"int a;", language="C"),
        SourceFile(content=b"a = 1", license_type="no_license"),
        SourceFile(content=b"b = 2", extra={"is_vendor": True}),
        SourceFile(content=b"c = 3"),
    ]
    write_ids(tmp_path / "ids.parquet", [files[:3], files])
    write_blobs(world / "buckets", [files])
    bucket.forget()
    selection = Selection(languages=("Python",), license_types=("permissive",), vendored=False)
    report = fetch(tmp_path / "ids.parquet", tmp_path / "out", selection=selection)
    assert [request.target.rpartition("/")[2] for request in bucket.requests()] == [files[3].blob_id]
    assert [[file["text"] for file in row["files"]] for row in read_rows(tmp_path / "out")] == [["c = 3"]]
    assert report["totals"]["left_out"] == {"language": 2, "license_type": 2, "vendored": 2}
    assert report["totals"]["repositories_emptied"] == 1


@pytest.mark.parametrize(
    ("policy", "texts", "dropped"),
    [(Policy.DROP_FILE, [["a", "c"], ["d"]], (0, 0)), (Policy.DROP_REPO, [["d"]], (2, 2))],
)
def test_a_missing_blob_drops_its_file_or_its_repository(world, tmp_path, policy, texts, dropped):
    """A repository of missing files alone is none in either case."""
    a, b, c, d, e = (SourceFile(content=letter.encode()) for letter in "abcde")
    write_ids(tmp_path / "ids.parquet", [[a, b, c], [d], [e]])
    write_blobs(world / "buckets", [[a, c, d]])
    rules = Rules(selection=Selection(), on_missing=policy)
    totals = fetch(tmp_path / "ids.parquet", tmp_path / "out", rules=rules)["totals"]
    assert [[file["text"] for file in row["files"]] for row in read_rows(tmp_path / "out")] == texts
    assert totals["files_missing"] == 2
    assert (totals["repositories_dropped"], totals["files_dropped"]) == dropped
    assert totals["files_read"] == totals["files_written"] + totals["files_missing"] + totals["files_dropped"]
    emptied = totals["repositories_emptied"]
    assert totals["repositories_read"] == totals["repositories_written"] + totals["repositories_dropped"] + emptied


def test_files_with_too_few_bytes_a_token_are_left_out(world, tmp_path):
    """Random letters have about a token for each one or two; prose has four times as many bytes."""
    noise = "".join(random.Random(1).choices("0123456789abcdefGHIJKLMNOPQRSTUVWXYZ+/", k=3000))
    files = [
        SourceFile(content=b"the quick brown fox jumps over the lazy dog " * 50),
        SourceFile(content=noise.encode()),
    ]
    write_ids(tmp_path / "ids.parquet", [files, files[1:]])
    write_blobs(world / "buckets", [files])
    report = fetch(tmp_path / "ids.parquet", tmp_path / "out", selection=Selection(min_bytes_per_token=2.5))
    assert [[file["blob_id"] for file in row["files"]] for row in read_rows(tmp_path / "out")] == [[files[0].blob_id]]
    assert report["totals"]["left_out"] == {"too_many_tokens": 2}
    assert report["totals"]["repositories_emptied"] == 1


def test_row_groups_hold_a_bounded_text_and_a_larger_repository_by_itself(world, tmp_path):
    """Nothing is cut: a repository is in one row group."""
    sizes = [400, 400, 400, 5000, 400, 400]
    repositories = [[SourceFile(content=bytes([97 + n]) * size)] for n, size in enumerate(sizes)]
    write_ids(tmp_path / "ids.parquet", repositories)
    write_blobs(world / "buckets", repositories)
    fetch(tmp_path / "ids.parquet", tmp_path / "out", rules=Rules(selection=Selection(), row_group_bytes=1000))
    assert read_rows(tmp_path / "out") == expected_rows(repositories)
    footer = pq.read_metadata(tmp_path / "out/ids-00000.parquet")
    assert [footer.row_group(group).num_rows for group in range(footer.num_row_groups)] == [3, 1, 2]


def test_a_repository_with_more_text_than_a_row_may_have_is_left_out(world, tmp_path):
    """Counted with its files; those before and after it stay whole."""
    a, b, c = (SourceFile(content=letter.encode() * 30) for letter in "abc")
    repositories = [[a, b], [a, b, c, a], [c]]
    write_ids(tmp_path / "ids.parquet", repositories)
    write_blobs(world / "buckets", repositories)
    rules = Rules(selection=Selection(), max_repository_bytes=60)
    totals = fetch(tmp_path / "ids.parquet", tmp_path / "out", rules=rules)["totals"]
    assert [row["repo_name"] for row in read_rows(tmp_path / "out")] == ["r0", "r2"]
    assert (totals["repositories_too_large"], totals["files_dropped"], totals["files_written"]) == (1, 4, 3)
    assert totals["text_bytes"] == 90


def test_metadata_that_name_the_columns_are_left_out(tmp_path):
    """`datasets` would read a file of the hub without the new column."""
    schema = SCHEMA.with_metadata({"huggingface": "{}"})
    assert with_text(schema).metadata is None
    assert with_text(schema).field("files").type.value_type.field("text").type == pa.large_string()


def test_lists_with_large_offsets_stay_such(world, tmp_path):
    """Whatever Arrow wrote the rows."""
    large = pa.schema(
        [SCHEMA.field(0), SCHEMA.field(1), ("files", pa.large_list(SCHEMA.field("files").type.value_type))]
    )
    write_ids(tmp_path / "ids.parquet", REPOSITORIES[:5], schema=large)
    fetch(tmp_path / "ids.parquet", tmp_path / "out")
    assert pa.types.is_large_list(pq.read_schema(tmp_path / "out/ids-00000.parquet").field("files").type)
    assert read_rows(tmp_path / "out") == expected_rows(REPOSITORIES[:5])


def test_unsigned_requests_carry_no_key(bucket, world, tmp_path):
    """Also where there are keys: they may be old, and then nothing could be read."""
    write_ids(tmp_path / "ids.parquet", REPOSITORIES[:5])
    bucket.forget()
    fetch(tmp_path / "ids.parquet", tmp_path / "out")
    assert {request.has_token for request in bucket.requests()} == {False}


def test_signed_requests_carry_the_users_key(world, tmp_path, monkeypatch):
    """For a mirror that wants one."""
    write_ids(tmp_path / "ids.parquet", REPOSITORIES[:5])
    with serve_bucket(world / "buckets", signed=["softwareheritage"]) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        fetch(tmp_path / "ids.parquet", tmp_path / "out", origin=Origin(signed=True))
        assert {(request.has_token, request.status) for request in server.requests()} == {(True, 200)}
    assert read_rows(tmp_path / "out") == expected_rows(REPOSITORIES[:5])


def test_a_web_server_will_do(world, tmp_path):
    """`--from https://...`: a mirror behind any web server."""
    write_ids(tmp_path / "ids.parquet", REPOSITORIES[:5])
    with serve_files(world / "buckets") as server:
        fetch(
            tmp_path / "ids.parquet", tmp_path / "out", origin=Origin(address=f"{server.url}/softwareheritage/content/")
        )
    assert read_rows(tmp_path / "out") == expected_rows(REPOSITORIES[:5])


def test_another_implementation_of_s3_gives_the_same(world, tmp_path, monkeypatch):
    """moto's server."""
    write_ids(tmp_path / "ids.parquet", REPOSITORIES[:8])
    write_blobs(tmp_path / "buckets", REPOSITORIES[:8])
    with serve_moto(tmp_path / "buckets") as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        fetch(tmp_path / "ids.parquet", tmp_path / "out")
    assert read_rows(tmp_path / "out") == expected_rows(REPOSITORIES[:8])


def test_a_file_may_come_twice(world, tmp_path):
    """A blob has one name however often it is used."""
    same = replace(REPOSITORIES[1][0], path="copy.py") if REPOSITORIES[1] else SourceFile(content=b"x")
    repositories = [[same, same], [same]]
    write_ids(tmp_path / "ids.parquet", repositories)
    write_blobs(world / "buckets", repositories)
    fetch(tmp_path / "ids.parquet", tmp_path / "out")
    assert read_rows(tmp_path / "out") == expected_rows(repositories)


# Rows that are elsewhere

STACK = "bigcode/the-stack-v2-train-smol-ids"
ON_HUB = f"hf://datasets/{STACK}/data/*.parquet"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`ids/` laid out as the repository of the hub, `buckets/` with its blobs and its rows, `local/`: what to get."""
    root = tmp_path_factory.mktemp("elsewhere")
    layouts.write_stack_ids(root / "ids")
    layouts.write_stack_bucket(root / "buckets/softwareheritage")
    shutil.copytree(root / "ids/data", root / "buckets/rows/data")
    with serve_bucket(root / "buckets") as server, environment(**aws_environment(server)):
        fetch(root / "ids/data", root / "local")
    return root


@pytest.fixture
def blobs(stack: Path) -> Iterator[Server]:
    with serve_bucket(stack / "buckets") as server:
        yield server


@pytest.fixture
def hub(stack: Path) -> Iterator[HubServer]:
    """The gated repository; one token opens it and another does not."""
    with serve_hub(tokens={"hf_in": [STACK], "hf_out": []}) as server:
        server.commit(STACK, stack / "ids", gated=True)
        yield server


def texts_in(out: Path) -> dict[str, str]:
    """The digests of the files with text."""
    return {name: digest for name, digest in contents(out).items() if name.endswith(".parquet")}


def state_of(out: Path) -> dict[str, Any]:
    return json.loads((out / ".mixer/fetch.json").read_bytes())


def test_rows_on_the_hub_give_the_files_of_a_local_copy(stack, blobs, hub, tmp_path):
    """Gated, with a token; which is written nowhere. The commit and the digests of the rows are."""
    commit = hub.commit(STACK, stack / "ids", gated=True)
    with environment(**aws_environment(blobs), **hub.environment(tmp_path / "home"), HF_TOKEN="hf_in"):
        report = fetch(ON_HUB, tmp_path / "out", workers=2)
    assert report["whole"]
    assert texts_in(tmp_path / "out") == texts_in(stack / "local") != {}
    assert state_of(tmp_path / "out")["store"] == report["store"]
    assert report["store"] == {
        "asked": f"hf://datasets/{STACK}@main/data/*.parquet",
        "found": f"hf://datasets/{STACK}@{commit}/data",
    }
    assert [file["sha256"] for file in state_of(tmp_path / "out")["files"]] == [
        hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted((stack / "ids/data").iterdir())
    ]
    assert [path for path in tmp_path.rglob("*") if path.is_file() and b"hf_in" in path.read_bytes()] == []


@pytest.mark.parametrize(
    ("token", "message"),
    [({}, "the data set is gated, and there is no token"), ({"HF_TOKEN": "hf_out"}, "the data set is gated")],
)
def test_a_gated_repository_says_what_it_wants(blobs, hub, tmp_path, monkeypatch, token, message):
    """No token, and one whose owner did not accept the terms; nothing is begun."""
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "no-token"))
    with (
        environment(**aws_environment(blobs), **hub.environment(tmp_path / "home"), **token),
        pytest.raises(DataError) as caught,
    ):
        fetch(ON_HUB, tmp_path / "out")
    assert caught.value.message == message
    assert str(caught.value.where).startswith(f"SRC: hf://datasets/{STACK}@")
    assert f"accept its terms at {hub.url}/datasets/{STACK}" in str(caught.value.hint)
    assert not (tmp_path / "out").exists()


def test_a_fetch_goes_on_at_the_commit_that_it_began_with(stack, blobs, hub, tmp_path):
    """The branch moved between two hosts: both read the old rows. Asked for the new ones, the folder refuses."""
    out = tmp_path / "out"
    with environment(**aws_environment(blobs), **hub.environment(tmp_path / "home"), HF_TOKEN="hf_in"):
        first = fetch(ON_HUB, out, part=HostPart(number=1, count=2))
        shutil.copytree(stack / "ids", tmp_path / "newer")
        (tmp_path / "newer/data/train-00001-of-00002.parquet").unlink()
        newer = hub.commit(STACK, tmp_path / "newer", gated=True)
        second = fetch(ON_HUB, out, part=HostPart(number=2, count=2))
        assert (second["store"], second["whole"]) == (first["store"], True)
        assert texts_in(out) == texts_in(stack / "local")
        with pytest.raises(BuildStateError) as caught:
            fetch(ON_HUB.replace(STACK, f"{STACK}@{newer}"), out)
        assert caught.value.message == "the folder belongs to a fetch with other files, store"
        assert str(caught.value.hint).endswith(f"SRC was {first['store']['asked']}, found at {first['store']['found']}")
        assert fetch(ON_HUB, tmp_path / "new")["store"]["found"] == f"hf://datasets/{STACK}@{newer}/data"
    assert list(texts_in(tmp_path / "new")) == ["train-00000-of-00002-00000.parquet"]


def test_rows_in_a_bucket_are_known_by_their_etags(stack, blobs, tmp_path):
    """A bucket has no commits: where a file was replaced, a fetch does not go on."""
    out = tmp_path / "out"
    shutil.copytree(stack / "buckets", tmp_path / "buckets")
    with serve_bucket(tmp_path / "buckets") as server, environment(**aws_environment(server)):
        fetch("s3://rows/data/*.parquet", out, part=HostPart(number=1, count=2))
        fetch("s3://rows/data/*.parquet", out)
        assert texts_in(out) == texts_in(stack / "local")
        shutil.copy(
            stack / "ids/data/train-00001-of-00002.parquet", tmp_path / "buckets/rows/data/train-00000-of-00002.parquet"
        )
        with pytest.raises(BuildStateError, match="other files"):
            fetch("s3://rows/data/*.parquet", out)
    assert texts_in(out) == texts_in(stack / "local")


def test_rows_on_a_web_server_are_one_file(stack, blobs, tmp_path):
    """It cannot be listed."""
    name = "train-00000-of-00002"
    with serve_files(stack / "ids") as server, environment(**aws_environment(blobs)):
        fetch(f"{server.url}/data/{name}.parquet", tmp_path / "out")
        with pytest.raises(RecipeError, match="a web server cannot be listed"):
            fetch(f"{server.url}/data/*.parquet", tmp_path / "other")
    local = texts_in(stack / "local")
    assert texts_in(tmp_path / "out") == {f"{name}-00000.parquet": local[f"{name}-00000.parquet"]}


def test_a_part_downloads_its_own_rows_only(bucket, tmp_path):
    """The third part of 768 rows: their row groups and the footer, not the file."""
    padding = random.Random(7).randbytes(3000).hex()
    repositories = [[SourceFile(content=b"%d" % n, path=f"{n}{padding[n:]}")] for n in range(768)]
    path = write_ids(tmp_path / "site/ids.parquet", repositories, group_rows=128)
    write_blobs(tmp_path / "buckets", repositories)
    with (
        serve_files(tmp_path / "site") as site,
        serve_bucket(tmp_path / "buckets") as server,
        environment(**aws_environment(server)),
    ):
        report = fetch(f"{site.url}/ids.parquet", tmp_path / "out", part=HostPart(number=2, count=3))
    assert read_rows(tmp_path / "out") == expected_rows(repositories)[256:512]
    assert report["traffic"]["bytes"] < path.stat().st_size * 0.6
