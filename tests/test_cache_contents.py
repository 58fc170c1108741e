"""What the cache lists, and what a pruning removes beside processes that use it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mixer.cli.cache import parse_age
from mixer.cli.main import run
from mixer.errors import UsageError
from mixer.stack.fetched import keep_while_running
from mixer.stores.block_cache import BlockCache, CacheEntry
from mixer.survey.cache_contents import Entry, cache_entries, choose, remove_entries
from mixer.system.disk import write_at
from mixer.system.locks import lock_file

DAY = 86400.0


def entry(kind: str, name: str, num_bytes: int, age_days: float) -> Entry:
    """An entry that was used so long before day 1,000."""
    return Entry(kind=kind, path=Path(name), bytes=num_bytes, used_unix=(1000 - age_days) * DAY)  # type: ignore[arg-type]


def names(entries: list[Entry]) -> list[str]:
    return [one.path.name for one in entries]


def block(cache: BlockCache, key: str, num_bytes: int = 5000) -> CacheEntry:
    """A new entry of the cache, open."""

    def fill(descriptor: int) -> list[tuple[int, int]]:
        write_at(descriptor, b"x" * num_bytes, 0)
        return [(0, num_bytes)]

    return cache.make(key, ".parquet", fill)


def fetched(cache: Path, digit: str) -> Path:
    """A folder of fetched contents, with its lock."""
    folder = cache / "fetched" / (digit * 32)
    (folder / ".mixer").mkdir(parents=True)
    (folder / ".mixer" / "fetch.json").write_text("{}")
    (folder / "train-00000.parquet").write_bytes(b"y" * 5000)
    folder.with_name(f"{folder.name}.lock").write_text("")
    return folder


def test_what_is_old_goes_of_every_kind():
    """But nothing of others; the bound itself is old."""
    entries = [entry("pins", "a", 1, 40), entry("blocks", "b", 1, 30), entry("fetched", "c", 1, 29)]
    entries.append(entry("other", "d", 1, 400))
    chosen = choose(entries, now=1000 * DAY, older_than_seconds=30 * DAY, max_bytes=None)
    assert names(chosen) == ["a", "b"]


def test_a_bound_takes_the_cheapest_and_oldest_first():
    """Blocks before fetched contents, those used longest ago first, and notes never; what others have counts too."""
    entries = [
        entry("pins", "pin", 5, 900),
        entry("blocks", "new", 30, 1),
        entry("blocks", "old", 30, 2),
        entry("fetched", "text", 30, 500),
        entry("other", "strange", 5, 900),
    ]
    for max_bytes, gone in ((100, []), (99, ["old"]), (60, ["new", "old"]), (0, ["new", "old", "text"])):
        assert names(choose(entries, now=1000 * DAY, older_than_seconds=None, max_bytes=max_bytes)) == gone


def test_a_tokenizer_that_was_just_used_stays():
    """It is read by its path a moment after it was found."""
    entries = [entry("tokenizers", "now", 10, 0.01), entry("tokenizers", "then", 10, 1)]
    assert names(choose(entries, now=1000 * DAY, older_than_seconds=0, max_bytes=0)) == ["then"]


def test_open_blocks_stay_and_others_go(tmp_path):
    """With their facts, and the count of bytes follows."""
    cache = BlockCache(folder=tmp_path, max_bytes=10**9)
    held, free = block(cache, "ab" + "0" * 40), block(cache, "cd" + "1" * 40)
    free.close()
    used = int((tmp_path / "blocks" / "used").read_text())
    entries = [one for one in cache_entries(tmp_path) if one.kind == "blocks"]
    assert sorted(names(entries)) == [held.path.name, free.path.name]
    assert names(remove_entries(tmp_path, entries)) == [free.path.name]
    assert held.path.exists()
    assert not free.path.exists()
    assert not free.path.with_name(free.path.name + ".json").exists()
    assert int((tmp_path / "blocks" / "used").read_text()) < used
    held.close()
    assert names(remove_entries(tmp_path, entries)) == [held.path.name]
    assert cache.find("ab" + "0" * 40, ".parquet") is None
    block(cache, "ab" + "0" * 40).close()  # and it is made again


def test_contents_that_are_fetched_or_read_stay(tmp_path):
    """By this process or another one; a killed pruning is finished by the next."""
    fetching, reading, elsewhere, free = (fetched(tmp_path, digit) for digit in "abcd")
    (tmp_path / "fetched" / ".removed-0").mkdir()
    lock = lock_file(fetching.with_name(f"{fetching.name}.lock"))
    assert lock is not None
    keep_while_running(reading)
    code = "import sys; from pathlib import Path; from mixer.stack.fetched import keep_while_running; "
    code += f"keep_while_running(Path({str(elsewhere)!r})); print(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        entries = [one for one in cache_entries(tmp_path) if one.kind == "fetched"]
        assert [one.path for one in remove_entries(tmp_path, entries)] == [free]
        assert other.stdin is not None
        other.stdin.close()
    os.close(lock)
    assert {one.path for one in remove_entries(tmp_path, entries)} >= {fetching, elsewhere}
    assert reading.exists()
    assert [path.name for path in (tmp_path / "fetched").iterdir() if path.is_dir()] == [reading.name]


def test_only_what_mixer_made_is_removed(tmp_path, capsys):
    """A cache in a folder of other things, such as `--cache .` in a project: all of those stay."""
    theirs = [
        "tokenizers/tokenizer.json",
        "blocks/ab/" + "0" * 40 + ".parquet",  # without mixer's mark
        "pins/ab/notes.json",
        "measured/a.json",
        "fetched/mine/x.parquet",
        "fetched/" + "e" * 32 + "/x.parquet",  # without the record of a fetch
        "data.parquet",
    ]
    ours = ["pins/ab/" + "0" * 32 + ".json", "measured/" + "0" * 64 + ".json", "tokenizers/" + "0" * 32 + ".json"]
    for name in [*theirs, *ours]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")
        os.utime(tmp_path / name, (0, 0))
    (tmp_path / "link").symlink_to("/etc")
    command = ["cache", "prune", "--older-than", "0s", "--max-size", "0", "--cache", str(tmp_path), "--json"]
    assert run([*command, "--dry-run"]) == 0
    # Whether a block has mixer's mark is only seen when it is opened, to be removed.
    foreign = {one["path"] for one in json.loads(capsys.readouterr().out)["removed"]} - set(ours)
    assert foreign == {theirs[1]}
    assert run(command) == 0
    report = json.loads(capsys.readouterr().out)
    assert {one["path"] for one in report["removed"]} == set(ours)
    assert [name for name in theirs if not (tmp_path / name).exists()] == []
    assert [name for name in ours if (tmp_path / name).exists()] == []
    assert (tmp_path / "link").is_symlink()


def test_a_dry_run_removes_nothing(tmp_path, capsys):
    """And says what would go."""
    path = tmp_path / "measured" / ("0" * 64 + ".json")
    path.parent.mkdir()
    path.write_text("{}")
    os.utime(path, (time.time() - 40 * DAY,) * 2)
    command = ["cache", "prune", "--older-than", "30d", "--cache", str(tmp_path)]
    assert run([*command, "--dry-run"]) == 0
    assert re.match(r"would remove [\d.]+ \w+ of measurements of tokens per row \(1 file\)", capsys.readouterr().out)
    assert path.exists()
    assert run(command) == 0
    assert capsys.readouterr().out.startswith("removed ")
    assert not path.exists()
    assert run(command) == 0
    assert capsys.readouterr().out.startswith("nothing to remove\n")


def test_the_size_has_every_kind(tmp_path, capsys):
    """With bytes on the disk, and what making it again takes; a cache that is not there is empty."""
    block(BlockCache(folder=tmp_path, max_bytes=10**9), "ab" + "0" * 40).close()
    fetched(tmp_path, "a")
    assert run(["cache", "size", "--cache", str(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    on_disk = sum(path.stat().st_blocks * 512 for path in tmp_path.rglob("*") if path.is_file())
    assert found["bytes"] == on_disk == sum(kind["bytes"] for kind in found["kinds"].values())
    assert (found["kinds"]["blocks"]["entries"], found["kinds"]["fetched"]["entries"]) == (1, 1)
    assert run(["cache", "size", "--cache", str(tmp_path)]) == 0
    assert "fetches every file again: hours or days" in capsys.readouterr().out
    assert run(["cache", "size", "--cache", str(tmp_path / "none")]) == 0
    assert capsys.readouterr().out == f"nothing in {tmp_path}/none\n"


def test_the_place_of_the_cache(tmp_path, monkeypatch, capsys):
    """As `--cache` or the environment says."""
    monkeypatch.setenv("MIXER_CACHE", str(tmp_path / "a"))
    assert run(["cache", "dir"]) == run(["cache", "dir", "--cache", "b"]) == 0
    assert capsys.readouterr().out == f"{tmp_path}/a\nb\n"


def test_a_pruning_has_to_be_told_what_goes(tmp_path, capsys):
    """Neither option, or one that is not understood, is wrong usage."""
    assert run(["cache", "prune", "--cache", str(tmp_path)]) == 2
    assert "give --older-than 30d" in capsys.readouterr().err
    assert run(["cache", "prune", "--cache", str(tmp_path), "--older-than", "a month"]) == 2
    assert run(["cache", "prune", "--cache", str(tmp_path), "--max-size", "big"]) == 2


@pytest.mark.parametrize(("text", "seconds"), [("30d", 30 * DAY), ("12h", 43200), ("2w", 14 * DAY), ("1.5 H", 5400)])
def test_ages_are_read(text, seconds):
    """A number and a unit."""
    assert parse_age(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "d", "-1d", "1y", "1e3d", "٣d", "nan d"])
def test_other_ages_are_refused(text):
    """With what an age looks like."""
    with pytest.raises(UsageError, match="such as 30d"):
        parse_age(text)
