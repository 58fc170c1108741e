"""Pinning what is elsewhere: by listing, at a commit, kept, and compared with what is there now."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from remote_kit import environment
from servers import HubServer, Server, aws_environment, serve_bucket, serve_files, serve_hub
from sources_kit import Source, json_lines, write_arrow_file, write_parquet, write_zstd_lines

from mixer.errors import DataError, FormatError, RecipeError
from mixer.sources.pin import pin
from mixer.sources.pin_cache import PinCache
from mixer.sources.reader import SourceReader
from mixer.sources.remote_snapshots import recall, remote_snapshot, repin
from mixer.sources.scan import needs_of
from mixer.sources.snapshot import Snapshot
from mixer.sources.snapshot_changes import difference
from mixer.stores import traffic

ROWS = [{"text": f"row {n}", "n": n} for n in range(10)]
REPO = "lab/data"
HUB = f"hf://datasets/{REPO}"


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[tuple[Path, Server]]:
    """The folder of the bucket `data`, and its server."""
    (tmp_path / "buckets/data").mkdir(parents=True)
    with serve_bucket(tmp_path / "buckets") as server, environment(**aws_environment(server)):
        yield tmp_path / "buckets/data", server


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[tuple[Path, HubServer]]:
    """A folder to commit, and the hub."""
    (tmp_path / "tree").mkdir()
    with serve_hub(page_entries=3) as server, environment(**server.environment(tmp_path / "home")):
        yield tmp_path / "tree", server


@pytest.fixture
def cache(tmp_path: Path) -> PinCache:
    return PinCache(tmp_path / "cache")


def add(folder: Path, name: str, rows: list[dict] = ROWS, block_rows: int = 4) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if name.endswith(".parquet"):
        write_parquet(path, rows, block_rows)
    elif name.endswith(".arrow"):
        write_arrow_file(path, rows, block_rows)
    elif name.endswith(".zst"):
        write_zstd_lines(path, rows, block_rows)
    else:
        path.write_bytes(json_lines(rows))
    return path


def paths(snapshot: Snapshot) -> list[str]:
    return [file.path for file in snapshot.files]


def texts(source: Source, snapshot: Snapshot) -> list[str | None]:
    reader = SourceReader("wiki", source, snapshot)
    return [
        text
        for block in range(snapshot.num_blocks)
        for chunk in reader.read(block, 0, int(snapshot.block_kept[block]))
        for text in chunk.text.to_pylist()
    ]


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "a.jsonl", "a.jsonl.zst"])
@pytest.mark.parametrize("where", [None, "n >= 3 and n != 5"])
def test_blocks_and_rows_are_those_of_a_local_copy(
    bucket: tuple[Path, Server], cache: PinCache, name: str, where: str | None
) -> None:
    """In every format, with and without a predicate, and so are the texts."""
    folder, _ = bucket
    add(folder, f"deep/{name}")
    remote, local = Source("s3://data/*/*", where=where), Source(f"deep/{name}", where=where)
    there, here = pin("wiki", remote, folder, cache), pin("wiki", local, folder)
    for field in ("block_file", "block_in_file", "block_rows", "block_kept", "block_first_row"):
        assert getattr(there, field).tolist() == getattr(here, field).tolist()
    assert there.format == here.format
    assert texts(remote, there) == texts(local, here)


def test_names_come_from_the_listing(hub: tuple[Path, HubServer], cache: PinCache) -> None:
    """A folder that ends in a space, numbers without zeros, brackets, letters of any script, over pages of three."""
    folder, server = hub
    names = ["zyda /0/part.2.parquet", "zyda /0/part.10.parquet", "zyda /1/part.0.parquet", "zyda/0/part.1.parquet"]
    names += ["odd/a [1].parquet", "odd/猫 é#%20+.parquet", "odd/.hidden.parquet"]
    for name in names:
        add(folder, name)
    server.commit(REPO, folder)
    found = pin("wiki", Source(f"{HUB}/zyda */*/*.parquet"), folder, cache)
    assert paths(found) == ["zyda /0/part.10.parquet", "zyda /0/part.2.parquet", "zyda /1/part.0.parquet"]
    found = pin("wiki", Source(f"{HUB}/zyda /*/*.parquet"), folder, cache)
    assert paths(found) == ["0/part.10.parquet", "0/part.2.parquet", "1/part.0.parquet"]
    odd = Source(f"{HUB}@main/odd/*")
    found = pin("wiki", odd, folder, cache)
    assert paths(found) == ["a [1].parquet", "猫 é#%20+.parquet"]
    assert len(texts(odd, found)) == 20
    assert paths(pin("wiki", Source(f"{HUB}/odd/a [1].parquet"), folder, cache)) == ["a [1].parquet"]


def test_a_file_of_the_hub_has_its_digest_and_the_commit(hub: tuple[Path, HubServer], cache: PinCache) -> None:
    """sha256 of a large file; what git calls a small one."""
    folder, server = hub
    add(folder, "data/a.parquet")
    (folder / "data/b.jsonl").write_bytes(json_lines(ROWS))
    commit = server.commit(REPO, folder)
    snapshot = pin("wiki", Source(f"{HUB}/data/*.parquet"), folder, cache)
    value = json.loads(json.dumps(snapshot.as_json()))
    assert value["origin"] == f"{HUB}@{commit}/data"
    assert [sorted(file) for file in value["files"]] == [["bytes", "path", "rows", "sha256"]]
    assert len(value["files"][0]["sha256"]) == 64
    again = remote_snapshot(value, cache, snapshot.kept_json())
    assert (again.as_json(), again.identity) == (value, snapshot.identity)
    with pytest.raises(FormatError, match="not a remote snapshot"):
        remote_snapshot({**value, "origin": "nowhere"}, cache, None)
    lines = pin("wiki", Source(f"{HUB}/data/*.jsonl"), folder, cache)
    assert (len(lines.files[0].sha256 or lines.files[0].etag or "")) in (40, 64)


def test_a_branch_that_moved_is_said_and_not_followed(hub: tuple[Path, HubServer], cache: PinCache) -> None:
    """Until it is pinned anew."""
    folder, server = hub
    add(folder, "data/a.parquet")
    first = server.commit(REPO, folder)
    source = Source(f"{HUB}/data/*")
    before = pin("wiki", source, folder, cache)
    assert (before.note, pin("wiki", source, folder, cache).note) == (None, None)
    add(folder, "data/b.parquet", ROWS[:3])
    second = server.commit(REPO, folder)
    kept = pin("wiki", source, folder, cache)
    assert kept.identity == before.identity
    assert texts(source, kept) == [row["text"] for row in ROWS]
    assert kept.note is not None
    assert first in kept.note
    assert f"'main' is now at {second}; mixer plan RECIPE --update moves to it" in kept.note
    new = repin(source, needs_of("wiki", source), cache)
    changes = difference(before, new)
    assert changes.origins == (f"{HUB}@{first}/data", f"{HUB}@{second}/data")
    assert changes.words() == "1 added ('b.parquet'), 10 rows became 13"
    assert pin("wiki", source, folder, cache).identity == new.identity != before.identity


def test_a_kept_snapshot_of_the_hub_needs_no_listing(hub: tuple[Path, HubServer], cache: PinCache) -> None:
    """And none of its footers; where the hub does not answer, it is used and that is said."""
    folder, server = hub
    add(folder, "a.parquet")
    server.commit(REPO, folder)
    source = Source(f"{HUB}/*.parquet")
    before = pin("wiki", source, folder, cache)
    server.forget()
    assert pin("wiki", source, folder, cache).identity == before.identity
    assert [request.target.split("?")[0] for request in server.requests()] == [f"/api/datasets/{REPO}/revision/main"]
    server.stop()
    kept = pin("wiki", source, folder, cache)
    assert kept.identity == before.identity
    assert "whether 'main' moved is unknown" in str(kept.note)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda folder: add(folder, "a.parquet", ROWS[:5]), "1 changed ('a.parquet')"),
        (lambda folder: add(folder, "c.parquet"), "1 added ('c.parquet')"),
        (lambda folder: (folder / "b.parquet").unlink(), "1 removed ('b.parquet')"),
    ],
)
def test_what_changed_in_a_bucket_is_named(tmp_path: Path, cache: PinCache, change, words: str) -> None:
    """One error with the change and the way on; the way on works."""
    folder = tmp_path / "buckets/data"
    for name in ("a.parquet", "b.parquet"):
        add(folder, name)
    source = Source("s3://data/*.parquet")
    with serve_bucket(tmp_path / "buckets") as server, environment(**aws_environment(server)):
        before = pin("wiki", source, folder, cache)
        assert pin("wiki", source, folder, cache).identity == before.identity
    change(folder)
    with serve_bucket(tmp_path / "buckets") as server, environment(**aws_environment(server)):
        with pytest.raises(DataError) as caught:
            pin("wiki", source, folder, cache)
        assert words in caught.value.message
        assert caught.value.where == "sources.wiki: s3://data/"
        assert "mixer plan RECIPE --update" in str(caught.value.hint)
        new = repin(source, needs_of("wiki", source), cache)
        assert difference(before, new)
        assert pin("wiki", source, folder, cache).identity == new.identity


def test_rows_of_lines_are_counted_once(tmp_path: Path, cache: PinCache) -> None:
    """And kept by file: pinned anew, only what is new is read."""
    folder = tmp_path / "buckets/data"
    add(folder, "a.jsonl")
    source = Source("s3://data/*.jsonl")
    scan = needs_of("wiki", source)
    with serve_bucket(tmp_path / "buckets") as server, environment(**aws_environment(server)):
        assert repin(source, scan, cache).block_rows.tolist() == [10]
    add(folder, "b.jsonl", ROWS[:3])
    with serve_bucket(tmp_path / "buckets") as server, environment(**aws_environment(server)):
        assert repin(source, scan, cache).block_rows.tolist() == [10, 3]
        read = [request.target for request in server.requests() if request.range]
    assert [target.rpartition("/")[2] for target in read] == ["b.jsonl"]


def test_a_snapshot_that_cannot_be_read_is_made_again(bucket: tuple[Path, Server], cache: PinCache) -> None:
    """Losing what was kept costs time and nothing else."""
    folder, _ = bucket
    add(folder, "a.parquet")
    source = Source("s3://data/a.parquet")
    snapshot = pin("wiki", source, folder, cache)
    scan = needs_of("wiki", source)
    kept = next((cache.folder / "snapshots").iterdir())
    for damaged in (b"", b"{", b"[]", b'{"origin": 3}', b'{"origin": "s3://data/", "files": [{}]}'):
        kept.write_bytes(damaged)
        assert recall(source, scan, cache) is None
        assert pin("wiki", source, folder, cache).identity == snapshot.identity


def test_footers_are_all_that_is_read_of_parquet_files(bucket: tuple[Path, Server], cache: PinCache) -> None:
    """One request a file, and none of the text."""
    folder, server = bucket
    long = [{"text": "x" * 10_000 + str(n), "n": n} for n in range(200)]
    for number in range(20):
        add(folder, f"{number}.parquet", long, 50)
    server.forget()
    traffic.take()
    assert pin("wiki", Source("s3://data/*.parquet"), folder, cache).num_rows == 4000
    ranges = [request.range for request in server.requests() if request.target.endswith(".parquet")]
    assert len(ranges) == 20
    assert traffic.take()["requests"] == 21


def test_a_config_is_resolved_through_the_card(hub: tuple[Path, HubServer], cache: PinCache) -> None:
    """Its train split, in any of the ways that cards say it; without a name the default one."""
    folder, server = hub
    for name in ("a/0.parquet", "b/0.parquet", "b/1.parquet", "c /x.parquet"):
        add(folder, name)
    (folder / "README.md").write_text(
        "---\nlicense: mit\nconfigs:\n"
        "- config_name: a\n  data_files: a/*.parquet\n"
        "- config_name: b\n  default: true\n  data_files:\n  - split: train\n    path: [b/0.parquet, b/1.parquet]\n"
        "  - split: test\n    path: a/*\n"
        '- config_name: c\n  data_files:\n  - split: train\n    path: "c /*"\n'
        "- config_name: d\n  data_files:\n  - split: test\n    path: a/*\n"
        "---\n# A card\n"
    )
    server.commit(REPO, folder)
    for config, files in ({"a": ["0.parquet"], "b": ["0.parquet", "1.parquet"], "c": ["x.parquet"]}).items():
        assert paths(pin("wiki", Source(None, hub=REPO, config=config), folder, cache)) == files
    assert paths(pin("wiki", Source(None, hub=f"{REPO}@main"), folder, cache)) == ["0.parquet", "1.parquet"]
    with pytest.raises(RecipeError, match=r"it has no config 'e'(.|\n)*'a', 'b', 'c', 'd'"):
        pin("wiki", Source(None, hub=REPO, config="e"), folder, cache)
    with pytest.raises(RecipeError, match="its config 'd' names no files of a split 'train'"):
        pin("wiki", Source(None, hub=REPO, config="d"), folder, cache)
    (folder / "README.md").write_text("# No head\n")
    server.commit(REPO, folder)
    with pytest.raises(RecipeError, match="its card names no configs"):
        pin("wiki", Source(None, hub=f"{REPO}@main", config="x"), folder, cache)


def test_a_file_of_a_web_server_is_pinned_by_its_etag(tmp_path: Path, cache: PinCache) -> None:
    """And by its size."""
    add(tmp_path / "site", "data/a.parquet")
    with serve_files(tmp_path / "site") as server, environment():
        source = Source(f"{server.url}/data/a.parquet")
        snapshot = pin("wiki", source, tmp_path, cache)
        assert paths(snapshot) == ["a.parquet"]
        assert snapshot.files[0].etag
        assert snapshot.origin == f"{server.url}/data"
        assert len(texts(source, snapshot)) == 10
        with pytest.raises(RecipeError, match="a web server cannot be listed"):
            pin("wiki", Source(f"{server.url}/data/*.parquet"), tmp_path, cache)


def test_the_rows_of_a_pinned_file_do_not_depend_on_where_it_was_found(
    hub: tuple[Path, HubServer], cache: PinCache
) -> None:
    """A file that is the same in two commits is not read again."""
    folder, server = hub
    add(folder, "a.jsonl")
    server.commit(REPO, folder)
    source = Source(f"{HUB}/*.jsonl")
    pin("wiki", source, folder, cache)
    add(folder, "b.txt")
    server.commit(REPO, folder)
    server.forget()
    repin(source, needs_of("wiki", source), cache)
    assert not [request for request in server.requests() if "resolve" in request.target]


def test_a_snapshot_says_no_more_of_local_files_than_before(tmp_path: Path) -> None:
    """Identities of builds that were made before there were remote sources stay what they are."""
    add(tmp_path, "a.jsonl")
    value = pin("wiki", Source("a.jsonl"), tmp_path).as_json()
    assert sorted(value) == ["files", "format"]
    assert sorted(value["files"][0]) == ["bytes", "path", "rows", "xxh3"]
    assert replace(pin("wiki", Source("a.jsonl"), tmp_path), note="x").as_json() == value
