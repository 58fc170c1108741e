"""The reading table: everyone gives the same sequences, and the table that is made of the records."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from shlex import quote

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
sys.path += [str(BENCHMARKS), str(BENCHMARKS / "peers")]

import feed  # noqa: E402
import feed_clock  # noqa: E402
import feed_contestants  # noqa: E402
import feed_table  # noqa: E402
import render  # noqa: E402

START, STOP = "<!-- bench:start -->", "<!-- bench:end -->"
FEED_START, FEED_STOP = "<!-- bench-feed:start -->", "<!-- bench-feed:end -->"
MACHINE = {"cpu", "cores", "python", "caches", "date"}
FIGURES = {"seconds", "first_batch_seconds", "mtok_per_s", "num_sequences", "num_tokens", "ids", "versions"}
FIELDS = {"round", "contestant"} | FIGURES | MACHINE
QUICK_SEQUENCES = 160
MODULES = {"litdata": "torch", "mosaicml": "streaming", "datasets": "datasets"}
IDS = {"mixer-loader": "int64", "mixer-loader-2": "int64"}


@pytest.fixture(scope="module")
def quick_records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench-feed")
    records = folder / "records.jsonl"
    command = [sys.executable, str(BENCHMARKS / "feed.py"), "--quick", "--data", str(folder)]
    done = subprocess.run(
        [*command, "--records", str(records)], timeout=400, capture_output=True, text=True, cwd=folder
    )
    assert done.returncode == 0, done.stderr
    return records


@pytest.mark.slow
def test_a_quick_run_proves_that_everyone_gives_each_sequence_once(quick_records: Path) -> None:
    """Two rounds of all readers, and in the first the same proof from all; the tests need all of them installed."""
    records = [json.loads(line) for line in quick_records.read_text().splitlines()]
    names = [reader.name for reader in feed_contestants.READERS]
    assert [(record["round"], record["contestant"]) for record in records] == [
        (n, one) for n in (0, 1) for one in names
    ]
    assert [record["absent"] for record in records if "absent" in record] == []
    proofs = {
        (record["proof"]["sum_of_ids"], record["proof"]["sequences"])
        for record in records
        if record["round"] == 0 and record["contestant"] != "datasets-streaming"
    }
    assert len(proofs) == 1
    for record in records:
        assert record.keys() == FIELDS | ({"proof"} if record["round"] == 0 else set())
        part = record["contestant"] == "datasets-streaming"
        assert record["num_sequences"] == (QUICK_SEQUENCES // 10 if part else QUICK_SEQUENCES)
        assert record["num_tokens"] == 8192 * record["num_sequences"]
        assert record["mtok_per_s"] == pytest.approx(record["num_tokens"] / record["seconds"] / 1e6, rel=0.01, abs=0.01)
        assert 0 < record["first_batch_seconds"] < record["seconds"]
        assert record["ids"] == IDS.get(record["contestant"], "int32")


@pytest.mark.slow
def test_feed_records_name_neither_machine_nor_path(quick_records: Path) -> None:
    """What is committed says what was measured on which kind of machine, not where; no copies are left behind."""
    text = quick_records.read_text()
    assert str(quick_records.parent) not in text
    assert str(ROOT) not in text
    assert not (quick_records.parent / "forms").exists()


@pytest.mark.slow
def test_quick_records_make_a_table(quick_records: Path) -> None:
    """One line a reader, whoever is installed."""
    text = feed_table.render([json.loads(line) for line in quick_records.read_text().splitlines()])
    assert all(label in text for label in feed_table.LABELS.values())


@pytest.mark.parametrize("name", ["litdata", "mosaicml", "datasets"])
def test_a_peer_that_cannot_be_imported_is_recorded_as_absent(name: str, tmp_path: Path) -> None:
    """With the module that it lacks: here none is found but Python's own and numpy."""
    numpy_alone = tmp_path / "packages"
    numpy_alone.mkdir()
    for folder in Path(np.__file__).parents[1].glob("numpy*"):
        (numpy_alone / folder.name).symlink_to(folder)
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={quote(str(numpy_alone))} exec {quote(sys.executable)} -S "$@"\n')
    python.chmod(0o755)
    (form,) = [form for form in feed_contestants.WRITTEN if form.name == name]
    bench = feed_contestants.FeedBench(
        data=tmp_path, text="5MB", num_sequences=80, python=sys.executable, pythons={name: str(python)}
    )
    assert feed.missing(bench, form) == f"ModuleNotFoundError: No module named '{MODULES[name]}'"


def test_a_form_may_have_an_interpreter_of_its_own(tmp_path: Path) -> None:
    """A part of a form is read by whom the whole is; a form that does not exist is refused."""
    given = ["--data", str(tmp_path), "--python", "datasets=/a/python", "--python", "litdata=/b/python"]
    bench, rounds, _ = feed._options([*given, "--tokens", "50M", "--rounds", "5"])
    found = [bench.interpreter(form) for form in feed_contestants.WRITTEN]
    assert found == [sys.executable, "/b/python", sys.executable, "/a/python", "/a/python"]
    assert (bench.num_sequences, bench.num_part, rounds) == (6160, 616, 5)
    with pytest.raises(SystemExit):
        feed._options(["--python", "nobody=/a/python"])


def test_amounts_are_decimal() -> None:
    """`1B` is a thousand times `1M`."""
    assert [feed.num_tokens(amount) for amount in ("1M", "200M", "1B")] == [1_000_000, 200_000_000, 1_000_000_000]


def proof_of(*batches: list[list[int]], kind: str = "int32") -> dict:
    proof = feed_clock.Proof()
    for batch in batches:
        proof.add(np.array(batch, dtype=kind))
    return proof.found()


def test_a_proof_knows_sequences_and_not_their_order_or_type() -> None:
    """Other batches, another order, int64: the same sequences. Two ids that change places are another sequence."""
    stored = proof_of([[1, 2], [3, 4], [5, 6]])
    shuffled = proof_of([[5, 6]], [[1, 2], [3, 4]], kind="int64")
    assert shuffled["sequences"] == stored["sequences"]
    assert shuffled["sum_of_ids"] == stored["sum_of_ids"] == 21
    assert shuffled["order"] != stored["order"]
    feed.check_proof("x", shuffled, stored)
    assert proof_of([[5, 6], [2, 1], [3, 4]])["sequences"] != stored["sequences"]


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ([[5, 6], [1, 2]], "x did not give each sequence once: sum_of_ids is 14, not 21"),
        ([[5, 6], [1, 2], [3, 4], [1, 2]], "x did not give each sequence once: sum_of_ids is 24, not 21"),
        ([[5, 6], [1, 3], [2, 4]], "x did not give each sequence once: sequences is"),
        ([[1, 2], [3, 4], [5, 6]], "x gave the sequences in the order in which they are stored"),
    ],
)
def test_a_reader_that_misses_repeats_changes_or_does_not_shuffle_stops_the_run(batch: list, message: str) -> None:
    """No record is made of a reading that is not what the others did."""
    with pytest.raises(RuntimeError, match=message):
        feed.check_proof("x", proof_of(batch), proof_of([[1, 2], [3, 4], [5, 6]]))


def record(number: int, name: str, mtok_per_s: float, num_tokens: int = 200_000_000) -> dict:
    machine = {"cpu": "Abacus", "cores": 2, "python": "3.11.7", "caches": "warm", "date": "2026-01-02"}
    figure = {"round": number, "contestant": name, "mtok_per_s": mtok_per_s, "ids": "int32", "num_tokens": num_tokens}
    return figure | {"first_batch_seconds": 0.002 * number, "versions": {name: "1.0"}} | machine


RECORDS = [
    *(record(number, "memmap", speed) for number, speed in ((0, 1), (1, 2000), (2, 3000), (3, 2500))),
    *(record(number, "mixer-ids", speed) for number, speed in ((0, 1), (1, 1600), (2, 1500), (3, 1400))),
    *(record(number, "litdata", speed) for number, speed in ((0, 1), (1, 500), (2, 500), (3, 600))),
    *(record(number, "datasets-streaming", 7.5, 20_000_000) for number in (0, 1, 2, 3)),
    {"round": 1, "contestant": "mosaicml", "absent": "ModuleNotFoundError: No module named 'streaming'"},
]


def test_the_table_has_medians_and_both_ratios() -> None:
    """Round 0 does not count; everyone is held against the limit, and mixer against everyone."""
    lines = {
        line.split("|")[1].strip(): line.split("|")[2:-1] for line in feed_table.render(RECORDS).splitlines()[2:-2]
    }
    cells = {name: [cell.strip() for cell in lines[label]] for name, label in feed_table.LABELS.items()}
    assert cells["memmap"] == ["int32 ids", "2,500 (2,000-3,000)", "", "0.6 x", "4"]
    assert cells["mixer-ids"] == ["int32 ids", "1,500 (1,400-1,600)", "0.6 x", "", "4"]
    assert cells["litdata"][1:] == ["500 (500-600)", "0.2 x", "3 x", "4"]
    assert cells["datasets-streaming"][1:] == ["7.5 (7.5-7.5)", "0.003 x", "200 x", "4"]
    assert cells["mosaicml"][1:] == ["not installed", "", "", ""]
    last = feed_table.render(RECORDS).splitlines()[-1]
    assert last.startswith("The same 200 million tokens (20 million for streaming `datasets`) in sequences of 8192")
    assert "3 interleaved rounds, caches warm, 2 cores of Abacus, 2026-01-02." in last


def test_each_table_has_its_own_place_on_the_page(tmp_path: Path) -> None:
    """Records of readings go between their markers, and the other table stays."""
    records, page = tmp_path / "feed.jsonl", tmp_path / "speed.md"
    records.write_text("".join(json.dumps(one) + "\n" for one in RECORDS))
    builds = f"{START}\nbuilds\n{STOP}\n"
    page.write_text(f"{builds}{FEED_START}\nold\n{FEED_STOP}\nafter\n")
    render.main([str(records), "--page", str(page)])
    table = feed_table.render(RECORDS)
    assert page.read_text() == f"{builds}{FEED_START}\n{table}\n{FEED_STOP}\nafter\n"


def test_the_newest_records_of_each_table_are_taken(tmp_path: Path) -> None:
    """Their names are dates."""
    for name in ("2026-01-01-0900", "2026-01-02-0900", "feed-2025-01-01-0900", "feed-2026-01-01-0900"):
        (tmp_path / f"{name}.jsonl").touch()
    assert [path.stem for path in render.newest(tmp_path)] == ["feed-2026-01-01-0900", "2026-01-02-0900"]
    (tmp_path / "empty").mkdir()
    assert render.newest(tmp_path / "empty") == []
