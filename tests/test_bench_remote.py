"""The benchmark of remote reading: it runs, and its records say what they should."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "remote.py"


def test_a_small_run_records_both_places_and_the_peer(tmp_path: Path) -> None:
    """The builds take the same text; only those from the bucket ask the server; no path gets into a record."""
    records_path = tmp_path / "records.jsonl"
    command = [sys.executable, str(BENCHMARK), "--data", str(tmp_path / "data"), "--records", str(records_path)]
    command += ["--size", "2MB", "--rounds", "0", "--latency-ms", "1"]
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
