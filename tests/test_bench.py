"""The speed table: records from fresh processes, and the table that is made of them."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import contestants  # noqa: E402
import prepare  # noqa: E402
import process  # noqa: E402
import render  # noqa: E402
import run  # noqa: E402

START, STOP = "<!-- bench:start -->", "<!-- bench:end -->"
FIGURES = [
    "mixer",
    "gigatoken-threads",
    "gigatoken-threads-warm",
    "gigatoken-processes",
    "gigatoken-processes-warm",
    "megatron",
    "megatron-no-imports",
    "datatrove",
    "ancestor",
    "mixer-demo",
    "mixer-help",
]
MACHINE = {"cpu", "cores", "python", "caches", "date"}
FIELDS = {"round", "contestant", "size", "seconds", "text_bytes", "mb_per_s", "peak_bytes", "versions"} | MACHINE


@pytest.fixture(scope="module")
def quick_records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench")
    records = folder / "records.jsonl"
    command = [sys.executable, str(BENCHMARKS / "run.py"), "--quick", "--data", str(folder), "--records", str(records)]
    subprocess.run(command, check=True, timeout=120, capture_output=True, cwd=folder)
    return records


@pytest.mark.slow
def test_a_quick_run_records_every_contestant(quick_records: Path) -> None:
    """Each figure has speed, memory, versions and machine; a contestant that is not installed is said to be absent."""
    records = [json.loads(line) for line in quick_records.read_text().splitlines()]
    assert [record["contestant"] for record in records] == FIGURES
    for record in records:
        if "absent" in record:
            assert importlib.util.find_spec(record["absent"].split()[0].rstrip(",")) is None
            continue
        assert record.keys() >= FIELDS
        assert record["seconds"] > 0
        assert (record["mb_per_s"] is None) == (record["contestant"] == "mixer-help")
    mixer = records[0]
    assert 4_000_000 < mixer["text_bytes"] < 6_000_000
    assert mixer["mb_per_s"] == pytest.approx(mixer["text_bytes"] / mixer["seconds"] / 1e6, abs=0.01)
    assert mixer["peak_bytes"] > 50_000_000
    assert mixer["stage_seconds"].keys() >= {"plan", "read", "tokenize", "pack", "write"}


@pytest.mark.slow
def test_records_name_neither_machine_nor_path(quick_records: Path) -> None:
    """What is committed says what was measured on which kind of machine, not where."""
    text = quick_records.read_text()
    assert str(quick_records.parent) not in text
    assert str(ROOT) not in text
    for line in text.splitlines():
        assert json.loads(line).keys() <= FIELDS | {"tokens", "stage_seconds", "absent"}


@pytest.mark.slow
def test_records_become_a_table_between_the_markers(quick_records: Path, tmp_path: Path) -> None:
    """Only the text between the markers changes, and rendering again changes nothing."""
    page = tmp_path / "speed.md"
    page.write_text(f"before\n{START}\nold\n{STOP}\nafter\n")
    render.main([str(quick_records), "--page", str(page)])
    text = page.read_text()
    assert text.startswith(f"before\n{START}\n| | text |")
    assert text.endswith(f"\n{STOP}\nafter\n")
    assert "old" not in text
    assert all(label in text for label in render.LABELS.values())
    render.main([str(quick_records), "--page", str(page)])
    assert page.read_text() == text


@pytest.mark.slow
def test_without_markers_the_table_is_printed(
    quick_records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A page that has no place for the table is left alone."""
    page = tmp_path / "speed.md"
    page.write_text("nothing to see\n")
    render.main([str(quick_records), "--page", str(page)])
    assert page.read_text() == "nothing to see\n"
    assert capsys.readouterr().out.startswith("| | text |")


def record(number: int, name: str, size: str, mb_per_s: float, peak_bytes: int | None = None) -> dict:
    machine = {"cpu": "Abacus", "cores": 2, "python": "3.11.7", "caches": "warm", "date": "2026-01-02"}
    figure = {"round": number, "contestant": name, "size": size, "mb_per_s": mb_per_s, "peak_bytes": peak_bytes}
    return figure | {"seconds": 2.0, "text_bytes": int(size[:-2]), "versions": {name: "1.0"}} | machine


def test_the_table_has_medians_of_the_rounds_that_count_and_ratios_to_the_largest_build() -> None:
    """Round 0 gives the memory and no time; a peer on another size is held against mixer's largest."""
    records = [
        record(0, "mixer", "1MB", 1, peak_bytes=2**30),
        *(record(number, "mixer", "1MB", speed) for number, speed in ((1, 80), (2, 100), (3, 90))),
        *(record(number, "mixer", "9MB", speed) for number, speed in ((1, 100), (2, 140), (3, 120))),
        *(record(number, "megatron", "1MB", speed) for number, speed in ((1, 60), (2, 60), (3, 60))),
        *(record(number, "datatrove", "5MB", speed) for number, speed in ((1, 4), (2, 3), (3, 5))),
        {"round": 1, "contestant": "ancestor", "size": "5MB", "absent": "datasets not installed"},
    ]
    lines = render.render(records).splitlines()
    cells = [[cell.strip() for cell in line.split("|")[2:-1]] for line in lines[2:7]]
    assert cells == [
        ["1MB", "90 (80-100)", "", "1.00 GiB"],
        ["9MB", "120 (100-140)", "", ""],
        ["1MB", "60 (60-60)", "1.5 x", ""],
        ["5MB", "4.0 (3.0-5.0)", "30 x", ""],
        ["5MB", "not installed", "", ""],
    ]
    assert "3 interleaved rounds, caches warm, 2 cores of Abacus, 2026-01-02." in lines[-1]


def test_a_contestant_whose_package_is_missing_is_recorded_and_not_run(tmp_path: Path) -> None:
    """The record says what is missing; no process is started."""
    bench = contestants.Bench(data=tmp_path, sizes={"1MB": 1_000_000}, part=("1MB", 1_000_000))
    absent = contestants.Contestant(
        name="x",
        size="1MB",
        command=("false",),
        report=lambda stdout: contestants.Report(text_bytes=0),
        scan=("json", "no_such_package"),
    )
    records = list(run.measure(bench, absent, watch_memory=False))
    assert records == [{"contestant": "x", "size": "1MB", "absent": "no_such_package not installed"}]


def test_memory_is_that_of_all_processes_together() -> None:
    """Two children that hold 60 MB each at once count as 120 MB, what they share with their parent once."""
    child = "block = bytearray(60_000_000); import time; time.sleep(1.0)"
    parent = (
        "import subprocess, sys; shared = bytearray(40_000_000);"
        f"children = [subprocess.Popen([sys.executable, '-c', {child!r}]) for _ in range(2)];"
        "print([child.wait() for child in children])"
    )
    done = process.run_process([sys.executable, "-c", parent], environment={}, watch_memory=True)
    assert done.stdout == "[0, 0]\n"
    assert done.peak_bytes is not None
    assert 160_000_000 < done.peak_bytes < 230_000_000
    assert done.seconds > 1


def test_a_contestant_that_fails_stops_the_run_with_its_last_words() -> None:
    """No record is made of a process that did not end well."""
    with pytest.raises(RuntimeError, match=r"exit code 3: .*\nalas"):
        process.run_process(
            [sys.executable, "-c", "import sys; print('alas', file=sys.stderr); sys.exit(3)"],
            environment={},
            watch_memory=False,
        )


def test_documents_are_spread_over_a_long_source_and_repeated_from_a_short_one() -> None:
    """Half of eight is every second; five of two goes round."""
    text = pa.array(list("abcdefgh"), pa.large_string())
    assert prepare.draw(text, 4).to_pylist() == ["a", "c", "e", "g"]
    assert prepare.draw(text[:2], 5).to_pylist() == ["a", "b", "a", "b", "a"]
    assert prepare.draw(text, 0).to_pylist() == ["a"]


def test_sizes_are_decimal() -> None:
    """`1GB` is what the table says it is."""
    assert [run.num_bytes(size) for size in ("5MB", "200MB", "1GB")] == [5_000_000, 200_000_000, 1_000_000_000]
