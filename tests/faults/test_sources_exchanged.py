"""A source that is another file than the pinned one, or no regular file at all, is an error and never a silence."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sources_kit import WRITERS, Source, read_all, read_texts, write_json_lines, write_parquet

from mixer.errors import DataError
from mixer.sources.pin import pin
from mixer.sources.reader import SourceReader

ROWS = [{"text": f"row {n}", "n": n} for n in range(10)]
OTHERS = [{"text": f"ROW {n}", "n": n} for n in range(10)]


def first_rows(reader: SourceReader, count: int = 4) -> list[str | None]:
    return [text for texts in reader.read(0, 0, count) for text in texts.text.to_pylist()]


def exchange(path: Path, name: str, how: str) -> None:
    """Other rows under the same size and times."""
    before = path.stat()
    time.sleep(0.02)  # more than a tick of the file system's clock
    other = path.with_name("other")
    WRITERS[name](other, OTHERS, 4)
    if how == "in place":
        path.write_bytes(other.read_bytes())
        other.unlink()
    else:
        os.replace(other, path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


@pytest.mark.parametrize("how", ["in place", "replaced"])
@pytest.mark.parametrize("name", ["a.parquet", "file.arrow", "stream.arrow", "a.jsonl"])
def test_a_file_exchanged_under_equal_size_and_times_is_noticed(tmp_path: Path, name: str, how: str) -> None:
    """No program can set the change time."""
    WRITERS[name](tmp_path / name, ROWS, 4)
    source = Source(name)
    snapshot = pin("wiki", source, tmp_path)
    assert first_rows(SourceReader("wiki", source, snapshot))[0] == "row 0"
    exchange(tmp_path / name, name, how)
    words = "another file of the same size and time" if how == "replaced" else "its change time is not"
    with pytest.raises(DataError, match=words) as caught:
        first_rows(SourceReader("wiki", source, snapshot))
    assert caught.value.where == f"sources.wiki: {tmp_path / name}: block 0"
    assert "run the same command again" in str(caught.value.hint)
    if name != "file.arrow":  # whose footer says where record batches are, and nothing of what is in them
        assert pin("wiki", source, tmp_path).identity != snapshot.identity


def test_a_file_that_is_exchanged_while_it_is_open_is_read_to_its_end(tmp_path: Path) -> None:
    """What was checked is what is read, whatever its path names by now."""
    rows = [{"text": f"row {n}" * 1000, "n": n} for n in range(4000)]
    write_json_lines(tmp_path / "a.jsonl", rows, 0)
    source = Source("a.jsonl")
    reader = SourceReader("wiki", source, pin("wiki", source, tmp_path))
    first = list(reader.read(0, 0, 1))
    write_json_lines(tmp_path / "b", OTHERS, 0)
    os.replace(tmp_path / "b", tmp_path / "a.jsonl")
    assert len(first) == 1
    assert sum(len(texts) for texts in reader.read(0, 1, 4000)) == 3999


@pytest.mark.parametrize("what", ["hard link", "chmod", "copied back"])
def test_what_changes_no_byte_ends_no_build(tmp_path: Path, what: str) -> None:
    """A backup by hard links or a chmod while a build goes on; a file that was brought back is pinned anew."""
    path = tmp_path / "a.parquet"
    write_parquet(path, ROWS, 4)
    source = Source("a.parquet")
    snapshot = pin("wiki", source, tmp_path)
    time.sleep(0.02)
    if what == "hard link":
        os.link(path, tmp_path / "backup")
    elif what == "chmod":
        path.chmod(0o600)
    else:
        shutil.copy2(path, tmp_path / "copy")
        os.replace(tmp_path / "copy", path)
        again = pin("wiki", source, tmp_path)
        assert again.identity == snapshot.identity
        snapshot = again
    assert first_rows(SourceReader("wiki", source, snapshot)) == [f"row {n}" for n in range(4)]


@pytest.mark.parametrize("format", ["parquet", "arrow", "jsonl"])
@pytest.mark.parametrize("what", ["a FIFO", "a socket", "a character device", "a directory"])
def test_what_is_no_regular_file_is_refused_and_not_waited_for(
    tmp_path: Path, format: str, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a process of its own: reading a FIFO or a device may never end."""
    path = tmp_path / f"a.{format}"
    if what == "a FIFO":
        os.mkfifo(path)
    elif what == "a socket":
        with socket.socket(socket.AF_UNIX) as listening:
            monkeypatch.chdir(tmp_path)  # the address of a socket is short
            listening.bind(path.name)
    elif what == "a directory":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
    script = f"""
import sys
from pathlib import Path
sys.path[:0] = {[str(Path(__file__).parents[1])]!r}
from sources_kit import Source
from mixer.errors import MixerError
from mixer.sources.pin import pin
try:
    pin("wiki", Source("a.*", format={format!r}), Path({str(tmp_path)!r}))
except MixerError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.startswith(f"sources.wiki: {path}: cannot be read: it is {what}, not a regular file\n  hint: ")


def test_a_pinned_file_that_became_a_fifo_is_refused(tmp_path: Path) -> None:
    """Also when it is opened to be read."""
    write_parquet(tmp_path / "a.parquet", ROWS, 4)
    source = Source("a.parquet")
    reader = SourceReader("wiki", source, pin("wiki", source, tmp_path))
    (tmp_path / "a.parquet").unlink()
    os.mkfifo(tmp_path / "a.parquet")
    with pytest.raises(DataError, match="it is a FIFO, not a regular file"):
        first_rows(reader)


@pytest.mark.parametrize("name", WRITERS)
def test_a_link_to_a_regular_file_is_one(tmp_path: Path, name: str) -> None:
    """As caches of downloads and git-annex have them."""
    (tmp_path / "store").mkdir()
    WRITERS[name](tmp_path / "store/object", ROWS, 4)
    (tmp_path / name).symlink_to("store/object")
    assert read_texts(tmp_path, Source(name)) == [row["text"] for row in ROWS]
    assert len(read_all(tmp_path, Source(name))) == 10
