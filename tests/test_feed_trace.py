"""`mixer trace`: the rows of a step and the sequences of a row, against a plain reading of the shards."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from workshop import Workshop

import mixer.feed
from mixer.cli.main import run
from mixer.feed.cursor import Cursor
from mixer.shards.manifest import load_manifest

pytestmark = pytest.mark.quick


@pytest.fixture(scope="module")
def rows(finished: Path) -> list[dict]:
    """All sequences of the finished build, as Python values."""
    shards = load_manifest(finished).shards
    return [row for shard in shards for row in pa.ipc.open_file(finished / shard.path).read_all().to_pylist()]


def traced(capsys: pytest.CaptureFixture[str], *arguments: object) -> list[dict]:
    """What `mixer trace --json` lists."""
    assert run(["trace", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)["sequences"]


def test_the_steps_of_all_ranks_are_the_order(
    finished: Path, rows: list[dict], capsys: pytest.CaptureFixture[str]
) -> None:
    """Rank 1 of 3 with batches of 4 at a step in the second epoch: positions, sequences, and every segment."""
    sequences = mixer.feed.open(finished)
    step = len(rows) // 12 + 2
    found = traced(capsys, finished, "--step", step, "--rank", 1, "--world", 3, "--batch", 4, "--epochs", 2)
    places = step * 12 + 1 + 3 * np.arange(4)
    assert [(one["epoch"], one["position"]) for one in found] == [divmod(place, len(rows)) for place in places.tolist()]
    order = Cursor.start(sequences).order(sequences)
    names = sequences.manifest.source_names
    for one in found:
        assert one["sequence"] == order.sequences(one["epoch"], np.array([one["position"]]))[0]
        row = rows[one["sequence"]]
        real = [run for run, source in enumerate(row["segment_source"]) if source >= 0]
        assert [segment["source"] for segment in one["segments"]] == [names[row["segment_source"][run]] for run in real]
        assert [segment["row"] for segment in one["segments"]] == [row["segment_row"][run] for run in real]
        assert [segment["pass"] for segment in one["segments"]] == [row["segment_pass"][run] for run in real]
        assert [segment["start"] for segment in one["segments"]] == [row["segment_start"][run] for run in real]
        lengths = np.diff(row["cu_seqlens"])
        assert [segment["length"] for segment in one["segments"]] == [int(lengths[run]) for run in real]


@pytest.mark.parametrize("shuffle_shards", [None, 2])
def test_a_row_is_found_in_every_sequence_and_epoch(
    finished: Path, rows: list[dict], capsys: pytest.CaptureFixture[str], shuffle_shards: int | None
) -> None:
    """Each sequence that holds it once an epoch, by position; and nothing else of those sequences."""
    names = load_manifest(finished).source_names
    source, row = "code", next(row["segment_row"][0] for row in rows if row["segment_source"][0] == names.index("code"))
    holding = [
        number
        for number, one in enumerate(rows)
        if (names.index(source), row) in zip(one["segment_source"], one["segment_row"], strict=True)
    ]
    extra = ["--shuffle-shards", shuffle_shards] if shuffle_shards else []
    found = traced(capsys, finished, "--source", source, "--row", row, "--epochs", 2, *extra)
    assert len(holding) > 1
    assert [one["epoch"] for one in found] == [0] * len(holding) + [1] * len(holding)
    for epoch in (0, 1):
        here = [one for one in found if one["epoch"] == epoch]
        assert sorted(one["sequence"] for one in here) == holding
        assert [one["position"] for one in here] == sorted(one["position"] for one in here)
    assert {(segment["source"], segment["row"]) for one in found for segment in one["segments"]} == {(source, row)}
    sequences = mixer.feed.open(finished)
    order = Cursor.start(sequences, shuffle_shards=shuffle_shards).order(sequences)
    for one in found:
        assert order.sequences(one["epoch"], np.array([one["position"]]))[0] == one["sequence"]


def test_a_trace_can_be_read_by_people(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line a sequence and a line a segment, and a word where there is none."""
    assert run(["trace", str(finished), "--step", "0"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("epoch 0, position 0: sequence ")
    assert re.fullmatch(r"  \w+ row \d+ \(\S+, row \d+\), pass \d+, tokens \d+\.\.\d+", lines[1])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "give --step, or --source and --row"),
        (["--step", "1", "--source", "code", "--row", "1"], "give --step, or --source and --row"),
        (["--source", "code"], "give --step, or --source and --row"),
        (["--step", "-1"], "there is no step -1"),
        (["--step", "100000"], "there is no step 100000: 1 epoch of 473 sequences have 473 whole steps of 1 x 1"),
        (["--step", "100000", "--epochs", "3"], "there is no step 100000: 3 epochs of 473 sequences have 1,419 whole"),
        (["--step", str(10**20)], f"there is no step {10**20}"),
        (["--step", "0", "--epochs", str(10**18)], f"epochs is {10**18}; expected at most 1,000,000"),
        (["--step", "0", "--world", str(10**20)], f"world is {10**20}; expected at most"),
        (
            ["--source", "code", "--row", "0", "--epochs", str(10**18)],
            f"epochs is {10**18}; expected at most 1,000,000",
        ),
        (["--source", "code", "--row", "0", "--epochs", "0"], "epochs is 0; expected at least 1"),
        (["--source", "code", "--row", str(10**20)], f"code has no row {10**20}"),
        (["--step", "0", "--rank", "4", "--world", "4"], "rank 4 of 4"),
        (["--source", "wiki", "--row", "1"], "the build has no source 'wiki'"),
        (["--source", "code", "--row", "999999"], "code has no row 999999"),
    ],
)
def test_what_cannot_be_traced_is_wrong_usage(
    finished: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    """Exit code 2, with the reason."""
    assert run(["trace", str(finished), *arguments]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("shuffle_shards", [None, 2])
def test_a_row_of_redrawn_epochs_is_found_in_the_epoch_that_reads_it(
    workshop: Workshop, tmp_path: Path, capsys: pytest.CaptureFixture[str], shuffle_shards: int | None
) -> None:
    """Each epoch has its own part of the sequences, so each of them that holds the row is met once in all epochs."""
    workshop.build(tmp_path / "out", workshop.recipe(target={"rows": 200}, epochs={"count": 3, "mode": "redraw"}))
    sequences = mixer.feed.open(tmp_path / "out")
    rows = [row for shard in workshop.rows(tmp_path / "out", sequences.manifest) for row in shard]
    names = sequences.manifest.source_names
    index = names.index("maths")
    wanted = next(
        n for row in rows for s, n in zip(row["segment_source"], row["segment_row"], strict=True) if s == index
    )
    holding = [
        number
        for number, row in enumerate(rows)
        if (index, wanted) in zip(row["segment_source"], row["segment_row"], strict=True)
    ]
    options = [] if shuffle_shards is None else ["--shuffle-shards", shuffle_shards]
    found = traced(capsys, tmp_path / "out", "--source", "maths", "--row", wanted, *options)
    borders = [len(rows) * part // 3 for part in range(4)]
    order = Cursor.start(sequences, shuffle_shards=shuffle_shards).order(sequences)
    assert sorted(one["sequence"] for one in found) == holding
    for one in found:
        assert borders[one["epoch"]] <= one["sequence"] < borders[one["epoch"] + 1]
        assert order.sequences(one["epoch"], np.array([one["position"]]))[0] == one["sequence"]
