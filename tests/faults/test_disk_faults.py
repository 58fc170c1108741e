"""A disk that is full or fails, for each kind of file that is written: the error, what is left, and how it goes on."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
import threading
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from disk_kit import OPERATIONS, failing, left_in
from sources_kit import Source, json_lines
from workshop import Workshop, contents

from mixer.errors import TaskError
from mixer.export.export import EXPORT_FORMATS, export
from mixer.sample import make, make_sample
from mixer.sample.write import WRITERS
from mixer.shards.manifest import load_manifest
from mixer.sources.pin import pin
from mixer.sources.pin_cache import PinCache
from mixer.stack.fetch_folder import FetchFolder
from mixer.stores.block_cache import BlockCache
from mixer.survey.measurement import Measurement
from mixer.survey.measurement_cache import MeasurementCache
from mixer.system import disk
from mixer.system.locks import lock_file, locked_file, share_lock, try_lock
from mixer.system.publish import (
    publish_bytes,
    publish_or_set_aside,
    publish_written,
    publishing,
    publishing_in_parts,
)
from mixer.verify.repair import repair
from mixer.verify.shards import find_damage

each_operation = pytest.mark.parametrize("operation", OPERATIONS)
each_code = pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
FAULTS = {"write": errno.ENOSPC, "sync": errno.EIO, "rename": errno.ENOSPC}
each_fault = pytest.mark.parametrize(("operation", "code"), FAULTS.items())


@each_operation
@each_code
@pytest.mark.parametrize("before", [b"old", None])
def test_a_file_that_cannot_be_published_is_as_it_was(
    tmp_path: Path, operation: str, code: int, before: bytes | None
) -> None:
    """The error has the system's number and names the file; nothing else is there."""
    path = tmp_path / "a.json"
    if before is not None:
        path.write_bytes(before)
    with failing(operation, code, str(path)) as failed, pytest.raises(OSError) as caught:
        publish_bytes(path, b"new")
    assert failed == [str(path)]
    assert (caught.value.errno, caught.value.filename) == (code, str(path))
    assert str(caught.value) == f"[Errno {code}] {os.strerror(code)}: '{path}'"
    assert left_in(tmp_path) == (["a.json"] if before is not None else [])
    assert before is None or path.read_bytes() == before
    publish_bytes(path, b"new")
    assert path.read_bytes() == b"new"


def test_a_file_of_many_writes_appears_at_the_end(tmp_path: Path) -> None:
    """Until then it has another name, which says whose it is; it has the permissions of any new file."""
    path = tmp_path / "new/a.bin"
    before = os.umask(0o027)
    try:
        with publishing(path) as file:
            for piece in (b"one ", memoryview(b"two "), b"", bytearray(b"three")):
                assert file.write(piece) == len(piece)
                (name,) = left_in(tmp_path)
                assert name.startswith(f"new/.a.bin.{os.getpid()}-{threading.get_native_id()}-")
                assert (tmp_path / name).stat().st_size == file.tell()
    finally:
        os.umask(before)
    assert path.read_bytes() == b"one two three"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_what_else_fails_meanwhile_leaves_nothing(tmp_path: Path) -> None:
    """Also ^C."""
    for kind in (ValueError, KeyboardInterrupt):
        with pytest.raises(kind), publishing(tmp_path / "a.bin") as file:
            _write_half_and_raise(file, kind)
        assert left_in(tmp_path) == []


def _write_half_and_raise(file: disk.DiskFile, kind: type[BaseException]) -> None:
    file.write(b"half")
    raise kind


def test_an_error_that_is_nothing_but_words_keeps_them(tmp_path: Path) -> None:
    """As those of Arrow."""
    with pytest.raises(OSError) as caught, publishing(tmp_path / "a.bin"):
        raise OSError("the codec failed")
    assert str(caught.value) == "the codec failed"
    assert left_in(tmp_path) == []


def test_an_error_of_another_file_names_that_one(tmp_path: Path) -> None:
    """What is read meanwhile."""
    with pytest.raises(FileNotFoundError) as caught, publishing(tmp_path / "a.bin"):
        (tmp_path / "source").read_bytes()
    assert caught.value.filename == str(tmp_path / "source")
    assert left_in(tmp_path) == []


def test_a_file_is_synced_before_it_appears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless nobody needs it after a power cut."""
    done: list[str] = []
    sync, rename = disk.sync, disk.rename
    monkeypatch.setattr(disk, "sync", lambda descriptor: done.append("sync") or sync(descriptor))
    monkeypatch.setattr(disk, "rename", lambda source, target: done.append("rename") or rename(source, target))
    publish_bytes(tmp_path / "a", b"x")
    assert done == ["sync", "rename"]
    publish_bytes(tmp_path / "b", b"x", durable=False)
    assert done == ["sync", "rename", "rename"]


def test_a_disk_that_takes_a_few_bytes_at_a_time_gets_them_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write may be cut short without being an error."""
    write, write_at = os.write, os.pwrite
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:7]))
    monkeypatch.setattr(os, "pwrite", lambda descriptor, data, offset: write_at(descriptor, data[:7], offset))
    publish_bytes(tmp_path / "a", bytes(range(100)))
    assert (tmp_path / "a").read_bytes() == bytes(range(100))
    descriptor = os.open(tmp_path / "a", os.O_RDWR)
    disk.write_at(descriptor, bytes(50), 20)
    os.close(descriptor)
    assert (tmp_path / "a").read_bytes() == bytes(range(20)) + bytes(50) + bytes(range(70, 100))


@each_operation
@each_code
def test_what_was_written_in_parts_is_gone_on_with(tmp_path: Path, operation: str, code: int) -> None:
    """It never looks whole before it is."""
    path = tmp_path / "train.bin"
    with failing(operation, code, str(path)), pytest.raises(OSError) as caught, publishing_in_parts(path) as file:
        file.write(b"onetwo")
    assert (caught.value.errno, caught.value.filename) == (code, str(path))
    assert left_in(tmp_path) == [".train.bin.part"]
    assert (tmp_path / ".train.bin.part").read_bytes() == (b"one" if operation == "write" else b"onetwo")
    with publishing_in_parts(path) as file:
        file.truncate(3)
        file.write(b"two")
    assert left_in(tmp_path) == ["train.bin"]
    assert path.read_bytes() == b"onetwo"


@each_code
def test_a_folder_that_cannot_be_renamed_stays_where_it_was(tmp_path: Path, code: int) -> None:
    """With all that is in it."""
    (tmp_path / "partial").mkdir()
    (tmp_path / "partial/a").write_bytes(b"x")
    with failing("rename", code, str(tmp_path / "whole")), pytest.raises(OSError) as caught:
        publish_written(tmp_path / "partial", tmp_path / "whole")
    assert (caught.value.errno, caught.value.filename) == (code, str(tmp_path / "whole"))
    assert left_in(tmp_path) == ["partial/a"]
    publish_written(tmp_path / "partial", tmp_path / "whole")
    assert left_in(tmp_path) == ["whole/a"]


def test_a_folder_with_something_in_it_is_not_replaced(tmp_path: Path) -> None:
    """Nothing is lost."""
    for name in ("partial", "whole"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").write_bytes(name.encode())
    with pytest.raises(OSError) as caught:
        publish_written(tmp_path / "partial", tmp_path / "whole")
    assert caught.value.errno == errno.ENOTEMPTY
    assert left_in(tmp_path) == ["partial/a", "whole/a"]


# What uses them


@each_operation
@each_code
def test_a_form_that_cannot_be_kept_is_set_aside(tmp_path: Path, operation: str, code: int) -> None:
    """The cache has nothing of it."""
    path = tmp_path / "tokenizers/a.json"
    with failing(operation, code, str(path)) as failed:
        aside = publish_or_set_aside(path, b"form")
    assert failed == [str(path)]
    assert aside != path
    assert aside.read_bytes() == b"form"
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("operation", ["write", "rename"])
@each_code
def test_facts_of_files_that_cannot_be_kept_end_nothing(tmp_path: Path, operation: str, code: int) -> None:
    """They are found again by the next build."""
    (tmp_path / "a.jsonl").write_bytes(json_lines([{"text": "one"}, {"text": "two"}]))
    cache = PinCache(tmp_path / "cache")
    with failing(operation, code, "*/pins/*") as failed:
        assert pin("wiki", Source("a.jsonl"), tmp_path, cache).num_rows == 2
    assert len(failed) == 1
    assert left_in(tmp_path / "cache") == []
    measured = Measurement(
        tokens_per_row=2.5, standard_error=0.1, row_deviation=1.0, degrees_of_freedom=3, num_rows=4, num_bytes=30
    )
    measurements = MeasurementCache(tmp_path / "cache")
    with failing(operation, code, "*") as failed:
        measurements.remember("ab", measured)
    assert len(failed) == 1
    assert left_in(tmp_path / "cache") == []
    measurements.remember("ab", measured)
    assert measurements.recall("ab") == measured


def filled(descriptor: int) -> list[tuple[int, int]]:
    disk.write_at(descriptor, b"0123456789" * 100, 0)
    return [(0, 1000)]


@pytest.mark.parametrize(
    ("operation", "pattern"),
    [("write", "*/.entry-*"), ("rename", "*.parquet"), ("write", "*.parquet.json")],
)
@each_code
def test_a_block_that_cannot_be_kept_goes_through_a_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operation: str, pattern: str, code: int
) -> None:
    """It is read as ever, and nothing is left of it, neither in the cache nor beside."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    cache = BlockCache(folder=tmp_path / "cache", max_bytes=1 << 20)
    with failing(operation, code, pattern) as failed:
        entry = cache.make("00" * 32, ".parquet", filled)
    assert len(failed) == 1
    assert entry.path.parent == tmp_path / "temporary"
    assert entry.path.read_bytes() == b"0123456789" * 100
    entry.close()
    assert left_in(tmp_path / "temporary") == []
    assert [name for name in left_in(tmp_path / "cache/blocks") if not name.startswith("locks/")] == ["CACHEDIR.TAG"]


@each_code
def test_a_block_that_can_be_written_nowhere_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """It says so, and nothing is left."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    cache = BlockCache(folder=tmp_path / "cache", max_bytes=1 << 20)
    with failing("write", code, "*"), pytest.raises(TaskError) as caught:
        cache.make("00" * 32, ".parquet", filled)
    assert caught.value.message == f"cannot write to the cache, nor to {tmp_path}/temporary: {os.strerror(code)}"
    assert left_in(tmp_path / "temporary") == []
    assert left_in(tmp_path / "cache/blocks") == []


@pytest.fixture(scope="module")
def collected() -> dict[str, Any]:
    """What this Python installation has, looked for once."""
    return {}


@pytest.mark.parametrize(
    ("operation", "code", "pattern"),
    [
        ("write", errno.ENOSPC, "*.jsonl.zst"),
        ("write", errno.EIO, "*/fineweb-edu/part.0.parquet"),
        ("write", errno.ENOSPC, "*/SAMPLE.json"),
        ("rename", errno.EIO, "*/zyda"),
        ("rename", errno.EIO, "*/SAMPLE.json"),
    ],
)
def test_a_sample_that_cannot_be_written_is_none(
    tmp_path: Path, collected: dict[str, Any], monkeypatch: pytest.MonkeyPatch, operation: str, code: int, pattern: str
) -> None:
    """There is no marker; the same command makes it."""
    for name in ("find_installation", "collect"):
        monkeypatch.setattr(make, name, partial(_once, collected, name, getattr(make, name)))
    with failing(operation, code, pattern), pytest.raises(OSError) as caught:
        make_sample(tmp_path / "sample", 20_000)
    assert caught.value.errno == code
    left = left_in(tmp_path / "sample")
    assert "SAMPLE.json" not in left
    if operation == "write":
        assert all(name.startswith(".sample-partial/") for name in left)
    report = make_sample(tmp_path / "sample", 20_000)
    assert set(left_in(tmp_path / "sample")) == {*report.files, "SAMPLE.json"}
    assert {name.split("/")[0] for name in report.files} == set(WRITERS)


def _once(results: dict[str, Any], name: str, function: Callable[..., Any], *arguments: Any) -> Any:
    if name not in results:
        results[name] = function(*arguments)
    return results[name]


def without_log(folder: Path) -> dict[str, str]:
    return {
        name: digest for name, digest in contents(folder).items() if name not in ("build-log.json", "evidence.json")
    }


BEFORE_TASKS = ("plan.json", "snapshots/*.json")
OF_A_BUILD = ("shards/00002.arrow", "tasks/00002.json", *BEFORE_TASKS, "README.md", "manifest.json")


@pytest.mark.parametrize(
    ("operation", "name"),
    # A record is not synced by itself: it counts for nothing where its shard is not there.
    [pair for pair in product(OPERATIONS, OF_A_BUILD) if pair != ("sync", "tasks/00002.json")],
)
def test_a_build_whose_disk_fails_says_so_and_goes_on(
    workshop: Workshop, finished: Path, tmp_path: Path, operation: str, name: str
) -> None:
    """Nothing half-written is left, and no record of a shard that may not be on the disk."""
    code = FAULTS[operation]
    out = tmp_path / "out"
    with failing(operation, code, f"{out}/{name}"), pytest.raises((TaskError, OSError)) as caught:
        workshop.build(out, workshop.recipe())
    assert os.strerror(code) in str(caught.value)
    if isinstance(caught.value, TaskError):
        assert str(caught.value).startswith(f"{out}/{name}: cannot write: {os.strerror(code)}\n  hint: make room or ")
    left = left_in(out)
    assert not [path for path in left if path.endswith(".tmp")]
    assert "manifest.json" not in left
    assert "tasks/00002.json" not in left or not name.startswith(("shards/", "tasks/"))
    has_shard = name not in BEFORE_TASKS and (not name.startswith("shards/") or operation == "sync")
    assert ("shards/00002.arrow" in left) == has_shard
    workshop.build(out, workshop.recipe())
    assert without_log(out) == without_log(finished)


@pytest.mark.parametrize("name", ["shards/00002.arrow", "tasks/00002.json"])
@pytest.mark.parametrize("operation", ["write", "rename"])
def test_a_repair_whose_disk_fails_says_so_and_goes_on(
    workshop: Workshop, copy_of_finished: Path, finished: Path, name: str, operation: str
) -> None:
    """No scratch is left, and what was damaged is damaged still."""
    out, code = copy_of_finished, FAULTS[operation]
    (out / "shards/00002.arrow").unlink()
    where: dict[str, Any] = {"root": workshop.root, "cache_dir": workshop.cache_dir}
    with failing(operation, code, f"{out}/*{name}"), pytest.raises(TaskError, match=os.strerror(code)) as caught:
        repair(out, **where)
    assert str(caught.value.where).endswith(name)
    assert not [path for path in out.rglob("*") if path.name.endswith(".tmp")]
    if name.startswith("shards/"):
        assert len(list(find_damage(out, load_manifest(out)))) == 1
    repair(out, **where)
    assert without_log(out) == without_log(finished)


IDS = {
    "bin": "train.bin",
    "litdata": "chunk-*.bin",
    "mds": "shard.*.mds",
    "megatron": "train.bin",
    "nanotron": "*.ds",
    "olmo": "*.npy",
}
LAST = {
    "bin": "export.json",
    "litdata": "index.json",
    "mds": "index.json",
    "megatron": "train.idx",
    "nanotron": "*.metadata",
    "olmo": "*.csv.gz",
}


@pytest.mark.parametrize("format_name", EXPORT_FORMATS)
@pytest.mark.parametrize(
    "names", [IDS, LAST, dict.fromkeys(EXPORT_FORMATS, "export.json")], ids=["ids", "last", "record"]
)
@each_fault
def test_an_export_whose_disk_fails_says_so_and_goes_on(
    finished: Path, tmp_path: Path, format_name: str, names: dict[str, str], operation: str, code: int
) -> None:
    """It never looks finished; of a long file what was written stays, of others nothing does."""
    folder = tmp_path / "export"
    with failing(operation, code, f"{folder}/{names[format_name]}") as failed, pytest.raises(TaskError) as caught:
        export(finished, format_name, folder)
    assert len(failed) == 1
    assert caught.value.message == f"cannot export: {os.strerror(code)}"
    assert caught.value.where == failed[0]
    left = left_in(folder)
    assert "export.json" not in left
    assert not [name for name in left if name.endswith(".tmp")]
    assert (".train.bin.part" in left) == (names[format_name] == "train.bin")
    export(finished, format_name, folder)
    export(finished, format_name, tmp_path / "whole")
    assert contents(folder) == contents(tmp_path / "whole")


@pytest.mark.parametrize("operation", ["write", "sync"])
@each_code
def test_a_claim_that_cannot_be_written_holds_nothing_up(
    finished: Path, tmp_path: Path, operation: str, code: int
) -> None:
    """The next export takes the folder."""
    folder = tmp_path / "export"
    with failing(operation, code, f"{folder}/.export.json"), pytest.raises(TaskError, match=os.strerror(code)):
        export(finished, "bin", folder)
    assert left_in(folder) == [".export.json"]
    export(finished, "bin", folder)
    assert left_in(folder) == [".export.json", "export.json", "train.bin"]


class Fetch:
    """As much of a plan as the folder of a fetch asks for."""

    id = "ab"

    def as_json(self) -> dict[str, Any]:
        return {"id": self.id}


@each_operation
@each_code
def test_a_fetch_into_a_folder_that_fails_begins_nothing(tmp_path: Path, operation: str, code: int) -> None:
    """The same command then takes it."""
    folder: Any = FetchFolder(tmp_path / "out", Fetch())  # type: ignore[arg-type]
    with failing(operation, code, "*/fetch.json"), pytest.raises(TaskError) as caught:
        folder.adopt()
    assert caught.value.message == f"cannot be used: {os.strerror(code)}"
    assert left_in(tmp_path) == []
    folder.adopt()
    assert left_in(tmp_path) == ["out/.mixer/fetch.json"]


# Locks


def test_a_lock_is_held_by_one_and_ends_with_its_descriptor(tmp_path: Path) -> None:
    """Whoever does not wait is told; the file is made, and may not be executed."""
    path = tmp_path / "new/lock"
    first = lock_file(path)
    assert first is not None
    assert path.stat().st_mode & 0o111 == 0
    assert lock_file(path) is None
    os.close(first)
    with locked_file(path) as second:
        assert lock_file(path) is None
        assert not os.get_inheritable(second)
    third = lock_file(path)
    assert third is not None
    os.close(third)


def test_readers_share_a_lock_and_keep_others_out(tmp_path: Path) -> None:
    """Until the last is gone."""
    (tmp_path / "entry").write_bytes(b"x")
    readers = [os.open(tmp_path / "entry", os.O_RDONLY) for _ in range(2)]
    for reader in readers:
        share_lock(reader)
    remover = os.open(tmp_path / "entry", os.O_RDONLY)
    assert not try_lock(remover)
    os.close(readers[0])
    assert not try_lock(remover)
    os.close(readers[1])
    assert try_lock(remover)
    os.close(remover)


def test_a_lock_that_waits_gets_it_when_the_other_is_done(tmp_path: Path) -> None:
    """And not before."""
    order: list[str] = []

    def wait() -> None:
        with locked_file(tmp_path / "lock"):
            order.append("second")

    with locked_file(tmp_path / "lock"):
        thread = threading.Thread(target=wait)
        thread.start()
        thread.join(0.2)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
