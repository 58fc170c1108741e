"""The benchmark of remote reading: it runs, and its records say what they should."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
BENCHMARK = BENCHMARKS / "remote.py"
sys.path.append(str(BENCHMARKS))

import fetch_table  # noqa: E402
import remote_table  # noqa: E402
import render  # noqa: E402

MACHINE = {
    "caches": "warm",
    "cores": 2,
    "cpu": "Abacus",
    "date": "2026-01-02",
    "python": "3.11",
    "versions": {"x": "1"},
}


@pytest.mark.slow
def test_a_small_run_records_both_places_and_the_peer(tmp_path: Path) -> None:
    """The builds take the same text; only those from the bucket ask the server; no path gets into a record."""
    records_path = tmp_path / "records.jsonl"
    command = [sys.executable, str(BENCHMARK), "--data", str(tmp_path / "data"), "--records", str(records_path)]
    command += ["--sizes", "2MB", "--rounds", "0", "--latency-ms", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    records = {record["contestant"]: record for record in map(json.loads, records_path.read_text().splitlines())}
    places = {"mixer-local": False, "mixer-local-first": False, "mixer-bucket": True, "mixer-bucket-first": True}
    assert list(records) == [*places, "datasets-stream"]
    assert len({records[name]["text_bytes"] for name in places}) == 1
    for name, is_remote in places.items():
        assert (records[name]["requests"] > 0) == is_remote
        assert records[name]["traffic"].get("requests", 0) == records[name]["requests"]
        assert records[name]["peak_bytes"] > 0
    assert records["datasets-stream"]["requests"] > 0
    assert str(tmp_path) not in records_path.read_text()


def remote_records() -> list[dict[str, Any]]:
    """Three rounds of a size: a build from local files takes 4, 5 and 6 s, one from the bucket 1 s longer."""
    return [
        {
            "round": number,
            "latency_ms": 20.0,
            "size": "100MB",
            "contestant": f"mixer-{place}",
            "mb_per_s": 100 / (3 + number + extra),
            "text_bytes": 100_000_000,
            "requests": 40 * extra,
            "peak_bytes": None if number else 2**30,
            **MACHINE,
        }
        for number in range(4)
        for extra, place in enumerate(("local", "bucket"))
    ]


def test_the_table_says_what_the_bucket_costs() -> None:
    """The medians' ratio: 100 MB in 5 and in 6 s; round 0 counts for the memory alone."""
    lines = remote_table.render(remote_records()).splitlines()
    cells = {line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:-1]] for line in lines[2:-2]}
    assert cells == {
        remote_table.LABELS["mixer-local"]: ["100 MB", "20 (17-25)", "", "0", "1.00 GiB"],
        remote_table.LABELS["mixer-bucket"]: ["100 MB", "16.7 (14.3-20.0)", "83%", "40", "1.00 GiB"],
    }
    assert "waits 20 ms" in lines[-1]
    assert "3 interleaved rounds, caches warm, 2 cores of Abacus" in lines[-1]


def test_records_find_their_table(tmp_path: Path) -> None:
    """By what is in them."""
    path, page = tmp_path / "some.jsonl", tmp_path / "speed.md"
    path.write_text("".join(json.dumps(record) + "\n" for record in remote_records()))
    page.write_text(
        "<!-- bench:start -->\n<!-- bench:end -->\n<!-- bench-remote:start -->\n<!-- bench-remote:end -->\n"
    )
    render.main([str(path), "--page", str(page)])
    table = remote_table.render(remote_records())
    expected = (
        f"<!-- bench:start -->\n<!-- bench:end -->\n<!-- bench-remote:start -->\n{table}\n<!-- bench-remote:end -->\n"
    )
    assert page.read_text() == expected


def test_the_table_of_fetching_has_a_line_for_each_number_of_connections() -> None:
    """Medians over the rounds that count."""
    records = [
        {
            "round": number,
            "connections": connections,
            "blobs_per_s": 1000 * connections + number,
            "text_mb_per_s": 30.0,
            "cpu_seconds": 12.0,
            "seconds": 10.0,
            "files": 40_000,
            "median_blob_bytes": 1882,
            **MACHINE,
        }
        for number in range(3)
        for connections in (1, 2)
    ]
    lines = fetch_table.render(records).splitlines()
    assert lines[2:4] == [
        "| 1 | 1,002 (1,001-1,002) | 30 (30-30) | 1.2 (1.2-1.2) |",
        "| 2 | 2,002 (2,001-2,002) | 30 (30-30) | 1.2 (1.2-1.2) |",
    ]
    assert lines[-1].startswith("40,000 blobs with a median of 1,882 bytes, zipped")
