"""What identifies a file: the footer of Parquet and Arrow IPC files, all bytes of others; and how little is read."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sources_kit import WRITERS, Source, read_all, write_arrow_file, write_arrow_stream, write_parquet

from mixer.digest import xxh3_file
from mixer.errors import DataError, FormatError, MixerError
from mixer.sources.pin import pin
from mixer.sources.pin_cache import PinCache
from mixer.sources.reader import SourceReader
from mixer.sources.snapshot import Snapshot
from mixer.system.progress import Advance, Work

ROWS = [{"text": f"row {n}", "n": n} for n in range(10)]
TERABYTE = 1 << 40


def footer_sha256(path: Path) -> str:
    """As the format page defines it, from the file's bytes alone."""
    content = path.read_bytes()
    magic = 6 if content.endswith(b"ARROW1") else 4
    length = int.from_bytes(content[-magic - 4 : -magic], "little")
    return hashlib.sha256(content[-(length + magic + 4) :]).hexdigest()


def with_a_hole(path: Path, header_bytes: int) -> Path:
    """The file with a terabyte of nothing before its footer: only who reads footers alone can read it in a second."""
    content, wide = path.read_bytes(), path.with_name(f"wide-{path.name}")
    magic = 6 if content.endswith(b"ARROW1") else 4
    length = int.from_bytes(content[-magic - 4 : -magic], "little") + magic + 4
    with wide.open("wb") as file:
        file.write(content[: len(content) - length])
        file.truncate(TERABYTE)
        file.seek(TERABYTE)
        file.write(content[-length:])
    return wide


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_has_one_identity_by_its_format(tmp_path: Path, name: str) -> None:
    """Size and footer of Parquet and Arrow IPC files; all bytes of JSON lines and of Arrow IPC streams."""
    WRITERS[name](tmp_path / name, ROWS, 4)
    (entry,) = pin("wiki", Source(name), tmp_path).as_json()["files"]
    kinds = entry.keys() & {"footer_sha256", "xxh3", "sha256", "etag"}
    if name in ("a.parquet", "file.arrow"):
        assert (kinds, entry["footer_sha256"]) == ({"footer_sha256"}, footer_sha256(tmp_path / name))
    else:
        assert (kinds, entry["xxh3"]) == ({"xxh3"}, xxh3_file(tmp_path / name))
    for where in ("n > 3", None):  # counted with and without reading
        again = pin("wiki", Source(name, where=where), tmp_path, PinCache(tmp_path / "cache")).files
        assert [file.version() for file in again] == [{kind: entry[kind] for kind in kinds}]


@pytest.mark.parametrize("kinds", [{}, {"footer_sha256": "a", "xxh3": "b"}, {"sha256": "a"}])
def test_a_local_file_has_exactly_one_identity(tmp_path: Path, kinds: dict[str, str]) -> None:
    """Neither none nor two, nor one of a remote file."""
    entry = {"path": "a.parquet", "bytes": 1, "rows": [1], **kinds}
    with pytest.raises(FormatError, match="not a snapshot"):
        Snapshot.from_json({"format": "parquet", "files": [entry]}, tmp_path)


@pytest.mark.parametrize("name", ["a.parquet", "file.arrow"])
def test_a_terabyte_is_pinned_by_its_footer(tmp_path: Path, name: str) -> None:
    """In a process of its own that may take five seconds: reading the hole would take many minutes."""
    WRITERS[name](tmp_path / name, ROWS, 4)
    wide = with_a_hole(tmp_path / name, 8)
    script = f"""
import sys
from pathlib import Path
sys.path[:0] = {[str(Path(__file__).parent)]!r}
from sources_kit import Source
from mixer.sources.pin import pin
def num_read():
    return int(Path("/proc/self/io").read_text().split()[1])
pin("wiki", Source({name!r}), Path({str(tmp_path)!r}))  # what is imported on the way
before = num_read()
snapshot = pin("wiki", Source({wide.name!r}), Path({str(tmp_path)!r}))
print(num_read() - before, snapshot.num_rows, snapshot.num_bytes, flush=True)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True, env=dict(os.environ)
    )
    num_read, num_rows, num_bytes = map(int, done.stdout.split())
    assert (num_rows, num_bytes > TERABYTE) == (10, True)
    assert num_read < 1 << 20


@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
@pytest.mark.parametrize("sizes", [[], [3], [0, 5, 0, 7] * 20])
def test_rows_of_record_batches_are_counted_from_their_metadata(
    tmp_path: Path, compression: str | None, sizes: list[int]
) -> None:
    """Also with dictionaries before them, with empty ones, and with bodies that would have to be decompressed."""
    schema = pa.schema([("text", pa.string()), ("lang", pa.dictionary(pa.int8(), pa.string()))])
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_file(str(tmp_path / "a.arrow"), schema, options=options) as writer:
        for size in sizes:
            lang = pa.DictionaryArray.from_arrays(pa.array([0] * size, pa.int8()), ["en"])
            writer.write_batch(pa.record_batch([["x"] * size, lang], schema=schema))
    assert pin("wiki", Source("a.arrow"), tmp_path).block_rows.tolist() == sizes


def test_bodies_of_an_arrow_file_are_not_decompressed_to_count_rows(tmp_path: Path) -> None:
    """Here they are damaged: pinning does not notice, reading does."""
    table = pa.table({"text": ["some text " * 1000] * 50})
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_file(str(tmp_path / "a.arrow"), table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=50)
    content = bytearray((tmp_path / "a.arrow").read_bytes())
    body = content.index(b"\x28\xb5\x2f\xfd")
    content[body : body + 4] = b"!!!!"
    (tmp_path / "a.arrow").write_bytes(content)
    assert pin("wiki", Source("a.arrow"), tmp_path).block_rows.tolist() == [50]
    with pytest.raises(DataError, match="cannot be read"):
        read_all(tmp_path, Source("a.arrow"))


@pytest.mark.parametrize("name", ["a.parquet", "file.arrow"])
@pytest.mark.parametrize("damage", ["length", "magic", "beyond", "footer"])
def test_a_damaged_footer_is_an_error_and_no_traceback(tmp_path: Path, name: str, damage: str) -> None:
    """Whatever it says of its own length."""
    path = tmp_path / name
    WRITERS[name](path, ROWS, 4)
    content = bytearray(path.read_bytes())
    end = 10 if name.endswith("arrow") else 8
    if damage == "length":
        content[-end : -end + 4] = bytes(4)
    elif damage == "beyond":
        content[-end : -end + 4] = b"\xff\xff\xff\x7f"
    elif damage == "magic":
        content[-1] ^= 1
    else:
        content[-end - 60 : -end] = b"\xff" * 60
    path.write_bytes(content)
    with pytest.raises(DataError, match="cannot be read") as caught:
        read_all(tmp_path, Source(name))
    assert caught.value.where is not None
    assert str(path) in caught.value.where


def test_every_damaged_byte_of_an_arrow_footer_is_an_error_or_harmless(tmp_path: Path) -> None:
    """No damage of the metadata ends in anything but an error of ours; what is taken is another snapshot."""
    path = tmp_path / "file.arrow"
    write_arrow_file(path, ROWS, 4)
    whole = pin("wiki", Source("file.arrow"), tmp_path).identity
    content = path.read_bytes()
    length = int.from_bytes(content[-10:-6], "little") + 10
    for place in range(len(content) - length, len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x5A]) + content[place + 1 :])
        with contextlib.suppress(MixerError):
            assert pin("wiki", Source("file.arrow"), tmp_path).identity != whole, place


def test_an_encrypted_footer_is_said(tmp_path: Path) -> None:
    """`PARE` in place of `PAR1`; the hint says what to do."""
    write_parquet(tmp_path / "a.parquet", ROWS, 4)
    content = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(b"PARE" + content[4:-4] + b"PARE")
    with pytest.raises(DataError, match="its footer is encrypted") as caught:
        pin("wiki", Source("a.parquet"), tmp_path)
    assert "without encryption" in str(caught.value.hint)


def test_a_loaded_snapshot_knows_its_files_by_their_footers(tmp_path: Path) -> None:
    """Times are of one machine: on another one a file of equal size is told by its footer."""
    write_parquet(tmp_path / "a.parquet", ROWS, 4)
    source = Source("a.parquet")
    snapshot = pin("wiki", source, tmp_path)
    loaded = Snapshot.from_json(json.loads(json.dumps(snapshot.as_json())), snapshot.base)
    assert len(next(SourceReader("wiki", source, loaded).read(0, 0, 4))) == 4
    write_parquet(tmp_path / "a.parquet", [{"text": f"ROW {n}", "n": n} for n in range(10)], 4)
    assert (tmp_path / "a.parquet").stat().st_size == snapshot.num_bytes
    with pytest.raises(DataError, match="its footer is another one"):
        next(SourceReader("wiki", source, loaded).read(0, 0, 4))


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.zst", "stream.arrow"])
def test_pinning_counts_the_bytes_of_a_large_file_as_they_are_read(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of hours is no silence of hours; in the end every byte counts once."""
    monkeypatch.setattr("mixer.sources.pin_progress._TOLD_BYTES", 1000)
    rows = [{"text": os.urandom(500).hex(), "n": n} for n in range(500)]
    WRITERS[name](tmp_path / name, rows, 10)
    monkeypatch.setattr("mixer.sources.file_digest._READ_BYTES", 4096)
    monkeypatch.setattr("mixer.sources.formats.lines.PIECE_BYTES", 4096)
    told: list[Advance] = []
    snapshot = pin("wiki", Source(name), tmp_path, None, told.append)
    assert len(told) >= 4
    assert [advance.done_bytes for advance in told] == sorted(advance.done_bytes for advance in told)
    size = snapshot.num_bytes
    assert told[-1] == Advance(work=Work.PIN_SOURCE, about="wiki", done=1, total=1, done_bytes=size, total_bytes=size)
    assert snapshot.files[0].xxh3 == xxh3_file(tmp_path / name)


def test_a_row_group_is_found_behind_pages_with_checksums(tmp_path: Path) -> None:
    """A flipped bit of a page is an error where its writer made checksums."""
    table = pa.table({"text": [os.urandom(40).hex() for _ in range(100)]})
    pq.write_table(table, tmp_path / "a.parquet", compression="none", use_dictionary=False, write_page_checksum=True)
    content = bytearray((tmp_path / "a.parquet").read_bytes())
    content[4000] ^= 1
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(DataError, match="CRC checksum verification failed"):
        read_all(tmp_path, Source("a.parquet"))


def test_what_streams_and_files_of_arrow_hold_is_read_alike(tmp_path: Path) -> None:
    """A stream under the name of a file is identified by all its bytes."""
    write_arrow_stream(tmp_path / "a.arrow", ROWS, 4)
    write_arrow_file(tmp_path / "b.arrow", ROWS, 4)
    snapshot = pin("wiki", Source("*.arrow"), tmp_path)
    assert [sorted(file.version()) for file in snapshot.files] == [["xxh3"], ["footer_sha256"]]
    shutil.copy(tmp_path / "b.arrow", tmp_path / "c.arrow")
    again = pin("wiki", Source("*.arrow"), tmp_path)
    assert again.files[1].version() == again.files[2].version()
