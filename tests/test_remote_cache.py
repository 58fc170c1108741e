"""The cache of blocks: whole or not at all, bounded, shared, the oldest first."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from pathlib import Path

import pytest

from mixer.stores import traffic
from mixer.stores.block_cache import BlockCache, CacheEntry
from mixer.system.disk import write_at

MIB = 1 << 20


def key(number: int) -> str:
    return f"{number:08x}" * 4


def filled(byte: bytes, num_bytes: int = MIB):
    """A block of so many bytes at the end of a long file."""

    def fill(descriptor: int) -> list[tuple[int, int]]:
        os.ftruncate(descriptor, 100 * MIB)
        write_at(descriptor, byte * num_bytes, 50 * MIB)
        return [(50 * MIB, 50 * MIB + num_bytes)]

    return fill


def make(cache: BlockCache, number: int, num_bytes: int = MIB) -> CacheEntry:
    return cache.find(key(number), ".x") or cache.make(key(number), ".x", filled(b"%d" % (number % 10), num_bytes))


def numbers(cache: BlockCache) -> set[int]:
    return {number for number in range(100) if (entry := cache.find(key(number), ".x")) and not entry.close()}


def used_bytes(cache: BlockCache) -> int:
    files = [path for path in (cache.folder / "blocks").glob("??/*") if path.suffix == ".x"]
    return sum(path.stat().st_blocks * 512 for path in files)


def test_an_entry_has_the_length_of_the_file_and_the_disk_space_of_its_block(tmp_path: Path) -> None:
    """Holes cost nothing; the bytes are at their own place."""
    entry = make(BlockCache(folder=tmp_path, max_bytes=10 * MIB), 7)
    assert entry.path.stat().st_size == 100 * MIB
    assert entry.path.stat().st_blocks * 512 < 2 * MIB
    with entry.path.open("rb") as file:
        file.seek(50 * MIB - 1)
        assert file.read(3) == b"\x0077"
    entry.close()


def test_the_entries_used_longest_ago_go_first(tmp_path: Path) -> None:
    """The bound holds after each new entry; using one makes it young again."""
    cache = BlockCache(folder=tmp_path, max_bytes=5 * MIB)
    for number in range(4):
        make(cache, number).close()
        time.sleep(0.01)
    make(cache, 0).close()
    for number in range(4, 7):
        time.sleep(0.01)
        make(cache, number).close()
        assert used_bytes(cache) <= 5 * MIB
    left = numbers(cache)
    assert {0, 6} <= left
    assert left.isdisjoint({1, 2})


def test_what_is_being_read_stays(tmp_path: Path) -> None:
    """The cache grows over its bound until its readers are done."""
    cache = BlockCache(folder=tmp_path, max_bytes=3 * MIB)
    reading = [make(cache, number) for number in range(6)]
    assert used_bytes(cache) >= 6 * MIB
    for entry in reading:
        entry.close()
    make(cache, 6).close()
    assert used_bytes(cache) <= 3 * MIB


@pytest.mark.parametrize("damage", ["a byte", "cut short", "no facts", "other facts"])
def test_a_damaged_entry_is_fetched_again(tmp_path: Path, damage: str) -> None:
    """It is checked against its digest whenever it is opened."""
    cache = BlockCache(folder=tmp_path, max_bytes=10 * MIB)
    entry = make(cache, 1)
    entry.close()
    facts = entry.path.with_name(entry.path.name + ".json")
    if damage == "a byte":
        with entry.path.open("r+b") as file:
            file.seek(50 * MIB + 12345)
            file.write(b"!")
    elif damage == "cut short":
        os.truncate(entry.path, 50 * MIB)
    elif damage == "no facts":
        facts.unlink()
    else:
        facts.write_bytes(b'{"ranges": [3], "xxh3": "x"}')
    assert cache.find(key(1), ".x") is None
    traffic.take()
    again = make(cache, 1)
    assert traffic.take() == {"cache_misses": 1, "cache_damaged": 1}
    with again.path.open("rb") as file:
        file.seek(50 * MIB)
        assert file.read() == b"1" * MIB + bytes(49 * MIB)
    again.close()


def test_a_fill_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """Neither an entry nor a part of one; the next one succeeds."""
    cache = BlockCache(folder=tmp_path, max_bytes=10 * MIB)

    def fail(descriptor: int) -> list[tuple[int, int]]:
        write_at(descriptor, b"half", 0)
        raise ValueError("lost")

    with pytest.raises(ValueError, match="lost"):
        cache.make(key(1), ".x", fail)
    assert cache.find(key(1), ".x") is None
    assert not list((tmp_path / "blocks").glob("??/*"))
    make(cache, 1).close()


def test_what_killed_processes_left_is_cleaned_away(tmp_path: Path) -> None:
    """When room is made; what somebody is writing is not."""
    cache = BlockCache(folder=tmp_path, max_bytes=2 * MIB)
    make(cache, 1).close()
    left = tmp_path / "blocks" / key(1)[:2] / ".entry-half.tmp"
    left.write_bytes(b"x")

    def slow(descriptor: int) -> list[tuple[int, int]]:
        for number in range(2, 6):
            make(cache, number).close()
        return filled(b"9")(descriptor)

    cache.make("ff" * 16, ".x", slow).close()
    assert not left.exists()
    found = cache.find("ff" * 16, ".x")
    assert found is not None
    found.close()


def test_threads_that_want_one_block_fetch_it_once(tmp_path: Path) -> None:
    """The others wait for it."""
    cache, fills, entries = BlockCache(folder=tmp_path, max_bytes=10 * MIB), [], []

    def fill(descriptor: int) -> list[tuple[int, int]]:
        fills.append(1)
        time.sleep(0.1)
        return filled(b"1")(descriptor)

    threads = [threading.Thread(target=lambda: entries.append(cache.make(key(1), ".x", fill))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(fills), len(entries)) == (1, 8)
    for entry in entries:
        entry.close()


def _use(folder: Path, seed: int) -> None:
    cache = BlockCache(folder=folder, max_bytes=8 * MIB)
    for step in range(60):
        number = (seed * 7 + step * step) % 20
        entry = make(cache, number)
        with entry.path.open("rb") as file:
            file.seek(50 * MIB)
            assert file.read(MIB) == b"%d" % (number % 10) * MIB
        entry.close()


def test_processes_share_one_cache(tmp_path: Path) -> None:
    """Four of them read twenty blocks in a cache that holds eight: every byte is right, and the bound holds."""
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_use, args=(tmp_path, seed)) for seed in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert used_bytes(BlockCache(folder=tmp_path, max_bytes=0)) <= 8 * MIB
